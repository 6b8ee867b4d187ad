"""What GitHub shows no more -> tombstones in the queue; and what it shows that no ingest brought.

A repository is compared as a whole, and written down in one transaction, or not at all: killed anywhere, the next run
finds the same. No HTTP details (github/api.py), no SQL (audit/inventory.py, queue_manager.py), no printing.
"""

from __future__ import annotations

import logging
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence

import db
import queue_manager
from audit import inventory
from audit.examiner import Examiner
from audit.inventory import Known
from foundation import timestamps
from foundation.clock import Clock
from foundation.errors import (
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
from scans import census
from scans.census import Census, Found, Listed, Reader, Totals
from scans.scan import OVERLAP_SECONDS, path_of

log = logging.getLogger("pipeline.sweep")

MOST_GONE, MOST_GONE_SHARE = 10, 0.01  # at once, by default: lost access looks alike
STREAM_OF = {"issue": "issues", "pull_request": "pulls"}
CONVERSATIONS = {"issue_comment": "issue-comments", "review_comment": "review-comments", "review": "pull-details"}


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


class Sweep:
    """`in_commit(conn, repo)` is called within each transaction that writes, with the name that was asked for."""

    def __init__(
        self,
        *,
        conn: db.Connection,
        clients: Clients,
        clock: Clock,
        settings: Settings,
        in_commit: Callable[[db.Connection, str], None] = lambda conn, repo: None,
    ) -> None:
        self._conn = conn
        self._clients = clients
        self._clock = clock
        self._settings = settings
        self._in_commit = in_commit
        self._spellings: dict[str, list[str]] | None = None
        self.requests = 0  # those that counted many repositories at once

    def run(self, repos: Sequence[str]) -> Iterable[RepoResult]:
        """One after the other; an error of one does not end the others. Raises ConfigurationError that is of all."""
        for totals in self._counted(repos):
            for repo, of in totals.items():
                requests: list[int] = []
                try:
                    result = self._one(repo, of, requests)
                except PipelineError as error:
                    if is_of_all(error):
                        raise
                    log.warning("%s: %s", repo, error)
                    result = RepoResult(repo, error=str(error), exit_code=error.exit_code)
                yield result._replace(requests=len(requests))

    def _counted(self, repos: Sequence[str]) -> Iterable[dict[str, Totals | PipelineError | None]]:
        """50 at a time of those that share a login; None where only their lists can tell."""
        lanes: dict[str, list[str]] = {}
        for repo in repos:
            lanes.setdefault(self._clients.lane(repo), []).append(repo)
        for lane in lanes.values():
            for first in range(0, len(lane), census.REPOSITORIES_AT_ONCE):
                yield self._count(lane[first : first + census.REPOSITORIES_AT_ONCE])

    def _count(self, repos: Sequence[str]) -> dict[str, Totals | PipelineError | None]:
        try:
            api = self._clients.of_repo(repos[0])
            if api.login.is_anonymous:
                return dict.fromkeys(repos)
            found = census.count(api, repos, self._note_request)
        except NotReadable as error:  # an old Enterprise Server, or one without GraphQL
            log.debug("GraphQL can't be asked: %s", error)
            return dict.fromkeys(repos)
        except PipelineError as error:
            if is_of_all(error):
                raise
            return dict.fromkeys(repos, error)
        # What is missing here is asked for by itself, and that refusal says why.
        return dict(zip(repos, found))

    def _note_request(self, status: int) -> None:
        self.requests += 1

    # One repository.

    def _one(self, repo: str, of: Totals | PipelineError | None, requests: list[int]) -> RepoResult:
        if isinstance(of, PipelineError):
            raise of
        api = self._clients.of_repo(repo)
        totals = of or census.describe(api, path_of(repo), requests.append)
        kept = self._kept(repo)
        if not kept.states:
            raise PipelineError(f"nothing of {repo} was read to its end yet; run ingest first")
        if kept.repo_id not in (None, totals.repo_id):
            raise PipelineError(f"{repo} is another repository than the one that is kept; run ingest first")
        kinds = [kind for kind, stream in STREAM_OF.items() if stream in kept.states]
        if self._is_as_counted(kept, totals, kinds):
            known = sum(totals.counts[kind] for kind in kinds)
            return RepoResult(kept.repo, "counts", known)
        reader = Reader(api, totals, requests.append)
        shown = self._census(reader, kinds, totals)
        return self._compare(repo, kept, reader, shown, kinds)

    def _census(self, reader: Reader, kinds: Sequence[str], totals: Totals) -> Census:
        if totals.counts:
            try:
                return reader.census(kinds, by_graphql=True)
            except NotReadable as error:  # a field that an older server does not know
                log.debug("GraphQL can't list: %s", error)
        return reader.census(kinds, by_graphql=False)

    def _kept(self, repo: str) -> _Kept:
        name = queue_manager.kept_as(self._conn, [repo])[repo]
        states = {
            stream: queue_manager.load_stream(self._conn, repo=name, stream=stream)[1]
            for stream in inventory.streams(self._conn, name)
        }
        if self._spellings is None:
            self._spellings = inventory.spellings(self._conn)
        names = {name}
        for lower in (name.lower(), *inventory.former_names(self._conn, name)):
            names.update(self._spellings.get(lower, ()))
        return _Kept(name, states, sorted(names))

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
        if self._settings.max_gone is None and len(alive) > 1 and not any(_is_in(shown, each) for each in alive):
            raise PipelineError(
                f"{repo}: GitHub lists none of the {len(alive)} items that are known, as where access was lost; "
                "nothing is written (--max-gone N where it is true)"
            )
        seen_at = shown.seen_at or db.now(self._conn, self._clock)
        examiner = Examiner(reader, kept.repo, self._clients.any.base_url, seen_at)
        examiner.look(
            [each for each in alive if not _is_in(shown, each)], most=self._settings.limit(len(alive)), what=repo
        )
        back = [each for each in known if each.is_gone and _is_in(shown, each)]
        self._look_at_conversations(kept, reader, shown, examiner, repo)
        back += examiner.again
        if examiner.gone and not reader.is_there():
            raise PipelineError(f"{repo} itself is not to be seen any more: nothing is written; check the access")
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

    def _write(self, repo: str, result: RepoResult) -> None:
        items = [*map(gone.to_item, (*result.gone, *result.back)), *result.missed]
        if not items:
            return
        with db.transaction(self._conn):
            self._in_commit(self._conn, repo)
            now = db.now(self._conn, self._clock)
            queue_manager.enqueue(self._conn, repo=result.repo, items=items, now=now)
            pulls = [(item.number, item.updated_at) for item in result.missed if item.item_type == "pull_request"]
            queue_manager.note_work(self._conn, repo=result.repo, versions=pulls)

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
            if found.element is None:
                continue
            item = pages.to_item(found.element, listed.kind)
            if mine and mine.updated_at >= item.updated_at:
                continue
            if not self._is_queued(listed.kind, item.item_id, item.updated_at):
                log.warning("%s #%d of %s was missed", kept.repo, item.number, item.updated_at)
                yield item

    def _is_queued(self, kind: str, item_id: int, updated_at: str) -> bool:
        return inventory.newest_queued(self._conn, kind, [item_id]).get(item_id, "") >= updated_at

    # What is said on items.

    def _look_at_conversations(self, kept: _Kept, reader: Reader, shown: Census, examiner: Examiner, repo: str) -> None:
        for kind, stream in CONVERSATIONS.items():
            state = kept.states.get(stream)
            if state is None:
                continue
            by_item: dict[int, list[Known]] = {}
            every = inventory.said(self._conn, kind, kept.names)
            for each in every:
                by_item.setdefault(each.number, []).append(each)
            lacking = []
            for number, said in sorted(by_item.items()):
                listed = shown.items.get(number)
                if listed is None or not self._differs(kind, listed, said):
                    continue
                there = reader.ids(kind, number)
                lacking += [each for each in said if each.id not in there and not each.is_gone]
                examiner.again += [each for each in said if each.id in there and each.is_gone]
            examiner.look(lacking, most=self._settings.limit(len(every)), what=f"{repo} {stream}")

    def _differs(self, kind: str, listed: Listed, said: Sequence[Known]) -> bool:
        """More of ours than there are, or some of ours may be gone and others unknown; --full looks at each."""
        total = {"issue_comment": listed.comments, "review": listed.reviews, "review_comment": None}[kind]
        ours = sum(not each.is_gone for each in said)
        if self._settings.full:
            return total is None or ours != total or ours < len(said)
        return total is not None and (ours > total or (ours < total and ours < len(said)))


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
    return next((code for code in (EXIT_CONFIGURATION, EXIT_OUTAGE, EXIT_FAILED) if code in codes), EXIT_OK)
