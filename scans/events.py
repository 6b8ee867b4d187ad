"""The scan of a list that is newest first, whatever is asked, and of which GitHub shows only so many pages: events.

An event never changes, so that what is new stands at the head, and a list that shifts is one of which something was
deleted: pages that overlap show it, as for pull requests.
"""

from __future__ import annotations

from typing import Any, Mapping

from foundation.records import Gap
from github.page_reader import Read
from github.refusals import NotReadable
from github.spots import PAGE_SIZE, Spot
from scans.horizon import LEADING_ITEMS
from scans.lists import ListScan
from scans.scan import ALL_HISTORY, Page

# "In order to keep the API fast for everyone, pagination is limited for this resource." Others took a list that ended
# so for one that was read (chaoss/augur, apache/incubator-devlake).
DEEPEST_PAGE = 300


class EventScan(ListScan):
    """Newest first, by pages that overlap, to the floor; what is further back than GitHub shows is *truncated*.

    That is kept as a gap of 0 items: nobody knows how many (scans/fill.py fills it). All that is newer counts as read.
    """

    deepest_page = DEEPEST_PAGE

    def _order(self, *, newest_first: bool) -> Mapping[str, str]:
        return {}

    def _reaches(self, read: Read, floor: str) -> bool:
        """Events of one moment stand in any order: a single old one does not say that all behind it are older."""
        end = read.times[-LEADING_ITEMS:]
        return len(end) == LEADING_ITEMS and max(end) < floor

    def _step(self, scan: dict[str, Any]) -> Page:
        spot = Spot.saved(scan.get("spot"))
        if spot is None or spot.offset < PAGE_SIZE:
            return super()._step(scan)
        if spot.offset >= DEEPEST_PAGE * PAGE_SIZE:  # a list that ends right there looks the same
            return self._truncated(scan, spot)
        try:
            return super()._step(scan)
        except NotReadable as refused:
            if refused.status != 422:
                raise
            return self._truncated(scan, spot)

    def _truncated(self, scan: dict[str, Any], spot: Spot) -> Page:
        floor = scan["floor"]
        gap = Gap(None, spot.offset, 0, None if floor == ALL_HISTORY else floor, spot.last_time)
        finished = self._finished(scan)
        self._walked_to = scan["target"]
        others = (old for old in finished.gaps if not _is_within(old, gap))
        self._state = finished._replace(gaps=(*others, gap))
        return Page(self._repo, self._was, [], self._state)

    def _try_again(self, gap: Gap) -> None:
        if gap.items and gap.since is None:  # what GitHub's list does not reach it will not reach tomorrow
            super()._try_again(gap)


def _is_within(old: Gap, gap: Gap) -> bool:
    """Is an older end of the list, filled or not, one that is asked for once more with this one?"""
    reaches = (gap.after or "") <= (old.after or "") and (old.before or "") <= (gap.before or "")
    return old.items == 0 and reaches
