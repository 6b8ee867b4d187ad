"""The scans: which pages to ask GitHub for, so that nothing updated is missed and nothing is asked for twice.

Yields pages with the state to save beside them; never opens the database, never prints. docs/ARCHITECTURE.md,
"The scans", tells why each is complete.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import pages
import timestamps
from errors import PipelineError
from github_api import Answer, GitHub, HeavyAnswer, NotReadable
from queue_manager import Item, StreamState

# "From the beginning": sorts before every time. GitHub answers a very old `since` with nothing, so none is sent.
ALL_HISTORY = "0001-01-01T00:00:00Z"
# A run looks again at the minute before its cursor, for items that GitHub's replicas showed late.
OVERLAP_SECONDS = 60
PAGE_SIZE = 100  # GitHub's maximum
SMALLER_PAGE_SIZES = {100: 50, 50: 25, 25: 5}  # each divides the last, so that page numbers can be converted
ITEM_TYPES = {"issues": "issue", "pulls": "pull_request"}


class Page(NamedTuple):
    """What one answer brought: to be committed in one transaction, items and state together."""

    repo: str
    items: list[Item]
    state: StreamState


class LinkRefused(Exception):
    """GitHub no longer accepts a `next` link; the scan has to start over."""

    def __init__(self, error: PipelineError) -> None:
        super().__init__(str(error))
        self.error = error


class StreamScan:
    """The scan of one stream of one repository, from `state` to GitHub's present.

    `repo` is the name asked for; `pages` finds the canonical spelling in what GitHub sends. `since` is where to look
    from: for a stream never scanned, or to reach back further than it has been covered.
    """

    def __init__(
        self,
        *,
        api: GitHub,
        repo: str,
        stream: str,
        state: StreamState,
        since: str,
        on_request: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._api = api
        self._repo = repo
        self._stream = stream
        self._state = state
        self._since = since
        self._on_request = on_request
        self._restarts_left = 1

    def pages(self) -> Iterator[Page]:
        """Every page of the scan, to be committed in this order.

        Raises what GitHub.get raises. The state that was committed last is where a later run goes on.
        """
        if self._state.scan is not None:
            self._widen(self._state.scan)
            yield from self._restartable(self._walk)
        # After a walk of many pages the newest are looked at once more, for what moved to the front meanwhile.
        while True:
            answer = self._get(self._head_url(), etag=self._usable_etag())
            if answer.body is None:
                return
            yield self._head_page(answer)
            if self._state.scan is None:
                return
            yield from self._restartable(self._walk)

    # The head: the newest page, the same for both streams. Any update of any item changes it, so its ETag speaks for
    # the whole stream; and where it reaches back to the floor it is, being one answer, a complete scan by itself.

    def _head_url(self) -> str:
        return self._url(sort="updated", direction="desc")

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

    def _head_page(self, answer: Answer) -> Page:
        floor = self._floor()
        newest = _newest(answer) or floor
        scan: dict[str, Any] = {
            "floor": floor,
            "covered_since": min(self._since, self._state.covered_since or self._since),
            "cursor": newest,
            "etag": answer.etag,
            "etag_url": self._head_url(),
        }
        if answer.next_url is None or _reaches(answer, floor):
            return self._page(answer, self._finished(scan), floor=floor)
        # The rest is still to be walked: issues from the floor upwards, pull requests from here downwards.
        walk = {"since": floor} if self._stream == "issues" else {"next": answer.next_url}
        state = self._state._replace(scan={**scan, **walk})
        return self._page(answer, state, floor=floor)

    def _finished(self, scan: dict[str, Any]) -> StreamState:
        """The state after a scan that saw everything: the cursor never moves back."""
        return StreamState(
            cursor=max(scan["cursor"], self._state.cursor or ""),
            covered_since=scan["covered_since"],
            etag=scan["etag"],
            etag_url=scan["etag_url"],
        )

    # The walk: the rest of a scan that is longer than a page.

    def _widen(self, scan: dict[str, Any]) -> None:
        """An unfinished walk goes on to where this run wants to look from, when that is further back."""
        if self._since < scan["covered_since"]:
            wider = {**scan, "floor": self._since, "covered_since": self._since}
            if self._stream == "issues":
                wider.update(since=self._since, next=None, visited=[], recheck=[], last=False)
            self._state = self._state._replace(scan=wider)

    def _walk(self) -> Iterator[Page]:
        yield from self._walk_issues() if self._stream == "issues" else self._walk_pulls()

    def _restartable(self, walk: Callable[[], Iterator[Page]]) -> Iterator[Page]:
        try:
            yield from walk()
        except LinkRefused as refused:
            if not self._restarts_left:
                raise refused.error from None
            self._restarts_left -= 1
            scan = self._state.scan or {}
            # Its floor becomes where to look from; nothing that was covered is given up.
            self._since = min(self._since, scan.get("covered_since", self._since))
            self._state = self._state._replace(scan=None, etag=None)

    def _walk_pulls(self) -> Iterator[Page]:
        """Newest first by `next`, down to the floor: items that move go to the front, what is unread moves back."""
        while self._state.scan is not None:
            scan = self._state.scan
            answer = self._get_link(scan["next"])
            if answer.next_url is None or _reaches(answer, scan["floor"]):
                state = self._finished(scan)
            else:
                state = self._state._replace(scan={**scan, "next": answer.next_url})
            yield self._page(answer, state, floor=scan["floor"])

    def _walk_issues(self) -> Iterator[Page]:
        """Oldest first by keyset: each page's last `updated_at` is the next `since`.

        Where more items than a page share one second, `next` is followed until the time moves on. Those links count
        pages, and an item that is updated meanwhile leaves its page and moves the ones behind it forward, unseen; so
        the pages of such a second are read once more in reverse, where what moves forward moves to pages yet unread.
        """
        while self._state.scan is not None:
            scan = self._state.scan
            if scan.get("recheck"):
                yield self._recheck_page(scan)
            else:
                yield self._keyset_page(scan)

    def _keyset_page(self, scan: dict[str, Any]) -> Page:
        since, link = scan["since"], scan.get("next")
        answer = self._get_link(link) if link else self._get(self._issues_url(since))
        newest = _newest(answer) or since
        visited = scan.get("visited", [])
        moved = newest > since
        following = {**scan, "cursor": max(scan["cursor"], newest), "visited": [], "next": None}
        if answer.next_url is None or moved:
            following.update(since=newest, recheck=visited, last=answer.next_url is None)
        else:
            following.update(next=answer.next_url, visited=[*visited, [answer.url, answer.etag]])
        return self._page(answer, self._after(following), floor=ALL_HISTORY)

    def _recheck_page(self, scan: dict[str, Any]) -> Page:
        *rest, (url, etag) = scan["recheck"]
        answer = self._get_link(url, etag=etag)
        return self._page(answer, self._after({**scan, "recheck": rest}), floor=ALL_HISTORY)

    def _after(self, scan: dict[str, Any]) -> StreamState:
        return self._finished(scan) if scan.get("last") and not scan["recheck"] else self._state._replace(scan=scan)

    def _issues_url(self, since: str) -> str:
        extra = {} if since == ALL_HISTORY else {"since": since}
        return self._url(sort="updated", direction="asc", **extra)

    # Requests.

    def _url(self, **parameters: str) -> str:
        query = urlencode({"state": "all", **parameters, "per_page": str(PAGE_SIZE)}, safe=":")
        owner, name = self._repo.split("/")
        return f"{self._api.base_url}/repos/{quote(owner)}/{quote(name)}/{self._stream}?{query}"

    def _get_link(self, url: str, etag: str | None = None) -> Answer:
        if not self._api.is_own_origin(url):  # saved by a run that spoke to another server
            raise LinkRefused(NotReadable("a saved link belongs to another server; run again", status=400))
        try:
            return self._get(url, etag=etag)
        except NotReadable as error:
            if error.status in (400, 404, 422):
                raise LinkRefused(error) from error
            raise

    def _get(self, url: str, etag: str | None = None) -> Answer:
        """A page; one that keeps failing is asked for again in smaller pieces."""
        while True:
            try:
                answer = self._api.get(url, parse=pages.cut, etag=etag, on_request=self._on_request)
                self._learn_name(answer)
                return answer
            except HeavyAnswer:
                smaller = smaller_pages(url)
                if smaller is None:
                    raise
                url, etag = smaller, None

    def _page(self, answer: Answer, state: StreamState, *, floor: str) -> Page:
        elements = answer.body or []
        self._state = state
        item_type = ITEM_TYPES[self._stream]
        items = [
            pages.to_item(element, item_type)
            for element in elements
            if (element.updated_at or floor) >= floor and not (self._stream == "issues" and element.is_pull_request)
        ]
        return Page(self._repo, items, state)

    def _learn_name(self, answer: Answer) -> None:
        """GitHub's own spelling, from a payload: of the name asked for, or after a redirect (renamed, moved)."""
        for element in answer.body or []:
            name = element.repo_name
            if name and (answer.redirected or name.lower() == self._repo.lower()):
                self._repo = name
                return


def smaller_pages(url: str) -> str | None:
    """The URL of the same place in a list with fewer items a page; None when they can't get smaller."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    size = int(query["per_page"]) if query.get("per_page", "").isdecimal() else PAGE_SIZE
    smaller = SMALLER_PAGE_SIZES.get(size)
    if smaller is None:
        return None
    if query.get("page", "").isdecimal():
        query["page"] = str((int(query["page"]) - 1) * (size // smaller) + 1)
    query["per_page"] = str(smaller)
    return urlunsplit(parts._replace(query=urlencode(query, safe=":")))


def _newest(answer: Answer) -> str | None:
    """The latest readable `updated_at`, but never one beyond GitHub's own present: a cursor there would skip items."""
    times: list[str] = [element.updated_at for element in answer.body or [] if element.updated_at is not None]
    if not times:
        return None
    present = timestamps.from_http_date(answer.date)
    return max(times) if present is None else min(max(times), timestamps.from_epoch(present))


def _reaches(answer: Answer, floor: str) -> bool:
    """Does a newest-first page hold an item from before the floor?"""
    return any((element.updated_at or floor) < floor for element in answer.body or [])
