"""The database's tables as Delta tables in the lake: which have to be written, from one look at the database.

Knows neither S3's settings nor argparse.
"""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import db
from foundation.errors import ConfigurationError
from lake.delta import Place
from lake.tables import Table

CHUNK_ROWS = 4096  # about 2 MB of rows of `issues`
# Raised where the same rows are to be written in another way.
FORMAT = 1


class Published(NamedTuple):
    """What became of a table. `is_new` False: what lies there was the same already."""

    table: str
    rows: int
    is_new: bool
    version: int
    files: int
    bytes: int
    deleted_files: int


def publish(
    conn: db.Connection,
    tables: Sequence[Table],
    place_of: Callable[[Table], Place],
    *,
    keep: int,
    on_progress: Callable[[Table, int], None],
) -> list[Published]:
    """One after the other, all as they were at one moment. Raises what Place raises; what was written by then stays."""
    with db.snapshot(conn):
        return [_publish(conn, table, place_of(table), keep=keep, on_progress=on_progress) for table in tables]


def _publish(
    conn: db.Connection, table: Table, place: Place, *, keep: int, on_progress: Callable[[Table, int], None]
) -> Published:
    there = place.look()
    mark, rows = _mark(conn, table)
    if there is not None and there.mark == mark:
        return Published(table.name, rows, False, there.number, 0, 0, 0)
    written = place.replace(table, _counted(conn, table, on_progress), mark)
    return Published(table.name, rows, True, *written, place.keep(keep))


def _mark(conn: db.Connection, table: Table) -> tuple[str, int]:
    """What tells the rows, and the way they are written, from all others; and how many they are.

    A time or a count would do for a table that only grows: a view, or rows that come back, need all of them.
    """
    seen, rows = hashlib.sha256(repr((FORMAT, table)).encode()), 0
    for chunk in db.chunks(conn, table.query, rows=CHUNK_ROWS):
        seen.update(repr(chunk).encode())
        rows += len(chunk)
    return seen.hexdigest(), rows


def _counted(
    conn: db.Connection, table: Table, on_progress: Callable[[Table, int], None]
) -> Iterator[Sequence[Sequence[Any]]]:
    done = 0
    for chunk in db.chunks(conn, table.query, rows=CHUNK_ROWS):
        yield chunk
        done += len(chunk)
        on_progress(table, done)


def check_is_free(keys: Iterable[str], folder: str) -> None:
    """ConfigurationError where something else lies in the folder than what a publish leaves, such as the archive."""
    for key in keys:
        if not key.endswith(".parquet") and not key.startswith(f"{folder}_delta_log/"):
            raise ConfigurationError(f"{folder} holds something else, such as {key}; give another --prefix")
