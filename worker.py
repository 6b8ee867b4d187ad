"""Queue -> archive + `issues`: claims rows, hands them to upload threads, writes down how they came out.

The thread that calls `run` owns the database. No SQL text, no argparse; what a thread does is in uploads.py.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import queue
import random
import sqlite3
from typing import Callable, NamedTuple, Sequence, TypeVar

import db
import queue_manager
from engines import owners
from foundation import errors, timestamps
from foundation.clock import Clock
from foundation.errors import ConfigurationError, PipelineError
from foundation.records import ClaimedItem
from lake import notes, objects, uploads
from lake.objects import Archive
from lake.upload_limit import UploadLimit
from lake.uploads import Ending, Job, JobResult, Outcome, Uploader
from queue_manager import Claim, Lease

log = logging.getLogger("pipeline.worker")
T = TypeVar("T")

LEASE_SECONDS = 300  # longer than an upload with all the SDK's retries, and extended meanwhile
LEASE_EXTENSION_SECONDS = 60
# Finished rows are committed in groups: one commit for many, and nothing done is unknown for longer than this.
COMMIT_SECONDS = 0.4
COMMIT_ROWS = 200
# Rows claimed for each thread: enough that none waits for a commit, few enough to hold in memory and hand back.
ROWS_PER_THREAD = 8
# A batch: large, for few requests; small enough that three in hand (two under way, one waiting) take below 100 MB, and
# that its rows are completed in a tenth of a second, while nobody else can write.
BATCH_ROWS = 1000
BATCH_BYTES = 8 * 1024 * 1024
BATCHES_AT_A_TIME = 2
# With --follow: how often to look for new rows, how long a batch that is not full waits for more.
POLL_SECONDS = 2.0
BATCH_LINGER_SECONDS = 60
FIRST_OUTAGE_SECONDS = 5.0
LONGEST_OUTAGE_SECONDS = 300.0
# So many surprises, or refusals for the same reason, with nothing in between that went well, are not the items' fault.
FAULTS_IN_TURN = 3
# Nothing ended for so long: somebody should know. A store that sends its answer byte by byte meets no time-out.
SILENCE_SECONDS = 180.0
# After a signal uploads under way get so long; container runtimes kill after ten seconds.
STOP_SECONDS = 8.0


class Settings(NamedTuple):
    """What a run is asked to do. `limit`: rows to claim in all. `follow`: go on when nothing is left.

    `place` names the archive, as the database keeps it (archive_choice.py).
    """

    prefix: str
    batches: bool
    threads: int
    max_attempts: int
    limit: int | None = None
    follow: bool = False
    place: str = ""


class Result(NamedTuple):
    """What a run did. `stopped_by`: None (nothing was left), 'limit', 'signal' or 'outage'."""

    done: int = 0
    failed: int = 0
    retrying: int = 0
    released: int = 0
    objects: int = 0
    bytes: int = 0
    stopped_by: str | None = None

    @property
    def ended(self) -> int:
        """Rows that count against a limit."""
        return self.done + self.failed + self.retrying


class Worker:
    """Drains the queue into one archive, as the owner of `token` (owners.py).

    `stop()` may be called from a signal handler: uploads under way are finished and committed, the rest handed back.
    `idle(seconds)` waits between looks at the queue, and returns early when there is a reason to.
    `on_wait(reason)` is told what the run waits for, and None when it goes on.
    `in_hand`: rows may be left in hand, because the database could not be written.
    """

    def __init__(
        self,
        *,
        conn: sqlite3.Connection,
        db_path: str,
        token: str,
        open_archive: Callable[[], Archive],
        settings: Settings,
        clock: Clock,
        rng: random.Random,
        idle: Callable[[float], object],
        on_progress: Callable[[Result], None] = lambda result: None,
        on_wait: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self._conn = conn
        self._db_path = db_path
        self._token = token
        self._open_archive = open_archive
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._idle = idle
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._limit = UploadLimit(settings.threads)
        self._uploader: Uploader | None = None
        self._out_of_time_at: float | None = None  # set by `stop`
        self._claimed = 0
        self._isolated = False  # a suspect is in hand: nothing is claimed beside it
        self._finished: list[Outcome] = []
        self._faults: list[JobResult] = []  # surprises and refusals that are not judged yet
        self._archived = 0  # items that this transaction says are in the archive now
        self._committed_at = self._extended_at = self._heard_at = clock.monotonic()
        self._leaving = False
        self.result = Result()
        self.outage: PipelineError | None = None
        self.in_hand = False

    def stop(self) -> None:
        self._out_of_time_at = self._clock.monotonic() + STOP_SECONDS
        owners.told_to_stop(self._db_path, self._token)

    def run(self) -> Result:
        """Work until nothing is left, the limit is reached, `stop` is called or an outage ends it (see `outage`).

        With `follow` only the limit and `stop` end it; an outage is waited out.
        """
        outages = 0
        while True:
            done_before = self.result.done
            self._session()
            if self._stop_requested or not self._settings.follow or (self._room() == 0 and not self.in_hand):
                break
            outages = 0 if self.result.done > done_before else outages
            if self.outage is None:
                self._idle(POLL_SECONDS)
            else:
                outages += 1
                self._wait_out(self.outage, outages)
                self.outage = None
            if self._stop_requested:
                break
        self.result = self.result._replace(stopped_by=self._stopped_by())
        return self.result

    def _session(self) -> None:
        """Drain the queue once; afterwards no row is ours, unless the database itself is out of order."""
        try:
            if self.in_hand:  # an outage of the database left it
                self._settle()
            self.in_hand = True
            try:
                self._drain()
            except PipelineError as error:  # the archive can't even be opened
                self.outage = error
            finally:  # whatever it was: rows that stay in hand would be taken for those of a worker that died
                self._settle()
        except sqlite3.Error as error:
            self.outage = db.explain(error, self._db_path)
        except (OSError, RuntimeError, MemoryError) as error:
            self.outage = errors.of_machine(error, "worker")
            if self.outage is None:
                raise

    def _drain(self) -> None:
        self._uploader = None  # a new client each time finds renewed credentials
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        ended: queue.SimpleQueue[concurrent.futures.Future[JobResult]] = queue.SimpleQueue()
        in_flight = 0
        self._leaving = False
        try:
            self._free_the_dead()
            while True:
                while self._may_claim and in_flight <= self._threads:
                    jobs = self._claim(alone=not in_flight)
                    if not jobs:
                        break
                    if not in_flight:
                        self._heard_at = self._clock.monotonic()
                    for job in jobs:
                        pool.submit(self._work_on(job), job).add_done_callback(ended.put)
                        in_flight += 1  # one by one: `submit` raises where there is no room for a thread
                if not in_flight:
                    if self._stopping or not (self._judge() or self._free_the_dead()):
                        break
                    continue
                in_flight -= self._take_all(ended)
                self._warn_of_silence()
                self._commit_if_due(last=not in_flight)
                self._extend_if_due()
                if self._is_out_of_time():
                    break
        finally:
            self._leaving = True
            while in_flight and not self._is_out_of_time():
                in_flight -= self._take_all(ended)
            # An upload that does not end in time may still reach the archive: the same bytes under the same key.
            pool.shutdown(wait=False)

    def _take_all(self, ended: queue.SimpleQueue[concurrent.futures.Future[JobResult]]) -> int:
        """Take what has ended, or does within a moment; returns how many jobs that were."""
        futures = _all_of(ended, seconds=COMMIT_SECONDS)
        for future in futures:
            self._take(future.result())
            self._heard_at = self._clock.monotonic()
        return len(futures)

    def _warn_of_silence(self) -> None:
        now = self._clock.monotonic()
        seconds = now - self._heard_at
        if seconds >= SILENCE_SECONDS:
            self._heard_at = now  # the next warning comes after as long again
            log.warning("no upload has ended for %d s; see what the archive does, or what stands before it", seconds)

    def _work_on(self, job: Job) -> Callable[[Job], JobResult]:
        if job.is_archived:
            return uploads.extract
        # Made when there is something to upload: an S3 client takes longer than all the rest.
        self._uploader = self._uploader or Uploader(
            store=self._open_archive(),
            limit=self._limit,
            prefix=self._settings.prefix,
            is_stopping=lambda: self._stopping or self._leaving,
        )
        return self._uploader.run

    @property
    def _threads(self) -> int:
        return min(self._settings.threads, BATCHES_AT_A_TIME) if self._settings.batches else self._settings.threads

    @property
    def _stop_requested(self) -> bool:
        return self._out_of_time_at is not None

    @property
    def _stopping(self) -> bool:
        return self._stop_requested or self.outage is not None

    @property
    def _may_claim(self) -> bool:
        return not (self._stopping or self._isolated or len(self._faults) >= FAULTS_IN_TURN)

    def _is_out_of_time(self) -> bool:
        return self._out_of_time_at is not None and self._clock.monotonic() >= self._out_of_time_at

    def _stopped_by(self) -> str | None:
        if self._stop_requested:
            return "signal"
        if self.outage is not None:
            return "outage"
        return "limit" if self._room() == 0 else None

    def _room(self) -> int | None:
        """How many rows the limit leaves to claim; None without limit."""
        limit = self._settings.limit
        return None if limit is None else max(0, limit - self._claimed)

    def _wait_out(self, outage: PipelineError, count: int) -> None:
        seconds = min(FIRST_OUTAGE_SECONDS * 2.0 ** min(count - 1, 20), LONGEST_OUTAGE_SECONDS)
        seconds *= 1 + self._rng.random() / 2
        reason = f"{outage} - tried again at {timestamps.from_epoch(self._clock.now() + seconds)}"
        log.warning("outage: %s", reason)
        self._on_wait(reason)
        self._idle(seconds)
        self._on_wait(None)

    def _free_the_dead(self) -> int:
        """Rows of processes that ended on this machine need not wait for their lease to end. Returns how many."""
        total = 0
        for token in queue_manager.claim_tokens(self._conn):
            state = owners.state(self._db_path, token)
            if state is owners.State.ALIVE:
                continue
            with db.transaction(self._conn):
                if state is owners.State.ENDED:
                    freed = queue_manager.release(self._conn, token=token)
                else:
                    freed = queue_manager.bury(
                        self._conn, token=token, now=self._clock.utc(), max_attempts=self._settings.max_attempts,
                        jitter=self._rng.random(),
                    )  # fmt: skip
            log.info("%d rows of a worker that %s are free again", freed, state.name.lower())
            total += freed
        return total

    def _claim(self, *, alone: bool) -> list[Job]:
        """`alone`: nothing else is in hand, so that suspects may be."""
        room, now = self._room(), self._clock.utc()
        if room == 0:
            return []
        lease = Lease(self._token, now, LEASE_SECONDS, suspects=alone)
        with db.transaction(self._conn):
            if queue_manager.release_expired(self._conn, now=now):
                log.warning("rows whose lease had ended are free again: their worker has been stopped, not killed")
            claim = self._claim_something(lease, room)
        self._claimed += len(claim.items)
        self._isolated = claim.is_suspect
        if claim.batch_key is not None:
            return [Job(claim.items, claim.batch_key)]
        return [Job([item]) for item in claim.items]

    def _claim_something(self, lease: Lease, room: int | None) -> Claim:
        wanted = self._settings.threads * ROWS_PER_THREAD
        limit = wanted if room is None else min(wanted, room)
        place, prefix = self._settings.place, self._settings.prefix
        claim = queue_manager.claim_begun(self._conn, lease, place=place, prefix=prefix)
        if not claim.items:
            claim = queue_manager.claim_archived(self._conn, lease, limit=limit)
        if not claim.items:
            begun_only = self._settings.batches
            claim = queue_manager.claim_single(self._conn, lease, limit=limit, begun_only=begun_only)
        if claim.items or not self._settings.batches:
            return claim
        linger = timestamps.shift(lease.now, seconds=-BATCH_LINGER_SECONDS) if self._settings.follow else None
        return queue_manager.claim_batch(
            self._conn,
            lease,
            limit=BATCH_ROWS if room is None else min(BATCH_ROWS, room),
            max_bytes=BATCH_BYTES,
            fetched_before=linger,
            place=place,
            key_of=lambda items: objects.batch_key(prefix, items),
        )

    def _take(self, result: JobResult) -> None:
        endings = {outcome.ending for outcome in result.outcomes}
        if endings & {Ending.SURPRISED, Ending.REFUSED, Ending.PARTED}:
            self._faults.append(result)
            return
        if Ending.STOPPED not in endings:
            self._blame_the_items()
            self._finished += result.outcomes
        if result.stored_bytes is not None:
            self.result = self.result._replace(
                objects=self.result.objects + 1, bytes=self.result.bytes + result.stored_bytes
            )
        self.outage = self.outage or result.outage

    def _blame_the_items(self) -> None:
        """For the faults so far: others went well. A batch is parted, until the one at fault is alone."""
        for result in self._faults:
            ending = Ending.REFUSED if len(result.outcomes) == 1 else Ending.PARTED
            self._finished += [outcome._replace(ending=ending) for outcome in result.outcomes]
        self._faults = []

    def _judge(self) -> bool:
        """Nothing is under way, and some faults wait for their judgement; False where there are none.

        Many in turn would fail a whole queue for one fault of the program, of the machine or of a setting: they end the
        run. They are not blamed, and handed back with all that is in hand.
        """
        if not self._faults:
            return False
        self.outage = self._common_cause()
        if self.outage is None:
            self._blame_the_items()
            self._commit_if_due(last=True)
        return True

    def _common_cause(self) -> ConfigurationError | None:
        """What the faults have in common, if they are many."""
        first = [result.outcomes[0] for result in self._faults]
        if len(first) < FAULTS_IN_TURN:
            return None
        said = f"{first[-1].error}, {len(first)} times in turn with no success in between: no item is blamed"
        if all(outcome.ending is Ending.SURPRISED for outcome in first):
            return ConfigurationError(f"unexpected {said}; undo what changed on this machine, or report it")
        if len({outcome.error for outcome in first}) == 1:
            return ConfigurationError(f"{said}; check --prefix, and what the archive or a proxy before it takes")
        return None

    def _commit_if_due(self, *, last: bool) -> None:
        due = self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS or len(self._finished) >= COMMIT_ROWS
        if self._finished and (due or last):
            with db.transaction(self._conn):
                result = self._record_all()
            self._committed(result)
        if last:
            self._isolated = False

    def _settle(self) -> None:
        """Write down what is finished and hand back the rest."""
        with db.transaction(self._conn):
            result = self._record_all()
            released = queue_manager.release(self._conn, token=self._token)
        self._committed(result._replace(released=result.released + released))
        self._faults = []
        self._claimed -= released
        self._isolated = self.in_hand = False

    def _committed(self, result: Result) -> None:
        self.result = result
        self._claimed -= sum(outcome.ending in (Ending.ARCHIVED, Ending.PARTED) for outcome in self._finished)
        self._finished = []
        self._committed_at = self._clock.monotonic()
        self._on_progress(result)

    def _record_all(self) -> Result:
        """Write the outcomes down, inside the caller's transaction; a row that is no longer ours changes nothing."""
        result, now = self.result, self._clock.utc()
        self._archived = 0
        for outcome in self._finished:
            if outcome.ending is not Ending.DONE:
                result = self._record(outcome, result, now)
        done = (outcome for outcome in self._finished if outcome.ending is Ending.DONE)
        for key, sharing in itertools.groupby(done, key=lambda outcome: outcome.s3_key or ""):
            result = result._replace(done=result.done + self._complete(key, list(sharing), now))
        if self._archived:
            notes.count_archived(self._conn, place=self._settings.place, items=self._archived)
        return result

    def _record(self, outcome: Outcome, result: Result, now: str) -> Result:
        item = outcome.item
        if outcome.ending is Ending.ARCHIVED:
            self._archived += queue_manager.note_archived(
                self._conn, item_id=item.id, token=self._token, s3_key=outcome.s3_key or ""
            )
            return result
        if outcome.ending is Ending.PARTED:
            queue_manager.part(self._conn, item_id=item.id, token=self._token)
            return result
        if outcome.ending is Ending.UNREADABLE or item.attempts + 1 >= self._settings.max_attempts:
            return result._replace(failed=result.failed + self._fail(outcome, now))
        return result._replace(retrying=result.retrying + self._put_off(outcome))

    def _complete(self, key: str, outcomes: Sequence[Outcome], now: str) -> int:
        """For rows whose payloads are in the object `key`; returns how many of them were still ours."""
        ids = [outcome.item.id for outcome in outcomes]
        ours = queue_manager.complete(self._conn, item_ids=ids, token=self._token, s3_key=key, now=now)
        self._archived += sum(outcome.item.id in ours and outcome.item.s3_key is None for outcome in outcomes)
        db.upsert_issues(
            self._conn,
            (
                {**row, "s3_key": key, "payload_sha256": item.payload_sha256, "processed_at": now}
                for item, _, _, row, _ in outcomes
                if row is not None and item.id in ours
            ),
        )
        return len(ours)

    def _fail(self, outcome: Outcome, now: str) -> bool:
        item = outcome.item
        ours = queue_manager.fail(
            self._conn, item_id=item.id, token=self._token, s3_key=outcome.s3_key, error=outcome.error, now=now
        )
        self._archived += ours and item.s3_key is None and outcome.s3_key is not None
        if ours:
            log.warning("%s #%d (row %d) failed: %s", item.repo, item.number, item.id, outcome.error)
        return ours

    def _put_off(self, outcome: Outcome) -> bool:
        item: ClaimedItem = outcome.item
        seconds = queue_manager.backoff_seconds(attempts=item.attempts + 1, jitter=self._rng.random())
        available_at = timestamps.from_epoch(self._clock.now() + seconds)
        return queue_manager.put_off(
            self._conn, item_id=item.id, token=self._token, error=outcome.error, available_at=available_at
        )

    def _extend_if_due(self) -> None:
        if self._clock.monotonic() - self._extended_at >= LEASE_EXTENSION_SECONDS:
            with db.transaction(self._conn):
                queue_manager.extend_leases(self._conn, Lease(self._token, self._clock.utc(), LEASE_SECONDS))
            self._extended_at = self._clock.monotonic()


def _all_of(ended: queue.SimpleQueue[T], *, seconds: float) -> list[T]:
    """Everything in the queue; waits for the first, so many seconds at most."""
    found: list[T] = []
    try:
        found.append(ended.get(timeout=seconds))
        while True:
            found.append(ended.get_nowait())
    except queue.Empty:
        return found
