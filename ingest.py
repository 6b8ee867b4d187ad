"""GitHub -> queue: runs the scans of the streams that were asked for and commits each page with its cursor.

No HTTP details (github_api.py), no SQL (queue_manager.py), no printing (main.py).
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from typing import Callable, Iterator, NamedTuple, Sequence

import db
import queue_manager
from clock import Clock
from errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, ConfigurationError, PipelineError
from fetcher import Page, StreamScan
from github_api import GitHub, NotReadable
from rate_limit import RateLimitReached

log = logging.getLogger("pipeline.ingest")

ISSUES_DISABLED = 410


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
        """
        if jobs == 1:
            return list(self._work(iter(targets)))
        todo: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        for target in targets:
            todo.put(target)
        results: list[StreamResult] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                results.extend(self._work(_drain(todo)))
            except BaseException as error:  # handed to the thread that waits
                failures.append(error)

        # Daemons: a signal ends the process without waiting for a hanging request; commits are whole in any case.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(targets)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        order = {target: position for position, target in enumerate(targets)}
        return sorted(results, key=lambda result: order.get((result.repo, result.stream), len(order)))

    def _work(self, targets: Iterator[tuple[str, str]]) -> Iterator[StreamResult]:
        conn = db.connect(self._db_path)
        try:
            for repo, stream in targets:
                yield self._run_stream(conn, repo, stream)
        finally:
            conn.close()

    def _run_stream(self, conn: sqlite3.Connection, repo: str, stream: str) -> StreamResult:
        name, state = queue_manager.load_stream(conn, repo=repo, stream=stream)
        result = StreamResult(name, stream, cursor=state.cursor)
        requests: list[int] = []
        error: PipelineError | None = self._stop_reason
        if error is None:
            scan = StreamScan(
                api=self._api,
                repo=name,
                stream=stream,
                state=state,
                since=self._look_from(state),
                on_request=requests.append,
            )
            try:
                for page in scan.pages():
                    result = self._commit(conn, result, page)._replace(requests=len(requests))
                    self._on_progress(result)
            except PipelineError as caught:
                error = caught
        result = result._replace(requests=len(requests), not_modified=requests.count(304))
        return self._conclude(conn, result, error)

    def _look_from(self, state: queue_manager.StreamState) -> str:
        covered = state.scan["covered_since"] if state.scan else state.covered_since
        return self._since or covered or self._default_since

    def _commit(self, conn: sqlite3.Connection, result: StreamResult, page: Page) -> StreamResult:
        """Items and cursor in one transaction: what the cursor says was fetched is in the queue, and nothing less."""
        with db.transaction(conn):
            if page.repo != result.repo:
                queue_manager.rename_repo(conn, old=result.repo, new=page.repo)
            enqueued = queue_manager.enqueue(conn, repo=page.repo, items=page.items, now=self._clock.utc())
            queue_manager.save_stream(conn, repo=page.repo, stream=result.stream, state=page.state)
        if page.repo.lower() != result.repo.lower():
            log.warning("%s is now %s on GitHub; its cursor goes on under that name", result.repo, page.repo)
        return result._replace(
            repo=page.repo,
            enqueued=result.enqueued + enqueued,
            unchanged=result.unchanged + len(page.items) - enqueued,
            cursor=page.state.cursor,
        )

    def _conclude(self, conn: sqlite3.Connection, result: StreamResult, error: PipelineError | None) -> StreamResult:
        """Record how the stream ended; decide whether the whole run ends with it."""
        if isinstance(error, NotReadable) and error.status == ISSUES_DISABLED and result.stream == "issues":
            log.info("%s: issues are disabled there; its pull requests are read all the same", result.repo)
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
        return result


def exit_code(results: Sequence[StreamResult], failures: Sequence[PipelineError] = ()) -> int:
    """Configuration before outage before a repository's own failure: what a person has to do first.

    `failures`: what went wrong before there were streams.
    """
    codes = {result.exit_code for result in results} | {failure.exit_code for failure in failures}
    for code in (EXIT_CONFIGURATION, EXIT_OUTAGE, EXIT_FAILED):
        if code in codes:
            return code
    return EXIT_OK


def _drain(todo: queue.SimpleQueue[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    while True:
        try:
            yield todo.get_nowait()
        except queue.Empty:
            return
