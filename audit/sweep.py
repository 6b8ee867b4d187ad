"""What GitHub shows no more -> tombstones in the queue; and what it shows that no ingest brought.

A repository is compared as a whole, and written down in one transaction, or not at all: killed anywhere, the next run
finds the same. No HTTP details (github/api.py), no SQL (audit/inventory.py, queue_manager.py), no printing.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Callable, ContextManager, Iterable, Mapping, NamedTuple, Sequence

import db
import queue_manager
from audit import conversations, inventory
from audit.counting import Counted, Counting
from audit.examiner import Examiner
from audit.inventory import Known
from cursors import repo_names, states, work_list
from foundation import timestamps
from foundation.clock import Clock
from foundation.errors import (
    EXIT_BUSY,
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_OUTAGE,
    PipelineError,
)
from foundation.records import Item, StreamState
from github import pages
from github.clients import Clients
from github.login.logins import is_of_all
from github.refusals import HeavyAnswer, NotReadable
from github.streams import gone
from github.streams.gone import Tombstone
from scans.census import Census, Found, Listed, Reader
from scans.scan import OVERLAP_SECONDS, path_of
from scans.totals import Totals, describe

log = logging.getLogger("pipeline.sweep")

MOST_GONE, MOST_GONE_SHARE = 10, 0.01  # at once, by default: lost access looks alike
STREAM_OF = {"issue": "issues", "pull_request": "pulls"}


class Settings(NamedTuple):
    """What a run is asked to do. `max_gone` None: MOST_GONE, or that share of what is known, whichever is more."""

    full: bool = False
    dry_run: bool = False
    max_gone: int | None = None

    def limit(self, known: int) -> int:
        return max(MOST_GONE, int(known * MOST_GONE_SHARE)) if self.max_gone is None else self.max_gone


class RepoResult(NamedTuple):
    """How one repository went. `compared`: by 'counts' or by 'list'; None where it could not be. `unsure`: items of
    which GitHub said two things."""

    repo: str
    compared: str | None = None
    known: int = 0
    gone: tuple[Tombstone, ...] = ()
    back: tuple[Tombstone, ...] = ()
    missed: tuple[Item, ...] = ()
    unsure: int = 0
    requests: int = 0
    error: str | None = None
    exit_code: int = EXIT_OK


class _Kept(NamedTuple):
    """What is kept of a repository: under which name, its streams' states, and the names that its items have."""

    repo: str
    states: Mapping[str, StreamState]
    names: Sequence[str]

    @property
    def repo_id(self) -> int | None:
        return next((state.repo_id for state in self.states.values() if state.repo_id is not None), None)

    @property
    def place(self) -> str:
        """Where GitHub has it: by its id where its name is another's by now."""
        return f"/{self.repo}" if self.repo == f"repositories/{self.repo_id}" else path_of(self.repo)


class Sweep:
    """`alone(repo)`, with the name that was asked for, is entered while a repository is read item by item, and
    `in_commit(conn, repo)` called within each transaction that writes."""

    def __init__(
        self,
        *,
        conn: db.Connection,
        clients: Clients,
        clock: Clock,
        settings: Settings,
        alone: Callable[[str], ContextManager[None]] = lambda repo: contextlib.nullcontext(),
        in_commit: Callable[[db.Connection, str], None] = lambda conn, repo: None,
    ) -> None:
        self._conn = conn
        self._clients = clients
        self._clock = clock
        self._settings = settings
        self._alone = alone
        self._in_commit = in_commit
        self._counting = Counting(clients)
        self._spellings: dict[str, list[str]] | None = None

    @property
    def requests(self) -> int:
        """Those that counted many repositories at once."""
        return self._counting.requests

    def run(self, repos: Sequence[str]) -> Iterable[RepoResult]:
        """One after the other; an error of one does not end the others. Raises ConfigurationError that is of all."""
        for counted in self._counting.of(repos):
            for repo, of in counted.items():
                requests: list[int] = []
                try:
                    result = self._one(repo, of, requests)
                except PipelineError as error:
                    if is_of_all(error):
                        raise
                    log.warning("%s: %s", repo, error)
                    result = RepoResult(repo, error=str(error), exit_code=error.exit_code)
                yield result._replace(requests=len(requests))

    # One repository.

    def _one(self, repo: str, of: Counted, requests: list[int]) -> RepoResult:
        if isinstance(of, PipelineError):
            raise of
        api = self._clients.of_repo(repo)
        totals = of or describe(api, self._kept(repo).place, requests.append)
        kept, kinds = self._known_as(repo, totals)
        if self._is_as_counted(kept, totals, kinds):
            return RepoResult(kept.repo, "counts", sum(totals.counts[kind] for kind in kinds))
        with self._alone(repo):
            kept, kinds = self._known_as(repo, totals)  # an ingest may have ended since
            reader = Reader(api, totals, requests.append)
            is_said = not kept.states.keys().isdisjoint(conversations.STREAMS.values())  # on items of either kind
            shown = self._census(reader, list(STREAM_OF) if is_said else kinds, totals)
            return self._compare(repo, kept, reader, shown, kinds)

    def _known_as(self, repo: str, totals: Totals) -> tuple[_Kept, Sequence[str]]:
        """What is kept of it, and the kinds of items that were read to their end."""
        kept = self._kept(repo)
        if not kept.states:
            raise PipelineError(f"nothing of {repo} was read to its end yet; run ingest first")
        if kept.repo_id not in (None, totals.repo_id):
            raise PipelineError(f"{repo} is another repository than the one that is kept; run ingest first")
        return kept, [kind for kind, stream in STREAM_OF.items() if stream in kept.states]

    def _census(self, reader: Reader, kinds: Sequence[str], totals: Totals) -> Census:
        if totals.counts:
            try:
                return reader.census(kinds, by_graphql=True)
            except (NotReadable, HeavyAnswer) as error:  # a field that an older server does not know, or too slow
                log.debug("GraphQL can't list: %s", error)
        return reader.census(kinds, by_graphql=False)

    def _kept(self, repo: str) -> _Kept:
        name = repo_names.kept_as(self._conn, [repo])[repo]
        kept = {
            stream: states.load(self._conn, repo=name, stream=stream)[1]
            for stream in inventory.streams(self._conn, name)
        }
        if self._spellings is None:
            self._spellings = inventory.spellings(self._conn)
        names = {name}
        for lower in (name.lower(), *inventory.former_names(self._conn, name)):
            names.update(self._spellings.get(lower, ()))
        return _Kept(name, kept, sorted(names))

    def _is_as_counted(self, kept: _Kept, totals: Totals, kinds: Sequence[str]) -> bool:
        if self._settings.full or not totals.counts or inventory.waiting_tombstones(self._conn, kept.names):
            return False
        ours = inventory.counts(self._conn, kept.names)
        if any(ours.get(kind, 0) != totals.counts[kind] for kind in kinds):
            return False
        # One that is new since the last ingest could make up for one that is gone.
        newest = [(kind, totals.newest[kind]) for kind in kinds]
        return all(
            number is None or inventory.is_known(self._conn, kept.names, kind, number) for kind, number in newest
        )

    def _compare(self, repo: str, kept: _Kept, reader: Reader, shown: Census, kinds: Sequence[str]) -> RepoResult:
        known = [each for each in inventory.items(self._conn, kept.names) if each.kind in kinds]
        alive = [each for each in known if not each.is_gone]
        lacking = [each for each in alive if not _is_in(shown, each)]
        if lacking:
            off = self._still_there(repo, reader).off
            alive, lacking = ([each for each in some if each.kind not in off] for some in (alive, lacking))
        if self._settings.max_gone is None and 1 < len(alive) == len(lacking):
            raise PipelineError(
                f"{repo}: GitHub lists none of the {len(alive)} items that are known, as where access was lost; "
                "nothing is written (--max-gone N where it is true)"
            )
        seen_at = shown.seen_at or db.now(self._conn, self._clock)
        examiner = Examiner(reader, kept.repo, self._clients.any.base_url, seen_at)
        examiner.look(lacking, most=self._settings.limit(len(alive)), what=repo)
        back = [each for each in known if each.is_gone and _is_in(shown, each)]
        for kind, stream in conversations.STREAMS.items():
            if stream in kept.states:
                every = inventory.said(self._conn, kind, kept.names)
                unsaid, again = conversations.compare(reader, shown, kind, every, full=self._settings.full)
                examiner.look(unsaid, most=self._settings.limit(len(every)), what=f"{repo} {stream}")
                back += again
        if examiner.gone:
            self._still_there(repo, reader)
        result = RepoResult(
            kept.repo,
            "list",
            len(alive),
            tuple(examiner.gone),
            tuple(examiner.tombstone(each, Found(None)) for each in back),
            tuple(self._missed(kept, reader, shown, known)),
            examiner.unsure,
        )
        if not self._settings.dry_run:
            self._write(repo, result)
        return result

    def _still_there(self, repo: str, reader: Reader) -> Totals:
        """The repository itself, as it is by now."""
        found = reader.repository()
        if found is None:
            raise PipelineError(f"{repo} itself is not to be seen any more: nothing is written; check the access")
        return found

    def _write(self, repo: str, result: RepoResult) -> None:
        items = [*map(gone.to_item, (*result.gone, *result.back)), *result.missed]
        if not items:
            return
        with db.transaction(self._conn):
            self._in_commit(self._conn, repo)
            now = db.now(self._conn, self._clock)
            queue_manager.enqueue(self._conn, repo=result.repo, items=items, now=now)
            pulls = [(item.number, item.updated_at) for item in result.missed if item.item_type == "pull_request"]
            work_list.note(self._conn, repo=result.repo, versions=pulls)

    # What no ingest brought, although its cursor says that it did.

    def _missed(self, kept: _Kept, reader: Reader, shown: Census, known: Sequence[Known]) -> Iterable[Item]:
        ours = {(each.kind, each.number): each for each in known}
        for listed in shown.items.values():
            state = kept.states.get(STREAM_OF[listed.kind])
            mine = ours.get((listed.kind, listed.number))
            if state is None or not _is_covered(state, listed) or (mine and mine.updated_at >= listed.updated_at):
                continue
            if listed.item_id is not None and self._is_queued(listed.kind, listed.item_id, listed.updated_at):
                continue
            try:
                found = reader.look(listed.kind, listed.number, listed.item_id or 0)
            except HeavyAnswer as error:  # ingest says so of each such item, in each run
                log.warning("%s", error)
                continue
            if found.element is None or found.reason:
                continue
            item = pages.to_item(found.element, listed.kind)
            if mine and mine.updated_at >= item.updated_at:
                continue
            if not self._is_queued(listed.kind, item.item_id, item.updated_at):
                log.warning("%s #%d of %s was missed", kept.repo, item.number, item.updated_at)
                yield item

    def _is_queued(self, kind: str, item_id: int, updated_at: str) -> bool:
        return inventory.newest_queued(self._conn, kind, [item_id]).get(item_id, "") >= updated_at


def _is_in(shown: Census, known: Known) -> bool:
    """By its number, and by its id where the list shows that."""
    listed = shown.items.get(known.number)
    return listed is not None and listed.kind == known.kind and listed.item_id in (None, known.id)


def _is_covered(state: StreamState, listed: Listed) -> bool:
    """Had it to be here? What is newer than the cursor is the next ingest's, and the minute before it, too."""
    if state.cursor is None or state.covered_since is None:
        return False
    return state.covered_since <= listed.updated_at < timestamps.shift(state.cursor, seconds=-OVERLAP_SECONDS)


def exit_code(results: Iterable[RepoResult], failures: Sequence[PipelineError] = ()) -> int:
    """As of an ingest: what a person has to do first. `failures`: what went wrong before there were results."""
    codes = {result.exit_code for result in results} | {failure.exit_code for failure in failures}
    return next((code for code in (EXIT_CONFIGURATION, EXIT_OUTAGE, EXIT_FAILED, EXIT_BUSY) if code in codes), EXIT_OK)
