"""The tables: schema and migrations, the upsert of `issues`, and the engine that they lie in.

Knows nothing of the queue's rules (queue_manager.py). A connection belongs to one thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any, ContextManager, Iterable, Iterator, Mapping, NamedTuple, Sequence

from engines import postgres, sqlite
from engines.connection import Connection
from engines.sqlite import damage, in_statements, places, reader
from foundation import settings
from foundation.clock import Clock
from foundation.errors import ConfigurationError, Outage

# What the engines give to all who use the tables.
__all__ = ("Connection", "damage", "in_statements", "places", "reader")
# What a statement may raise; `explain` says what it means.
Error = (sqlite3.Error, postgres.Error)


class Twin(NamedTuple):
    """A step of a migration that the engines have no common words for."""

    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


# One entry a version; a database knows how many of them it has had. Append, never edit. The types are SQLite's, which
# `postgres.ddl` translates.
# `payload` stands last so that reading or counting the small columns never walks its overflow pages.
# Partial indexes, each in the order of one query: claims, dead owners, the dead letters, ages of done rows.
MIGRATIONS: tuple[tuple[str | Twin, ...], ...] = (
    (
        """
        CREATE TABLE queue_items (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            repo TEXT NOT NULL,
            item_type TEXT NOT NULL CHECK (item_type IN ('issue', 'pull_request')),
            item_id INTEGER NOT NULL,
            number INTEGER NOT NULL,
            updated_at TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'done', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            available_at TEXT NOT NULL DEFAULT '1970-01-01T00:00:00Z',
            claim_token TEXT,
            lease_until TEXT,
            last_error TEXT,
            s3_key TEXT,
            fetched_at TEXT NOT NULL,
            finished_at TEXT,
            payload TEXT NOT NULL,
            UNIQUE (item_type, item_id, payload_sha256)
        )
        """,
        "CREATE INDEX queue_items_pending ON queue_items (id, available_at, fetched_at) WHERE status = 'pending'",
        "CREATE INDEX queue_items_processing ON queue_items (lease_until, claim_token) WHERE status = 'processing'",
        "CREATE INDEX queue_items_failed ON queue_items (id) WHERE status = 'failed'",
        "CREATE INDEX queue_items_done ON queue_items (finished_at) WHERE status = 'done'",
        """
        CREATE TABLE issues (
            id INTEGER NOT NULL,
            item_type TEXT NOT NULL CHECK (item_type IN ('issue', 'pull_request')),
            repo TEXT NOT NULL,
            number INTEGER NOT NULL,
            title TEXT NOT NULL,
            state TEXT NOT NULL,
            state_reason TEXT,
            draft INTEGER,
            author TEXT,
            author_association TEXT,
            assignees TEXT NOT NULL,
            labels TEXT NOT NULL,
            milestone TEXT,
            comments INTEGER,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            closed_at TEXT,
            merged_at TEXT,
            lead_time_hours REAL,
            base_ref TEXT,
            head_ref TEXT,
            html_url TEXT,
            s3_key TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            processed_at TEXT NOT NULL,
            PRIMARY KEY (item_type, id)
        )
        """,
        "CREATE INDEX issues_by_repo ON issues (repo, item_type, number)",
        """
        CREATE TABLE ingest_state (
            repo TEXT NOT NULL,
            stream TEXT NOT NULL CHECK (stream IN ('issues', 'pulls')),
            cursor TEXT,
            covered_since TEXT,
            etag TEXT,
            etag_url TEXT,
            scan TEXT,
            last_run_at TEXT,
            last_success_at TEXT,
            last_error TEXT,
            PRIMARY KEY (repo, stream)
        )
        """,
        # Names under which a repository was asked for and found under another one (renamed, moved).
        "CREATE TABLE repo_aliases (alias TEXT NOT NULL PRIMARY KEY, repo TEXT NOT NULL)",
    ),
    (
        # How often a group that held the row came to grief as a whole: its process died, or its batch was refused.
        "ALTER TABLE queue_items ADD COLUMN group_failures INTEGER NOT NULL DEFAULT 0",
        # The object that a begun batch goes into; its rows have it in common until the object is there (s3_key).
        "ALTER TABLE queue_items ADD COLUMN batch_key TEXT",
        """
        CREATE INDEX queue_items_begun ON queue_items (batch_key, id)
        WHERE status = 'pending' AND batch_key IS NOT NULL
        """,
        """
        CREATE INDEX queue_items_archived ON queue_items (id, available_at)
        WHERE status = 'pending' AND s3_key IS NOT NULL
        """,
        """
        CREATE INDEX queue_items_by_day ON queue_items (item_type, substr(updated_at, 1, 10), id)
        WHERE status = 'pending'
        """,
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            command TEXT NOT NULL,
            owner TEXT NOT NULL,
            started_at TEXT NOT NULL,
            ended_at TEXT,
            exit_code INTEGER,
            note TEXT
        )
        """,
        "CREATE INDEX runs_by_command ON runs (command, id)",
    ),
    (
        # So that `status` and `prune` read no row of queue_items itself, an index must hold `status`, although it has
        # but one value there.
        "DROP INDEX queue_items_pending",
        "DROP INDEX queue_items_processing",
        "DROP INDEX queue_items_failed",
        "DROP INDEX queue_items_done",
        """
        CREATE INDEX queue_items_pending ON queue_items (id, available_at, fetched_at, status)
        WHERE status = 'pending'
        """,
        """
        CREATE INDEX queue_items_processing ON queue_items (lease_until, claim_token, status)
        WHERE status = 'processing'
        """,
        "CREATE INDEX queue_items_failed ON queue_items (id, last_error, status) WHERE status = 'failed'",
        "CREATE INDEX queue_items_done ON queue_items (finished_at, status) WHERE status = 'done'",
        """
        CREATE INDEX queue_items_waiting ON queue_items (available_at, status)
        WHERE status = 'pending' AND available_at > '1970-01-01T00:00:00Z'
        """,
        "DROP INDEX queue_items_archived",
        """
        CREATE INDEX queue_items_archived ON queue_items (s3_key, id)
        WHERE status = 'pending' AND s3_key IS NOT NULL
        """,
        # How far an unfinished `rebuild` has come; `scope` says of what.
        "CREATE TABLE rebuild_state (scope TEXT NOT NULL PRIMARY KEY, after_key TEXT NOT NULL)",
    ),
    (
        # Orders two versions that GitHub shows with one `updated_at`.
        "ALTER TABLE issues ADD COLUMN fetched_order TEXT NOT NULL DEFAULT ''",
    ),
    (
        # A repository is its numeric id; `repo` is the name that it has at present.
        "ALTER TABLE ingest_state ADD COLUMN repo_id INTEGER",
        # The newest item when the last scan ended: where it is seen again, the list is the same repository's.
        "ALTER TABLE ingest_state ADD COLUMN newest_item_id INTEGER",
        # Items that GitHub could not give (JSON): where they lie, to be asked for again.
        "ALTER TABLE ingest_state ADD COLUMN gaps TEXT",
        # Which objects an unfinished `rebuild` has read; `scope` says of what. It is forgotten with the rows that came
        # of it: whoever empties `issues` wants them all again.
        "DROP TABLE rebuild_state",
        "CREATE TABLE rebuild_read (scope TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID",
        Twin(
            ("CREATE TRIGGER rebuild_anew AFTER DELETE ON issues BEGIN DELETE FROM rebuild_read; END",),
            (
                """
                CREATE FUNCTION rebuild_anew() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN DELETE FROM rebuild_read; RETURN NULL; END $$
                """,
                """
                CREATE TRIGGER rebuild_anew AFTER DELETE OR TRUNCATE ON issues
                FOR EACH STATEMENT EXECUTE FUNCTION rebuild_anew()
                """,
            ),
        ),
        # Where a begun batch is to go (`batch_key` says as what).
        "ALTER TABLE queue_items ADD COLUMN batch_place TEXT",
        # Where items were archived or copied last, and how many.
        "CREATE TABLE archives (place TEXT NOT NULL PRIMARY KEY, items INTEGER NOT NULL)",
        # How many of the target's items lie in the source as well.
        """
        CREATE TABLE copies (
            source TEXT NOT NULL, target TEXT NOT NULL, items INTEGER NOT NULL, PRIMARY KEY (source, target)
        )
        """,
        # What only one run may do at a time, and which run (owners.py) does it.
        "CREATE TABLE locks (name TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, since TEXT NOT NULL)",
    ),
    (
        # Where a run works: several hosts may share a PostgreSQL.
        "ALTER TABLE runs ADD COLUMN host TEXT",
        Twin(
            (),
            (
                # Processes that work on the database, and until when they said last that they live (heartbeats.py).
                """
                CREATE TABLE owners (
                    token TEXT NOT NULL PRIMARY KEY,
                    host TEXT NOT NULL,
                    pid INTEGER NOT NULL,
                    birth TEXT NOT NULL,
                    is_stopping boolean NOT NULL,
                    alive_until TEXT NOT NULL
                )
                """,
                # A row is written three times in its life, and its old versions are read over until they are vacuumed
                # away: so soon, and with room on the page for the new ones.
                """
                ALTER TABLE queue_items SET (
                    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
                )
                """,
                # The payload is never changed: outside of the row it is not written again, and to compress it takes
                # longer than to store it (python -m benchmarks queues).
                "ALTER TABLE queue_items ALTER COLUMN payload SET STORAGE EXTERNAL",
                "ALTER TABLE owners SET (fillfactor = 50)",
            ),
        ),
    ),
)
TABLES = (
    "queue_items",
    "issues",
    "ingest_state",
    "repo_aliases",
    "runs",
    "rebuild_read",
    "archives",
    "copies",
    "locks",
)
# Locks of a transaction's that only PostgreSQL needs: SQLite has one writer at a time. The numbers are any.
MIGRATING, LOCKING = 7_481_532_001, 7_481_532_002

_ISSUES_COLUMNS = (
    "id", "item_type", "repo", "number", "title", "state", "state_reason", "draft", "author", "author_association",
    "assignees", "labels", "milestone", "comments", "created_at", "updated_at", "closed_at", "merged_at",
    "lead_time_hours", "base_ref", "head_ref", "html_url", "s3_key", "payload_sha256", "processed_at",
    "fetched_order",
)  # fmt: skip

# GitHub's clock orders the versions of an item. Where it shows two contents with one `updated_at`, the one that was
# fetched later is the newer; the hash decides what is left, so that the order of the work never matters.
_UPSERT_ISSUES = """
    INSERT INTO issues ({columns}) {{rows}}
    ON CONFLICT (item_type, id) DO UPDATE SET {updates}
    WHERE (excluded.updated_at, excluded.fetched_order, excluded.payload_sha256)
        >= (issues.updated_at, issues.fetched_order, issues.payload_sha256)
""".format(
    columns=", ".join(_ISSUES_COLUMNS),
    updates=", ".join(f"{name} = excluded.{name}" for name in _ISSUES_COLUMNS if name not in ("item_type", "id")),
)


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


def transaction(conn: Connection) -> ContextManager[Connection]:
    """One write transaction: committed when the block ends, rolled back when it raises."""
    if isinstance(conn, postgres.Connection):
        return postgres.transaction(conn)
    return sqlite.transaction(conn)  # type: ignore[arg-type]


def snapshot(conn: Connection) -> ContextManager[None]:
    """Within the block all is read as it was at the first look, however long it takes; nobody is held up by it."""
    if isinstance(conn, postgres.Connection):
        return postgres.snapshot(conn)
    return sqlite.snapshot(conn)  # type: ignore[arg-type]


def chunks(conn: Connection, query: str, *, rows: int) -> Iterator[list[tuple[Any, ...]]]:
    """All that the query finds, so many rows at a time, within a snapshot. Use them up before the next query."""
    if isinstance(conn, postgres.Connection):
        return postgres.chunks(conn, query, rows=rows)
    return sqlite.chunks(conn, query, rows=rows)  # type: ignore[arg-type]


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


def upsert_issues(conn: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert or update rows of `issues`; a version older than the one that is there changes nothing.

    One item may stand there several times.
    """
    if conn.words.is_postgres:
        _upsert_into_postgres(conn, rows)
        return
    for some in in_statements(list(rows), parameters=len(_ISSUES_COLUMNS)):  # SQLite takes a statement's rows in turn
        values = [row[name] for row in some for name in _ISSUES_COLUMNS]
        places_of_all = ", ".join([places(len(_ISSUES_COLUMNS))] * len(some))
        conn.execute(_UPSERT_ISSUES.format(rows=f"VALUES {places_of_all}"), values)


def _upsert_into_postgres(conn: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """The newest of each item, because a statement changes no row twice; in one order for all, or two workers could
    wait for each other. As JSON, since thousands of parameters take longer than all the rest.
    """
    newest: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["updated_at"], row["fetched_order"], row["payload_sha256"])):
        newest[row["item_type"], row["id"]] = row
    if newest:
        columns = ", ".join(_ISSUES_COLUMNS)
        of_json = f"SELECT {columns} FROM json_populate_recordset(CAST(NULL AS issues), CAST(? AS json))"
        ordered = [dict(newest[identity]) for identity in sorted(newest)]
        conn.execute(_UPSERT_ISSUES.format(rows=of_json), (json.dumps(ordered, ensure_ascii=False),))


def _prepare(conn: sqlite.Connection, path: str) -> None:
    version = _version(conn, path)
    if version == len(MIGRATIONS):
        return
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
