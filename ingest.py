"""GitHub -> queue: runs the scans of the streams that were asked for and commits each page with its cursor.

No HTTP details (github_api.py), no SQL (queue_manager.py), no printing (main.py).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from types import MappingProxyType
from typing import Callable, Iterator, Mapping, NamedTuple, Sequence

import db
import queue_manager
from cursors import repo_names, states, work_list
from fetcher import AT_ONCE, NotFilled, Page, scan_of
from foundation import timestamps
from foundation.clock import Clock
from foundation.errors import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_OUTAGE,
    ConfigurationError,
    Outage,
    PipelineError,
)
from foundation.read_ahead import Ended, ReadAhead
from foundation.records import OF_ITEM, Gap, StreamState
from foundation.settings import DAY_SECONDS
from github import repositories
from github.api import GitHub
from github.clients import Clients
from github.login.logins import Rejected, is_of_all
from github.rate_limit import RateLimitReached
from github.refusals import NotReadable
from github.streams import KNOWN_BY_ID, STREAMS
from github.streams.stream import WHOLE

log = logging.getLogger("pipeline.ingest")

MOST_LANES = 16  # logins that are asked at a time; each has threads and a page in memory
MANY_REQUESTS = 10  # to be made for one stream are told of before they are made


class StreamResult(NamedTuple):
    """How one stream of one repository went. `error` None: it reached its end. `exit_code` is the error's own."""

    repo: str
    stream: str
    enqueued: int = 0
    unchanged: int = 0
    requests: int = 0
    not_modified: int = 0
    cursor: str | None = None
    error: str | None = None
    exit_code: int = EXIT_OK

    @property
    def fetched(self) -> int:
        return self.enqueued + self.unchanged


class Ingest:
    """One run over some streams.

    `since` None: go on from each stream's cursor, and look back to `default_since` where there is none yet.
    `repo_ids`: GitHub's numeric ids by name (lower case), where they are known. `on_progress(result)` is told of each
    stream's figures after each page. `in_commit(conn, repo)` is called within each transaction that writes, with the
    name that was asked for; what it raises ends the run.
    """

    def __init__(
        self,
        *,
        clients: Clients,
        db_path: str,
        clock: Clock,
        since: str | None,
        default_since: str,
        repo_ids: Mapping[str, int] = MappingProxyType({}),
        on_progress: Callable[[StreamResult], None] = lambda result: None,
        in_commit: Callable[[db.Connection, str], None] = lambda conn, repo: None,
    ) -> None:
        self._clients = clients
        self._db_path = db_path
        self._clock = clock
        self._since = since
        self._default_since = default_since
        self._repo_ids = repo_ids
        self._on_progress = on_progress
        self._in_commit = in_commit
        self._stop_reason: PipelineError | None = None
        self._stopped_lanes: dict[str, PipelineError] = {}
        self._known: dict[str, dict[int, StreamState]] = {}
        self._taken: dict[tuple[str, int], str] = {}
        self._taking = threading.Lock()

    def run(self, targets: Sequence[tuple[str, str]], *, jobs: int) -> list[StreamResult]:
        """Scan each (repo, stream), `jobs` at a time for each login; one that fails does not end the others.

        What a person has to mend ends all; a rate limit that can't be waited for, and one of several tokens that is
        rejected, what shares it. Their error is in the results that are left. The scans run in threads, and fetch on
        while this one, which owns the database, commits.
        """
        results: dict[tuple[str, str], StreamResult] = {}
        with contextlib.closing(db.connect(self._db_path)) as conn:
            # What needs another stream begins when that has been read.
            for has_needs in (False, True):
                some = [target for target in targets if bool(STREAMS[target[1]].needs) is has_needs]
                results.update(zip(some, self._run(conn, some, jobs)))
        return [results[target] for target in targets]

    def _run(self, conn: db.Connection, targets: Sequence[tuple[str, str]], jobs: int) -> list[StreamResult]:
        streams: list[_Stream] = []
        places: list[int] = []  # among the targets, of those streams

        def started(lane: Sequence[int]) -> Iterator[Iterator[Page]]:
            for place in lane:
                streams.append(self._start(conn, *targets[place]))
                places.append(place)
                yield streams[-1].pages

        lanes = [started(lane) for lane in self._lanes(targets)]
        with contextlib.closing(ReadAhead(*lanes, threads=jobs)) as brought:
            for index, value in brought:
                if isinstance(value, Ended):
                    self._conclude(conn, streams[index], value.error)
                else:
                    self._commit(conn, streams[index], value)
                    self._on_progress(streams[index].result)
        return [streams[at].result for at in sorted(range(len(places)), key=places.__getitem__)]

    def _lanes(self, targets: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Places among the targets: what shares its limits together, so that nothing else waits for them."""
        together: dict[str, list[int]] = {}
        for place, (repo, _) in enumerate(targets):
            together.setdefault(self._clients.lane(repo), []).append(place)
        lanes: list[list[int]] = [[] for _ in range(min(len(together), MOST_LANES))]
        for at, places in enumerate(together.values()):
            lanes[at % MOST_LANES].extend(places)
        return lanes

    def _start(self, conn: db.Connection, repo: str, stream: str) -> _Stream:
        known_as, state = self._load(conn, repo, stream)
        started = _Stream(StreamResult(known_as, stream, cursor=state.cursor), asked_for=repo, gaps=state.gaps)
        lane = self._clients.lane(repo)
        refused = self._stop_reason or self._stopped_lanes.get(lane) or self._of_another_server(known_as, state)
        if refused is not None:
            started.pages = _fail(refused)
            return started
        is_by_time = STREAMS[stream].scan != WHOLE
        if is_by_time and self._since is None and state.covered_since is None and state.scan is None:
            now = timestamps.to_epoch(db.now(conn, self._clock))
            days = round((now - timestamps.to_epoch(self._default_since)) / DAY_SECONDS)
            log.info("%s %s, for the first time: the last %d days; --all for everything", repo, stream, days)
        if stream not in self._known:
            self._known[stream] = states.known(conn, stream=stream)
        work = self._work(conn, repo, known_as, stream, state) if STREAMS[stream].needs else ()
        started.pages = self._pages(started, known_as, state, work)
        return started

    def _pages(
        self, stream: _Stream, known_as: str, state: StreamState, work: Sequence[tuple[int, str]]
    ) -> Iterator[Page]:
        """Runs in a thread of the scan's own: already the login may have to be asked for."""
        name = stream.result.stream
        api = self._clients.of_repo(stream.asked_for)
        scan = scan_of(STREAMS[name])(
            api=api,
            repo=stream.asked_for,
            known_as=known_as,
            stream=STREAMS[name],
            state=state,
            look_from=self._look_from,
            work=work,
            recall=lambda repo_id: self._recall(name, repo_id, scan.repo),
            on_request=stream.requests.append,
            on_long_walk=lambda requests, items=0: _foretell(api, scan.repo, name, requests, items),
        )
        yield from _explained(api, scan.pages(), stream)

    def _load(self, conn: db.Connection, repo: str, stream: str) -> tuple[str, StreamState]:
        """The name and state; what needs another stream is of the repository that this one has read."""
        repo_id = self._repo_ids.get(repo.lower())
        for needed in STREAMS[stream].needs:
            repo, state = states.load(conn, repo=repo, stream=needed, repo_id=repo_id)
            repo_id = state.repo_id
        return states.load(conn, repo=repo, stream=stream, repo_id=repo_id)

    def _work(
        self, conn: db.Connection, asked_for: str, repo: str, stream: str, state: StreamState
    ) -> Sequence[tuple[int, str]]:
        """The work list; when it is wanted from further back than ever before, what was read by then goes on it."""
        since = self._look_from(state)
        if state.covered_since is None or since < state.covered_since:
            with db.transaction(conn):
                self._in_commit(conn, asked_for)
                work_list.seed(conn, repo=repo, since=since)
        found = work_list.read(conn, repo=repo)
        wanted = sum(updated_at >= min(since, state.covered_since or since) for _, updated_at in found)
        if wanted >= MANY_REQUESTS * AT_ONCE:
            without = self._clients.any.login.is_anonymous
            many = f"{2 * wanted}, without a token," if without else f"{-(-wanted // AT_ONCE)}"
            log.info("%s %s: %d to ask for, about %s requests", repo, stream, wanted, many)
        return found

    def _of_another_server(self, repo: str, state: StreamState) -> ConfigurationError | None:
        """Its cursor says nothing of what lies here: a database that served a trial would hide most of the real one."""
        url = (state.scan or {}).get("etag_url") or state.etag_url
        if url is None or self._clients.any.is_own_origin(url):
            return None
        other, ours = url.split("/repos/")[0], self._clients.any.base_url
        return ConfigurationError(
            f"the cursors of {repo} are of {other}, not of {ours}; check GITHUB_API_URL, give another --db, "
            f"or begin anew: `forget --repo {repo}`, then ingest --all"
        )

    def _look_from(self, state: StreamState) -> str:
        covered = state.scan["covered_since"] if state.scan else state.covered_since
        return self._since or covered or self._default_since

    def _recall(self, stream: str, repo_id: int, repo: str) -> StreamState | None:
        """What is known of a repository, for the first who finds that a name means it. Called by the scans' threads.

        A former name leads to the present one. Two present names of one repository are of two moments, and what one of
        them means now may be unread.
        """
        with self._taking:
            taken_as = self._taken.setdefault((stream, repo_id), "")
            self._taken[stream, repo_id] = taken_as or repo
        if taken_as.lower() == repo.lower():
            raise _ReadAlready
        if taken_as:
            raise Outage(f"{taken_as} and {repo} are one repository: a name changed hands meanwhile; run again")
        return self._known[stream].get(repo_id)

    def _commit(self, conn: db.Connection, stream: _Stream, page: Page) -> None:
        """Items and cursor in one transaction: what the cursor says was fetched is in the queue, and nothing less."""
        result, identity = stream.result, (page.repo, page.state.repo_id)
        with db.transaction(conn):
            self._in_commit(conn, stream.asked_for)
            if identity != stream.identity:
                repo_names.settle(
                    conn, repo=page.repo, repo_id=page.state.repo_id, was=page.was, asked_for=stream.asked_for
                )
            if page.noted:
                new = {item.number for item in queue_manager.not_queued(conn, items=page.items)}
                noted = [(number, updated_at) for number, updated_at in page.noted if number in new]
                work_list.note(conn, repo=page.repo, versions=noted)
            enqueued = queue_manager.enqueue(
                conn, repo=page.repo, items=page.items, now=db.now(conn, self._clock), known_by_id=KNOWN_BY_ID
            )
            work_list.settle(conn, repo=page.repo, versions=page.settled)
            states.save(conn, repo=page.repo, stream=result.stream, state=page.state)
        if page.repo.lower() != stream.asked_for.lower() and identity != stream.identity:
            log.warning("%s is now %s on GitHub; its cursor goes on under that name", stream.asked_for, page.repo)
        stream.identity = identity
        stream.gaps = page.state.gaps
        stream.result = result._replace(
            repo=page.repo,
            enqueued=result.enqueued + enqueued,
            unchanged=result.unchanged + len(page.items) - enqueued,
            requests=len(stream.requests),
            cursor=page.state.cursor,
        )

    def _conclude(self, conn: db.Connection, stream: _Stream, error: BaseException | None) -> None:
        """Record how the stream ended; decide whether the whole run ends with it."""
        if error is not None and not isinstance(error, (PipelineError, _ReadAlready)):
            error = _surprise(error)
        requests = stream.requests
        result = stream.result._replace(requests=len(requests), not_modified=requests.count(304))
        if isinstance(error, _ReadAlready):
            log.info("%s %s: this run reads it under another name already", stream.asked_for, result.stream)
            stream.result = result
            return
        if isinstance(error, NotReadable) and error.disabled:
            what = STREAMS[result.stream].title.lower()
            log.info("%s: %s are disabled there; what else it has is read all the same", result.repo, what)
            error = None
        elif isinstance(error, NotReadable) and error.status == 404:  # its streams alarm for as long as they are kept
            said = f"{error}; `forget --repo {result.repo}` if nobody wants it"
            error = NotReadable(said, status=error.status)
        if isinstance(error, PipelineError) and is_of_all(error):
            self._stop_reason = error
        if isinstance(error, (RateLimitReached, Rejected)):
            self._stopped_lanes[self._clients.lane(stream.asked_for)] = error
        gaps, reason = [gap for gap in stream.gaps if not gap.is_filled], ""
        if isinstance(error, NotFilled):
            error, reason = None, f"; what is older was not had item by item: {error}"
        if error is None and gaps:
            error = PipelineError(_not_had(result, gaps) + reason)
        if error is not None:
            log.warning("%s %s: %s", result.repo, result.stream, error)
            result = result._replace(error=str(error), exit_code=error.exit_code)
        with db.transaction(conn):
            self._in_commit(conn, stream.asked_for)  # or a repository that was forgotten meanwhile would be known again
            states.record_run(
                conn, repo=result.repo, stream=result.stream, now=db.now(conn, self._clock), error=result.error
            )
        stream.result = result


def _explained(api: GitHub, pages: Iterator[Page], stream: _Stream) -> Iterator[Page]:
    """The pages; a refusal says whether the feature is disabled, which a 404 alone does not tell."""
    try:
        yield from pages
    except NotReadable as error:
        kind = STREAMS[stream.result.stream]
        if error.status == 404 and kind.is_missing_when_off:
            disabled = not repositories.has(api, stream.asked_for, kind.switch, on_request=stream.requests.append)
            raise NotReadable(str(error), status=error.status, disabled=disabled) from error
        raise


def _foretell(api: GitHub, repo: str, stream: str, requests: int, items: int) -> None:
    left = (api.graphql_limits if items else api.limits).remaining
    points = "unknown" if left is None else left
    if items:
        said = "%s %s: beyond the list's end it asks %d items, in about %d requests; points of GraphQL left: %s"
        log.info(said, repo, stream, items, requests, points)
    else:
        said = "%s %s: a long scan, of about %d requests if all is wanted; points left: %s"
        log.info(said, repo, stream, requests, points)


class _ReadAlready(Exception):
    """Another name of this run means the same repository."""


class _Stream:
    """One stream of this run: its scan's pages, the status of each answer so far, and what came of it."""

    def __init__(self, result: StreamResult, *, asked_for: str, gaps: tuple[Gap, ...]) -> None:
        self.result = result
        self.asked_for = asked_for
        self.identity: tuple[str, int | None] | None = None  # the name and id that were settled
        self.gaps = gaps
        self.requests: list[int] = []
        self.pages: Iterator[Page] = iter(())


def _surprise(error: BaseException) -> PipelineError:
    """A fault of the program, met by one scan: the others are read all the same. What ends all is raised again."""
    if not isinstance(error, Exception) or isinstance(error, (*db.Error, OSError, MemoryError)):
        raise error
    log.debug("where it happened", exc_info=error)
    return PipelineError(f"unexpected {type(error).__name__}: {error}; please report it")


def _not_had(result: StreamResult, gaps: Sequence[Gap]) -> str:
    if STREAMS[result.stream].needs:  # of a work list each is one by its number
        numbers = ", ".join(str(gap.offset) for gap in gaps[:10])
        return (
            f"GitHub does not give {len(gaps)} of {result.repo} {result.stream}, not even alone "
            f"(pull request {numbers}); all others were read, and each run asks for these again"
        )
    cut_off = [gap for gap in gaps if gap.is_truncation]
    broken = [gap for gap in gaps if gap.items and gap.since != OF_ITEM]
    alone = sorted({gap.offset for gap in gaps if gap.since == OF_ITEM})
    said = []
    if broken:
        said.append(
            f"GitHub does not give {sum(gap.items for gap in broken)} items of {result.repo} {result.stream}, not even "
            f"alone (updated {_places(broken)}); all others were read, and each run asks for these again"
        )
    if alone:
        said.append(
            f"GitHub does not give the older events of {len(alone)} items of {result.repo}, not even alone "
            f"({', '.join(f'#{number}' for number in alone[:10])}); each run asks for these again"
        )
    if cut_off:
        said.append(
            f"{result.repo} {result.stream} is truncated: GitHub shows only the newest {cut_off[0].offset}, and "
            f"nothing {_places(cut_off)}; all that is newer was read, and is read on"
        )
    return "; ".join(said)


def _places(gaps: Sequence[Gap]) -> str:
    return "; ".join(f"from {gap.after or 'the beginning'} to {gap.before or 'now'}" for gap in gaps[:3])


def _fail(error: PipelineError) -> Iterator[Page]:
    raise error
    yield  # a generator, which raises when it is begun


def exit_code(results: Sequence[StreamResult], failures: Sequence[PipelineError] = ()) -> int:
    """Configuration before outage before a repository's own failure: what a person has to do first.

    `failures`: what went wrong before there were streams.
    """
    codes = {result.exit_code for result in results} | {failure.exit_code for failure in failures}
    for code in (EXIT_CONFIGURATION, EXIT_OUTAGE, EXIT_FAILED):
        if code in codes:
            return code
    return EXIT_OK
