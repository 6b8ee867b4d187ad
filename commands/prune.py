"""`prune`: deletes rows that were done long ago and gives their disk space back."""

from __future__ import annotations

import logging
import sqlite3
from typing import Mapping

import db
import owners
import queue_manager
import reports
import runs
import settings
import timestamps
from clock import Clock
from errors import EXIT_OK
from signals import SignalsRaise

log = logging.getLogger("pipeline.prune")

# A chunk holds the write lock for some milliseconds; a worker that waits gets its turn in the pause between two.
CHUNK_ROWS = 1000
CHUNK_PAGES = 2000
PAUSE_SECONDS = 0.05


def run(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    older_than_days: int,
) -> int:
    started = clock.monotonic()
    before = timestamps.from_epoch(clock.now() - older_than_days * settings.DAY_SECONDS)
    conn = db.connect(db_path)
    bytes_before = db.size_bytes(db_path)
    what = f"rows that were done before {before}"
    with SignalsRaise(), owners.hold(db_path, "prune", now=clock.utc()), runs.recorded(
        conn, db_path=db_path, command="prune", what=what, clock=clock, environ=environ
    ):
        deleted = _delete(conn, clock, before)
        _give_space_back(conn, clock)
    conn.close()
    summary = {
        "command": "prune",
        "deleted": deleted,
        "freed_bytes": max(0, bytes_before - db.size_bytes(db_path)),
        "db_bytes": db.size_bytes(db_path),
        "seconds": round(clock.monotonic() - started, 3),
    }
    reports.show(summary, reports.prune_lines(summary), as_json=as_json, quiet=quiet)
    return EXIT_OK


def _delete(conn: sqlite3.Connection, clock: Clock, before: str) -> int:
    total = 0
    while True:
        with db.transaction(conn):
            deleted = queue_manager.prune(conn, finished_before=before, limit=CHUNK_ROWS)
        total += deleted
        if deleted == 0:
            return total
        clock.sleep(PAUSE_SECONDS)


def _give_space_back(conn: sqlite3.Connection, clock: Clock) -> None:
    while db.give_space_back(conn, pages=CHUNK_PAGES):
        clock.sleep(PAUSE_SECONDS)
    if not db.empty_wal(conn):
        log.info("another process reads the database: its file gets smaller once that has ended")
