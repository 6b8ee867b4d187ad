"""Queue -> archive + `issues`: claims rows, hands them to upload threads, writes down how they came out.

`Worker` is the flow, `RowsInHand` what it does to the database, which the thread that calls `run` owns. No SQL text, no
argparse; what an upload thread does is in lake/uploads.py, whose fault a refusal is in lake/verdicts.py.
"""

from __future__ import annotations

import logging
import random
import sys
from typing import Callable, NamedTuple, Sequence

import db
import queue_manager
from engines import presence
from foundation import errors, timestamps
from foundation.clock import Clock
from foundation.errors import PipelineError
from foundation.records import Row
from lake import notes, objects, uploads
from lake.objects import Archive
from lake.upload_limit import UploadLimit
from lake.uploads import Ending, Job, JobResult, Outcome, UnderWay, Uploader
from lake.verdicts import Faults
from queue_manager import Lease, NewBatch

log = logging.getLogger("pipeline.worker")

LEASE_SECONDS = 300  # longer than an upload with all the SDK's retries, and extended meanwhile
LEASE_EXTENSION_SECONDS = 60
# Finished rows are committed in groups: one commit for many, and nothing done is unknown for longer than this.
COMMIT_SECONDS = 0.4
COMMIT_ROWS = 200
# Rows claimed for each thread: enough that none waits for a commit, few enough to hold in memory and hand back.
ROWS_PER_THREAD = 8
# A batch: large, for few requests; small enough that its rows are completed in a tenth of a second, while nobody else
# can write.
BATCH_ROWS = 1000
BATCH_BYTES = 8 * 1024 * 1024
# Nothing is claimed beside so many bytes: three full batches take below 100 MB, many small ones have a thread each.
BYTES_IN_HAND = 2 * BATCH_BYTES
# With --follow: how often to look for new rows, how long a batch that is not full waits for more.
POLL_SECONDS = 2.0
# ... where they come from other hosts. LISTEN would need a session of our own, which a pool does not give.
POLL_OTHERS_SECONDS = 0.5
BATCH_LINGER_SECONDS = 60
FIRST_OUTAGE_SECONDS = 5.0
LONGEST_OUTAGE_SECONDS = 300.0
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
        conn: db.Connection,
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
        self._on_wait = on_wait
        self._rows = RowsInHand(conn, db_path, token, settings, clock, rng, on_progress)
        self._faults = Faults()
        self._threads = settings.threads
        self._limit = UploadLimit(settings.threads)
        self._uploader: Uploader | None = None
        self._out_of_time_at: float | None = None  # set by `stop`
        self._heard_at = clock.monotonic()
        self._leaving = False
        self.outage: PipelineError | None = None
        self.in_hand = False

    @property
    def result(self) -> Result:
        return self._rows.result

    def stop(self) -> None:
        self._out_of_time_at = self._clock.monotonic() + STOP_SECONDS
        presence.told_to_stop(self._conn, self._db_path, self._token)

    def run(self) -> Result:
        """Work until nothing is left, the limit is reached, `stop` is called or an outage ends it (see `outage`).

        With `follow` only the limit and `stop` end it; an outage is waited out.
        """
        outages = 0
        while True:
            done_before = self.result.done
            self._session()
            if self._stop_requested or not self._settings.follow or (self._rows.room == 0 and not self.in_hand):
                break
            outages = 0 if self.result.done > done_before else outages
            if self.outage is None:
                self._idle(POLL_OTHERS_SECONDS if self._conn.words.is_postgres else POLL_SECONDS)
            else:
                outages += 1
                self._wait_out(self.outage, outages)
                self.outage = None
            if self._stop_requested:
                if self.in_hand:  # the database may be back
                    self._session()
                break
        self._rows.result = self.result._replace(stopped_by=self._stopped_by())
        return self.result

    def _session(self) -> None:
        """Drain the queue once; afterwards no row is ours, unless the database itself is out of order."""
        try:
            if self.in_hand:  # an outage of the database left it
                self._settle()
            with db.transaction(self._conn):  # which sees, too, whether it is still the same database
                if queue_manager.is_empty(self._conn):  # one question in place of a dozen, from all who wait
                    return
            self.in_hand = True
            try:
                self._drain()
            except PipelineError as error:  # the archive can't even be opened
                self.outage = error
            finally:  # whatever it was: rows that stay in hand would be taken for those of a worker that died
                self._settle()
        except db.Error as error:
            self.outage = db.explain(error, self._db_path)
        except (OSError, RuntimeError, MemoryError) as error:
            self.outage = errors.of_machine(error, "worker")
            if self.outage is None:
                raise

    def _settle(self) -> None:
        self._rows.settle()
        self._faults = Faults()  # what was not judged is handed back
        self.in_hand = False

    def _drain(self) -> None:
        self._uploader = None  # a new client each time finds renewed credentials
        self._leaving = False
        under_way = UnderWay(self._threads)
        try:
            self._rows.free_the_dead()
            while not self._is_out_of_time():
                self._begin_more(under_way)
                if under_way.count:
                    self._take_ended(under_way)
                    self._warn_of_silence()
                    self._rows.commit_if_due(last=not under_way.count)
                    self._rows.extend_if_due()
                elif self._stopping or not (self._judge() or self._rows.free_the_dead()):
                    break
        finally:
            self._leaving = True
            while under_way.count and not self._is_out_of_time():
                self._take_ended(under_way)
            under_way.leave()

    def _begin_more(self, under_way: UnderWay) -> None:
        while self._may_claim and under_way.count <= self._threads and under_way.payload_bytes < BYTES_IN_HAND:
            jobs = self._rows.claim(alone=not under_way.count)
            if not jobs:
                break
            if not under_way.count:
                self._heard_at = self._clock.monotonic()
            for job in jobs:
                under_way.begin(self._work_on(job), job)

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

    def _take_ended(self, under_way: UnderWay) -> None:
        """Take in what has ended, or does within a moment."""
        for result in under_way.take_ended(seconds=COMMIT_SECONDS):
            self._rows.note(self._faults.followed_by(result), result.stored_bytes)
            self.outage = self.outage or result.outage
            self._heard_at = self._clock.monotonic()

    def _warn_of_silence(self) -> None:
        now = self._clock.monotonic()
        seconds = now - self._heard_at
        if seconds >= SILENCE_SECONDS:
            self._heard_at = now  # the next warning comes after as long again
            log.warning("no upload has ended for %d s; see what the archive does, or what stands before it", seconds)

    def _judge(self) -> bool:
        """Nothing is under way, and some faults wait for their judgement; False where there are none.

        A common cause ends the run, and they are handed back with all that is in hand.
        """
        if not self._faults:
            return False
        self.outage = self._faults.common_cause()
        if self.outage is None:
            self._rows.note(self._faults.blame_the_items())
            self._rows.commit_if_due(last=True)
        return True

    @property
    def _stop_requested(self) -> bool:
        return self._out_of_time_at is not None

    @property
    def _stopping(self) -> bool:
        return self._stop_requested or self.outage is not None

    @property
    def _may_claim(self) -> bool:
        return not (self._stopping or self._rows.are_suspect or self._faults.are_many)

    def _is_out_of_time(self) -> bool:
        return self._out_of_time_at is not None and self._clock.monotonic() >= self._out_of_time_at

    def _stopped_by(self) -> str | None:
        if self._stop_requested:
            return "signal"
        if self.outage is not None:
            return "outage"
        return "limit" if self._rows.room == 0 else None

    def _wait_out(self, outage: PipelineError, count: int) -> None:
        seconds, reason = pause(outage, count, self._clock, self._rng)
        self._on_wait(reason)
        self._idle(seconds)
        self._on_wait(None)


def pause(outage: PipelineError, count: int, clock: Clock, rng: random.Random) -> tuple[float, str]:
    """How long to wait in the `count`-th outage in turn, and for what, which is logged."""
    seconds = min(FIRST_OUTAGE_SECONDS * 2.0 ** min(count - 1, 20), LONGEST_OUTAGE_SECONDS) * (1 + rng.random() / 2)
    reason = f"{outage} - tried again at {timestamps.from_epoch(clock.now() + seconds)}"
    log.warning("outage: %s", reason)
    return seconds, reason


class RowsInHand:
    """The rows that `token` owns: claimed, written down as they come out, or handed back; it commits each time.

    `result`: what has come of all so far. `are_suspect`: nothing is to be claimed beside them.
    """

    def __init__(
        self,
        conn: db.Connection,
        db_path: str,
        token: str,
        settings: Settings,
        clock: Clock,
        rng: random.Random,
        on_progress: Callable[[Result], None],
    ) -> None:
        self._conn = conn
        self._db_path = db_path
        self._token = token
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._on_progress = on_progress
        self._in_hand = 0
        self._ended = 0  # rows that count against the limit
        self._finished: list[Outcome] = []
        self._archived = 0  # items that this transaction says are in the archive now
        self._committed_at = self._extended_at = clock.monotonic()
        self.are_suspect = False
        self.result = Result()

    @property
    def room(self) -> int:
        """How many rows the limit leaves to claim."""
        limit = self._settings.limit
        return sys.maxsize if limit is None else max(0, limit - self._ended - self._in_hand)

    def free_the_dead(self) -> int:
        """Rows of processes that ended on this machine need not wait for their lease to end. Returns how many."""
        total = 0
        for token in queue_manager.claim_tokens(self._conn):
            state = presence.state(self._conn, self._db_path, token)
            if state is presence.State.ALIVE:
                continue
            with db.transaction(self._conn):
                if state is presence.State.ENDED:
                    freed = queue_manager.release(self._conn, token=token)
                else:
                    freed = queue_manager.bury(
                        self._conn, token=token, now=db.now(self._conn, self._clock), jitter=self._rng.random(),
                        max_attempts=self._settings.max_attempts,
                    )  # fmt: skip
            log.info("%d rows of a worker that %s are free again", freed, state.name.lower())
            total += freed
        return total

    def claim(self, *, alone: bool) -> list[Job]:
        """`alone`: nothing else is in hand, so that suspects may be."""
        if self.room == 0:
            return []
        settings = self._settings
        # That a row is to have an object of its own must not be forgotten: another worker's batch would have it, too.
        with db.transaction(self._conn, survives_server=True):
            lease = Lease(self._token, db.now(self._conn, self._clock), LEASE_SECONDS, suspects=alone)
            if queue_manager.release_expired(self._conn, now=lease.now):
                log.warning("rows whose lease had ended are free again: their worker has been stopped, not killed")
            claim = queue_manager.claim_next(
                self._conn,
                lease,
                place=settings.place,
                prefix=settings.prefix,
                limit=min(settings.threads * ROWS_PER_THREAD, self.room),
                new_batch=self._new_batch(lease.now) if settings.batches else None,
            )
        self._in_hand += len(claim.items)
        self.are_suspect = claim.is_suspect
        if claim.batch_key is not None:
            return [Job(claim.items, claim.batch_key)]
        return [Job([item]) for item in claim.items]

    def _new_batch(self, now: str) -> NewBatch:
        return NewBatch(
            limit=min(BATCH_ROWS, self.room),
            max_bytes=BATCH_BYTES,
            fetched_before=timestamps.shift(now, seconds=-BATCH_LINGER_SECONDS) if self._settings.follow else None,
            key_of=lambda items: objects.batch_key(self._settings.prefix, items),
        )

    def extend_if_due(self) -> None:
        if self._clock.monotonic() - self._extended_at >= LEASE_EXTENSION_SECONDS:
            with db.transaction(self._conn):
                lease = Lease(self._token, db.now(self._conn, self._clock), LEASE_SECONDS)
                queue_manager.extend_leases(self._conn, lease)
            self._extended_at = self._clock.monotonic()

    def note(self, outcomes: Sequence[Outcome], stored_bytes: int | None = None) -> None:
        """What the next commit is to write down; an object that was stored counts from now on."""
        self._finished += outcomes
        if stored_bytes is not None:
            self.result = self.result._replace(objects=self.result.objects + 1, bytes=self.result.bytes + stored_bytes)

    def commit_if_due(self, *, last: bool) -> None:
        due = self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS or len(self._finished) >= COMMIT_ROWS
        if self._finished and (due or last):
            with db.transaction(self._conn):
                result = self._record_all()
            self._committed(result)
        if last:
            self.are_suspect = False

    def settle(self) -> None:
        """Write down what is finished and hand back the rest, where it is still ours; then nothing is remembered."""
        with db.transaction(self._conn, afresh=True):
            queue_manager.lock(self._conn, token=self._token)
            result = self._record_all()
            released = queue_manager.release(self._conn, token=self._token)
        self._committed(result._replace(released=result.released + released))
        self._in_hand = 0  # also what a claim took whose answer was lost, and which was never counted
        self.are_suspect = False

    def _committed(self, result: Result) -> None:
        self.result = result
        self._in_hand -= len(self._finished)
        self._ended += sum(outcome.ending not in (Ending.ARCHIVED, Ending.PARTED) for outcome in self._finished)
        self._finished = []
        self._committed_at = self._clock.monotonic()
        self._on_progress(result)

    def _record_all(self) -> Result:
        """Write the outcomes down, inside the caller's transaction; a row that is no longer ours changes nothing."""
        self._archived = 0
        if not self._finished:
            return self.result
        queue_manager.lock(self._conn, token=self._token, item_ids=[outcome.item.id for outcome in self._finished])
        result, now = self.result, db.now(self._conn, self._clock)
        for outcome in self._finished:
            if outcome.ending is not Ending.DONE:
                result = self._record(outcome, result, now)
        done = [outcome for outcome in self._finished if outcome.ending is Ending.DONE]
        if done:
            result = result._replace(done=result.done + self._complete(done, now))
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
        return result._replace(retrying=result.retrying + self._put_off(outcome, now))

    def _complete(self, outcomes: Sequence[Outcome], now: str) -> int:
        """Returns how many of the rows were still ours."""
        s3_keys = {outcome.item.id: outcome.s3_key or "" for outcome in outcomes}
        ours = queue_manager.complete(self._conn, s3_keys=s3_keys, token=self._token, now=now)
        self._archived += sum(outcome.item.id in ours and outcome.item.s3_key is None for outcome in outcomes)
        if len(ours) < len(s3_keys):
            self._archived += queue_manager.note_rest_archived(self._conn, s3_keys=s3_keys, completed=ours)
        db.upsert_all(
            self._conn,
            (
                Row(row.table, {**row.columns, "processed_at": now})
                for outcome in outcomes
                if outcome.item.id in ours
                for row in outcome.rows
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

    def _put_off(self, outcome: Outcome, now: str) -> bool:
        item = outcome.item
        seconds = queue_manager.backoff_seconds(attempts=item.attempts + 1, jitter=self._rng.random())
        available_at = timestamps.shift(now, seconds=seconds)
        return queue_manager.put_off(
            self._conn, item_id=item.id, token=self._token, error=outcome.error, available_at=available_at
        )
