"""`forget`: ends what keeps an alert firing: a repository, or a failed row, that nobody wants any more."""

from __future__ import annotations

from typing import Sequence

import db
import queue_manager
from commands import reports
from commands.context import Context
from commands.signals import SignalsRaise
from cursors import repo_names
from foundation.errors import EXIT_OK, ConfigurationError


def run(
    context: Context,
    *,
    repos: Sequence[str],
    item_ids: Sequence[int] | None,
) -> int:
    """Nothing that is archived is touched, and no row that still has to be. All that is asked for, or nothing."""
    items = sorted(set(item_ids or ()))
    if not repos and not items:
        raise ConfigurationError("nothing to forget: give --repo OWNER/NAME or --item ID")
    conn = db.connect(context.db_path, must_exist=True)
    what = ", ".join([*repos, *(f"row {item}" for item in items)])
    with SignalsRaise(), context.recorded(conn, command="forget", what=what) as record:
        names = {name.lower() for name in repo_names.kept_as(conn, repos).values()}
        record.hold([f"ingest of {name}" for name in sorted(names)])
        with db.transaction(conn):
            streams = sum(_forgotten(conn, repo) for repo in repos)
            others = [item for item in items if not queue_manager.drop(conn, item_ids=[item])]
            if others:
                raise ConfigurationError(reports.no_failed_rows(others))
    conn.close()
    summary = {"command": "forget", "streams": streams, "items": len(items)}
    context.show(summary, [f"forgot {streams} streams and {len(items)} failed rows"])
    return EXIT_OK


def _forgotten(conn: db.Connection, repo: str) -> int:
    streams = repo_names.forget(conn, repo=repo)
    if not streams:
        raise ConfigurationError(f"--repo {repo}: nothing is known of it; `status` shows what is")
    return streams
