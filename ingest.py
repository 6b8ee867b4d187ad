"""GitHub -> queue: runs the scans of the streams that were asked for and commits each page with its cursor.

No HTTP details (github_api.py), no SQL (queue_manager.py), no printing (main.py).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import Callable, Iterator, NamedTuple, Sequence

import db
import queue_manager
import repositories
from clock import Clock
from errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, ConfigurationError, PipelineError
from fetcher import Page, StreamScan
from github_api import GitHub, NotReadable
from rate_limit import RateLimitReached
from read_ahead import Ended, ReadAhead

log = logging.getLogger("pipeline.ingest")


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
    `on_progress(result)` is told of each stream's figures after each page.
    """

    def __init__(
        self,
        *,
        api: GitHub,
        db_path: str,
        clock: Clock,
        since: str | None,
        default_since: str,
        on_progress: Callable[[StreamResult], None] = lambda result: None,
    ) -> None:
        self._api = api
        self._db_path = db_path
        self._clock = clock
        self._since = since
        self._default_since = default_since
        self._on_progress = on_progress
        self._stop_reason: PipelineError | None = None

    def run(self, targets: Sequence[tuple[str, str]], *, jobs: int) -> list[StreamResult]:
        """Scan each (repo, stream), `jobs` at a time; one that fails does not end the others.

        A rejected token or a rate limit that can't be waited for ends all; their error is in the results that are left.
        The scans run in threads, and fetch on while this one, which owns the database, commits.
        """
        conn = db.connect(self._db_path)
        streams: list[_Stream] = []

        def started() -> Iterator[Iterator[Page]]:
            for repo, stream in targets:
                streams.append(self._start(conn, repo, stream))
                yield streams[-1].pages

        with contextlib.closing(conn), contextlib.closing(ReadAhead(started(), threads=jobs)) as brought:
            for index, value in brought:
                if isinstance(value, Ended):
                    self._conclude(conn, streams[index], value.error)
                else:
                    self._commit(conn, streams[index], value)
                    self._on_progress(streams[index].result)
        return [stream.result for stream in streams]

    def _start(self, conn: sqlite3.Connection, repo: str, stream: str) -> _Stream:
        name, state = queue_manager.load_stream(conn, repo=repo, stream=stream)
        started = _Stream(StreamResult(name, stream, cursor=state.cursor))
        if self._stop_reason is not None:
            started.pages = _fail(self._stop_reason)
        else:
            scan = StreamScan(
                api=self._api,
                repo=name,
                stream=stream,
                state=state,
                since=self._look_from(state),
                on_request=started.requests.append,
            )
            started.pages = self._explained(scan.pages(), started)
        return started

    def _explained(self, pages: Iterator[Page], stream: _Stream) -> Iterator[Page]:
        """The pages; a refusal says whether the feature is disabled, which a 404 on pull requests does not tell."""
        try:
            yield from pages
        except NotReadable as error:
            repo = stream.result.repo
            if error.status == 404 and stream.result.stream == "pulls":
                disabled = not repositories.has_pull_requests(self._api, repo, on_request=stream.requests.append)
                raise NotReadable(str(error), status=error.status, disabled=disabled) from error
            raise

    def _look_from(self, state: queue_manager.StreamState) -> str:
        covered = state.scan["covered_since"] if state.scan else state.covered_since
        return self._since or covered or self._default_since

    def _commit(self, conn: sqlite3.Connection, stream: _Stream, page: Page) -> None:
        """Items and cursor in one transaction: what the cursor says was fetched is in the queue, and nothing less."""
        result = stream.result
        with db.transaction(conn):
            if page.repo != result.repo:
                queue_manager.rename_repo(conn, old=result.repo, new=page.repo)
            enqueued = queue_manager.enqueue(conn, repo=page.repo, items=page.items, now=self._clock.utc())
            queue_manager.save_stream(conn, repo=page.repo, stream=result.stream, state=page.state)
        if page.repo.lower() != result.repo.lower():
            log.warning("%s is now %s on GitHub; its cursor goes on under that name", result.repo, page.repo)
        stream.result = result._replace(
            repo=page.repo,
            enqueued=result.enqueued + enqueued,
            unchanged=result.unchanged + len(page.items) - enqueued,
            requests=len(stream.requests),
            cursor=page.state.cursor,
        )

    def _conclude(self, conn: sqlite3.Connection, stream: _Stream, error: BaseException | None) -> None:
        """Record how the stream ended; decide whether the whole run ends with it."""
        if error is not None and not isinstance(error, PipelineError):
            raise error
        requests = stream.requests
        result = stream.result._replace(requests=len(requests), not_modified=requests.count(304))
        if isinstance(error, NotReadable) and error.disabled:
            what = "issues" if result.stream == "issues" else "pull requests"
            log.info("%s: %s are disabled there; what else it has is read all the same", result.repo, what)
            error = None
        if isinstance(error, (ConfigurationError, RateLimitReached)):
            self._stop_reason = error
        if error is not None:
            log.warning("%s %s: %s", result.repo, result.stream, error)
            result = result._replace(error=str(error), exit_code=error.exit_code)
        with db.transaction(conn):
            queue_manager.record_stream_run(
                conn, repo=result.repo, stream=result.stream, now=self._clock.utc(), error=result.error
            )
        stream.result = result


class _Stream:
    """One stream of this run: its scan's pages, the status of each answer so far, and what came of it."""

    def __init__(self, result: StreamResult) -> None:
        self.result = result
        self.requests: list[int] = []
        self.pages: Iterator[Page] = iter(())


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
