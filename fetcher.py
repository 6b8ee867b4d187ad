"""The scans: which pages to ask GitHub for, so that nothing updated is missed and nothing is asked for twice.

Yields pages with the state to save beside them; never opens the database, never prints. docs/ARCHITECTURE.md,
"The scans", tells why each is complete.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple
from urllib.parse import quote, urlencode

from foundation import timestamps
from foundation.errors import Outage, PipelineError
from foundation.records import Gap, Item, StreamState
from github import pages
from github.api import Answer, GitHub
from github.page_reader import MOST_OVERLAP, PageReader, Read
from github.refusals import HeavyAnswer, NotReadable
from github.spots import PAGE_SIZE, Spot
from github.streams.stream import Stream

# "From the beginning": sorts before every time.
ALL_HISTORY = "0001-01-01T00:00:00Z"
# GitHub answers a very old `since` with an empty list (chaoss/grimoirelab-perceval #865): none from before it existed
# is sent.
GITHUB_BEGAN = "2007-10-01T00:00:00Z"
# A run looks again at the minute before its cursor, for items that GitHub's replicas showed late.
OVERLAP_SECONDS = 60
# GitHub now and then answers with an empty page, or one without its Link (MeltanoLabs/tap-github #90). So many answers
# in a row that contradict those before them, or bring a walk no further, end it.
ODD_ANSWERS = 10


class Page(NamedTuple):
    """What one answer brought: to be committed in one transaction, items and state together.

    `repo` is the repository's present name; `was` the one that the state was kept under.
    """

    repo: str
    was: str
    items: list[Item]
    state: StreamState


class Contradiction(Outage):
    """GitHub's answers do not fit together, however often it is asked."""


class _StartOver(Exception):
    """The walk can't go on where it stands. `error`: what to say when it can't begin anew either."""

    def __init__(self, error: PipelineError) -> None:
        super().__init__(str(error))
        self.error = error


class StreamScan:
    """The scan of one stream of one repository, from `state` to GitHub's present.

    `repo` is the name asked for, `known_as` the one that it was found under before, where it has been renamed. A
    repository is its numeric id: `recall(id)` gives the state that is known of that one (None: none), and
    `look_from(state)` the time that this run wants to look from.
    """

    def __init__(
        self,
        *,
        api: GitHub,
        repo: str,
        known_as: str,
        stream: Stream,
        state: StreamState,
        look_from: Callable[[StreamState], str],
        recall: Callable[[int], StreamState | None] = lambda repo_id: None,
        on_request: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._api = api
        self._asked_for = repo
        self._repo = self._was = known_as
        self._stream = stream
        self._by_time = stream.takes_since
        self._state = state
        self._look_from = look_from
        self._recall = recall
        self._on_request = on_request
        self._reader = PageReader(api=api, url=self._url, on_request=on_request)
        self._since = self._wanted()
        self._identified_as: int | None = None  # what `recall` was asked about
        self._restarts_left = 1
        self._odd_answers = 0
        self._furthest: tuple[str, int] = ("", 0)
        self._walked_to = ""  # this run has read all up to this time

    def pages(self) -> Iterator[Page]:
        """Every page of the scan, to be committed in this order.

        Raises what GitHub.get raises. The state that was committed last is where a later run goes on.
        """
        old_gaps = self._state.gaps
        if self._state.scan is not None:
            self._widen(self._state.scan)
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
            yield from self._try_again(gap)

    def _wanted(self) -> str:
        since = self._look_from(self._state)
        return ALL_HISTORY if since < GITHUB_BEGAN else since

    # The head: the newest page, the same for all streams. Any update of any item changes it, so its ETag speaks for the
    # whole stream; and where it reaches back to the floor it is, being one answer, a complete scan by itself.

    def _head(self) -> Page | None:
        """The newest page and the state behind it; None where nothing changed."""
        read = self._reader.head(etag=self._usable_etag())
        if read.answer.body is None:
            return None
        if not read.elements:  # one odd answer proves nothing; one that says that there is nothing, least of all
            read = self._reader.head(etag=None)
        floor = self._identify(read)
        return self._head_page(read, self._after_head(read, floor), floor)

    def _head_page(self, read: Read, state: StreamState, floor: str) -> Page:
        # A walk by time meets by itself what could not be had here.
        return self._page(read._replace(gap=None) if self._by_time else read, state, floor=floor)

    def _head_url(self) -> str:
        return self._address(self._repo, newest_first=True, since=None, size=PAGE_SIZE, number=1)

    def _usable_etag(self) -> str | None:
        """Only for the very URL that it came from, and not when this run must look further back."""
        reaches_back = self._state.covered_since is None or self._since < self._state.covered_since
        return None if reaches_back or self._state.etag_url != self._head_url() else self._state.etag

    def _floor(self) -> str:
        """Everything updated at or after this is wanted."""
        cursor, covered_since = self._state.cursor, self._state.covered_since
        if cursor is None or covered_since is None or self._since < covered_since:
            return self._since
        return covered_since if cursor == ALL_HISTORY else timestamps.shift(cursor, seconds=-OVERLAP_SECONDS)

    def _after_head(self, read: Read, floor: str) -> StreamState:
        newest = max(read.elements, key=lambda element: element.updated_at or "", default=None)
        newest_at = (newest.updated_at if newest else None) or floor
        speaks_for_all = read.is_whole_head and (read.is_last or read.reaches(newest_at))
        scan: dict[str, Any] = {
            "floor": floor,
            "covered_since": min(self._since, self._state.covered_since or self._since),
            "target": newest_at,
            "cursor": _not_in_the_future(newest_at, read.answer),
            "newest_item_id": newest.item_id if newest else None,
            "expected": read.expected,
            # Where all of the page is of one second, an update of that second behind it leaves its bytes as they are.
            "etag": read.answer.etag if speaks_for_all else None,
            "etag_url": self._head_url(),
        }
        is_all = (read.reaches(floor) or read.is_last) and read.gap is None
        if is_all or newest_at <= self._walked_to:
            return self._finished(scan)
        # The rest is still to be walked: by time from the floor upwards, or from here downwards.
        spot = Spot(since=floor) if self._by_time else _behind(Spot(), read, by_time=False)
        return self._state._replace(scan={**scan, "spot": spot._asdict()})

    def _finished(self, scan: dict[str, Any]) -> StreamState:
        """The state after a scan that saw everything: the cursor never moves back."""
        return self._state._replace(
            cursor=max(scan["cursor"], self._state.cursor or ""),
            covered_since=scan["covered_since"],
            etag=scan["etag"],
            etag_url=scan["etag_url"],
            newest_item_id=scan["newest_item_id"],
            scan=None,
        )

    # Whose list it is.

    def _identify(self, read: Read) -> str:
        """The floor for the repository that the name means now: it may be another, of which this state knows nothing.

        The id stands in links and in pull requests. A list of issues on one page has neither: there the newest item of
        the last scan vouches for it. Where that is gone, GitHub is asked; or, if the id was never seen, all of the page
        is taken that either of the two could want.
        """
        self._learn_name(read.answer)
        found, known = read.repo_id, self._state.repo_id
        if found is None and self._state.cursor is not None and not self._is_familiar(read):
            if known is None:
                return min(self._floor(), self._state.covered_since or ALL_HISTORY)
            found = self._ask_for_id()
        if found is not None and found != self._identified_as:
            self._identified_as = found
            recalled = self._recall(found)
            if known is None and recalled is None:
                self._state = self._state._replace(repo_id=found)
            elif known != found:
                self._state = recalled or StreamState(repo_id=found)
                self._since = self._wanted()
        return self._floor()

    def _is_familiar(self, read: Read) -> bool:
        return any(element.item_id == self._state.newest_item_id for element in read.elements)

    def _ask_for_id(self) -> int | None:
        path = f"/repos/{_quoted(self._asked_for)}"
        return self._api.get(path, parse=pages.repository_id, on_request=self._on_request).body  # type: ignore[no-any-return]

    def _learn_name(self, answer: Answer) -> None:
        """GitHub's own spelling, from a payload: of the name asked for, or after a redirect (renamed, moved)."""
        if not answer.redirected and self._repo.lower() != self._asked_for.lower():
            self._repo = self._was = self._asked_for  # it leads to the one that it was renamed to no more
        for element in answer.body or []:
            name = element.repo_name
            if name and (answer.redirected or name.lower() == self._asked_for.lower()):
                self._repo = self._asked_for = name
                return

    # The walk: the rest of a scan that is longer than a page.

    def _widen(self, scan: dict[str, Any]) -> None:
        """An unfinished walk goes on to where this run wants to look from, when that is further back."""
        if self._since < scan["covered_since"]:
            wider = {**scan, "floor": self._since, "covered_since": self._since}
            if self._by_time:
                wider["spot"] = Spot(since=self._since)._asdict()
            self._state = self._state._replace(scan=wider)

    def _walk(self) -> Iterator[Page]:
        self._odd_answers, self._furthest = 0, ("", 0)
        try:
            while self._state.scan is not None:
                yield self._step(self._state.scan)
        except _StartOver as begin_again:
            if not self._restarts_left:
                raise begin_again.error from None
            self._restarts_left -= 1
            scan = self._state.scan or {}
            # Its floor becomes where to look from; nothing that was covered is given up.
            self._since = min(self._since, scan.get("covered_since", self._since))
            self._state = self._state._replace(scan=None, etag=None)
        except (HeavyAnswer, Contradiction):
            # What stands in the way of the walk must not hide what is new.
            yield self._head_page(self._reader.head(etag=None), self._state, self._floor())
            raise

    def _step(self, scan: dict[str, Any]) -> Page:
        spot = Spot.saved(scan.get("spot"))
        if spot is None:
            raise _StartOver(Contradiction("a scan that an older version saved can't be gone on with"))
        read = self._read(spot)
        if not spot.is_continued_by(read.elements, start=read.start, newest_first=not self._by_time):
            # Something left the list, and the rest moved up over where this stands; or the answer is an odd one.
            self._reader.overlap = min(2 * self._reader.overlap, MOST_OVERLAP)
            return self._odd(scan, spot.stepped_back(), read)
        if self._is_end(scan, spot, read):
            self._walked_to = scan["target"]
            return self._page(read, self._finished(scan), floor=scan["floor"])
        following = _behind(spot, read, by_time=self._by_time)
        if (following.since or "", following.offset) <= self._furthest or read.is_last:
            return self._odd(scan, following if not read.is_last else spot, read)
        self._furthest, self._odd_answers = (following.since or "", following.offset), 0
        return self._page(read, self._state._replace(scan={**scan, "spot": following._asdict()}), floor=scan["floor"])

    def _read(self, spot: Spot) -> Read:
        try:
            read = self._reader.read(spot, newest_first=not self._by_time)
        except NotReadable as error:
            if error.status in (400, 404, 422):  # a place that GitHub no longer accepts
                raise _StartOver(error) from error
            raise
        if read.repo_id is not None and self._state.repo_id not in (None, read.repo_id):
            raise _StartOver(Contradiction(f"{self._repo} is another repository than before; run again"))
        return read

    def _is_end(self, scan: dict[str, Any], spot: Spot, read: Read) -> bool:
        """Has the walk reached what it set out for? That an answer has no `next` does not say so."""
        if not self._by_time:
            return read.reaches(scan["floor"]) or (read.is_last and read.end >= scan["expected"])
        last = read.times[-1] if read.times else spot.last_time or spot.since or ""
        return read.is_last and last >= scan["target"]

    def _odd(self, scan: dict[str, Any], spot: Spot, read: Read) -> Page:
        """An answer that brings the walk no further: the place is looked at again, but not for ever."""
        self._odd_answers += 1
        if self._odd_answers > ODD_ANSWERS:
            raise Contradiction(
                f"GitHub's list of {self._repo} {self._stream.name} contradicts itself: {ODD_ANSWERS} answers in a row "
                "led no further; the cursor stays, run again later"
            )
        if read.is_last:  # it ends before what was seen at its head; perhaps that is gone meanwhile
            head = self._reader.head(etag=None)
            scan = {**scan, "target": max(head.times, default=scan["floor"]), "expected": head.expected}
        return self._page(read, self._state._replace(scan={**scan, "spot": spot._asdict()}), floor=scan["floor"])

    # Items that GitHub does not give.

    def _try_again(self, gap: Gap) -> Iterator[Page]:
        """Look at an old gap once more; where its item can be had now, all around it is read again."""
        newest_first = not self._by_time
        spot = Spot(since=gap.since, offset=gap.offset)
        if not self._reader.can_be_had(spot, newest_first=newest_first):
            return
        # What has left the list before it may have pulled it forward.
        spot = Spot(since=gap.since, offset=max(0, gap.offset - PAGE_SIZE) if newest_first else 0)
        is_there, is_passed = False, False
        while not is_passed:
            read = self._reader.read(spot, newest_first=newest_first)
            is_there = is_there or read.gap == gap
            beyond = [t for t in read.times if (t < (gap.after or "") if newest_first else t > (gap.before or "9"))]
            is_passed = bool(beyond) or read.is_last
            state = self._state
            if is_passed and not is_there:
                state = state._replace(gaps=tuple(other for other in state.gaps if other != gap))
            yield self._page(read, state, floor=ALL_HISTORY)
            spot = _behind(spot, read, by_time=False)

    # Requests and what comes of them.

    def _url(self, *, newest_first: bool, since: str | None, size: int, number: int) -> str:
        return self._address(self._asked_for, newest_first=newest_first, since=since, size=size, number=number)

    def _address(self, repo: str, *, newest_first: bool, since: str | None, size: int, number: int) -> str:
        query = {"state": "all", "sort": "updated", "direction": "desc" if newest_first else "asc"}
        if since is not None and since >= GITHUB_BEGAN:
            query["since"] = since
        query["per_page"] = str(size)
        if number > 1:
            query["page"] = str(number)
        return f"{self._api.base_url}/repos/{_quoted(repo)}/{self._stream.name}?{urlencode(query, safe=':')}"

    def _page(self, read: Read, state: StreamState, *, floor: str) -> Page:
        if read.gap is not None and read.gap not in state.gaps:
            state = state._replace(gaps=(*state.gaps, read.gap))
        self._state = state
        items = [
            pages.to_item(element, self._stream.item_type)
            for element in read.elements
            if (element.updated_at or floor) >= floor and self._stream.holds(element)
        ]
        return Page(self._repo, self._was, items, state)


def _behind(spot: Spot, read: Read, *, by_time: bool) -> Spot:
    """Where to go on behind a page.

    By time: at the last item but one's time. Not at the page's latest: an item that is updated between GitHub's
    selection and its answer shows a time from far ahead.
    """
    if by_time and read.times:
        since = min(read.times[-2:])
        if since > (spot.since or ""):
            return Spot(since=since, last_time=read.times[-1])
    # GitHub's own link leads on with as many items a page: not where large pages fail.
    link = read.opaque_next if read.end - read.start == PAGE_SIZE else None
    following = spot.read_up_to(read.elements, offset=read.end)._replace(link=link)
    return following if read.gap is None else following._replace(not_before=read.start)


def _not_in_the_future(moment: str, answer: Answer) -> str:
    """A cursor beyond GitHub's own present would skip items."""
    present = timestamps.from_http_date(answer.date)
    return moment if present is None else min(moment, timestamps.from_epoch(present))


def _quoted(repo: str) -> str:
    owner, name = repo.split("/")
    return f"{quote(owner)}/{quote(name)}"
