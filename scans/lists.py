"""The scan of a list: nothing that is updated is missed, and nothing asked for twice."""

from __future__ import annotations

from typing import Any, Iterator
from urllib.parse import urlencode

from foundation import timestamps
from foundation.errors import PipelineError
from foundation.records import Gap, StreamState
from github import pages
from github.page_reader import MOST_OVERLAP, PageReader, Read
from github.refusals import HeavyAnswer, NotReadable
from github.spots import PAGE_SIZE, Spot
from github.streams.stream import KEYSET
from scans.horizon import behind, horizon_of, newest_at_in, not_in_the_future
from scans.scan import ALL_HISTORY, GITHUB_BEGAN, OVERLAP_SECONDS, Contradiction, Page, Scan, path_of

# GitHub now and then answers with an empty page, or one without its Link (MeltanoLabs/tap-github #90). So many answers
# in a row that contradict those before them, or show nothing new, end a walk.
ODD_ANSWERS = 10
EMPTY_ANSWERS = 3  # so many in a row say that there is nothing


class _StartOver(Exception):
    """The walk can't go on where it stands. `error`: what to say when it can't begin anew either."""

    def __init__(self, error: PipelineError) -> None:
        super().__init__(str(error))
        self.error = error


class ListScan(Scan):
    """Of a list that GitHub sorts by the last update: by keyset, oldest first, or by pages, newest first."""

    def __init__(self, **asked: Any) -> None:
        super().__init__(**asked)
        self._by_time = self._stream.scan == KEYSET
        self._place = ""  # the path that is asked; see `_own_place`
        self._reader = PageReader(api=self._api, url=self._url, shape=self._stream.shape, on_request=self._on_request)
        self._odd_answers = self._empty_answers = 0
        self._furthest: str | None = None  # the last time that the walk has come to
        self._met: set[tuple[int, str | None]] = set()  # what it has been shown since
        self._has_begun_walk = False  # or has only ended one, to which more may have been shown late before this run

    def pages(self) -> Iterator[Page]:
        old_gaps = self._state.gaps
        if self._state.scan is not None:
            self._widen(self._state.scan)
            self._claim(self._state.repo_id)
            yield from self._walk()
        # After a walk of many pages the newest are looked at once more, for what moved to the front meanwhile.
        while True:
            page = self._head()
            if page is None:
                break
            yield page
            if self._state.scan is None:
                break
            yield from self._walk()
        for gap in set(old_gaps) & set(self._state.gaps):
            self._try_again(gap)
            yield from self._walk()

    # The head: the newest page, the same for all streams. Any update of any item changes it, so its ETag speaks for the
    # whole stream; and where it reaches back to the floor it is, being one answer, a complete scan by itself.

    def _head(self) -> Page | None:
        """The newest page and the state behind it; None where nothing changed."""
        self._place = self._named_place()
        read = self._whole_head(etag=self._usable_etag())
        if read.answer.body is None:
            if self._identified_as is None:
                self._claim(self._state.repo_id)
            return None
        floor = self._identify(read)
        return self._head_page(read, self._after_head(read, floor), floor)

    def _whole_head(self, *, etag: str | None) -> Read:
        read = self._reader.head(etag=etag)
        for _ in range(EMPTY_ANSWERS - 1):  # an odd answer proves nothing; least of all that there is nothing
            if read.answer.body is None or read.elements:
                break
            read = self._reader.head(etag=None)
        return read

    def _head_page(self, read: Read, state: StreamState, floor: str) -> Page:
        # A walk by time meets by itself what could not be had here.
        return self._page(read._replace(gap=None) if self._by_time else read, state, floor=floor)

    def _head_url(self) -> str:
        return self._address(path_of(self._repo), newest_first=True, since=None, size=PAGE_SIZE, number=1)

    def _usable_etag(self) -> str | None:
        """Only for the very URL that it came from, and not when this run must look further back."""
        reaches_back = self._state.covered_since is None or self._since < self._state.covered_since
        return None if reaches_back or self._state.etag_url != self._head_url() else self._state.etag

    def _after_head(self, read: Read, floor: str) -> StreamState:
        newest = max(read.elements, key=lambda element: element.updated_at or "", default=None)
        newest_at, horizon = newest_at_in(read, floor), horizon_of(read, floor)
        # Each update changes the bytes of this page; not where others of its newest second, or minute, are behind it.
        speaks_for_all = read.is_whole_head and (read.is_last or read.reaches(min(newest_at, horizon)))
        scan: dict[str, Any] = {
            "floor": floor,
            "covered_since": min(self._since, self._state.covered_since or self._since),
            "target": newest_at,
            "horizon": horizon,
            "cursor": not_in_the_future(newest_at, read.answer),
            "newest_item_id": newest.item_id if newest else None,
            "expected": read.expected,
            "etag": read.answer.etag if speaks_for_all else None,
            "etag_url": self._head_url(),
        }
        is_all = (read.reaches(floor) or read.is_last) and read.gap is None
        if is_all:
            return self._finished(scan)
        if newest_at <= self._walked_to:  # this page says nothing of what was shown late behind it since the walk began
            return self._finished({**scan, "etag": self._state.etag, "etag_url": self._state.etag_url})
        if self._has_begun_walk and read.reaches(self._walked_to) and read.gap is None:
            # All since the walk is here, but not the minute before it, for what is shown late: the next run's.
            return self._state._replace(etag=None)
        self._has_begun_walk = True
        # The rest is still to be walked: by time from the floor upwards, or from here downwards.
        below = behind(Spot(), read, by_time=False, horizon=horizon, target=newest_at)
        spot = Spot(since=floor) if self._by_time else below
        return self._state._replace(scan={**scan, "spot": spot._asdict()})

    def _finished(self, scan: dict[str, Any]) -> StreamState:
        """The state after a scan that saw everything: the cursor never moves back."""
        return self._state._replace(
            gaps=tuple(gap for gap in self._state.gaps if list(gap) != scan.get("gap")),
            cursor=max(scan["cursor"], self._state.cursor or ""),
            covered_since=scan["covered_since"],
            etag=scan["etag"],
            etag_url=scan["etag_url"],
            newest_item_id=scan["newest_item_id"],
            scan=None,
        )

    # The walk: the rest of a scan that is longer than a page.

    def _widen(self, scan: dict[str, Any]) -> None:
        """An unfinished walk goes on to where this run wants to look from, when that is further back."""
        if self._since < scan["covered_since"]:
            wider = {**scan, "floor": self._since, "covered_since": self._since, "until": None}
            if self._by_time:
                wider["spot"] = Spot(since=self._since)._asdict()
            self._state = self._state._replace(scan=wider)

    def _walk(self) -> Iterator[Page]:
        self._odd_answers, self._empty_answers, self._furthest, self._met = 0, 0, None, set()
        self._place = self._own_place()
        try:
            while self._state.scan is not None:
                yield self._step(self._state.scan)
        except _StartOver as begin_again:
            self._start_over(begin_again.error)
        except NotReadable as error:
            if error.status not in (400, 404, 422):
                raise
            self._start_over(error)  # a place that GitHub no longer accepts
        except (HeavyAnswer, Contradiction):
            if "gap" in (self._state.scan or {}):  # the next run may begin it anew
                self._state = self._state._replace(scan=None)
            # What stands in the way of the walk must not hide what is new.
            yield self._head_page(self._reader.head(etag=None), self._state, self._floor())
            raise

    def _start_over(self, error: PipelineError) -> None:
        if not self._restarts_left:
            raise error from None
        self._restarts_left -= 1
        scan = self._state.scan or {}
        # Its floor becomes where to look from; nothing that was covered is given up.
        self._since = min(self._since, scan.get("covered_since", self._since))
        self._state = self._state._replace(scan=None, etag=None)

    def _step(self, scan: dict[str, Any]) -> Page:
        spot = Spot.saved(scan.get("spot"))
        if spot is None:
            raise _StartOver(Contradiction("a scan that an older version saved can't be gone on with"))
        read = self._read(spot)
        if not self._goes_on(spot, read, scan["horizon"]):
            # Something left the list, and the rest moved up over where this stands; or the answer is an odd one.
            self._reader.overlap = min(2 * self._reader.overlap, MOST_OVERLAP)
            return self._odd(scan, spot.stepped_back(PAGE_SIZE * 2**self._odd_answers), read._replace(gap=None))
        self._empty_answers = 0 if read.elements or read.gap is not None else self._empty_answers + 1
        if read.gap is not None and list(read.gap) == scan.get("gap"):
            scan = {**scan, "gap": None}  # it is still there
        if self._is_end(scan, spot, read):
            self._walked_to = scan["target"]
            return self._page(read, self._finished(scan), floor=scan["floor"])
        following = behind(spot, read, by_time=self._by_time, horizon=scan["horizon"], target=scan["target"])
        if read.is_last or not self._brings_new(read, following, scan["target"]):
            return self._odd(self._reconsidered(scan, read), spot if read.is_last else following, read)
        self._odd_answers = 0
        return self._page(read, self._state._replace(scan={**scan, "spot": following._asdict()}), floor=scan["floor"])

    def _read(self, spot: Spot) -> Read:
        read = self._reader.read(spot, newest_first=not self._by_time)
        if read.repo_id is not None and self._state.repo_id not in (None, read.repo_id):
            raise _StartOver(Contradiction(f"{self._repo} is another repository than before; run again"))
        return read

    def _goes_on(self, spot: Spot, read: Read, horizon: str) -> bool:
        """Does nothing stand between what was read and this page? One that does not overlap needs a witness."""
        if read.is_linked or spot.offset == 0:
            return True
        newest_first, overlaps = not self._by_time, read.start < spot.offset
        return spot.is_continued_by(
            read.elements if overlaps else self._reader.item_before(spot, newest_first=newest_first),
            start=min(read.start, spot.offset),
            newest_first=newest_first,
            horizon=horizon,
        )

    def _is_end(self, scan: dict[str, Any], spot: Spot, read: Read) -> bool:
        """Has the walk reached what it set out for? That an answer has no `next`, or no items, does not say so."""
        if 0 < self._empty_answers < EMPTY_ANSWERS:
            return False
        if not self._by_time:
            return read.reaches(scan["floor"]) or (read.is_last and read.end >= scan["expected"])
        last = [spot.since or "", *(time for _, time in spot.last_seen), *read.times][-1]
        until = scan.get("until")
        is_passed = until is not None and any(until < time < scan["horizon"] for time in read.times)
        return is_passed or (read.is_last and last >= scan["target"])

    def _brings_new(self, read: Read, following: Spot, target: str) -> bool:
        """Is a page progress: does it come further, or show what the walk is after and has not met at this time?"""
        shown = {(element.item_id, element.updated_at) for element in read.elements}
        last, furthest = following.last_time, self._furthest
        if last is not None and (furthest is None or (last > furthest if self._by_time else last < furthest)):
            self._furthest, self._met = last, shown
            return True
        is_new = any((time or "") <= target for _, time in shown - self._met)
        self._met |= shown
        return is_new

    def _reconsidered(self, scan: dict[str, Any], read: Read) -> dict[str, Any]:
        """The list ends before what was seen at its head, or goes beyond: what was there is gone, or long ago."""
        if not read.is_last and all(time <= scan["target"] for time in read.times):
            return scan
        head, floor = self._whole_head(etag=None), scan["floor"]
        target, horizon = newest_at_in(head, floor), horizon_of(head, floor)
        return {**scan, "target": target, "horizon": horizon, "expected": head.expected}

    def _odd(self, scan: dict[str, Any], spot: Spot, read: Read) -> Page:
        """An answer that brings the walk no further: the place is looked at again, but not for ever."""
        self._odd_answers += 1
        if self._odd_answers > ODD_ANSWERS:
            raise Contradiction(
                f"GitHub's list of {self._repo} {self._stream.name} contradicts itself: {ODD_ANSWERS} answers in a row "
                "led no further; the cursor stays, run again later"
            )
        return self._page(read, self._state._replace(scan={**scan, "spot": spot._asdict()}), floor=scan["floor"])

    # Items that GitHub does not give.

    def _try_again(self, gap: Gap) -> None:
        """Begin a scan around an old gap, where an item can be had there now: what is not met again is none any more.

        It goes on from the time before the gap, stepping back to that where the list has moved up, to the time behind.
        """
        self._place = self._own_place()
        spot = Spot(since=gap.since, offset=gap.offset)
        if not self._reader.can_be_had(spot, newest_first=not self._by_time):
            return
        if self._by_time or gap.before is None:
            spot = Spot(since=gap.since)
        else:
            spot = spot._replace(last_time=gap.before).stepped_back()
        scan = {
            "floor": gap.after or ALL_HISTORY,
            "covered_since": self._state.covered_since or self._since,
            "target": self._state.cursor or ALL_HISTORY,
            "horizon": timestamps.shift(self._state.cursor or ALL_HISTORY, seconds=-OVERLAP_SECONDS),
            "cursor": self._state.cursor or ALL_HISTORY,
            "newest_item_id": self._state.newest_item_id,
            "expected": gap.offset,
            "etag": self._state.etag,
            "etag_url": self._state.etag_url,
            "spot": spot._asdict(),
            "until": gap.before,
            "gap": list(gap),
        }
        self._state = self._state._replace(scan=scan)

    # Requests and what comes of them.

    def _url(self, *, newest_first: bool, since: str | None, size: int, number: int) -> str:
        return self._address(self._place, newest_first=newest_first, since=since, size=size, number=number)

    def _address(self, place: str, *, newest_first: bool, since: str | None, size: int, number: int) -> str:
        query = {**self._stream.query, "sort": "updated", "direction": "desc" if newest_first else "asc"}
        if since is not None and since >= GITHUB_BEGAN:
            query["since"] = since
        query["per_page"] = str(size)
        if number > 1:
            query["page"] = str(number)
        return f"{self._api.base_url}{place}/{self._stream.path}?{urlencode(query, safe=':')}"

    def _page(self, read: Read, state: StreamState, *, floor: str) -> Page:
        if read.gap is not None and read.gap not in state.gaps:
            state = state._replace(gaps=(*state.gaps, read.gap))
        self._state = state
        items = [
            pages.to_item(element, self._stream.kinds[0].item_type)
            for element in read.elements
            if (element.updated_at or floor) >= floor and self._stream.holds(element)
        ]
        noted = [(item.number, item.updated_at) for item in items if item.number] if self._stream.notes_work else ()
        return Page(self._repo, self._was, items, state, noted=noted)
