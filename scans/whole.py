"""The scan of lists that are short and in no order of time: each is read whole, its pages with their ETags."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Any, Iterator
from urllib.parse import urlencode

from foundation.errors import PipelineError
from foundation.records import Gap
from github import pages
from github.page_reader import SMALLER_SIZES, Read
from github.refusals import HeavyAnswer, NotReadable
from github.spots import PAGE_SIZE
from github.streams.stream import Kind
from scans.horizon import present_of
from scans.scan import ALL_HISTORY, EMPTY_ANSWERS, Contradiction, Page, Scan, path_of

MOST_PASSES = 10


class WholeScan(Scan):
    """Of a stream whose lists, one a type of items, are read whole.

    A page is asked for with the ETag that it came with before, and 304 says that all of it is in the queue. So the
    ETags prove nothing but that, whatever happened between two pages, and what was missed is met by the next pass over
    the list. A list of several pages is read until none of its borders has moved since the pass before: then what
    stood still was not skipped where one page ended and the next began. Only a page that is not full is the last one.

    `StreamState.etag` keeps them as JSON: for each type of items [address, ETag, is it the last page?] of each page.
    """

    def __init__(self, **asked: Any) -> None:
        super().__init__(**asked)
        self._is_settled = False  # whose lists they are
        self._is_unchanged = True
        self._date: str | None = None
        self._oldest: str | None = None  # of the page that was read last

    def pages(self) -> Iterator[Page]:
        failed: PipelineError | None = None
        for kind in self._stream.kinds:
            try:
                yield from self._list(kind)
            except (NotReadable, HeavyAnswer, Contradiction) as error:
                if not self._is_settled:
                    raise
                failed = failed or error  # the token may lack the right to one of them, or one is broken
        if failed is not None:
            raise failed
        if not self._is_unchanged or self._state.covered_since is None:
            # Times say nothing here: the cursor is when a change was seen last.
            cursor = max(self._date or "", self._state.cursor or "") or None
            self._state = self._state._replace(covered_since=ALL_HISTORY, cursor=cursor)
            yield Page(self._repo, self._was, [], self._state)

    def _list(self, kind: Kind) -> Iterator[Page]:
        for size in (PAGE_SIZE, *SMALLER_SIZES):
            try:
                yield from self._until_it_stands_still(kind, size)
                return
            except HeavyAnswer:
                if size == SMALLER_SIZES[-1]:
                    raise

    def _until_it_stands_still(self, kind: Kind, size: int) -> Iterator[Page]:
        before: list[Any] = []
        for _ in range(MOST_PASSES):
            borders: list[Any] = []
            is_unchanged = True
            for page in self._pass(kind, size, before, borders):
                is_unchanged = False
                yield page
            if is_unchanged or not borders or borders == before:
                return
            before = borders
        raise Contradiction(
            f"GitHub's list of {self._repo} {kind.path} was another each of {MOST_PASSES} times; run again later"
        )

    def _pass(self, kind: Kind, size: int, before: list[Any], borders: list[Any]) -> Iterator[Page]:
        """Once through the list: the pages that are not as they were. `borders` takes the last id of each page but the
        last; of one that is as it was what the pass `before` has, or its ETag."""
        met: set[int] = set()
        for number in itertools.count(1):
            try:
                read = self._read(kind, size, number)
            except NotReadable as refused:
                if refused.status != 422 or number == 1:
                    raise
                yield self._truncated(kind, size * (number - 1))
                return
            if read.answer.body is None:
                _, border, is_last = self._known(kind)[number - 1]
                border = before[number - 1] if number <= len(before) else border
            else:
                is_last = len(read.elements) < size and read.answer.next_url is None
                shown = {element.item_id for element in read.elements}
                if shown and shown <= met:
                    raise Contradiction(f"GitHub's list of {self._repo} {kind.path} leads in a circle; run again later")
                met |= shown
                border = read.elements[-1].item_id if read.elements else None
                yield self._page(kind, read, number, is_last=is_last)
            if is_last:
                return
            borders.append(border)

    def _read(self, kind: Kind, size: int, number: int) -> Read:
        place = self._own_place() if self._is_settled else self._named_place()
        etag = self._etag(kind, size, number)
        for _ in range(EMPTY_ANSWERS):  # an odd answer does not prove that there is nothing
            answer = self._api.get(
                self._url(place, kind, size, number),
                parse=functools.partial(pages.cut, shape=self._stream.shape),
                etag=etag,
                on_request=self._on_request,
                retry_refusals=self._is_settled,
            )
            if answer.body is None or answer.body or number > 1:
                break
            etag = None
        read = Read(answer, size * (number - 1), size * number)
        if not self._is_settled:
            self._settle(read)
        return read

    def _settle(self, read: Read) -> None:
        """By the first answer. All others are asked for by the id, where that is known."""
        if read.answer.body is not None:
            self._identify(read)
        elif self._identified_as is None:
            self._claim(self._state.repo_id)
        self._is_settled = True

    def _page(self, kind: Kind, read: Read, number: int, *, is_last: bool) -> Page:
        self._is_unchanged = False
        self._date = present_of(read)
        self._oldest = min(read.times, default=None)
        known = self._known(kind)
        address = self._address(kind, read.end - read.start, number)
        known[number - 1 : None if is_last else number] = [(address, read.answer.etag, is_last)]
        head = self._stream.kinds[0]
        is_head = kind == head and number == 1
        self._state = self._state._replace(
            etag=json.dumps({**self._etags(), kind.item_type: known}),
            etag_url=self._address(head, PAGE_SIZE, 1),
            gaps=self._gaps_of_others(kind) if is_last else self._state.gaps,
            newest_item_id=read.elements[0].item_id if is_head and read.elements else self._state.newest_item_id,
        )
        items = [pages.to_item(element, kind.item_type) for element in read.elements]
        return Page(self._repo, self._was, items, self._state)

    def _truncated(self, kind: Kind, shown: int) -> Page:
        """GitHub shows no more of the list: of releases a thousand (release-drafter/release-drafter #1082)."""
        known = self._known(kind)
        known[-1][2] = True
        gap = Gap(kind.path, shown, 0, None, self._oldest)
        etags = json.dumps({**self._etags(), kind.item_type: known})
        self._state = self._state._replace(etag=etags, gaps=(*self._gaps_of_others(kind), gap))
        return Page(self._repo, self._was, [], self._state)

    def _gaps_of_others(self, kind: Kind) -> tuple[Gap, ...]:
        return tuple(gap for gap in self._state.gaps if gap.since != kind.path)

    def _etags(self) -> dict[str, list[Any]]:
        return json.loads(self._state.etag) if self._state.etag else {}

    def _known(self, kind: Kind) -> list[Any]:
        return self._etags().get(kind.item_type, [])

    def _etag(self, kind: Kind, size: int, number: int) -> str | None:
        """Only for the very page that it came from."""
        for address, etag, _ in self._known(kind)[number - 1 : number]:
            if address == self._address(kind, size, number):
                return etag  # type: ignore[no-any-return]
        return None

    def _address(self, kind: Kind, size: int, number: int) -> str:
        """By the repository's present name, whether it is asked for by that or by its id."""
        return self._url(path_of(self._repo), kind, size, number)

    def _url(self, place: str, kind: Kind, size: int, number: int) -> str:
        query = {**kind.query, "per_page": str(size), "page": str(number)}
        return f"{self._api.base_url}{place}/{kind.path}?{urlencode(query)}"
