"""What all scans have in common: whose list it is that GitHub shows, by which name, and from where on it is wanted.

docs/ARCHITECTURE.md, "The scans", tells why a repository is its id.
"""

from __future__ import annotations

from typing import Callable, Iterator, NamedTuple, Sequence
from urllib.parse import quote

from foundation import timestamps
from foundation.errors import Outage
from foundation.records import Item, StreamState
from github import pages
from github.api import Answer, GitHub
from github.by_number import Batch
from github.page_reader import Read
from github.refusals import HeavyAnswer, NotReadable
from github.streams.stream import Stream

# "From the beginning": sorts before every time.
ALL_HISTORY = "0001-01-01T00:00:00Z"
# GitHub answers a very old `since` with an empty list (chaoss/grimoirelab-perceval #865): none from before it existed
# is sent.
GITHUB_BEGAN = "2007-10-01T00:00:00Z"
# A run looks again at the minute before its cursor, for items that GitHub's replicas showed late.
OVERLAP_SECONDS = 60
EMPTY_ANSWERS = 3  # so many in a row say that there is nothing


class Page(NamedTuple):
    """What one answer brought: to be committed in one transaction, items and state together.

    `repo` is the repository's present name; `was` the one that the state was kept under. The items may be of several
    types. `noted`: what the work list takes in of items that the queue has not, as (number, updated_at); `settled`: up
    to which version it is done.
    """

    repo: str
    was: str
    items: list[Item]
    state: StreamState
    noted: Sequence[tuple[int, str]] = ()
    settled: Sequence[tuple[int, str]] = ()


class Contradiction(Outage):
    """GitHub's answers do not fit together, however often it is asked."""


class Scan:
    """The scan of one stream of one repository, from `state` to GitHub's present.

    `repo` is the name asked for, `known_as` the one that it was found under before, where it has been renamed. A
    repository is its numeric id: `recall(id)` gives the state that is known of that one (None: none), and
    `look_from(state)` the time that this run wants to look from. `work`: what the work list held when the scan began,
    as (number, updated_at), for a stream that needs another. `on_long_walk(requests)` is told, before a walk of
    many pages, how many requests the whole list takes, about, where GitHub gives that away; with `items`: how many of
    them are asked one by one for what their list does not reach.
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
        work: Sequence[tuple[int, str]] = (),
        recall: Callable[[int], StreamState | None] = lambda repo_id: None,
        on_request: Callable[[int], None] = lambda status: None,
        on_long_walk: Callable[..., None] = lambda requests, items=0: None,
    ) -> None:
        self._api = api
        self._asked_for = repo
        self._repo = self._was = known_as
        self._stream = stream
        self._state = state
        self._look_from = look_from
        self._work = work
        self._recall = recall
        self._on_request = on_request
        self._on_long_walk = on_long_walk
        self._since = self._wanted()
        self._identified_as: int | None = None  # what `recall` was asked about
        self._restarts_left = 1
        self._walked_to = ""  # this run has read all up to this time

    @property
    def repo(self) -> str:
        """The repository's name, as far as this scan has learned it."""
        return self._repo

    def pages(self) -> Iterator[Page]:
        """Every page of the scan, to be committed in this order.

        Raises what GitHub.get raises. The state that was committed last is where a later run goes on.
        """
        raise NotImplementedError

    def _wanted(self) -> str:
        since = self._look_from(self._state)
        return ALL_HISTORY if since < GITHUB_BEGAN else since

    def _floor(self) -> str:
        """Everything updated at or after this is wanted."""
        cursor, covered_since = self._state.cursor, self._state.covered_since
        if cursor is None or covered_since is None or self._since < covered_since:
            return self._since
        return covered_since if cursor == ALL_HISTORY else timestamps.shift(cursor, seconds=-OVERLAP_SECONDS)

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
        return self._api.get(  # type: ignore[no-any-return]
            self._named_place(), parse=pages.repository_id, on_request=self._on_request
        ).body

    def _learn_name(self, answer: Answer) -> None:
        """GitHub's own spelling, from a payload: of the name asked for, or after a redirect (renamed, moved)."""
        if not answer.redirected and self._repo.lower() != self._asked_for.lower():
            self._repo = self._was = self._asked_for  # it leads to the one that it was renamed to no more
        for element in answer.body or []:
            name = element.repo_name
            if name and (answer.redirected or name.lower() == self._asked_for.lower()):
                self._repo = self._asked_for = name
                return

    def _identify_as(self, batch: Batch) -> None:
        """GraphQL is asked by the name, and follows it where the repository was renamed."""
        self._is_same(batch.repo_id)
        if self._state.repo_id is None:
            self._claim(batch.repo_id)
            self._state = self._state._replace(repo_id=batch.repo_id)
        self._repo = batch.repo

    def _is_same(self, repo_id: int | None) -> None:
        if self._state.repo_id is not None and repo_id != self._state.repo_id:
            raise Contradiction(f"{self._repo} is another repository than before; run again")

    def _is_there(self) -> None:
        """A repository that can't be read has no item that could be missing. Raises NotReadable for it."""
        self._is_same(self._ask_for_id())

    def _look_for_an_outage(self, heavy: HeavyAnswer) -> None:
        """Raises what failed where GitHub answers nothing else either: it is no fault of what was asked for."""
        try:
            self._ask_for_id()
        except NotReadable:
            pass
        except HeavyAnswer:
            raise heavy from None

    # Where it is asked for.

    def _named_place(self) -> str:
        """By the name that was asked for: what that means may have changed."""
        return path_of(self._asked_for)

    def _own_place(self) -> str:
        """By the id, which stays one repository's while its name may become another's; where that was never seen, not.

        It is the path of GitHub's own links and redirects.
        """
        repo_id = self._state.repo_id
        return self._named_place() if repo_id is None else f"/repositories/{repo_id}"


def path_of(repo: str) -> str:
    owner, name = repo.split("/")
    return f"/repos/{quote(owner)}/{quote(name)}"
