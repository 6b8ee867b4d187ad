"""`worker`: queue -> archive + table `issues`."""

from __future__ import annotations

import random
from typing import Mapping

import db
import options
import progress
import queue_manager
import reports
import s3_writer
import worker
from clock import Clock
from errors import EXIT_FAILED, EXIT_OK, ConfigurationError, Interrupted
from signals import SignalsCall


def run(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    threads: int,
    max_attempts: int,
    limit: int | None,
) -> int:
    if bucket and archive_dir:
        raise ConfigurationError("--bucket and --archive-dir exclude each other; give one")
    bucket = None if archive_dir else bucket or environ.get("BUCKET_NAME")
    if not bucket and not archive_dir:
        raise ConfigurationError("no archive: give --bucket NAME (or set BUCKET_NAME), or --archive-dir DIR")
    started = clock.monotonic()
    # NORMAL: a power cut may cost the last moments' `done`s, whose uploads are then repeated to the same keys.
    conn = db.connect(db_path, synchronous="NORMAL")
    archive: s3_writer.Archive = (
        s3_writer.DirectoryArchive(archive_dir)
        if archive_dir
        else s3_writer.S3Archive(bucket=bucket or "", threads=threads, environ=environ, user_agent=options.USER_AGENT)
    )
    pending = queue_manager.counts(conn).pending
    bar = progress.start(unit=" items", total=pending, quiet=quiet, no_progress=no_progress, monotonic=clock.monotonic)
    run = worker.Worker(
        conn=conn,
        db_path=db_path,
        archive=archive,
        clock=clock,
        rng=random.Random(),
        prefix=prefix,
        threads=threads,
        max_attempts=max_attempts,
        limit=limit,
        on_progress=lambda result: bar.update(result.done + result.failed, f"{result.failed} failed"),
    )
    with SignalsCall(run.stop) as received:
        result = run.run()
    bar.close()
    summary = {
        "command": "worker",
        **result._asdict(),
        "pending": queue_manager.counts(conn).pending,
        "seconds": round(clock.monotonic() - started, 3),
    }
    conn.close()
    reports.show(summary, reports.worker_lines(summary), as_json=as_json, quiet=quiet)
    if run.outage is not None:
        raise run.outage
    if received:
        raise Interrupted(received[0])
    return EXIT_FAILED if result.failed else EXIT_OK
