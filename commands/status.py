"""`status`: what is queued, done and failed, and how fresh it is."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

import db
import queue_manager
from commands import figures, reports, runs
from commands.context import Context
from engines import presence
from foundation import settings, timestamps
from foundation.errors import EXIT_OK, PipelineError

FAILED_ITEMS_SHOWN = 20
REASONS_SHOWN = 10


def run(
    context: Context,
    *,
    max_age_seconds: int | None,
    max_failed: int | None,
) -> int:
    with db.onlooker(context.db_path) as conn:
        utc = db.now(conn, context.clock)
        summary = found(conn, context.db_path, now=utc)
    now = timestamps.to_epoch(utc)
    alerts = [*_too_old(summary, max_age_seconds, now), *_too_many_failed(summary, max_failed)]
    if max_age_seconds is not None or max_failed is not None:
        summary["alerts"] = alerts
    lines = [settings.one_line(line, context.environ) for line in reports.status_lines(summary)]
    context.show(summary, lines, quiet=False)
    if alerts:
        more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
        raise PipelineError(alerts[0] + more)
    return EXIT_OK


def found(conn: db.Connection, db_path: str, *, now: str, repos: Sequence[str] = ()) -> dict[str, Any]:
    """`repos`: of these alone is told what waits in the queue and what failed; empty: of all, and what is done."""
    oldest = figures.oldest_pending(conn, repos)
    return {
        "command": "status",
        "queue": figures.unfinished(conn, repos) if repos else queue_manager.counts(conn)._asdict(),
        "oldest_pending_seconds": max(0, int(timestamps.to_epoch(now) - timestamps.to_epoch(oldest)))
        if oldest
        else None,
        "waiting": figures.waiting(conn, now=now)._asdict(),
        "issues": figures.issues_count(conn),
        "repos": figures.streams(conn),
        "runs": [_shown(run, conn, db_path) for run in runs.runs(conn)],
        "failed_reasons": figures.failed_reasons(conn, repos, limit=REASONS_SHOWN),
        "failed_items": figures.failed_items(conn, repos, limit=FAILED_ITEMS_SHOWN),
        "db_bytes": db.size_bytes(conn, db_path),
        "vacuum": db.vacuuming(conn),
    }


def _too_old(summary: Mapping[str, Any], max_age_seconds: int | None, now: float) -> Iterator[str]:
    """What was not done for longer than that, in words; a stream that never succeeded is beyond any age."""
    if max_age_seconds is None:
        return
    limit = f"--max-age allows {max_age_seconds} s"
    for row in summary["repos"]:
        name, success = f"{row['repo']} {row['stream']}", row["last_success_at"]
        if success is None:
            said = row["last_error"] or "no run has ended"
            end = "" if "`forget" in said else "; `forget --repo` ends this where nobody wants it"
            yield f"{name} has never been read to its end: {said}{end}"
        elif (age := int(now - timestamps.to_epoch(success))) > max_age_seconds:
            yield f"{name} was last read to its end {age} s ago ({success}), {limit}" + (
                f": {row['last_error']}" if row["last_error"] else ""
            )
    waits = summary["oldest_pending_seconds"]
    if waits is not None and waits > max_age_seconds:
        yield f"a row has been pending for {waits} s, {limit}; see that a worker runs"


def _too_many_failed(summary: Mapping[str, Any], max_failed: int | None) -> Iterator[str]:
    failed = summary["queue"]["failed"]
    if max_failed is not None and failed > max_failed:
        first = summary["failed_reasons"][0]["reason"]
        yield f"{failed} rows are failed, --max-failed allows {max_failed}; most often: {first}"


def _shown(run: Mapping[str, Any], conn: db.Connection, db_path: str) -> dict[str, Any]:
    """A run without its token, which is of no use to anyone, but with what the token tells."""
    if run["ended_at"] is not None:
        state = "ended"
    elif not presence.is_alive(conn, db_path, run["owner"]):
        state = "died"
    else:
        state = "waiting" if run["note"] else "running"
    return {"state": state, **{name: value for name, value in run.items() if name != "owner"}}
