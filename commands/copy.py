"""`copy`: the archive to another place."""

from __future__ import annotations

import logging

import db
from commands import archive_choice, options, reports
from commands.archive_choice import Location, Place
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
    bar = context.bar(unit=" objects")
    with bar, SignalsRaise():
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
        if not result.failed:
            _note(context.db_path, here, there)
    if not result.objects:
        log.warning("%s: %s", here, archive_choice.NOTHING_THERE)
    summary = {"command": "copy", **result._asdict(), "seconds": round(context.clock.monotonic() - started, 3)}
    context.show(summary, reports.copy_lines(summary))
    return EXIT_FAILED if result.failed else EXIT_OK


def _note(db_path: str, source: Place, target: Place) -> None:
    """Where there is a database, it need no longer say that something lies only in the source."""
    if not db.exists(db_path):
        return
    conn = db.connect(db_path)
    try:
        with db.transaction(conn):
            notes.note_copied(conn, source=source.text, target=target.text)
    finally:
        conn.close()
