"""Reads one list of GitHub's: in smaller pages where large ones fail, and past an item that can't be had at all.

Decides how a place is asked for; what the answers mean for a scan is scans/'s business.
"""

from __future__ import annotations

import contextlib
import functools
import re
from typing import Callable, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from foundation.records import Gap
from github import pages
from github.api import Answer, GitHub
from github.pages import ITEM, Element, Shape
from github.refusals import MAX_ATTEMPTS, HeavyAnswer, NotReadable
from github.spots import PAGE_SIZE, Cut, Spot, page_at

# GitHub gives up on a page after ten seconds (a 502), and often gives a smaller one.
SMALLER_SIZES = (50, 25, 5)
ATTEMPTS_AT_SMALLER = 2  # of what failed at a larger size, or is about to be given up
# So many places in a row that can't be had, and it is no single item's fault.
PLACES_TRIED = 3
# Pages overlap by an item; each time that a list is seen to shift by more, by twice as many.
OVERLAP = 1
MOST_OVERLAP = 64
_REPOSITORY_IN_URL = re.compile(r"/repositories/(\d{1,18})/")


class Read(NamedTuple):
    """A page. `start` and `end`: its place in the list. `gap`: what stands right before it could not be had.

    `is_linked`: GitHub's own cursor led to it, at which nothing can shift.
    """

    answer: Answer
    start: int
    end: int
    gap: Gap | None = None
    is_linked: bool = False

    @property
    def elements(self) -> list[Element]:
        return self.answer.body or []

    @property
    def times(self) -> list[str]:
        return [element.updated_at for element in self.elements if element.updated_at is not None]

    @property
    def is_last(self) -> bool:
        """Does it say that nothing comes behind it? A full page without `next` does not: its Link may be lost."""
        return self.answer.next_url is None and len(self.elements) < self.end - self.start

    @property
    def is_whole_head(self) -> bool:
        return self.start == 0 and self.end == PAGE_SIZE

    @property
    def opaque_next(self) -> str | None:
        """The next link, where GitHub counts by a cursor (`after`), at which nothing can shift."""
        url = self.answer.next_url
        return url if url is not None and "after" in dict(parse_qsl(urlsplit(url).query)) else None

    @property
    def expected(self) -> int:
        """How many items the list has at least, by its link to the last page; 0 where it has none."""
        query = dict(parse_qsl(urlsplit(self.answer.last_url or "").query))
        number = query.get("page", "")
        return (int(number) - 1) * (self.end - self.start) if number.isdecimal() and len(number) < 9 else 0

    @property
    def repo_id(self) -> int | None:
        """Whose list it is, by GitHub's numeric id: it stands in links, and in pull requests."""
        for url in (self.answer.next_url, self.answer.url):
            match = _REPOSITORY_IN_URL.search(url or "")
            if match:
                return int(match[1])
        return next((element.repo_id for element in self.elements if element.repo_id), None)

    def reaches(self, floor: str) -> bool:
        """Does a newest-first page hold an item from before the floor?"""
        return any(time < floor for time in self.times)


class PageReader:
    """Reads one list. `url(newest_first=..., since=..., size=..., number=...)` gives a page's address."""

    def __init__(
        self,
        *,
        api: GitHub,
        url: Callable[..., str],
        shape: Shape = ITEM,
        on_request: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._api = api
        self._parse = functools.partial(pages.cut, shape=shape)
        self._url = url
        self._on_request = on_request
        self._most = PAGE_SIZE
        self.overlap = OVERLAP

    def head(self, *, etag: str | None) -> Read:
        """The newest page, whole where it can be had."""
        self._most = PAGE_SIZE
        return self.read(Spot(), newest_first=True, etag=etag)

    def read(self, spot: Spot, *, newest_first: bool, etag: str | None = None) -> Read:
        """The page that goes on from `spot`. Raises what GitHub.get raises."""
        try:
            if spot.link is not None:
                answer = self._get(spot.link, attempts=MAX_ATTEMPTS, retry_refusals=True)
                return Read(answer, spot.offset, spot.offset + PAGE_SIZE, is_linked=True)
            attempts = MAX_ATTEMPTS if self._most == PAGE_SIZE else ATTEMPTS_AT_SMALLER
            read = self._cut(spot, self._cut_at(spot, self._most), newest_first, attempts=attempts, etag=etag)
        except HeavyAnswer as heavy:
            return self._lighter(spot._replace(link=None), newest_first, heavy)
        self._most = min(2 * self._most, PAGE_SIZE)
        return read

    def can_be_had(self, spot: Spot, *, newest_first: bool) -> bool:
        """Is there an answer for the one item at `spot`?"""
        return self._first_answer(spot, newest_first, places=1) is not None

    def item_before(self, spot: Spot, *, newest_first: bool) -> list[Element]:
        """The item right before `spot`, alone; none where it can't be had, or is not there."""
        try:
            read = self._first_answer(spot._replace(offset=spot.offset - 1), newest_first, places=1)
        except NotReadable as refused:
            if not _is_too_far_out(refused):
                raise
            read = None
        return read.elements if read is not None else []

    def _cut_at(self, spot: Spot, most: int) -> Cut:
        return page_at(spot.offset, most=most, overlap=self.overlap, not_before=spot.not_before)

    def _lighter(self, spot: Spot, newest_first: bool, heavy: HeavyAnswer) -> Read:
        """A page failed for good. A probe tells an outage from a page that is too heavy, or holds a broken item."""
        try:
            probe = self._first_answer(spot, newest_first, places=PLACES_TRIED)
        except NotReadable as refused:
            smaller = self._smaller(spot, newest_first) if _is_too_far_out(refused) else None
            if smaller is None:
                raise
            return smaller
        if probe is None:
            raise heavy
        is_next = probe.start == spot.offset
        smaller = self._smaller(spot, newest_first) if is_next else None
        if smaller is not None:
            return smaller
        self._most = SMALLER_SIZES[-1]
        if is_next:
            return probe
        there = probe.times[0] if probe.times else None
        after, before = (there, spot.last_time) if newest_first else (spot.last_time or spot.since, there)
        return probe._replace(gap=Gap(spot.since, spot.offset, probe.start - spot.offset, after, before))

    def _smaller(self, spot: Spot, newest_first: bool) -> Read | None:
        """The largest page that goes on from `spot` and can be had."""
        for size in (size for size in SMALLER_SIZES if size < self._most):
            with contextlib.suppress(HeavyAnswer):
                read = self._cut(spot, self._cut_at(spot, size), newest_first, attempts=1)
                self._most = size
                return read
        return None

    def _first_answer(self, spot: Spot, newest_first: bool, *, places: int) -> Read | None:
        """The first of the items from `spot` on that can be had alone."""
        for offset in range(spot.offset, spot.offset + places):
            try:
                attempts = ATTEMPTS_AT_SMALLER if offset == spot.offset else 1
                return self._cut(spot, Cut(1, offset + 1), newest_first, attempts=attempts)
            except HeavyAnswer:
                continue
        return None

    def _cut(self, spot: Spot, cut: Cut, newest_first: bool, *, attempts: int, etag: str | None = None) -> Read:
        url = self._url(newest_first=newest_first, since=spot.since, size=cut.size, number=cut.number)
        # What was a list a moment ago is one still: a refusal in the middle is a slip until it is repeated.
        answer = self._get(url, attempts=attempts, etag=etag, retry_refusals=spot.offset > 0 or spot.since is not None)
        return Read(answer, cut.start, cut.end)

    def _get(self, url: str, *, attempts: int, etag: str | None = None, retry_refusals: bool = False) -> Answer:
        return self._api.get(
            url, parse=self._parse, etag=etag, attempts=attempts, retry_refusals=retry_refusals,
            on_request=self._on_request,
        )  # fmt: skip


def _is_too_far_out(refused: NotReadable) -> bool:
    """In large lists GitHub numbers few pages (google/go-github #3565): of single items hardly any."""
    return refused.status == 422
