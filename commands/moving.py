"""Every row of one database into an empty one of the other engine, and the proof that it arrived. No argparse.

What is unfinished is noted in the target's `locks`, whatever becomes of the process: no run begins there meanwhile
(runs.py), and the next move goes on behind the last row of each table.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import uuid
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import db
from commands import runs
from foundation.clock import Clock
from foundation.errors import ConfigurationError

CHUNK_ROWS = 500  # payloads are 6 to 20 KB
# Names in `locks` whose owner is no process, but the move itself, which may outlive many.
IDENTITY = "identity of a move from here"
UNFINISHED, FINISHED = runs.UNFINISHED_MOVE, "move into this database, which has ended"


class Table(NamedTuple):
    """`key` orders its rows, and tells each from all others. `which`: rows of the source that are moved."""

    name: str
    key: tuple[str, ...]
    which: str = "1 = 1"


# Not `locks`: they are of processes, and none lives on. Nor the record of the moves, which grows with each attempt.
TABLES = (
    Table("queue_items", ("id",)),
    *(Table(name, filled.key) for name, filled in db.FILLED.items()),
    Table("ingest_state", ("repo", "stream")),
    Table("repo_aliases", ("alias",)),
    Table("runs", ("id",), "command <> 'move'"),
    Table("rebuild_read", ("scope", "key")),
    Table("archives", ("place",)),
    Table("copies", ("source", "target")),
    Table("pull_work", ("repo", "number")),
    Table("ignored_users", ("login",)),
)
NUMBERED = ("queue_items", "runs")  # their ids are given by the database, and none twice


class Moved(NamedTuple):
    """What a table holds, in the source and in the target alike; `sha256` of all its rows in the order of their key."""

    rows: int
    sha256: str


def total(source: db.Connection) -> int:
    return sum(_count(source, table) for table in TABLES)


def copy(source: db.Connection, target: db.Connection, *, on_progress: Callable[[int, str], None]) -> int:
    """Bring over what is not there yet; returns how many rows that were. `on_progress(rows, note)`: there, in all."""
    before, copied = total(target), 0
    for table in TABLES:
        columns = _columns(source, table)
        for rows in _chunks(source, table, columns, after=_last_key(target, table)):
            with db.transaction(target):
                _insert(target, table, columns, rows)
            copied += len(rows)
            on_progress(before + copied, table.name)
    with db.transaction(target):
        for name in NUMBERED:
            db.give_ids_after(target, name, db.last_id(source, name))
    return copied


def compare(
    source: db.Connection, target: db.Connection, *, on_progress: Callable[[int, str], None]
) -> dict[str, Moved]:
    """Raises ConfigurationError for a table whose rows are not the same on both sides."""
    found: dict[str, Moved] = {}
    for table in TABLES:
        columns = _columns(source, table)
        here, there, rows = hashlib.sha256(), hashlib.sha256(), 0
        chunks = _chunks(source, table, columns), _chunks(target, table, columns)
        ours: list[tuple[Any, ...]]
        theirs: list[tuple[Any, ...]]
        for ours, theirs in itertools.zip_longest(*chunks, fillvalue=[]):
            if _add(here, ours) != _add(there, theirs):
                raise ConfigurationError(_difference(table, ours, theirs))
            rows += len(ours)
            on_progress(sum(moved.rows for moved in found.values()) + rows, table.name)
        found[table.name] = Moved(rows, here.hexdigest())
    return found


_ANEW = "empty the target (drop its tables, or remove the file), then move again"


def begin(source: db.Connection, target: db.Connection, *, shown: str, clock: Clock) -> bool:
    """Note the move in both databases; False where this very move ended before, and only the comparison is left.

    Raises ConfigurationError for a target that holds anything else.
    """
    with db.transaction(source):
        known = runs.lock_owner(source, IDENTITY)
        identity = known[0] if known else uuid.uuid4().hex
        runs.take_lock(source, IDENTITY, owner=identity, now=db.now(source, clock))
    with db.transaction(target):
        db.alone(target, db.LOCKING)
        for name in (UNFINISHED, FINISHED):
            noted = runs.lock_owner(target, name)
            if noted is not None and noted[0] == identity:
                return name == UNFINISHED
        for name in db.TABLES:
            if target.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() is not None:
                raise ConfigurationError(
                    f"{shown} is not empty, its table {name} has rows: give --to a new database, or another ?schema="
                )
        runs.take_lock(target, UNFINISHED, owner=identity, now=db.now(target, clock))
    return True


def end(target: db.Connection) -> None:
    """From here on runs may begin in the target."""
    with db.transaction(target):
        target.execute("UPDATE locks SET name = ? WHERE name = ?", (FINISHED, UNFINISHED))


@contextlib.contextmanager
def held_still(path: str, *, own_token: str) -> Iterator[db.Connection]:
    """A connection to the source, in which nobody writes until the end of the block; it may be read.

    Raises AnotherRun where somebody still works there.
    """
    with contextlib.closing(db.connect(path, must_exist=True)) as conn, db.transaction(conn):
        db.hold_still(conn, [table.name for table in TABLES])
        # Now: who wrote down that it begins has done so by here, and who has not can't.
        runs.refuse_live_runs(conn, path, but=own_token)
        yield conn


def _columns(conn: db.Connection, table: Table) -> list[str]:
    return [column[0] for column in conn.execute(f"SELECT * FROM {table.name} LIMIT 0").description]


def _count(conn: db.Connection, table: Table) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table.name} WHERE {table.which}").fetchone()[0])


def _last_key(conn: db.Connection, table: Table) -> Sequence[Any] | None:
    order = ", ".join(f"{name} DESC" for name in table.key)
    row = conn.execute(f"SELECT {', '.join(table.key)} FROM {table.name} ORDER BY {order} LIMIT 1").fetchone()
    return None if row is None else tuple(row)


def _chunks(
    conn: db.Connection, table: Table, columns: Sequence[str], *, after: Sequence[Any] | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows behind that key, in the order of keys; a payload as bytes."""
    key = ", ".join(table.key)
    shown = ", ".join(conn.words.bytes_of_payload if name == "payload" else f'"{name}"' for name in columns)
    places = [columns.index(name) for name in table.key]
    while True:
        behind = "" if after is None else f"AND ({key}) > {db.places(len(table.key))}"
        statement = f"SELECT {shown} FROM {table.name} WHERE {table.which} {behind} ORDER BY {key} LIMIT {CHUNK_ROWS}"
        rows = [tuple(row) for row in conn.execute(statement, tuple(after or ()))]
        if not rows:
            return
        yield rows
        after = [rows[-1][place] for place in places]


def _insert(conn: db.Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    values = ", ".join(conn.words.text_of_bytes if name == "payload" else "?" for name in columns)
    conn.executemany(f"INSERT INTO {table.name} ({db.quoted(columns)}) VALUES ({values})", rows)


def _add(sha256: hashlib._Hash, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The hash of all rows up to these, and of the types of their values."""
    for row in rows:
        sha256.update(repr(row).encode("utf-8"))
    return sha256.digest()


def _difference(table: Table, ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]]) -> str:
    here, there = next(pair for pair in itertools.zip_longest(ours, theirs) if pair[0] != pair[1])
    shown = (here or there)[: len(table.key)]
    return f"{table.name}: the row that begins with {shown!r} is not the same here and there; {_ANEW}"
