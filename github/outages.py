"""Whether GitHub as a whole is down, or only one of its lists can't be had. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

READ_TIMEOUT_SECONDS = 30
PROBE_TIMEOUT_SECONDS = 10  # in an outage; GitHub itself gives up after 10
OUTAGE_LISTS = 3  # so many lists in a row that can't be had are no fault of one repository


class Outages:
    """What the requests since GitHub's last answer tell.

    While `is_down` each request is to be a single probe, so that a run over many repositories ends.
    """

    def __init__(self) -> None:
        self._failed_paths: set[str] = set()
        self.is_down = False

    def answered(self) -> None:
        self._failed_paths.clear()
        self.is_down = False

    def failed(self, url: str, *, heavy: bool) -> None:
        """A request outlasted its attempts: a heavy one perhaps on one list; what can't be reached is so for all."""
        self._failed_paths.add(urlsplit(url).path)
        self.is_down = self.is_down or not heavy or len(self._failed_paths) >= OUTAGE_LISTS

    @property
    def read_timeout_seconds(self) -> float:
        return PROBE_TIMEOUT_SECONDS if self.is_down else READ_TIMEOUT_SECONDS
