"""Queue -> archive + `issues`: claim, upload, extract, complete; threads and shutdown.

Uploads run in threads; the thread that calls `run` owns the database. No SQL text, no argparse.
"""

from __future__ import annotations

import concurrent.futures
import enum
import logging
import random
import sqlite3
from typing import Any, Callable, NamedTuple

import db
import owners
import queue_manager
import timestamps
import transform
from clock import Clock
from errors import PipelineError
from queue_manager import ClaimedItem
from s3_writer import Archive, ItemRefused, object_key

log = logging.getLogger("pipeline.worker")

LEASE_SECONDS = 300  # far longer than an upload with all the SDK's retries
LEASE_EXTENSION_SECONDS = 60
# Finished rows are committed in groups: one fsync for many, and nothing done is unknown for longer than this.
COMMIT_SECONDS = 0.4
COMMIT_ROWS = 200
# Rows claimed for each thread: enough that none waits for a commit, few enough to hold in memory and hand back.
ROWS_PER_THREAD = 8


class Ending(enum.Enum):
    """How the work on one item ended."""

    DONE = enum.auto()
    UNREADABLE = enum.auto()  # archived, but its fields can't be extracted
    REFUSED = enum.auto()  # the item's own fault; another attempt may help
    STOPPED = enum.auto()  # not the item's fault: an outage, or the run ended before its turn


class Outcome(NamedTuple):
    item: ClaimedItem
    ending: Ending
    s3_key: str | None = None
    row: dict[str, Any] | None = None
    error: str = ""


class Result(NamedTuple):
    """What a run did. `stopped_by`: None (nothing was left), 'limit', 'signal' or 'outage'."""

    done: int = 0
    failed: int = 0
    retrying: int = 0
    released: int = 0
    objects: int = 0
    bytes: int = 0
    stopped_by: str | None = None


class Worker:
    """Drains the queue into one archive.

    `stop()` may be called from a signal handler: uploads under way are finished and committed, the rest handed back.
    """

    def __init__(
        self,
        *,
        conn: sqlite3.Connection,
        db_path: str,
        archive: Archive,
        clock: Clock,
        rng: random.Random,
        prefix: str,
        threads: int,
        max_attempts: int,
        limit: int | None = None,
        on_progress: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self._conn = conn
        self._db_path = db_path
        self._archive = archive
        self._clock = clock
        self._rng = rng
        self._prefix = prefix
        self._threads = threads
        self._max_attempts = max_attempts
        self._limit = limit
        self._on_progress = on_progress
        self._stop_requested = False
        self._claimed = 0
        self._finished: list[Outcome] = []
        self._committed_at = 0.0
        self._extended_at = 0.0
        self.result = Result()
        self.outage: PipelineError | None = None

    def stop(self) -> None:
        self._stop_requested = True

    def run(self) -> Result:
        """Work until nothing is left, the limit is reached, `stop` is called or an outage ends it (see `outage`)."""
        with owners.claim_token(self._db_path) as token:
            self._free_the_dead()
            pool = concurrent.futures.ThreadPoolExecutor(self._threads)
            try:
                self._drain(pool, token)
            finally:
                pool.shutdown(wait=True)
                with db.transaction(self._conn):
                    released = queue_manager.release(self._conn, token=token)
        self.result = self.result._replace(released=released, stopped_by=self._stopped_by())
        return self.result

    def _drain(self, pool: concurrent.futures.Executor, token: str) -> None:
        in_flight: set[concurrent.futures.Future[Outcome]] = set()
        self._committed_at = self._extended_at = self._clock.monotonic()
        while True:
            if not self._stopping and len(in_flight) <= self._threads:
                in_flight.update(pool.submit(self._process, item) for item in self._claim(token))
            if not in_flight:
                break
            finished, in_flight = concurrent.futures.wait(
                in_flight, timeout=COMMIT_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in finished:
                self._take(future.result())
            self._commit_if_due(token, last=not in_flight)
            self._extend_if_due(token)

    @property
    def _stopping(self) -> bool:
        return self._stop_requested or self.outage is not None

    def _stopped_by(self) -> str | None:
        if self.outage is not None:
            return "outage"
        if self._stop_requested:
            return "signal"
        return "limit" if self._limit is not None and self._claimed >= self._limit else None

    def _free_the_dead(self) -> None:
        """Rows of processes that died on this machine need not wait for their lease to end."""
        for token in queue_manager.claim_tokens(self._conn):
            if not owners.is_alive(self._db_path, token):
                with db.transaction(self._conn):
                    freed = queue_manager.release(self._conn, token=token)
                log.info("%d rows of a worker that died are pending again", freed)

    def _claim(self, token: str) -> list[ClaimedItem]:
        wanted = self._threads * ROWS_PER_THREAD
        if self._limit is not None:
            wanted = min(wanted, self._limit - self._claimed)
        if wanted <= 0:
            return []
        with db.transaction(self._conn):
            items = queue_manager.claim(
                self._conn, token=token, limit=wanted, now=self._clock.utc(), lease_seconds=LEASE_SECONDS
            )
        self._claimed += len(items)
        return items

    def _process(self, item: ClaimedItem) -> Outcome:
        """Upload and extract one item; runs in an upload thread and touches no database."""
        if self._stopping:
            return Outcome(item, Ending.STOPPED)
        try:
            return self._archive_and_extract(item)
        except ItemRefused as error:
            return Outcome(item, Ending.REFUSED, error=str(error))
        except PipelineError as error:
            self.outage = error
            return Outcome(item, Ending.STOPPED)
        except Exception as error:  # one item's surprise must not end the run; the reason is kept with the row
            log.debug("item %d", item.id, exc_info=True)
            return Outcome(item, Ending.REFUSED, error=f"{type(error).__name__}: {error!a}")

    def _archive_and_extract(self, item: ClaimedItem) -> Outcome:
        key = object_key(
            prefix=self._prefix,
            item_type=item.item_type,
            repo=item.repo,
            number=item.number,
            updated_at=item.updated_at,
            sha256=item.payload_sha256,
        )
        self._archive.put(key, item.payload.encode("utf-8"), sha256=item.payload_sha256)
        try:
            row = transform.issues_row(item.item_type, item.repo, transform.parse_payload(item.payload))
        except transform.ExtractionError as error:
            return Outcome(item, Ending.UNREADABLE, s3_key=key, error=f"archived, but not extracted: {error}")
        return Outcome(item, Ending.DONE, s3_key=key, row=row)

    def _take(self, outcome: Outcome) -> None:
        if outcome.ending is not Ending.STOPPED:
            self._finished.append(outcome)

    def _commit_if_due(self, token: str, *, last: bool) -> None:
        due = self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS or len(self._finished) >= COMMIT_ROWS
        if self._finished and (due or last):
            with db.transaction(self._conn):
                result = self.result
                for outcome in self._finished:
                    result = self._record(outcome, token, result)
            self.result = result
            self._finished = []
            self._committed_at = self._clock.monotonic()
            self._on_progress(result)

    def _record(self, outcome: Outcome, token: str, result: Result) -> Result:
        """Write one outcome down, inside the caller's transaction; a row that is no longer ours changes nothing."""
        item, now = outcome.item, self._clock.utc()
        if outcome.s3_key is not None:
            size = len(item.payload.encode("utf-8"))
            result = result._replace(objects=result.objects + 1, bytes=result.bytes + size)
        if outcome.ending is Ending.DONE:
            if queue_manager.complete(self._conn, item_id=item.id, token=token, s3_key=outcome.s3_key or "", now=now):
                extra = {"s3_key": outcome.s3_key, "payload_sha256": item.payload_sha256, "processed_at": now}
                db.upsert_issue(self._conn, {**(outcome.row or {}), **extra})
                result = result._replace(done=result.done + 1)
        elif outcome.ending is Ending.UNREADABLE or item.attempts + 1 >= self._max_attempts:
            if queue_manager.fail(
                self._conn, item_id=item.id, token=token, s3_key=outcome.s3_key, error=outcome.error, now=now
            ):
                log.warning("%s #%d (row %d) failed: %s", item.repo, item.number, item.id, outcome.error)
                result = result._replace(failed=result.failed + 1)
        elif self._put_off(outcome, token):
            result = result._replace(retrying=result.retrying + 1)
        return result

    def _put_off(self, outcome: Outcome, token: str) -> bool:
        item = outcome.item
        seconds = queue_manager.backoff_seconds(attempts=item.attempts + 1, jitter=self._rng.random())
        available_at = timestamps.from_epoch(self._clock.now() + seconds)
        return queue_manager.put_off(
            self._conn, item_id=item.id, token=token, error=outcome.error, available_at=available_at
        )

    def _extend_if_due(self, token: str) -> None:
        if self._clock.monotonic() - self._extended_at >= LEASE_EXTENSION_SECONDS:
            with db.transaction(self._conn):
                queue_manager.extend_leases(self._conn, token=token, now=self._clock.utc(), lease_seconds=LEASE_SECONDS)
            self._extended_at = self._clock.monotonic()
