"""`rebuild`: fills `issues` from the archive alone."""

from __future__ import annotations

import logging
from typing import Sequence

import db
from commands import archive_choice, figures, options, reports
from commands.context import Context
from commands.signals import SignalsRaise
from foundation.errors import EXIT_FAILED, EXIT_OK
from lake import rebuild

log = logging.getLogger("pipeline.rebuild")


def run(
    context: Context,
    *,
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    threads: int,
    repos: Sequence[str],
    restart: bool,
) -> int:
    started = context.clock.monotonic()
    location = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=context.environ)
    place = location.place(prefix, context.environ)
    store = archive_choice.open_archive(
        location, threads=threads, environ=context.environ, user_agent=options.USER_AGENT, only_read=True
    )
    conn = db.connect(context.db_path)
    bar = context.bar(unit=" objects")
    what = f"the table `issues` from {location}, {', '.join(repos) or 'all repositories'}"
    with bar, SignalsRaise(), context.recorded(conn, command="rebuild", what=what) as record:
        record.hold(["rebuild"])
        job = rebuild.Rebuild(
            conn=conn,
            store=store,
            where=place.text,
            prefix=prefix,
            repos=frozenset(repo.lower() for repo in repos) or None,
            threads=threads,
            clock=context.clock,
            on_progress=lambda result: bar.update(result.objects, f"{result.unreadable} unreadable"),
        )
        result = job.run(restart=restart)
        wrong = _what_is_wrong(result)
        code = EXIT_FAILED if wrong else EXIT_OK
        record.ended(code, wrong)
    if wrong:
        log.error("%s: %s", place, wrong)
    elif not result.listed:
        log.warning("%s: %s", place, archive_choice.NOTHING_THERE)
    summary = {
        "command": "rebuild",
        **result._asdict(),
        "issues": figures.issues_count(conn),
        "seconds": round(context.clock.monotonic() - started, 3),
    }
    conn.close()
    context.show(summary, reports.rebuild_lines(summary))
    return code


def _what_is_wrong(result: rebuild.Result) -> str | None:
    said = [f"{result.unreadable} payloads could not be read"] if result.unreadable else []
    if result.missing:
        said.append(
            f"the listing shows {result.listed} objects, and {result.missing} more were read: they are gone, or it is "
            "not whole; look what became of them, then run again"
        )
    return "; ".join(said) or None
