"""The database to the other engine, in both directions: whole, once, and with nobody at work there."""

import contextlib
import json
import signal

import pytest

import db
import queue_manager
from commands import moving, runs
from commands.archive_choice import Location
from cursors import repo_names, states, work_list
from engines import presence
from foundation.clock import SYSTEM_CLOCK
from foundation.errors import ConfigurationError
from foundation.records import Gap, StreamState
from lake import notes
from tests.conftest import started_main
from tests.crashes import Zygote
from tests.postgres_server import PASSWORD
from tests.test_db import issues_row
from tests.test_migrations import any_row
from tests.test_queue_manager import claim, enqueue, item

NOW = "2026-11-23T10:00:00Z"
STATE = StreamState(cursor=NOW, etag='W/"é"', scan={"page": 2}, repo_id=7, gaps=(Gap("a", "b", 1, NOW, NOW),))
PAYLOAD = '{"a": "\\u0000 \\ud800 é 😀 %s :now ? \u2028"}'.encode()


@pytest.fixture
def sqlite_db(tmp_path):
    return str(tmp_path / "pipeline.db")


@pytest.fixture(params=["to PostgreSQL", "and back"])
def way(request, sqlite_db, postgres_db):
    """(source, target), in both directions."""
    return (sqlite_db, postgres_db) if request.param == "to PostgreSQL" else (postgres_db, sqlite_db)


@pytest.fixture
def move(run_main):
    def run(source, target, *options):
        code, out, err = run_main("move", "--from", source, "--to", target, "--json", "-q", *options)
        assert PASSWORD not in out + err
        assert "s3cret" not in out + err
        return code, json.loads(out) if out else None, err

    return run


def place(name):
    return Location(None, f"/{name}").place("raw/", {}).text


def opened(path):
    return contextlib.closing(db.connect(path))


def fill(path, *, rows=20):
    """Something in each table, in each state; the last row that was given a number is gone."""
    with opened(path) as conn:
        enqueue(conn, *(item(number, payload=PAYLOAD + b" " * number) for number in range(1, rows + 2)))
        claim(conn, "me", limit=6)
        with db.transaction(conn):
            queue_manager.complete(conn, s3_keys={1: "k1", 2: "k2"}, token="me", now=NOW)
            queue_manager.fail(conn, item_id=3, token="me", s3_key=None, error="no", now=NOW)
            queue_manager.put_off(conn, item_id=4, token="me", error="later", available_at=NOW)
            conn.execute("DELETE FROM queue_items WHERE id = ?", (rows + 1,))
            db.upsert(conn, "issues", [issues_row(lead_time_hours=1 / 3), issues_row(id=2, title="é\u2028😀")])
            states.save(conn, repo="acme/widgets", stream="issues", state=STATE)
            repo_names.settle(conn, repo="acme/new", repo_id=7, was="acme/widgets", asked_for="acme/old")
            runs.start_run(conn, command="worker", owner="gone", now=NOW)
            notes.note_read(conn, "scope", ["b", "a"])
            notes.count_archived(conn, place=place("one"), items=5)
            notes.note_copied(conn, source=place("one"), target=place("two"))
            for table in set(db.FILLED) - {"issues"}:
                db.upsert(conn, table, [any_row(conn, table, "2026-01-02T00:00:00Z")])
            work_list.note(conn, repo="acme/widgets", versions=[(1, "2026-01-02T00:00:00Z")])
            conn.execute("INSERT INTO ignored_users VALUES ('renovate')")


def contents(path):
    """All that is to be moved, as SQL shows it."""
    with opened(path) as conn:
        return {
            table.name: sorted(
                tuple(row) for row in conn.execute(f"SELECT * FROM {table.name} WHERE {table.which}").fetchall()
            )
            for table in moving.TABLES
        }


def test_every_table_is_moved_but_that_of_locks():
    assert {table.name for table in moving.TABLES} == set(db.TABLES) - {"locks"}


def test_all_rows_of_all_tables_arrive_as_they_are(way, move):
    source, target = way
    fill(source)
    before = contents(source)
    code, result, err = move(source, target)
    assert code == 0, err
    assert contents(target) == before == contents(source)
    assert all(before.values()), "a table without rows proves nothing"
    assert {name: table["rows"] for name, table in result["tables"].items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert result["rows"] == result["copied"] == sum(map(len, before.values()))
    with opened(target) as conn:
        stored = conn.execute(f"SELECT {conn.words.bytes_of_payload} FROM queue_items WHERE id = 5").fetchone()[0]
    assert bytes(stored) == PAYLOAD + b" " * 5


def test_there_and_back_is_where_it_was(sqlite_db, postgres_db, tmp_path, move):
    fill(sqlite_db)
    back = str(tmp_path / "back.db")
    there, again = move(sqlite_db, postgres_db)[1], move(postgres_db, back)[1]
    assert there["tables"] == again["tables"]
    assert contents(back) == contents(sqlite_db)


def test_no_number_is_given_twice_afterwards_not_even_one_whose_row_is_gone(way, move):
    source, target = way
    fill(source, rows=20)
    move(source, target)
    with opened(target) as conn:
        enqueue(conn, item(99))
        assert conn.execute("SELECT id FROM queue_items WHERE item_id = 99").fetchone()[0] == 22
        run_id = runs.start_run(conn, command="worker", owner="new", now=NOW)
        assert run_id > conn.execute("SELECT max(id) FROM runs WHERE owner = 'gone'").fetchone()[0]


def test_an_empty_database_is_moved_too_and_its_numbers_begin_at_one(way, move):
    source, target = way
    db.connect(source).close()
    assert move(source, target)[1]["rows"] == 0
    with opened(target) as conn:
        enqueue(conn, item())
        assert conn.execute("SELECT id FROM queue_items").fetchone()[0] == 1


def test_a_target_that_holds_anything_is_refused_and_left_as_it_was(way, move):
    source, target = way
    fill(source)
    with opened(target) as conn:
        notes.count_archived(conn, place=place("theirs"), items=1)
    before = contents(target)
    code, result, err = move(source, target)
    assert (code, result, err.count("\n"), "archives has rows" in err) == (2, None, 1, True), err
    assert contents(target) == before


def test_once_more_it_compares_and_copies_nothing_and_refuses_a_target_that_went_on_since(way, move):
    source, target = way
    fill(source)
    first = move(source, target)[1]
    code, again, err = move(source, target)
    assert (code, again["copied"], again["tables"]) == (0, 0, first["tables"]), err
    with opened(target) as conn:
        enqueue(conn, item(99))
    code, _, err = move(source, target)
    assert (code, "queue_items: the row that begins with (22,)" in err) == (2, True), err


WRITERS = ["worker --archive-dir a", "ingest --repo a/b", "prune --older-than 1", "retry --all", "forget --repo a/b"]


@pytest.mark.parametrize("command", WRITERS)
def test_nothing_begins_in_a_target_whose_move_has_not_ended(way, move, run_main, command):
    source, target = way
    fill(source)
    with opened(source) as one, opened(target) as two:
        assert moving.begin(one, two, shown="there", clock=SYSTEM_CLOCK)
    code, _, err = run_main(*command.split(), "--db", target, env={"GITHUB_API_URL": "http://127.0.0.1:9"})
    assert (code, err.count("\n"), "has not ended" in err) == (2, 1, True), err
    assert move(source, target)[0] == 0
    assert run_main("prune", "--older-than", "1", "--db", target)[0] == 0


def test_another_source_does_not_go_on_with_an_unfinished_move(postgres_db, tmp_path, move):
    one, other = str(tmp_path / "one.db"), str(tmp_path / "other.db")
    for path in (one, other):
        fill(path)
    with opened(one) as source, opened(postgres_db) as target:
        moving.begin(source, target, shown="there", clock=SYSTEM_CLOCK)
    code, _, err = move(other, postgres_db)
    assert (code, "is not empty" in err) == (2, True), err
    assert move(one, postgres_db)[0] == 0


def test_a_worker_that_waits_for_work_on_the_source_keeps_it_from_being_moved(way, move, tmp_path):
    source, target = way
    db.connect(source).close()
    with started_main("worker", "--follow", "--archive-dir", "a", "--db", source, cwd=tmp_path) as process:
        with opened(source) as conn:
            while conn.execute("SELECT count(*) FROM runs").fetchone()[0] == 0:
                assert process.poll() is None, process.stderr.read()
        code, _, err = move(source, target)
        assert (code, err.count("\n"), "worker works on" in err, f"process {process.pid}" in err) == (4, 1, True, True)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert move(source, target)[0] == 0


@pytest.mark.parametrize("command", WRITERS)
def test_no_run_begins_on_a_source_that_is_being_moved_and_it_may_be_looked_at(way, run_main, command):
    source, target = way
    with opened(source) as conn, presence.fresh_token(conn, source, lease_seconds=60) as token:
        enqueue(conn, item())
        runs.take_lock(conn, runs.MOVE, owner=token, now=NOW)
        with moving.held_still(source, own_token=token) as held:
            code, _, err = run_main(*command.split(), "--db", source, env={"GITHUB_API_URL": "http://127.0.0.1:9"})
            assert (code, err.count("\n"), "is being moved by process" in err) == (4, 1, True), err
            code, _, err = run_main("move", "--from", source, "--to", target)
            assert (code, "is being moved by process" in err) == (4, True), err
            assert run_main("status", "--db", source)[0] == 0
            assert moving.total(held) == 1


@pytest.mark.long
def test_nobody_writes_into_a_source_that_is_held(way):
    source, _ = way
    db.connect(source).close()
    with opened(source) as conn, moving.held_still(source, own_token="me"):
        conn.execute("SET statement_timeout = '200ms'" if conn.words.is_postgres else "PRAGMA busy_timeout = 200")
        with pytest.raises(db.Error), db.transaction(conn):
            enqueue(conn, item())


def test_a_row_that_is_another_one_in_the_target_is_found_and_named(way):
    source, target = way
    fill(source)
    with opened(source) as one, opened(target) as two:
        moving.copy(one, two, on_progress=lambda rows, note: None)
        moving.compare(one, two, on_progress=lambda rows, note: None)
        two.execute("UPDATE issues SET title = 'x' WHERE id = 2")
        with pytest.raises(ConfigurationError, match=r"issues: the row that begins with \(2, 'issue'\)"):
            moving.compare(one, two, on_progress=lambda rows, note: None)
        two.execute("DELETE FROM issues WHERE id = 2")
        with pytest.raises(ConfigurationError, match="issues"):
            moving.compare(one, two, on_progress=lambda rows, note: None)


def test_killed_before_any_statement_and_run_again_it_ends_the_same(way, move, tmp_path):
    """One of the two is SQLite: its statements are counted."""
    source, target = way
    fill(source, rows=1200)
    before = contents(source)
    zygote = Zygote({}, tmp_path / "log")
    ends, number = [], 1
    with contextlib.closing(zygote):
        while not ends or ends[-1] == -signal.SIGKILL:
            ends.append(
                zygote.wait(zygote.start(f"die at statement:{number}", "move", "--from", source, "--to", target))
            )
            number += 4
    assert (ends[-1], len(ends) > 5) == (0, True), (ends, (tmp_path / "log").read_text())
    code, result, err = move(source, target)
    assert (code, result["copied"]) == (0, 0), err
    assert contents(target) == before == contents(source)


def test_a_server_that_ends_its_connections_in_mid_move_costs_nothing_and_no_source_goes_on_unheld(
    way, move, postgres, postgres_db
):
    source, target = way
    fill(source, rows=1200)
    ended = []

    def end_connections(rows, note):
        if not ended and rows >= 500:
            ended.append(rows)
            with postgres.connect() as admin:
                name = postgres_db.rpartition("/")[2]
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    with opened(source) as one, opened(target) as two:
        moving.begin(one, two, shown="there", clock=SYSTEM_CLOCK)
    # Between two transactions a connection is made anew; with the one that held the source its hold is gone.
    ends_it = pytest.raises(db.Error) if source == postgres_db else contextlib.nullcontext()
    with opened(target) as two, ends_it, moving.held_still(source, own_token="me") as held:
        moving.copy(held, two, on_progress=end_connections)
    code, result, err = move(source, target)
    assert (code, bool(ended), result["copied"] > 0) == (0, True, source == postgres_db), err
    assert contents(target) == contents(source)


def test_a_signal_ends_it_with_its_own_code_and_the_next_goes_on(way, move, tmp_path):
    source, target = way
    fill(source, rows=3000)
    with started_main("move", "--from", source, "--to", target, cwd=tmp_path) as process:
        with opened(target) as conn:
            while conn.execute("SELECT count(*) FROM queue_items").fetchone()[0] == 0:
                assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err, "goes on from here" in err) == (143, False, True), err
    assert move(source, target)[0] == 0
    assert contents(target) == contents(source)


def test_a_payload_that_postgresql_can_t_hold_ends_the_move_with_2_and_a_line(sqlite_db, postgres_db, move):
    with opened(sqlite_db) as conn:
        enqueue(conn, item(1), item(2, payload=b'"\xff"'))
    code, _, err = move(sqlite_db, postgres_db)
    assert (code, err.count("\n"), "no text that PostgreSQL holds" in err) == (2, 1, True), err


def test_two_of_one_engine_are_left_to_its_own_tools(sqlite_db, tmp_path, move):
    fill(sqlite_db)
    code, _, err = move(sqlite_db, str(tmp_path / "other.db"))
    assert (code, "own tools" in err, (tmp_path / "other.db").exists()) == (2, True, False), err


def test_a_source_that_is_not_there_is_not_made(tmp_path, postgres_db, move):
    code, _, err = move(str(tmp_path / "nothing.db"), postgres_db)
    assert (code, "there is no database" in err, (tmp_path / "nothing.db").exists()) == (2, True, False), err


def test_it_says_what_to_set_afterwards_without_the_password(sqlite_db, postgres_db, run_main):
    fill(sqlite_db)
    code, out, err = run_main("move", "--from", sqlite_db, "--to", postgres_db)
    assert code == 0, err
    assert "PIPELINE_DB='postgresql://owner:***@127.0.0.1" in out
    assert f"put {sqlite_db} aside" in out
    assert "s3cret" not in out + err


def test_a_target_that_can_t_be_written_is_what_is_named(sqlite_db, postgres_db, tmp_path, move):
    fill(postgres_db)
    (tmp_path / "other.db").write_text("no database, but long enough to be taken for a file of one" * 100)
    code, _, err = move(postgres_db, str(tmp_path / "other.db"))
    assert (code, err.count("\n"), "other.db' is not an SQLite database" in err) == (2, 1, True), err
