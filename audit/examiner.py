"""What became of an item that the list lacks: gone, and why; or there after all."""

from __future__ import annotations

from typing import Sequence

from audit.inventory import Known
from foundation.errors import PipelineError
from github.refusals import NotReadable
from github.streams.gone import Tombstone
from scans import census
from scans.census import Found, Reader


class Examiner:
    """Asks for what a list lacks, each by itself and twice: one odd answer proves nothing."""

    def __init__(self, reader: Reader, repo: str, api_url: str, seen_at: str) -> None:
        self._reader = reader
        self._repo = repo
        self._api_url = api_url
        self._seen_at = seen_at
        self.gone: list[Tombstone] = []
        self.again: list[Known] = []
        self.unsure = 0

    def look(self, lacking: Sequence[Known], *, most: int, what: str) -> None:
        """Raises PipelineError where more than so many of them are gone."""
        first: list[tuple[Known, Found]] = []
        for each in lacking:
            found = self._found(each)
            if found.reason is None:
                continue
            first.append((each, found))
            if len(first) > most:
                raise PipelineError(
                    f"{what}: more than {most} of its items are gone at once, as where access was lost; nothing is "
                    "written (--max-gone N where it is true)"
                )
        for each, found in first:
            if self._found(each) == found:
                self.gone.append(self.tombstone(each, found))
            else:
                self.unsure += 1

    def _found(self, each: Known) -> Found:
        """Where issues are switched off GitHub shows none, and none is gone."""
        try:
            return self._reader.look(each.kind, each.number, each.id)
        except NotReadable as refused:
            if not refused.disabled:
                raise
            return Found(None)

    def tombstone(self, of: Known, found: Found) -> Tombstone:
        address = census.ADDRESSES[of.kind].format(number=of.number, id=of.id)
        url = f"{self._api_url}/repos/{self._repo}{address}"
        return Tombstone(of.kind, of.id, of.number, found.reason, found.moved_to, self._seen_at, url)
