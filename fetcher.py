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
# in a row that contradict those before them, or show nothing new, end a walk.
ODD_ANSWERS = 10
EMPTY_ANSWERS = 3  # so many in a row say that there is nothing
# Not so many items of one page are updated between GitHub's selection and its answer.
LEADING_ITEMS = 10


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
        self._place = ""  # the path that is asked; see `_own_place`
        self._reader = PageReader(api=api, url=self._url, on_request=on_request)
        self._since = self._wanted()
        self._identified_as: int | None = None  # what `recall` was asked about
        self._restarts_left = 1
        self._odd_answers = self._empty_answers = 0
        self._furthest: str | None = None  # the last time that the walk has come to
        self._met: set[tuple[int, str | None]] = set()  # what it has been shown since
        self._walked_to = ""  # this run has read all up to this time
        self._has_begun_walk = False  # or has only ended one, to which more may have been shown late before this run

    @property
    def repo(self) -> str:
        """The repository's name, as far as this scan has learned it."""
        return self._repo

    def pages(self) -> Iterator[Page]:
        """Every page of the scan, to be committed in this order.

        Raises what GitHub.get raises. The state that was committed last is where a later run goes on.
        """
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

    def _wanted(self) -> str:
        since = self._look_from(self._state)
        return ALL_HISTORY if since < GITHUB_BEGAN else since

    # The head: the newest page, the same for all streams. Any update of any item changes it, so its ETag speaks for the
    # whole stream; and where it reaches back to the floor it is, being one answer, a complete scan by itself.

    def _head(self) -> Page | None:
        """The newest page and the state behind it; None where nothing changed."""
        self._place = f"/repos/{_quoted(self._asked_for)}"
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
        place = f"/repos/{_quoted(self._repo)}"
        return self._address(place, newest_first=True, since=None, size=PAGE_SIZE, number=1)

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
        newest_at, horizon = _newest_at(read, floor), _horizon(read, floor)
        # Each update changes the bytes of this page; not where others of its newest second, or minute, are behind it.
        speaks_for_all = read.is_whole_head and (read.is_last or read.reaches(min(newest_at, horizon)))
        scan: dict[str, Any] = {
            "floor": floor,
            "covered_since": min(self._since, self._state.covered_since or self._since),
            "target": newest_at,
            "horizon": horizon,
            "cursor": _not_in_the_future(newest_at, read.answer),
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
        below = _behind(Spot(), read, by_time=False, horizon=horizon, target=newest_at)
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

    # Whose list it is.

    def _identify(self, read: Read) -> str:
        """The floor for the repository that the name means now: it may be another, of which this state knows nothing.

        This is the one place where a name's meaning is looked at: all but the head is asked for by the id. That stands
        in links and in pull requests. A list of issues on one page has neither: there the newest item of the last scan
        vouches for it. Where that is gone, GitHub is asked; or, if the id was never seen, all of the page is taken that
        either of the two could want.
        """
        self._learn_name(read.answer)
        found, known = read.repo_id, self._state.repo_id
        is_vouched_for = self._is_familiar(read) or (self._state.cursor is None and self._restarts_left > 0)
        if found is None and not (is_vouched_for and (read.is_last or known is not None)):
            if known is None and read.is_last:
                return min(self._floor(), self._state.covered_since or self._since)
            found = self._ask_for_id()
        if found is not None and found != self._identified_as:
            recalled = self._claim(found)
            if known is None and recalled is None and is_vouched_for:
                self._state = self._state._replace(repo_id=found)
            elif known != found:
                self._become(recalled or StreamState(repo_id=found), is_certain=(known or recalled) is not None)
        return self._floor()

    def _claim(self, repo_id: int | None) -> StreamState | None:
        """No two names of a run read one repository; the state that is known of it."""
        self._identified_as = repo_id
        return None if repo_id is None else self._recall(repo_id)

    def _become(self, state: StreamState, *, is_certain: bool) -> None:
        """Go on as the repository that the name means now. Where it may be the same one, nothing is given up for it."""
        since, self._state, self._walked_to = self._since, state, ""
        self._since = self._wanted() if is_certain else min(since, self._wanted())

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

    def _own_place(self) -> str:
        """By the id, which stays one repository's while its name may become another's; where that was never seen, not.

        It is the path of GitHub's own links and redirects.
        """
        repo_id = self._state.repo_id
        return f"/repos/{_quoted(self._asked_for)}" if repo_id is None else f"/repositories/{repo_id}"

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
        following = _behind(spot, read, by_time=self._by_time, horizon=scan["horizon"], target=scan["target"])
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
        target, horizon = _newest_at(head, floor), _horizon(head, floor)
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
        query = {"state": "all", "sort": "updated", "direction": "desc" if newest_first else "asc"}
        if since is not None and since >= GITHUB_BEGAN:
            query["since"] = since
        query["per_page"] = str(size)
        if number > 1:
            query["page"] = str(number)
        return f"{self._api.base_url}{place}/{self._stream.name}?{urlencode(query, safe=':')}"

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


def _behind(spot: Spot, read: Read, *, by_time: bool, horizon: str, target: str) -> Spot:
    """Where to go on behind a page: by time at its last time that leads.

    By time what leads nothing is not read either: it may have been updated after the selection, and stand further back.
    Pages within the last minute lead as far as their last quarter agrees: never do so many change in that moment.
    """
    elements, offset = read.elements, read.end
    if by_time:
        end = read.times[-len(read.times) // 4 :]
        if len(end) >= LEADING_ITEMS and min(end) <= target:
            horizon = max(horizon, timestamps.shift(min(end), seconds=1))
        sure = [at for at, element in enumerate(elements, 1) if (element.updated_at or "") < horizon]
        offset = read.start + sure[-1] if sure else max(read.start, spot.offset)
        elements = [elements[at - 1] for at in sure]
    following = spot.read_up_to(elements, offset=offset, horizon=horizon)
    if by_time and following.last_time is not None and following.last_time > (spot.since or ""):
        return following._replace(since=following.last_time, offset=0, not_before=0)
    # GitHub's own link leads on with as many items a page: not where large pages fail. Nor from a last item that was
    # updated after the selection: it may lead on from where that went.
    if read.end - read.start == PAGE_SIZE and read.times and read.times[-1] < horizon:
        following = following._replace(link=read.opaque_next)
    return following if read.gap is None else following._replace(not_before=read.start)


def _newest_at(head: Read, floor: str) -> str:
    """What a scan sets out for: the newest time of the head; not one from the future, while there are others."""
    present = _present(head)
    past = [time for time in head.times if present is None or time <= present]
    return max(past or head.times, default=floor)


def _horizon(head: Read, floor: str) -> str:
    """What is not older leads a scan nowhere: it may be updated while the scan goes on, or shown only then.

    A minute before the head, because replicas show items late; but right behind what it showed where all is older.
    """
    newest_at, present = _newest_at(head, floor), _present(head)
    if present is None:
        return timestamps.shift(newest_at, seconds=-OVERLAP_SECONDS)
    return min(timestamps.shift(present, seconds=-OVERLAP_SECONDS), timestamps.shift(newest_at, seconds=1))


def _present(head: Read) -> str | None:
    present = timestamps.from_http_date(head.answer.date)
    return None if present is None else timestamps.from_epoch(present)


def _not_in_the_future(moment: str, answer: Answer) -> str:
    """A cursor beyond GitHub's own present would skip items."""
    present = timestamps.from_http_date(answer.date)
    return moment if present is None else min(moment, timestamps.from_epoch(present))


def _quoted(repo: str) -> str:
    owner, name = repo.split("/")
    return f"{quote(owner)}/{quote(name)}"
