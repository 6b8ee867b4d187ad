"""What became of an item that the list lacks: gone, and why; or there after all."""

from __future__ import annotations

import logging
from typing import Sequence

from audit.inventory import Known
from foundation.errors import Outage, PipelineError
from github.refusals import HeavyAnswer
from github.streams.gone import Tombstone
from scans import census
from scans.census import Found, Reader

log = logging.getLogger("pipeline.sweep")

MOST_THAT_ARE_THERE = 10  # of those that a list lacks; with more of them it was cut short


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
        """Raises PipelineError where more than so many of them are gone, Outage where about as many are there."""
        first: list[tuple[Known, Found]] = []
        there = 0
        for each in lacking:
            found = self._found(each)
            if found is None:
                self.unsure += 1
            elif found.reason is None:
                there += 1
            else:
                first.append((each, found))
            if len(first) > most:
                raise PipelineError(
                    f"{what}: more than {most} of its items are gone at once, as where access was lost; nothing is "
                    f"written (GitHub lists {len(lacking)} less than are known; --max-gone {len(lacking)} where it is "
                    "true)"
                )
            if there > max(most, MOST_THAT_ARE_THERE):
                raise Outage(f"{what}: GitHub's list lacks {len(lacking)} items, and they are there; run again later")
        for each, found in first:
            if self._found(each) == found:
                self.gone.append(self.tombstone(each, found))
            else:
                self.unsure += 1

    def _found(self, each: Known) -> Found | None:
        """None where GitHub gives no answer, or none that means anything: that may be so for good."""
        try:
            found = self._reader.look(each.kind, each.number, each.id)
        except HeavyAnswer as error:
            log.warning("%s", error)
            return None
        return None if found.reason == census.UNCLEAR else found

    def tombstone(self, of: Known, found: Found) -> Tombstone:
        """Never older than what it speaks of, whatever a clock says: it would count for nothing."""
        address = census.ADDRESSES[of.kind].format(number=of.number, id=of.id)
        url = f"{self._api_url}/repos/{self._repo}{address}"
        seen_at = max(self._seen_at, of.newest_at)
        return Tombstone(of.kind, of.id, of.number, found.reason, found.moved_to, seen_at, url)
