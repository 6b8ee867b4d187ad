"""The database's tables as Delta tables in the lake: which have to be written, from one look at the database.

Knows neither S3's settings nor argparse.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import re
from typing import Any, Callable, Generator, Iterable, NamedTuple, Sequence

import db
from foundation.errors import ConfigurationError
from lake.delta import Kept, Place
from lake.tables import Table

CHUNK_ROWS = 4096  # about 2 MB of rows of `issues`
# Raised where the same rows are to be written in another way.
FORMAT = 1
# A file of deltalake's: it makes it under such a name, on a disk with #1 behind that until it is whole.
_LEFT = re.compile(r"/part-\d+-[0-9a-f-]{36}-c\d+\.zstd\.parquet(#\d+)?\Z")
NOTHING_KEPT = Kept(0, 0, None)


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
    on_refused: Callable[[Exception], None],
) -> list[Published]:
    """One after the other, all as they were at one moment. Raises what Place raises; what was written by then stays.

    `on_refused` hears why old versions could not be deleted, which keeps no new one back.
    """
    done = []
    with db.snapshot(conn):
        for table in tables:
            place = place_of(table)
            there = place.look()
            if there is not None and not there.mark and there.name != table.name:
                raise ConfigurationError(f"{place.uri} is a table of another program; give another --prefix")
            mark, rows = _mark(conn, table)
            if there is not None and there.mark == mark:
                done.append(Published(table.name, rows, False, there.number, 0, 0, 0))
                continue
            kept = place.keep(keep, there) if there is not None else NOTHING_KEPT
            if kept.refused is not None:
                on_refused(kept.refused)
            with contextlib.closing(_counted(conn, table, on_progress)) as chunks:
                written = place.replace(table, chunks, mark, oldest=kept.oldest)
            done.append(Published(table.name, rows, True, *written, kept.deleted_files))
    return done


def _mark(conn: db.Connection, table: Table) -> tuple[str, int]:
    """What tells the rows, and the way they are written, from all others; and how many they are.

    A time or a count would do for a table that only grows: a view, or rows that come back, need all of them.
    """
    seen, rows = hashlib.sha256(repr((FORMAT, table)).encode()), 0
    for chunk in db.chunks(conn, table.query, rows=CHUNK_ROWS):
        seen.update(_bytes(chunk))
        rows += len(chunk)
    return seen.hexdigest(), rows


def _bytes(chunk: list[tuple[Any, ...]]) -> bytes:
    """The same for the same values, by any Python from 3.6 to 3.13: marshal's version 2 keeps no identities.

    A third of the time that repr() takes, which is left to what marshal does not know, such as PostgreSQL's numerics.
    """
    try:
        return marshal.dumps(chunk, 2)
    except ValueError:
        return repr(chunk).encode()


def _counted(
    conn: db.Connection, table: Table, on_progress: Callable[[Table, int], None]
) -> Generator[Sequence[Sequence[Any]], None, None]:
    done = 0
    for chunk in db.chunks(conn, table.query, rows=CHUNK_ROWS):
        yield chunk
        done += len(chunk)
        on_progress(table, done)


def check_is_free(keys: Iterable[str], folder: str) -> None:
    """ConfigurationError where something else lies in the folder than what a publish leaves, such as the archive."""
    for key in keys:
        if not _LEFT.search(key) and not key.startswith(f"{folder}_delta_log/"):
            raise ConfigurationError(f"{folder} holds something else, such as {key}; give another --prefix")


def unfinished(keys: Iterable[str]) -> list[str]:
    """Those that a publish into a directory is at, or was when it was killed."""
    return [key for key in keys if "#" in key and _LEFT.search(key)]
