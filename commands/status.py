"""`status`: what is queued, done and failed, and how fresh it is."""

from __future__ import annotations

from typing import Any, Mapping

import db
import owners
import queue_manager
import reports
import settings
import timestamps
from clock import Clock
from errors import EXIT_OK

FAILED_ITEMS_SHOWN = 20
REASONS_SHOWN = 10


def run(
    *, environ: Mapping[str, str], clock: Clock, db_path: str, quiet: bool, as_json: bool, no_progress: bool
) -> int:
    with db.onlooker(db_path) as conn:
        oldest = queue_manager.oldest_pending(conn)
        summary = {
            "command": "status",
            "queue": queue_manager.counts(conn)._asdict(),
            "oldest_pending_seconds": max(0, int(clock.now() - timestamps.to_epoch(oldest))) if oldest else None,
            "waiting": queue_manager.waiting(conn, now=clock.utc())._asdict(),
            "issues": queue_manager.issues_count(conn),
            "repos": queue_manager.streams(conn),
            "runs": [_shown(run, db_path) for run in queue_manager.runs(conn)],
            "failed_reasons": queue_manager.failed_reasons(conn, limit=REASONS_SHOWN),
            "failed_items": queue_manager.failed_items(conn, limit=FAILED_ITEMS_SHOWN),
            "db_bytes": db.size_bytes(db_path),
        }
    lines = [settings.one_line(line, environ) for line in reports.status_lines(summary)]
    reports.show(summary, lines, as_json=as_json)
    return EXIT_OK


def _shown(run: Mapping[str, Any], db_path: str) -> dict[str, Any]:
    """A run without its token, which is of no use to anyone, but with what the token tells."""
    if run["ended_at"] is not None:
        state = "ended"
    elif not owners.is_alive(db_path, run["owner"]):
        state = "died"
    else:
        state = "waiting" if run["note"] else "running"
    return {"state": state, **{name: value for name, value in run.items() if name != "owner"}}
