import concurrent.futures
import os
import sqlite3
import threading

import pytest

import db
from foundation.errors import ConfigurationError, Outage


def issues_row(**changes):
    row = dict.fromkeys(db._ISSUES_COLUMNS)
    row.update(
        id=1, item_type="issue", repo="a/b", number=1, title="t", state="open", assignees="[]", labels="[]",
        created_at="2026-01-01T00:00:00Z", updated_at="2026-01-02T00:00:00Z", s3_key="k", payload_sha256="5",
        processed_at="2026-01-03T00:00:00Z", fetched_order="2026-01-03T00:00:00Z",
    )  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def conn(tmp_path):
    connection = db.connect(str(tmp_path / "p.db"))
    yield connection
    connection.close()


def test_a_new_database_is_durable_and_can_give_space_back(conn):
    def pragma(name):
        return conn.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("auto_vacuum")) == ("wal", 2, 2)
    assert pragma("user_version") == len(db.MIGRATIONS)


def test_a_second_connection_changes_nothing(conn, tmp_path):
    conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    again = db.connect(str(tmp_path / "p.db"))
    assert again.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 1
    again.close()


def test_a_failed_migration_leaves_no_half_schema(tmp_path, monkeypatch):
    monkeypatch.setattr(db, "MIGRATIONS", (*db.MIGRATIONS, ("CREATE TABLE extra (x)", "NONSENSE")))
    with pytest.raises(ConfigurationError):
        db.connect(str(tmp_path / "p.db"))
    found = sqlite3.connect(tmp_path / "p.db")
    assert found.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    found.close()


def test_an_older_database_is_migrated_and_keeps_its_rows(conn, tmp_path, monkeypatch):
    conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    monkeypatch.setattr(db, "MIGRATIONS", (*db.MIGRATIONS, ("ALTER TABLE repo_aliases ADD COLUMN x DEFAULT 5",)))
    newer = db.connect(str(tmp_path / "p.db"))
    assert tuple(newer.execute("SELECT * FROM repo_aliases").fetchone()) == ("a", "b", 5)
    newer.close()


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: path.write_bytes(b"no database at all" * 100), "not an SQLite database"),
        (lambda path: path.mkdir(), "can't be used"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close(), "newer"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE x (y)").connection.close(), "another program"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(tmp_path, make, reason):
    path = tmp_path / "p.db"
    make(path)
    with pytest.raises(ConfigurationError, match=reason):
        db.connect(str(path))


def test_a_database_that_another_process_makes_meanwhile_is_ours(tmp_path):
    path = str(tmp_path / "p.db")
    conn = sqlite3.connect(path)

    def another_process(statement):
        if "sqlite_master" in statement:
            conn.set_trace_callback(None)
            db.connect(path).close()

    conn.set_trace_callback(another_process)
    assert db._version(conn, path) == len(db.MIGRATIONS)
    conn.close()


def test_where_several_make_a_new_database_at_once_each_can_use_it(tmp_path):
    def use(path):
        start.wait()
        db.connect(path).close()

    for turn in range(30):
        start = threading.Barrier(4)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(use, str(tmp_path / f"{turn}.db")) for _ in range(4)]:
                future.result()


def test_rows_go_into_few_kinds_of_statements():
    rows = list(range(2_500))
    groups = [list(db.in_statements(rows[:count], parameters=3, besides=3)) for count in range(2_500)]
    assert all([row for some in group for row in some] == rows[:count] for count, group in enumerate(groups))
    assert {len(some) for group in groups for some in group} == {1, 2, 4, 8, 16, 32, 64, 128, 256}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        db.connect(str(tmp_path / "no" / "p.db"))


def test_a_transaction_is_whole_or_not_at_all(conn):
    with pytest.raises(KeyboardInterrupt), db.transaction(conn):
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
        raise KeyboardInterrupt
    assert conn.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 0


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_committed_into_a_file_that_was_deleted_or_replaced(conn, tmp_path, replaced):
    """SQLite itself would: it works on in the file that it has open."""
    os.rename(tmp_path / "p.db", tmp_path / "moved.db")
    if replaced:
        (tmp_path / "p.db").touch()
    with pytest.raises(ConfigurationError, match="deleted, moved or replaced meanwhile"), db.transaction(conn):
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    assert conn.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 0
    os.replace(tmp_path / "moved.db", tmp_path / "p.db")
    with db.transaction(conn):  # it is the same file, wherever it has been
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")


@pytest.mark.parametrize("newer_first", [True, False])
def test_issues_never_goes_back_to_an_older_version(conn, newer_first):
    versions = [issues_row(title="old"), issues_row(title="new", updated_at="2026-01-02T00:00:01Z", payload_sha256="1")]
    for row in reversed(versions) if newer_first else versions:
        db.upsert_issues(conn, [row])
    assert [row["title"] for row in conn.execute("SELECT title FROM issues")] == ["new"]


@pytest.mark.parametrize("reverse", [True, False])
def test_two_contents_of_one_second_give_the_same_row_in_either_order(conn, reverse):
    for sha256 in sorted("12", reverse=reverse):
        db.upsert_issues(conn, [issues_row(title=sha256, payload_sha256=sha256)])
    assert [row["title"] for row in conn.execute("SELECT title FROM issues")] == ["2"]


@pytest.mark.parametrize("reverse", [True, False])
def test_of_two_versions_of_one_second_the_one_fetched_later_stays(conn, reverse):
    versions = [
        issues_row(title="first", payload_sha256="9", fetched_order="2026-01-03T00:00:00Z"),
        issues_row(title="then", payload_sha256="1", fetched_order="2026-01-03T00:01:00Z"),
    ]
    for row in reversed(versions) if reverse else versions:
        db.upsert_issues(conn, [row])
    assert conn.execute("SELECT title FROM issues").fetchone()[0] == "then"


def test_an_issue_and_a_pull_request_may_share_an_id(conn):
    db.upsert_issues(conn, [issues_row()])
    db.upsert_issues(conn, [issues_row(item_type="pull_request")])
    assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 2


def test_the_upsert_sets_every_column_of_the_table(conn):
    assert {row["name"] for row in conn.execute("PRAGMA table_info(issues)")} == set(db._ISSUES_COLUMNS)


@pytest.mark.parametrize(
    "text, kind",
    [("database is locked", Outage), ("database or disk is full", Outage), ("disk I/O error", Outage),
     ("attempt to write a readonly database", ConfigurationError), ("malformed", ConfigurationError)],
)  # fmt: skip
def test_sqlite_errors_are_told_apart(text, kind):
    assert isinstance(db.explain(sqlite3.OperationalError(text), "p.db"), kind)
