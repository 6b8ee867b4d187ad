"""What an upload thread does: rows -> one object -> how each row came out; and the threads. Touches no database.

A broad `except` stands here: whether a surprise is the item's fault or ours is judged in verdicts.py.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
from typing import Callable, NamedTuple, Sequence

from foundation.errors import PipelineError
from foundation.records import ClaimedItem, Row
from github import fields
from github.streams import KINDS
from lake import objects
from lake.objects import Archive, ItemRefused, Throttled
from lake.upload_limit import UploadLimit

log = logging.getLogger("pipeline.worker")


class Ending(enum.Enum):
    """How the work on one row ended."""

    DONE = enum.auto()
    ARCHIVED = enum.auto()  # the object is there; extraction is another step
    UNREADABLE = enum.auto()  # archived, but its fields can't be extracted
    REFUSED = enum.auto()  # the item's own fault; another attempt may help
    PARTED = enum.auto()  # its batch was refused, whoever's fault that is
    SURPRISED = enum.auto()  # by an exception that nobody thought of: the item's own fault, or ours
    STOPPED = enum.auto()  # not the item's fault: an outage, or the run ended before its turn


class Outcome(NamedTuple):
    """`rows` are empty for one that is done where later versions in its batch take their places in the tables."""

    item: ClaimedItem
    ending: Ending
    s3_key: str | None = None
    rows: Sequence[Row] = ()
    error: str = ""


class Job(NamedTuple):
    """Rows that share an object (`batch_key`), or one row that has its own, or has been archived before."""

    items: Sequence[ClaimedItem]
    batch_key: str | None = None

    @property
    def is_archived(self) -> bool:
        return self.items[0].s3_key is not None

    @property
    def payload_bytes(self) -> int:
        return sum(len(item.payload) for item in self.items)


class JobResult(NamedTuple):
    """`stored_bytes` None: nothing was uploaded. `outage` says why the run has to stop."""

    outcomes: list[Outcome]
    stored_bytes: int | None = None
    outage: PipelineError | None = None


class UnderWay:
    """Jobs in so many threads. Belongs to one thread, as do `count` and `payload_bytes` of jobs not taken back yet.

    What a pool of concurrent.futures does besides takes half of what a small job costs.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._todo: queue.SimpleQueue[tuple[Callable[[Job], JobResult], Job] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[Job, JobResult | BaseException]] = queue.SimpleQueue()
        self.count = 0
        self.payload_bytes = 0

    def begin(self, work: Callable[[Job], JobResult], job: Job) -> None:
        """Raises RuntimeError where there is no room for a thread: then it is not begun."""
        if self.count >= len(self._threads) < self._most:
            # A daemon: the process may end while it waits for an answer.
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._todo.put((work, job))
        self.count += 1
        self.payload_bytes += job.payload_bytes

    def _work(self) -> None:
        for work, job in iter(self._todo.get, None):
            try:
                self._ended.put((job, work(job)))
            except BaseException as error:  # handed to the thread that takes the results
                self._ended.put((job, error))
            del job  # not kept in memory while waiting for the next

    def take_ended(self, *, seconds: float) -> list[JobResult]:
        """The results of all that have ended; waits for the first, so many seconds at most."""
        ended: list[tuple[Job, JobResult | BaseException]] = []
        try:
            ended.append(self._ended.get(timeout=seconds))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            self.count -= len(ended)
            self.payload_bytes -= sum(job.payload_bytes for job, _ in ended)
        return [_result(result) for _, result in ended]

    def leave(self) -> None:
        """What is still under way may reach the archive later: the same bytes under the same key."""
        for _ in self._threads:
            self._todo.put(None)


def _result(ended: JobResult | BaseException) -> JobResult:
    if isinstance(ended, BaseException):
        raise ended
    return ended


class _Stopped(Exception):
    """The run ended before it was this upload's turn."""


class Uploader:
    """Does jobs; safe to use from several threads. `is_stopping()` is asked before each upload."""

    def __init__(self, *, store: Archive, limit: UploadLimit, prefix: str, is_stopping: Callable[[], bool]) -> None:
        self._store = store
        self._limit = limit
        self._prefix = prefix
        self._is_stopping = is_stopping

    def run(self, job: Job) -> JobResult:
        """Never raises: each row of the job has its outcome."""
        return _whatever_happens(self._run, job)

    def _run(self, job: Job) -> JobResult:
        if self._is_stopping():
            raise _Stopped
        first = job.items[0]
        made = objects.batch(job.batch_key, job.items) if job.batch_key else objects.single(self._prefix, first)
        self._upload(made)
        if first.group_failures:
            # One of them may be what killed a process: they are extracted each on its own, once all are safe, and a
            # death before that speaks of the upload.
            return JobResult([Outcome(item, Ending.ARCHIVED, s3_key=made.key) for item in job.items], len(made.body))
        outcomes = [_extracted(item, made.key, made.fetched_order) for item in job.items]
        newest = objects.newest([outcome.rows for outcome in outcomes])
        outcomes = [outcome._replace(rows=rows) for outcome, rows in zip(outcomes, newest)]
        return JobResult(outcomes, len(made.body))

    def _upload(self, made: objects.Object) -> None:
        while True:
            with self._limit.place() as size:
                if self._is_stopping():
                    raise _Stopped
                try:
                    self._store.put(made)
                except Throttled:
                    if not self._limit.lower(size):
                        raise
                else:
                    self._limit.succeeded()
                    return


def extract(job: Job) -> JobResult:
    """For a row that has been archived before; asks nothing of the archive. Never raises."""

    def run(job: Job) -> JobResult:
        (item,) = job.items
        return JobResult([_extracted(item, item.s3_key or "", item.fetched_order)])

    return _whatever_happens(run, job)


def _whatever_happens(run: Callable[[Job], JobResult], job: Job) -> JobResult:
    try:
        return run(job)
    except ItemRefused as error:
        ending = Ending.REFUSED if len(job.items) == 1 else Ending.PARTED
        return JobResult([Outcome(item, ending, error=str(error)) for item in job.items])
    except _Stopped:
        return JobResult([Outcome(item, Ending.STOPPED) for item in job.items])
    except PipelineError as error:
        return JobResult([Outcome(item, Ending.STOPPED) for item in job.items], outage=error)
    except Exception as error:  # the reason is kept with the row
        log.debug("rows %s", [item.id for item in job.items], exc_info=True)
        said = f"{type(error).__name__}: {error!a}"
        return JobResult([Outcome(item, Ending.SURPRISED, error=said) for item in job.items])


def _extracted(item: ClaimedItem, key: str, fetched_order: str) -> Outcome:
    """`fetched_order` is the object's, as `rebuild` will find it."""
    try:
        rows = KINDS[item.item_type].rows(item.repo, fields.parse_payload(item.payload))
    except fields.ExtractionError as error:
        return Outcome(item, Ending.UNREADABLE, s3_key=key, error=f"archived, but not extracted: {error}")
    of_archive = {"s3_key": key, "payload_sha256": item.payload_sha256, "fetched_order": fetched_order}
    return Outcome(item, Ending.DONE, key, [Row(row.table, {**row.columns, **of_archive}) for row in rows])
