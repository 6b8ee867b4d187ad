"""`copy`: the archive to another place."""

from __future__ import annotations

import contextlib
import logging

import db
from commands import archive_choice, options, reports
from commands.archive_choice import Location
from commands.context import Context
from commands.signals import SignalsRaise
from foundation.errors import EXIT_FAILED, EXIT_OK, ConfigurationError
from lake import copying, notes

log = logging.getLogger("pipeline.copy")


def run(
    context: Context,
    *,
    bucket: str | None,
    archive_dir: str | None,
    to_bucket: str | None,
    to_archive_dir: str | None,
    prefix: str,
    threads: int,
) -> int:
    started = context.clock.monotonic()
    source = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=context.environ)
    target = Location(to_bucket, to_archive_dir)
    here, there = source.place(prefix, context.environ), target.place(prefix, context.environ)
    if here == there:
        raise ConfigurationError(f"{here} is both where to copy from and where to; give another --to-...")
    # Where there is a database, it need no longer say that something lies only in the source. It is reached before
    # anything is copied: what is wrong with it is better said now than hours later.
    conn = db.connect(context.db_path) if db.exists(context.db_path) else None
    bar = context.bar(unit=" objects")
    with contextlib.closing(conn) if conn else contextlib.nullcontext(), bar, SignalsRaise():
        copier = copying.Copier(
            source=archive_choice.open_archive(
                source, threads=threads, environ=context.environ, user_agent=options.USER_AGENT, only_read=True
            ),
            target=archive_choice.open_archive(
                target, threads=threads, environ=context.environ, user_agent=options.USER_AGENT
            ),
            prefix=prefix,
            threads=threads,
            on_progress=lambda result: bar.update(result.objects, f"{result.skipped} there already"),
        )
        result = copier.run()
        if conn and not result.failed:
            with db.transaction(conn):
                notes.note_copied(conn, source=here.text, target=there.text)
    if not result.objects:
        log.warning("%s: %s", here, archive_choice.NOTHING_THERE)
    summary = {"command": "copy", **result._asdict(), "seconds": round(context.clock.monotonic() - started, 3)}
    context.show(summary, reports.copy_lines(summary))
    return EXIT_FAILED if result.failed else EXIT_OK
