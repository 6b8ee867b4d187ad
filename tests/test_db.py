import concurrent.futures
import contextlib
import itertools
import os
import sqlite3
import threading

import pytest

import db
from engines import postgres, sqlite
from foundation.errors import ConfigurationError, Outage
from foundation.records import Row


def issues_row(**changes):
    row = dict.fromkeys(db.FILLED["issues"].columns)
    row.update(
        id=1, item_type="issue", repo="a/b", number=1, title="t", state="open", assignees="[]", labels="[]",
        created_at="2026-01-01T00:00:00Z", updated_at="2026-01-02T00:00:00Z", s3_key="k", payload_sha256="5",
        processed_at="2026-01-03T00:00:00Z", fetched_order="2026-01-03T00:00:00Z",
    )  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def path(db_path):
    return db_path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_path(request, tmp_path):
    """Of a database without tables."""
    if request.param == "sqlite":
        yield str(tmp_path / "new.db")
        return
    postgres = request.getfixturevalue("postgres")
    name = postgres.make_database()
    yield postgres.url(name)
    postgres.drop_database(name)


def count_of_tables(path):
    with contextlib.closing(engine_connect(path)) as conn:
        which = "pg_tables WHERE schemaname = 'public'" if conn.words.is_postgres else "sqlite_master"
        return conn.execute(f"SELECT count(*) FROM {which}").fetchone()[0]


def engine_connect(path):
    """Without our tables."""
    if path.startswith("postgresql:"):
        return postgres.connect(path)
    return sqlite.connect(path, synchronous="OFF", must_exist=False, prepare=lambda conn: None)


def test_a_new_database_is_durable_and_can_give_space_back(on_sqlite):
    def pragma(name):
        return on_sqlite.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("auto_vacuum")) == ("wal", 2, 2)
    assert pragma("user_version") == len(db.MIGRATIONS)


def test_a_second_connection_changes_nothing(conn, db_path):
    conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    again = db.connect(db_path)
    assert again.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 1
    again.close()


def test_a_failed_migration_leaves_no_half_schema(new_path, monkeypatch):
    monkeypatch.setattr(db, "MIGRATIONS", (*db.MIGRATIONS, ("CREATE TABLE extra (x INTEGER)", "NONSENSE")))
    with pytest.raises(ConfigurationError):
        db.connect(new_path)
    assert count_of_tables(new_path) == 0


def test_an_older_database_is_migrated_and_keeps_its_rows(conn, db_path, monkeypatch):
    conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    step = "ALTER TABLE repo_aliases ADD COLUMN x INTEGER DEFAULT 5"
    monkeypatch.setattr(db, "MIGRATIONS", (*db.MIGRATIONS, (step,)))
    newer = db.connect(db_path)
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
    path = tmp_path / "pipeline.db"
    make(path)
    with pytest.raises(ConfigurationError, match=reason):
        db.connect(str(path))


def test_a_database_that_another_process_makes_meanwhile_is_ours(tmp_path):
    path = str(tmp_path / "pipeline.db")
    conn = sqlite3.connect(path)

    def another_process(statement):
        if "sqlite_master" in statement:
            conn.set_trace_callback(None)
            db.connect(path).close()

    conn.set_trace_callback(another_process)
    assert db._version(conn, path) == len(db.MIGRATIONS)
    conn.close()


def test_a_database_of_a_newer_version_is_refused(conn, db_path):
    table = "UPDATE schema_version SET version = 99" if conn.words.is_postgres else "PRAGMA user_version = 99"
    conn.execute(table)
    with pytest.raises(ConfigurationError, match="has schema version 99"):
        db.connect(db_path)


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
        db.connect(str(tmp_path / "no" / "pipeline.db"))


def test_a_transaction_is_whole_or_not_at_all(conn):
    with pytest.raises(KeyboardInterrupt), db.transaction(conn):
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
        raise KeyboardInterrupt
    assert conn.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 0


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_committed_into_a_file_that_was_deleted_or_replaced(on_sqlite, tmp_path, replaced):
    """SQLite itself would: it works on in the file that it has open."""
    conn = on_sqlite
    os.rename(tmp_path / "pipeline.db", tmp_path / "moved.db")
    if replaced:
        (tmp_path / "pipeline.db").touch()
    with pytest.raises(ConfigurationError, match="deleted, moved or replaced meanwhile"), db.transaction(conn):
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")
    assert conn.execute("SELECT count(*) FROM repo_aliases").fetchone()[0] == 0
    os.replace(tmp_path / "moved.db", tmp_path / "pipeline.db")
    with db.transaction(conn):  # it is the same file, wherever it has been
        conn.execute("INSERT INTO repo_aliases VALUES ('a', 'b')")


@pytest.mark.parametrize("newer_first", [True, False])
def test_issues_never_goes_back_to_an_older_version(conn, newer_first):
    versions = [issues_row(title="old"), issues_row(title="new", updated_at="2026-01-02T00:00:01Z", payload_sha256="1")]
    for row in reversed(versions) if newer_first else versions:
        db.upsert(conn, "issues", [row])
    assert [row["title"] for row in conn.execute("SELECT title FROM issues")] == ["new"]


@pytest.mark.parametrize("reverse", [True, False])
def test_two_contents_of_one_second_give_the_same_row_in_either_order(conn, reverse):
    for sha256 in sorted("12", reverse=reverse):
        db.upsert(conn, "issues", [issues_row(title=sha256, payload_sha256=sha256)])
    assert [row["title"] for row in conn.execute("SELECT title FROM issues")] == ["2"]


@pytest.mark.parametrize("reverse", [True, False])
def test_of_two_versions_of_one_second_the_one_fetched_later_stays(conn, reverse):
    versions = [
        issues_row(title="first", payload_sha256="9", fetched_order="2026-01-03T00:00:00Z"),
        issues_row(title="then", payload_sha256="1", fetched_order="2026-01-03T00:01:00Z"),
    ]
    for row in reversed(versions) if reverse else versions:
        db.upsert(conn, "issues", [row])
    assert conn.execute("SELECT title FROM issues").fetchone()[0] == "then"


def test_an_issue_and_a_pull_request_may_share_an_id(conn):
    db.upsert(conn, "issues", [issues_row()])
    db.upsert(conn, "issues", [issues_row(item_type="pull_request")])
    assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 2


def test_the_upsert_sets_every_column_of_the_table(conn):
    columns = "pragma_table_info('issues')"
    if conn.words.is_postgres:
        columns = "(SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'issues') found"
    assert {row["name"] for row in conn.execute(f"SELECT name FROM {columns}")} == {
        *db.FILLED["issues"].columns, *db.MARKED["issue"].columns,
    }  # fmt: skip


def test_one_statement_may_bring_several_versions_of_an_item(conn):
    titles = {3: "newest", 1: "oldest", 2: "between"}
    rows = [issues_row(title=title, updated_at=f"2026-01-02T00:00:0{at}Z") for at, title in titles.items()]
    db.upsert(conn, "issues", [*rows, issues_row(id=2)])
    assert [row["title"] for row in conn.execute("SELECT title FROM issues ORDER BY id")] == ["newest", "t"]


def test_a_time_with_a_fraction_is_later_whatever_the_databases_language(conn):
    """Other collations pass over punctuation."""
    for order in ("2026-01-03T00:00:00.5Z", "2026-01-03T00:00:00Z"):
        db.upsert(conn, "issues", [issues_row(title=order, fetched_order=order)])
    assert conn.execute("SELECT title FROM issues").fetchone()[0] == "2026-01-03T00:00:00Z"
    assert conn.execute("SELECT 1 FROM issues WHERE fetched_order > '2026-01-03T00:00:00.5Z'").fetchone()


def test_who_empties_issues_wants_all_objects_read_again(conn):
    conn.execute("INSERT INTO rebuild_read VALUES ('scope', 'key')")
    db.upsert(conn, "issues", [issues_row()])
    conn.execute("DELETE FROM issues")
    assert conn.execute("SELECT count(*) FROM rebuild_read").fetchone()[0] == 0


@pytest.mark.parametrize(
    "text, kind",
    [("database is locked", Outage), ("database or disk is full", Outage), ("disk I/O error", Outage),
     ("attempt to write a readonly database", ConfigurationError), ("malformed", ConfigurationError)],
)  # fmt: skip
def test_sqlite_errors_are_told_apart(text, kind):
    assert isinstance(db.explain(sqlite3.OperationalError(text), "pipeline.db"), kind)


def tombstone(**changes):
    row = dict.fromkeys(db.FILLED["gone"].columns, "")
    row.update(kind="issue", id=1, repo="acme/widgets", number=1, updated_at="2026-01-05T00:00:00Z")
    row.update(gone_at="2026-01-05T00:00:00Z", gone_reason="deleted", moved_to=None)
    return Row("gone", {**row, **changes})


BACK = {"updated_at": "2026-01-06T00:00:00Z", "gone_at": None, "gone_reason": None}
NEWER = {"updated_at": "2026-01-05T00:00:01Z"}


@pytest.mark.parametrize(
    ("rows", "gone_at"),
    [
        ([Row("issues", issues_row()), tombstone()], "2026-01-05T00:00:00Z"),
        ([Row("issues", issues_row()), tombstone(), tombstone(**BACK)], None),
        ([Row("issues", issues_row()), tombstone(), Row("issues", issues_row(**NEWER))], None),
        ([Row("issues", issues_row()), tombstone(kind="pull_request")], None),
        ([tombstone(), Row("issues", issues_row(updated_at="2026-01-05T00:00:00Z"))], "2026-01-05T00:00:00Z"),
    ],
)
def test_what_a_tombstone_says_of_an_item_is_the_same_in_every_order(conn, rows, gone_at):
    for order in itertools.permutations(rows):
        for table in ("issues", "gone"):
            conn.execute(f"DELETE FROM {table}")
        for row in order:
            with db.transaction(conn):
                db.upsert_all(conn, [row])
        assert [row["gone_at"] for row in conn.execute("SELECT gone_at FROM issues")] == [gone_at]
        with db.transaction(conn):
            db.upsert_all(conn, order)
        assert [row["gone_at"] for row in conn.execute("SELECT gone_at FROM issues")] == [gone_at]
