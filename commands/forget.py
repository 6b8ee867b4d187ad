"""`forget`: ends what keeps an alert firing: a repository, or a failed row, that nobody wants any more."""

from __future__ import annotations

import sqlite3
from typing import Sequence

import db
import queue_manager
from commands.context import Context
from commands.signals import SignalsRaise
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
        names = {queue_manager.kept_as(conn, repo).lower() for repo in repos}
        record.hold([f"ingest of {name}" for name in sorted(names)])
        with db.transaction(conn):
            streams = sum(_forgotten(conn, repo) for repo in repos)
            dropped = queue_manager.drop(conn, item_ids=items)
            if dropped < len(items):
                ids = ", ".join(map(str, items))
                raise ConfigurationError(f"--item {ids}: not all are failed rows, none was dropped; see `status`")
    conn.close()
    summary = {"command": "forget", "streams": streams, "items": dropped}
    context.show(summary, [f"forgot {streams} streams and {dropped} failed rows"])
    return EXIT_OK


def _forgotten(conn: sqlite3.Connection, repo: str) -> int:
    streams = queue_manager.forget_repo(conn, repo=repo)
    if not streams:
        raise ConfigurationError(f"--repo {repo}: nothing is known of it; `status` shows what is")
    return streams
