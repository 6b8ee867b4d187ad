"""A database of before the further streams (version 6) gets their tables, keeps every row, and copies none."""

import contextlib
import json
import os

import pytest

import db
import queue_manager
from commands import moving
from cursors import states
from foundation.records import Item
from tables.migrations import MIGRATIONS
from tests.test_db import engine_connect, issues_row, new_path  # noqa: F401 - a fixture

BEFORE = 6


def make_older(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", MIGRATIONS[:BEFORE])
        with contextlib.closing(db.connect(path)) as conn, db.transaction(conn):
            fill(conn)


def fill(conn):
    """Rows of every kind that version 6 has."""
    items = [
        Item(kind, number, number, "2026-01-02T00:00:00Z", json.dumps({"n": number}).encode(), f"{kind}{number}")
        for kind in ("issue", "pull_request")
        for number in range(1, 40)
    ]
    queue_manager.enqueue(conn, repo="acme/widgets", items=items, now="2026-01-03T00:00:00Z")
    for status in ("processing", "done", "failed"):
        conn.execute("UPDATE queue_items SET status = ? WHERE id % 7 = ?", (status, len(status) % 7))
    db.upsert(conn, "issues", [issues_row(), issues_row(item_type="pull_request")])
    for stream in ("issues", "pulls"):
        states.record_run(conn, repo="acme/widgets", stream=stream, now="2026-01-03T00:00:00Z", error=None)
    conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    conn.execute("INSERT INTO rebuild_read VALUES ('scope', 'key')")
    conn.execute("INSERT INTO archives VALUES ('place', 5)")
    conn.execute("INSERT INTO copies VALUES ('one', 'two', 3)")
    conn.execute("INSERT INTO locks VALUES ('ingest', 'token', '2026-01-03T00:00:00Z')")


def rows(path, tables):
    with contextlib.closing(engine_connect(path)) as conn:
        columns = {name: db.quoted(db.FILLED[name].columns) if name in db.FILLED else "*" for name in tables}
        return {
            name: sorted(map(repr, map(tuple, conn.execute(f"SELECT {columns[name]} FROM {name}")))) for name in tables
        }


def schema(path):
    with contextlib.closing(engine_connect(path)) as conn:
        if not conn.words.is_postgres:
            return [tuple(row) for row in conn.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")]
        columns = """
            SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default
            FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
        """
        checks = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' ORDER BY 1, 2"
        return [tuple(row) for statement in (columns, checks) for row in conn.execute(statement)]


OLD_TABLES = (
    "queue_items", "issues", "ingest_state", "repo_aliases", "rebuild_read", "archives", "copies", "locks",
)  # fmt: skip


def test_a_database_of_before_is_migrated_with_every_row_and_goes_on(new_path, monkeypatch):
    make_older(new_path, monkeypatch)
    before = rows(new_path, OLD_TABLES)
    with contextlib.closing(db.connect(new_path)) as conn:
        assert rows(new_path, OLD_TABLES) == before
        with db.transaction(conn):
            comment = Item("issue_comment", 7, 1, "2026-01-02T00:00:00Z", b"{}", "c")
            assert queue_manager.enqueue(conn, repo="acme/widgets", items=[comment], now="2026-01-03T00:00:00Z") == 1
            states.record_run(
                conn, repo="acme/widgets", stream="issue-comments", now="2026-01-03T00:00:00Z", error=None
            )
        if not conn.words.is_postgres:
            assert [row[0] for row in conn.execute("PRAGMA integrity_check")] == ["ok"]
        assert {table.name for table in moving.TABLES} <= set(db.TABLES)
    with contextlib.closing(db.connect(new_path)) as conn:  # and is read by who opens it next
        assert conn.execute("SELECT count(*) FROM queue_items WHERE item_type = 'issue_comment'").fetchone()[0] == 1
        assert conn.execute("SELECT count(*) FROM reviews").fetchone()[0] == 0


def test_what_was_read_before_a_repository_was_renamed_has_its_present_name(new_path, monkeypatch):
    make_older(new_path, monkeypatch)
    with contextlib.closing(engine_connect(new_path)) as conn:
        conn.execute("UPDATE issues SET repo = 'A/old' WHERE item_type = 'issue'")
        conn.execute("INSERT INTO repo_aliases VALUES ('a/old', 'a/new')")
    with contextlib.closing(db.connect(new_path)) as conn:
        found = [tuple(row) for row in conn.execute("SELECT item_type, repo FROM issues ORDER BY item_type")]
    assert found == [("issue", "a/new"), ("pull_request", "a/b")]


def test_a_migrated_database_has_the_schema_of_a_new_one(new_path, monkeypatch, tmp_path, request):
    make_older(new_path, monkeypatch)
    db.connect(new_path).close()
    migrated = schema(new_path)
    if new_path.startswith("postgresql:"):
        postgres = request.getfixturevalue("postgres")
        name = postgres.make_database()
        another = postgres.url(name)
    else:
        another = str(tmp_path / "another.db")
    db.connect(another).close()
    assert schema(another) == migrated
    if new_path.startswith("postgresql:"):
        postgres.drop_database(name)
    assert not any("CHECK (item_type" in str(row) or "'pull_request'::" in str(row) for row in migrated)


def test_a_connection_that_was_open_meanwhile_sees_the_new_schema(tmp_path, monkeypatch):
    path = str(tmp_path / "p.db")
    make_older(path, monkeypatch)
    with contextlib.closing(engine_connect(path)) as open_before:
        assert open_before.execute("SELECT count(*) FROM ingest_state").fetchone()[0] == 2
        db.connect(path).close()
        open_before.execute("INSERT INTO ingest_state (repo, stream) VALUES ('a/b', 'events')")


def test_the_file_of_a_database_with_many_payloads_grows_by_the_new_tables_alone(tmp_path, monkeypatch):
    path = str(tmp_path / "p.db")
    make_older(path, monkeypatch)
    payload = b'{"x": "' + b"x" * 6000 + b'"}'
    items = [Item("issue", 1000 + n, n, "2026-01-02T00:00:00Z", payload, f"p{n}") for n in range(500)]
    with contextlib.closing(engine_connect(path)) as conn:
        with db.transaction(conn):
            queue_manager.enqueue(conn, repo="a/b", items=items, now="2026-01-03T00:00:00Z")
        db.settle_space(conn)
    before = os.path.getsize(path)
    with contextlib.closing(db.connect(path)) as conn:
        assert db.size_bytes(conn, path) - before < before / 2  # the log of the new tables' pages among it


@pytest.mark.parametrize("table", [name for name in db.FILLED if name != "issues"])
def test_each_table_that_payloads_fill_has_the_columns_that_the_upsert_sets(conn, table):
    columns = f"pragma_table_info('{table}')"
    if conn.words.is_postgres:
        columns = f"(SELECT column_name AS name FROM information_schema.columns WHERE table_name = '{table}') found"
    of_tombstones = {name for marked in db.MARKED.values() if marked.table == table for name in marked.columns}
    found = {row["name"] for row in conn.execute(f"SELECT name FROM {columns}")}
    assert found == {*db.FILLED[table].columns, *of_tombstones}


@pytest.mark.parametrize("table", db.FILLED)
def test_an_upsert_never_goes_back_in_any_table(conn, table):
    for updated_at in ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"):
        db.upsert(conn, table, [any_row(conn, table, updated_at)])
    found = conn.execute(f"SELECT updated_at, payload_sha256 FROM {table}").fetchall()
    assert [tuple(one) for one in found] == [("2026-01-03T00:00:00Z", "2026-01-03T00:00:00Z")]
    conn.execute("INSERT INTO rebuild_read VALUES ('scope', 'key')")
    conn.execute(f"DELETE FROM {table}")
    assert conn.execute("SELECT count(*) FROM rebuild_read").fetchone()[0] == 0


def any_row(conn, table, updated_at):
    """With something in each column."""
    known = {"updated_at": updated_at, "fetched_order": "f", "payload_sha256": updated_at}
    columns = db.FILLED[table].columns
    return {name: known.get(name, 1 if _is_number(conn, table, name) else "x") for name in columns}


def _is_number(conn, table, name):
    if conn.words.is_postgres:
        found = conn.execute(
            "SELECT data_type FROM information_schema.columns WHERE table_name = ? AND column_name = ?", (table, name)
        )
    else:
        found = conn.execute(f"SELECT type FROM pragma_table_info('{table}') WHERE name = ?", (name,))
    return found.fetchone()[0] in ("INTEGER", "bigint", "REAL", "double precision")
