"""`rebuild`: fills `issues` from the archive alone."""

from __future__ import annotations

import logging
from typing import Mapping, Sequence

import db
import queue_manager
from commands import archive_choice, options, progress, reports, runs
from commands.signals import SignalsRaise
from foundation.clock import Clock
from foundation.errors import EXIT_FAILED, EXIT_OK
from lake import rebuild

log = logging.getLogger("pipeline.rebuild")


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
    repos: Sequence[str],
    restart: bool,
) -> int:
    started = clock.monotonic()
    location = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=environ)
    place = location.place(prefix, environ)
    store = archive_choice.open_archive(
        location, threads=threads, environ=environ, user_agent=options.USER_AGENT, only_read=True
    )
    conn = db.connect(db_path)
    bar = progress.start(unit=" objects", total=None, quiet=quiet, no_progress=no_progress, monotonic=clock.monotonic)
    what = f"the table `issues` from {location}, {', '.join(repos) or 'all repositories'}"
    with bar, SignalsRaise(), runs.recorded(
        conn, db_path=db_path, command="rebuild", what=what, clock=clock, environ=environ
    ) as record:
        record.hold(["rebuild"])
        job = rebuild.Rebuild(
            conn=conn,
            store=store,
            where=place.text,
            prefix=prefix,
            repos=frozenset(repo.lower() for repo in repos) or None,
            threads=threads,
            clock=clock,
            on_progress=lambda result: bar.update(result.objects, f"{result.unreadable} unreadable"),
        )
        result = job.run(restart=restart)
        wrong = _what_is_wrong(result)
        code = EXIT_FAILED if wrong else EXIT_OK
        record.ended(code, wrong)
    if wrong:
        log.error("%s: %s", place, wrong)
    elif not result.listed:
        log.warning("%s: no object of this project is there; check --prefix", place)
    summary = {
        "command": "rebuild",
        **result._asdict(),
        "issues": queue_manager.issues_count(conn),
        "seconds": round(clock.monotonic() - started, 3),
    }
    conn.close()
    reports.show(summary, reports.rebuild_lines(summary), as_json=as_json, quiet=quiet)
    return code


def _what_is_wrong(result: rebuild.Result) -> str | None:
    said = [f"{result.unreadable} payloads could not be read"] if result.unreadable else []
    if result.missing:
        said.append(
            f"the listing shows {result.listed} objects, and {result.missing} more were read: they are gone, or it is "
            "not whole; look what became of them, then run again"
        )
    return "; ".join(said) or None
