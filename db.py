"""The tables as they lie in a database: making and migrating them, the upsert, and which engine.

Knows nothing of the queue's rules (queue_manager.py). A connection belongs to one thread.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
from pathlib import Path
from typing import Any, ContextManager, Iterable, Iterator, Mapping, Sequence

from engines import postgres, sqlite
from engines.connection import Connection
from engines.sqlite import damage, in_statements, places, reader
from foundation import settings
from foundation.clock import Clock
from foundation.errors import ConfigurationError, Outage
from foundation.records import Row
from tables.columns import FILLED, MARKED, TABLES, Marked
from tables.migrations import MIGRATIONS, Twin

# What the engines, and the room below, give to all who use the tables.
__all__ = ("FILLED", "MARKED", "TABLES", "Connection", "damage", "in_statements", "places", "reader")
# What a statement may raise; `explain` says what it means.
Error = (sqlite3.Error, postgres.Error)


# Locks of a transaction's that only PostgreSQL needs: SQLite has one writer at a time. The numbers are any.
MIGRATING, LOCKING, MARKING = 7_481_532_001, 7_481_532_002, 7_481_532_003


def connect(path: str, *, synchronous: str = "FULL", must_exist: bool = False) -> Connection:
    """A connection to the database at `path`, created or migrated as needed; use it in one thread only.

    As engines.sqlite.connect; raises ConfigurationError also for a database that is not ours, or a newer version's.
    """
    if settings.is_postgres(path):
        return _connect_to_postgres(path, synchronous=synchronous, must_exist=must_exist)
    return sqlite.connect(
        path, synchronous=synchronous, must_exist=must_exist, prepare=lambda conn: _prepare(conn, path)
    )


@contextlib.contextmanager
def onlooker(path: str) -> Iterator[Connection]:
    """A connection for those who only look, and may not be allowed more. Raises ConfigurationError for no database."""
    may_write = os.access(path, os.W_OK) and os.access(Path(path).resolve().parent, os.W_OK)
    if settings.is_postgres(path) or may_write or not os.path.exists(path):
        with contextlib.closing(connect(path, must_exist=True)) as conn:
            yield conn
        return
    with reader(path) as conn:
        if _version(conn, path) < len(MIGRATIONS):
            raise ConfigurationError(f"database {path!r} is an older version's; run any command as its owner first")
        yield conn


def exists(path: str) -> bool:
    """Is there a database of ours, to be noted something in?"""
    if not settings.is_postgres(path):
        return Path(path).is_file()
    try:
        with contextlib.closing(postgres.connect(path)) as conn:
            return _version_on_postgres(conn) > 0
    except postgres.Error as error:
        raise error.explained from error


def transaction(conn: Connection, *, survives_server: bool = False, afresh: bool = False) -> ContextManager[Connection]:
    """One write transaction: committed when the block ends, rolled back when it raises.

    `survives_server`: durable also where the connection is not. A PostgreSQL that crashes, or fails over, forgets the
    last moments of such a one while others go on; SQLite forgets only in a power cut. `afresh`: whatever became of what
    the connection committed before; else the block is not entered where a PostgreSQL may have lost it.
    """
    if isinstance(conn, postgres.Connection):
        return postgres.transaction(conn, durable=survives_server, afresh=afresh)
    return sqlite.transaction(conn)  # type: ignore[arg-type]


def snapshot(conn: Connection) -> ContextManager[None]:
    """Within the block all is read as it was at the first look, however long it takes; nobody is held up by it."""
    if isinstance(conn, postgres.Connection):
        return postgres.snapshot(conn)
    return sqlite.snapshot(conn)  # type: ignore[arg-type]


def chunks(
    conn: Connection, query: str, parameters: Sequence[Any] = (), *, rows: int
) -> Iterator[list[tuple[Any, ...]]]:
    """All that the query finds, so many rows at a time, within a snapshot. Use them up before the next query."""
    if isinstance(conn, postgres.Connection):
        return postgres.chunks(conn, query, parameters, rows=rows)
    return sqlite.chunks(conn, query, parameters, rows=rows)  # type: ignore[arg-type]


def now(conn: Connection, clock: Clock) -> str:
    """The time that all who work on the database have in common: hosts have clocks of their own."""
    return postgres.now(conn) if isinstance(conn, postgres.Connection) else clock.utc()


def alone(conn: Connection, what: int) -> None:
    """Nobody else is here until the end of the transaction; in SQLite's nobody is in any case."""
    if isinstance(conn, postgres.Connection):
        postgres.alone(conn, what)


def hold_still(conn: Connection, tables: Sequence[str]) -> None:
    """Nobody else writes into the tables until the end of the transaction; in SQLite's nobody does in any case."""
    if isinstance(conn, postgres.Connection):
        postgres.hold_still(conn, tables)


def last_id(conn: Connection, table: str) -> int:
    """The last that a row of the table was given, whether it is still there or not."""
    if isinstance(conn, postgres.Connection):
        return postgres.last_id(conn, table)
    return sqlite.last_id(conn, table)  # type: ignore[arg-type]


def give_ids_after(conn: Connection, table: str, last: int) -> None:
    """New rows of the table have ids behind this one, and behind those that were given before."""
    if isinstance(conn, postgres.Connection):
        postgres.give_ids_after(conn, table, last)
    else:
        sqlite.give_ids_after(conn, table, last)  # type: ignore[arg-type]


def explain(error: Exception, path: str) -> ConfigurationError | Outage:
    """What an Error, or a UnicodeDecodeError of a damaged SQLite file, means for the person who runs the command."""
    if isinstance(error, postgres.Error):
        return error.explained
    return sqlite.explain(error, path)  # type: ignore[arg-type]


def size_bytes(conn: Connection, path: str) -> int:
    """What the tables take on disk."""
    if isinstance(conn, postgres.Connection):
        return postgres.size_bytes(conn, TABLES)
    return sqlite.size_bytes(path)


def vacuuming(conn: Connection) -> dict[str, Any] | None:
    """How far PostgreSQL keeps up with the changes of the queue; SQLite leaves no dead rows."""
    return postgres.vacuuming(conn, "queue_items")._asdict() if isinstance(conn, postgres.Connection) else None


def give_space_back(conn: Connection, *, pages: int) -> bool:
    """Give up to so many free pages back; False when there were none. PostgreSQL does not give pages one by one."""
    return not isinstance(conn, postgres.Connection) and sqlite.give_space_back(conn, pages=pages)  # type: ignore[arg-type]


def settle_space(conn: Connection) -> str | None:
    """What is left to do once rows were deleted; in words, why that could not be done."""
    if isinstance(conn, postgres.Connection):
        return postgres.vacuum(conn, "queue_items")
    emptied = sqlite.empty_wal(conn)  # type: ignore[arg-type]
    return None if emptied else "another process reads the database: its file gets smaller once that has ended"


def check_version(conn: Connection, path: str) -> str:
    """The schema's version in words. Raises ConfigurationError for one that is newer or not ours."""
    version = _version(conn, path)
    if version == len(MIGRATIONS):
        return f"schema {version}"
    return f"schema {version}, which the next run migrates to {len(MIGRATIONS)}"


def postgres_schema(conn: postgres.Connection) -> str | None:
    """The schema's version in words; None where there are no tables yet."""
    version = _version_on_postgres(conn)
    migrated = "" if version == len(MIGRATIONS) else f", which the next run migrates to {len(MIGRATIONS)}"
    return f"schema {version}{migrated}" if version else None


def replace_ignored_users(conn: Connection, logins: Sequence[str]) -> None:
    """Who does not count as somebody who answers, in lower case; read first, so that who changes nothing waits for
    nobody."""
    if {row[0] for row in conn.execute("SELECT login FROM ignored_users")} == set(logins):
        return
    with transaction(conn):
        conn.execute("DELETE FROM ignored_users")
        conn.executemany(
            "INSERT INTO ignored_users (login) VALUES (?) ON CONFLICT DO NOTHING", [(login,) for login in logins]
        )


def upsert(conn: Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert or update rows of a table of FILLED; a version older than the one that is there changes nothing.

    One item may stand there several times.
    """
    if conn.words.is_postgres:
        _upsert_into_postgres(conn, table, rows)
        return
    columns = FILLED[table].columns
    for some in in_statements(list(rows), parameters=len(columns)):  # SQLite takes a statement's rows in turn
        values = [row[name] for row in some for name in columns]
        places_of_all = ", ".join([places(len(columns))] * len(some))
        conn.execute(_upsert(table).format(rows=f"VALUES {places_of_all}"), values)


def upsert_all(conn: Connection, rows: Iterable[Row]) -> None:
    """Rows of whichever tables, with all their columns, and what tombstones say of them; the tables in one order, or
    two workers could wait for each other. What was fetched before its repository was renamed goes in under the present
    name.
    """
    present = dict(tuple(row) for row in conn.execute("SELECT alias, repo FROM repo_aliases"))
    by_table: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        repo = row.columns["repo"]
        by_table.setdefault(row.table, []).append({**row.columns, "repo": present.get(repo.lower(), repo)})
    if "gone" in by_table:
        # A tombstone and its item may come at the same moment, and each must see the other.
        alone(conn, MARKING)
        hold_still(conn, sorted({marked.table for marked in MARKED.values()}))
    for table in sorted(by_table):
        upsert(conn, table, by_table[table])
    if by_table and conn.execute("SELECT 1 FROM gone LIMIT 1").fetchone():
        for kind, marked in MARKED.items():
            _mark(conn, kind, marked, by_table)


def _mark(conn: Connection, kind: str, marked: Marked, by_table: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """An item is gone where its last tombstone says so, and no version of it was updated later: whatever the order in
    which they came.
    """
    column, value = marked.told_by or ("", "")
    touched = {row["id"] for row in by_table.get("gone", ()) if row["kind"] == kind}
    touched |= {row["id"] for row in by_table.get(marked.table, ()) if row.get(column, "") == value}
    of_kind = f"{column} = '{value}' AND" if column else ""
    names = ", ".join(marked.columns)
    targets = f"({names})" if len(marked.columns) > 1 else names
    for some in in_statements(sorted(touched), besides=2):
        conn.execute(
            f"""
            UPDATE {marked.table} SET {targets} = (
                SELECT {", ".join(f"gone.{name}" for name in marked.columns)} FROM gone
                WHERE gone.kind = ? AND gone.id = {marked.table}.id AND gone.updated_at >= {marked.table}.updated_at
            )
            WHERE {of_kind} id IN {places(len(some))} AND id IN (SELECT id FROM gone WHERE kind = ?)
            """,
            (kind, *some, kind),
        )


def rename_rows(conn: Connection, *, was: str, repo: str) -> None:
    """In all tables that payloads fill: an item and what is said of it find each other by the repository's name."""
    for table in sorted(FILLED):
        conn.execute(f"UPDATE {table} SET repo = ? WHERE repo = ?", (repo, was))


def _upsert_into_postgres(conn: Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """The newest of each item, because a statement changes no row twice; in one order for all, or two workers could
    wait for each other. As JSON, since thousands of parameters take longer than all the rest.
    """
    newest: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["updated_at"], row["fetched_order"], row["payload_sha256"])):
        newest[tuple(row[name] for name in FILLED[table].key)] = row
    if newest:
        columns = quoted(FILLED[table].columns)
        of_json = f"SELECT {columns} FROM json_populate_recordset(CAST(NULL AS {table}), CAST(? AS json))"
        ordered = [dict(newest[identity]) for identity in sorted(newest)]
        conn.execute(_upsert(table).format(rows=of_json), (json.dumps(ordered, ensure_ascii=False),))


@functools.lru_cache(maxsize=None)
def _upsert(table: str) -> str:
    """GitHub's clock orders the versions of an item. Where it shows two contents with one `updated_at`, the one that
    was fetched later is the newer; the hash decides what is left, so that the order of the work never matters.
    """
    key, columns = FILLED[table]
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    return f"""
        INSERT INTO {table} ({quoted(columns)}) {{rows}}
        ON CONFLICT ({quoted(key)}) DO UPDATE SET {updates}
        WHERE (excluded.updated_at, excluded.fetched_order, excluded.payload_sha256)
            >= ({table}.updated_at, {table}.fetched_order, {table}.payload_sha256)
    """


def quoted(columns: Iterable[str]) -> str:
    """Names of columns in a statement; `commit` is a word of SQL's."""
    return ", ".join(f'"{name}"' for name in columns)


def _prepare(conn: sqlite.Connection, path: str) -> bool:
    version = _version(conn, path)
    if version == len(MIGRATIONS):
        return False
    if version == 0:
        sqlite.set_up_new(conn)
    sqlite.switch_to_wal(conn)
    with transaction(conn):
        # Looked at again inside: another process may have migrated meanwhile.
        for migration in MIGRATIONS[_version(conn, path) :]:
            for statement in migration:
                for step in statement.sqlite if isinstance(statement, Twin) else (statement,):
                    conn.execute(step)
        conn.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    return True


def _version(conn: Connection, path: str) -> int:
    """How many migrations the database has had. Raises ConfigurationError for one that is newer or not ours."""
    # One statement, or another process could make the database between the two looks at it.
    version, has_tables, has_ours = conn.execute(
        """
        SELECT user_version, EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table'),
            EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'queue_items')
        FROM pragma_user_version
        """
    ).fetchone()
    _check_newer(version, path)
    if has_tables and (version == 0 or not has_ours):
        raise ConfigurationError(f"{path!r} is an SQLite database of another program; check --db and PIPELINE_DB")
    return int(version)


def _check_newer(version: int, path: str) -> None:
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"database {settings.masked(path)!r} has schema version {version}, this program knows {len(MIGRATIONS)}: "
            "it was written by a newer version; upgrade this one"
        )


def _connect_to_postgres(path: str, *, synchronous: str, must_exist: bool) -> postgres.Connection:
    conn = postgres.connect(path, durable=synchronous == "FULL")
    try:
        version = _version_on_postgres(conn)
        if version == 0 and must_exist:
            raise ConfigurationError(
                f"there is no queue in {conn.shown} yet; check --db and PIPELINE_DB, or run ingest first"
            )
        if version < len(MIGRATIONS):
            _migrate_postgres(conn)
    except BaseException as error:
        conn.close()
        if isinstance(error, postgres.Error):
            raise error.explained from error
        raise
    return conn


def _version_on_postgres(conn: postgres.Connection) -> int:
    """As `_version`. A table says it: PostgreSQL has no number for that."""
    try:
        found = conn.execute("SELECT version FROM schema_version").fetchone()
    except postgres.Error as error:
        if error.state == postgres.UNDEFINED_COLUMN:
            raise _of_another_program(conn, "schema_version") from error
        if error.state != postgres.UNDEFINED_TABLE:
            raise
        # In this order: who makes them meanwhile makes both at once.
        has_ours, is_unknown = conn.execute(
            "SELECT to_regclass('queue_items') IS NOT NULL, to_regclass('schema_version') IS NULL"
        ).fetchone()
        if has_ours and is_unknown:
            raise _of_another_program(conn, "queue_items") from error
        return 0
    if found is None or not isinstance(found[0], int):
        raise _of_another_program(conn, "schema_version")
    _check_newer(found[0], conn.shown)
    return found[0]


def _of_another_program(conn: postgres.Connection, table: str) -> ConfigurationError:
    return ConfigurationError(
        f"{conn.shown} has a table {table} of another program; give another database, or ?schema=NAME"
    )


def _migrate_postgres(conn: postgres.Connection) -> None:
    """Once, however many processes start at a time; all of it or nothing."""
    with transaction(conn):
        postgres.take_time(conn)
        alone(conn, MIGRATING)
        postgres.make_schema(conn)
        made = conn.execute("SELECT to_regclass('schema_version')").fetchone()[0] is not None
        for statement in postgres_statements(since=_version_on_postgres(conn) if made else 0):
            conn.execute(statement)


def missing_statements(path: str) -> list[str]:
    """What the owner of a PostgreSQL has to run for it to have the tables of this version."""
    conn = postgres.connect(path)
    try:
        with contextlib.closing(conn):
            version = _version_on_postgres(conn)
            if version == len(MIGRATIONS):
                return []
            return [*postgres.schema_statements(conn), *postgres_statements(since=version)]
    except postgres.Error as error:
        raise error.explained from error


def postgres_statements(*, since: int = 0) -> Iterator[str]:
    """What brings the tables of PostgreSQL from that version to this one."""
    if since == 0:
        yield "CREATE TABLE schema_version (version bigint NOT NULL)"
        yield "INSERT INTO schema_version (version) VALUES (0)"
    for migration in MIGRATIONS[since:]:
        for statement in migration:
            yield from map(postgres.ddl, statement.postgres if isinstance(statement, Twin) else (statement,))
    yield f"UPDATE schema_version SET version = {len(MIGRATIONS)}"
