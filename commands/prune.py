"""`prune`: deletes rows that were done long ago and gives their disk space back."""

from __future__ import annotations

import contextlib
import logging
from typing import Iterator

import db
import queue_manager
from commands import reports
from commands.context import Context
from commands.signals import SignalsRaise
from fetcher import OVERLAP_SECONDS
from foundation import settings, timestamps
from foundation.clock import Clock
from foundation.errors import EXIT_OK
from github.streams import STREAMS

log = logging.getLogger("pipeline.prune")

CHUNK_ROWS = 1000
CHUNK_PAGES = 1000
# Between two chunks others get the write lock. They look for it every 100 ms at least (SQLite's busy handler), so a
# shorter pause could pass unseen; and after a chunk that took long they get as much time again.
PAUSE_SECONDS = 0.12


def run(
    context: Context,
    *,
    older_than_days: int,
) -> int:
    started = context.clock.monotonic()
    conn = db.connect(
        context.db_path, synchronous="NORMAL", must_exist=True
    )  # a deletion that a power cut takes back is made again
    bytes_before = db.size_bytes(conn, context.db_path)
    before = timestamps.shift(db.now(conn, context.clock), seconds=-older_than_days * settings.DAY_SECONDS)
    what = f"rows that were done before {before}"
    with SignalsRaise(), context.recorded(conn, command="prune", what=what) as record:
        record.hold(["prune"])
        deleted = _delete(conn, context.clock, before)
        _give_space_back(conn, context.clock)
    bytes_after = db.size_bytes(conn, context.db_path)
    conn.close()
    summary = {
        "command": "prune",
        "deleted": deleted,
        "freed_bytes": max(0, bytes_before - bytes_after),
        "db_bytes": bytes_after,
        "seconds": round(context.clock.monotonic() - started, 3),
    }
    context.show(summary, reports.prune_lines(summary))
    return EXIT_OK


@contextlib.contextmanager
def _pause_after(clock: Clock) -> Iterator[None]:
    started = clock.monotonic()
    yield
    clock.sleep(max(PAUSE_SECONDS, clock.monotonic() - started))


def _delete(conn: db.Connection, clock: Clock, before: str) -> int:
    total = 0
    while True:
        with _pause_after(clock), db.transaction(conn):
            deleted = queue_manager.prune(
                conn,
                finished_before=before,
                overlap_seconds=OVERLAP_SECONDS,
                limit=CHUNK_ROWS,
                item_types={name: [kind.item_type for kind in stream.kinds] for name, stream in STREAMS.items()},
            )
        total += deleted
        if deleted < CHUNK_ROWS:
            return total


def _give_space_back(conn: db.Connection, clock: Clock) -> None:
    freed = True
    while freed:
        with _pause_after(clock):
            freed = db.give_space_back(conn, pages=CHUNK_PAGES)
    left = db.settle_space(conn)
    if left:
        log.info("%s", left)
