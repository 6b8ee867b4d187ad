"""`worker`: queue -> archive + table `issues`."""

from __future__ import annotations

import contextlib
import logging
import random
from multiprocessing.connection import Connection
from typing import Callable, Iterator, Mapping, NamedTuple, Sequence, TypeVar

import db
import queue_manager
import worker
from commands import archive_choice, options, output, reports, runs
from commands import processes as parallel
from commands.context import Context
from commands.signals import ParentCalls, SignalsCall
from foundation import logs
from foundation.clock import SYSTEM_CLOCK, Clock
from foundation.errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, Interrupted, Outage, PipelineError
from lake import notes
from lake.objects import ObjectOptions
from worker import Result

log = logging.getLogger("pipeline.worker")
T = TypeVar("T")


class Work(NamedTuple):
    """What one worker process is to do; handed to processes of its own with --processes."""

    environ: Mapping[str, str]
    logs: logs.Choice
    db_path: str
    location: archive_choice.Location
    objects: ObjectOptions
    settings: worker.Settings


class Worked(NamedTuple):
    """How it ended. `signum`: the signal that stopped it. `in_hand`: rows may be left that it could not hand back."""

    result: Result
    outage: PipelineError | None = None
    signum: int | None = None
    in_hand: bool = False

    @property
    def exit_code(self) -> int:
        if self.signum is not None:  # whoever sent it looks for its code, whatever else was wrong at the time
            return 128 + self.signum
        if self.outage is not None:
            return self.outage.exit_code
        return EXIT_FAILED if self.result.failed else EXIT_OK


def run(
    context: Context,
    *,
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    layout: str,
    threads: int,
    processes: int,
    max_attempts: int,
    limit: int | None,
    follow: bool,
    ignored_users: Sequence[str] | None,
    storage_class: str | None,
    encryption: str | None,
    kms_key_id: str | None,
    tags: Sequence[tuple[str, str]],
) -> int:
    started = context.clock.monotonic()
    location = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=context.environ)
    objects = archive_choice.object_options(
        storage_class, encryption, kms_key_id, tags, is_local=archive_dir is not None
    )
    place = location.place(prefix, context.environ)
    settings = worker.Settings(prefix, layout == "batch", threads, max_attempts, limit, follow, place.text)
    work = Work(context.environ, logs.current(), context.db_path, location, objects, settings)
    conn = _once_there(lambda: _connected(context.db_path, place), work, context.clock, wait=context.clock.sleep)
    if ignored_users is not None:
        db.replace_ignored_users(conn, ignored_users)
    total = None if follow else queue_manager.counts(conn).pending
    bar = context.bar(unit=" items", total=total)

    def report(result: Result) -> None:
        bar.update(result.done + result.failed, f"{result.failed} failed")

    with bar:
        worked = _work(report, work, context.clock) if processes == 1 else _work_in_processes(report, work, processes)
        bar.close(_why_not_all(worked))
    summary = {
        "command": "worker",
        **worked.result._asdict(),
        "pending": _pending(conn, worked),
        "seconds": round(context.clock.monotonic() - started, 3),
    }
    conn.close()
    came_to_nothing = worked.outage is not None and worked.result.ended == 0
    context.show(summary, reports.worker_lines(summary), quiet=context.quiet or came_to_nothing)
    if worked.signum is not None:
        raise Interrupted(worked.signum, _farewell(worked))
    if worked.outage is not None:
        raise worked.outage
    return worked.exit_code


def _once_there(attempt: Callable[[], T], work: Work, clock: Clock, *, wait: Callable[[float], object]) -> T:
    """What `attempt` returns. With --follow a database that is not there yet is waited for, as later outages are."""
    outages = 0
    while True:
        try:
            return attempt()
        except (Outage, *db.Error) as error:
            outage = db.explain(error, work.db_path) if isinstance(error, db.Error) else error
            if not (work.settings.follow and isinstance(outage, Outage)):
                raise
        outages += 1
        seconds, _ = worker.pause(outage, outages, clock, random.Random())
        wait(seconds)


def _connected(db_path: str, place: archive_choice.Place) -> db.Connection:
    conn = db.connect(db_path)
    try:
        _say_what_lies_elsewhere(conn, place)
    except BaseException:
        conn.close()
        raise
    return conn


def _pending(conn: db.Connection, worked: Worked) -> int | None:
    """None where the outage that ended the run is the database's: what it ended by is to be said all the same."""
    try:
        return queue_manager.counts(conn).pending
    except db.Error:
        if worked.signum is None and worked.outage is None:
            raise
        return None


def _why_not_all(worked: Worked) -> str | None:
    """Why the bar does not end at 100 %."""
    if worked.result.stopped_by is not None:
        return f"stopped by {worked.result.stopped_by}"
    return f"{worked.result.retrying} wait for another attempt" if worked.result.retrying else None


def _farewell(worked: Worked) -> str:
    if worked.in_hand:
        return f"interrupted, but rows could not be handed back: {worked.outage}; the next worker takes them over"
    said = "interrupted: what was claimed is handed back, the next run goes on from here"
    return said if worked.outage is None else f"{said} (before that: {worked.outage})"


def _say_what_lies_elsewhere(conn: db.Connection, here: archive_choice.Place) -> None:
    """A warning at the first run with another archive; who goes on with it has read that."""
    level = logging.INFO if notes.is_known_archive(conn, here.text) else logging.WARNING
    for text, items in notes.archived_elsewhere(conn, here=here.text).items():
        there = archive_choice.Place.of_text(text)
        bring = archive_choice.how_to_bring(there, here)
        log.log(level, "%d items lie in %s, not in %s; %s", items, there, here, bring)


def _work(
    report: Callable[[Result], None],
    work: Work,
    clock: Clock = SYSTEM_CLOCK,
    signals_of: Callable[[Callable[[int], None]], SignalsCall | ParentCalls] = SignalsCall,
) -> Worked:
    job: worker.Worker | None = None

    def stop(signum: int) -> None:
        if job is not None:
            job.stop()

    signals = signals_of(stop)

    def wait(seconds: float) -> None:
        signals.wait(seconds)
        if signals.received is not None:
            raise Interrupted(signals.received)

    with signals, contextlib.ExitStack() as until_the_end:
        try:
            conn, record = _once_there(lambda: until_the_end.enter_context(_begun(work, clock)), work, clock, wait=wait)
        except Interrupted:
            return Worked(worker.Result(stopped_by="signal"), signum=signals.received)
        job = worker.Worker(
            conn=conn,
            db_path=work.db_path,
            token=record.token,
            open_archive=lambda: archive_choice.open_archive(
                work.location,
                threads=work.settings.threads,
                environ=work.environ,
                user_agent=options.USER_AGENT,
                options=work.objects,
            ),
            settings=work.settings,
            clock=clock,
            rng=random.Random(),
            idle=signals.wait,
            on_progress=report,
            on_wait=record.wait_for,
        )
        if signals.received is not None:  # before there was anything to stop
            job.stop()
        result = job.run()
        worked = Worked(result, job.outage, signals.received, job.in_hand)
        record.ended(worked.exit_code, None if job.outage is None else str(job.outage))
    return worked


@contextlib.contextmanager
def _begun(work: Work, clock: Clock) -> Iterator[tuple[db.Connection, runs.Run]]:
    """A connection, and the record of the run, which has its end when the block ends."""
    # NORMAL: a power cut may cost the last moments' `done`s, whose uploads are then repeated to the same keys. A batch
    # that is begun must survive it: its rows would go into another object else, and be in the archive twice.
    conn = db.connect(work.db_path, synchronous="FULL" if work.settings.batches else "NORMAL")
    with contextlib.closing(conn), runs.recorded(
        conn, db_path=work.db_path, command="worker", what=_what(conn, work), clock=clock, environ=work.environ
    ) as record:
        yield conn, record


def _what(conn: db.Connection, work: Work) -> str:
    layout = "batches" if work.settings.batches else "objects"
    return f"{queue_manager.counts(conn).pending} rows are pending, into {work.location} as {layout}"


def _work_in_processes(report: Callable[[Result], None], work: Work, count: int) -> Worked:
    """The same in several processes side by side, each as a worker of its own; their figures summed."""
    limits = _shares(work.settings.limit, count)
    before = [Result()] * count  # by processes that died
    latest = [Result()] * count

    def part(index: int) -> Work:
        limit = limits[index]
        left = None if limit is None else max(0, limit - before[index].ended)
        return work._replace(environ=dict(work.environ), settings=work.settings._replace(limit=left))

    def again(index: int) -> Work | None:
        before[index] = latest[index]
        return part(index) if work.settings.follow else None

    def on_report(index: int, result: Result) -> None:
        latest[index] = _sum([before[index], result])
        report(_sum(latest))

    parts = [part(index) for index in range(count)]
    group = parallel.Processes(_work_as_child, parts, on_report=on_report, again=again)
    with SignalsCall(group.stop) as signals:
        ends = group.run()
    outages: list[PipelineError] = []
    in_hand = False
    for index, end in enumerate(ends):
        if isinstance(end.value, Worked):
            latest[index] = _sum([before[index], end.value.result])
            outages += [end.value.outage] if end.value.outage else []
            in_hand |= end.value.in_hand
        elif isinstance(end.error, parallel.Died):
            outages += [Outage("a worker process was killed, perhaps for want of memory; run again")]
            in_hand = True
        elif end.error is not None:
            raise end.error
    # What only a person can put right comes first.
    outages.sort(key=lambda outage: outage.exit_code != EXIT_CONFIGURATION)
    return Worked(_sum(latest), outages[0] if outages else None, signals.received, in_hand)


def _work_as_child(report: Callable[[Result], None], control: Connection, work: Work) -> Worked:
    output.make_safe()
    logs.set_up(work.logs, work.environ)
    return _work(report, work, signals_of=lambda stop: ParentCalls(control, stop))


def _shares(limit: int | None, count: int) -> list[int | None]:
    if limit is None:
        return [None] * count
    return [limit // count + (index < limit % count) for index in range(count)]


def _sum(results: Sequence[Result]) -> Result:
    reasons = {result.stopped_by for result in results}
    stopped_by = next((reason for reason in ("signal", "outage", "limit") if reason in reasons), None)
    figures = {
        name: sum(getattr(result, name) for result in results) for name in Result._fields if name != "stopped_by"
    }
    return Result(**figures, stopped_by=stopped_by)
