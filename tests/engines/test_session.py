"""A server that took a statement and says nothing: its processes stand still, and its kernel keeps the connection."""

import contextlib
import signal

import pytest

import db
from engines import postgres as engine
from foundation.errors import Interrupted, Outage
from tests.conftest import started_main
from tests.engines.test_postgres import wait_until
from tests.test_queue_manager import enqueue, item

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def conn(postgres_db):
    with contextlib.closing(db.connect(postgres_db)) as connection:
        yield connection


@pytest.fixture
def somebody_waits(postgres_db):
    """Asked with a session of its own: a transaction sees the activity as it was when it first looked."""
    with contextlib.closing(db.connect(postgres_db)) as connection:
        yield lambda: wait_until(lambda: connection.execute(WAITING).fetchone()[0] > 0, tries=200)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [["status"], ["retry", "--all"], ["prune", "--older-than", "1"], ["check"]])
def test_a_signal_ends_a_command_whose_server_hangs(
    command, signum, conn, somebody_waits, postgres, postgres_db, tmp_path
):
    with db.transaction(conn):
        for table in db.TABLES:
            conn.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        env = {"PIPELINE_DB": postgres_db, "BUCKET_NAME": ""}
        with started_main(*command, env=env, cwd=tmp_path) as process:
            assert somebody_waits()
            with postgres.hanging():
                process.send_signal(signum)
                _, err = process.communicate(timeout=25)
    assert (process.returncode, err.count("\n")) == (128 + signum, 1), err


@pytest.mark.slow
def test_a_signal_ends_an_ingest_whose_commit_is_not_answered_and_the_next_one_has_all(
    conn, somebody_waits, postgres, postgres_db, github, run_main, tmp_path
):
    github.add_repo("acme/widgets").make(5, pulls=0)
    ingest = ["ingest", "--repo", "acme/widgets", "--all", "--only", "issues", "-q"]
    env = {"PIPELINE_DB": postgres_db, "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    with db.transaction(conn):
        conn.execute("LOCK TABLE queue_items IN SHARE MODE")
        with started_main(*ingest, env=env, cwd=tmp_path) as process:
            assert somebody_waits()
            with postgres.hanging():
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=25)
    assert (process.returncode, err.count("\n")) == (143, 1), err
    assert run_main(*ingest, env=env)[0] == 0
    assert conn.execute("SELECT count(*) FROM queue_items").fetchone()[0] == 5


def test_an_answer_that_does_not_come_is_an_outage(conn, postgres):
    enqueue(conn, item(1))
    conn.answer_seconds = 0.3
    silence = pytest.raises(engine.Error, match="no answer came within")
    with silence as raised, db.transaction(conn), postgres.hanging():
        conn.execute("UPDATE queue_items SET attempts = 7")
    assert isinstance(raised.value.explained, Outage)
    assert conn.execute("SELECT attempts FROM queue_items").fetchone()[0] == 0


def test_after_an_answer_that_did_not_come_the_next_statement_has_a_session_of_its_own(conn, postgres):
    conn.answer_seconds = 0.3
    with pytest.raises(engine.Error, match="no answer came within"), postgres.hanging():
        conn.execute("UPDATE queue_items SET attempts = 7")
    assert conn.execute("SELECT 2").fetchone()[0] == 2


def test_what_may_take_long_is_waited_for(conn, monkeypatch):
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.0)
    conn.answer_seconds = None
    assert conn.execute("SELECT pg_sleep(0.3), 1").fetchone()[1] == 1


def test_after_a_signal_the_statement_is_cancelled_and_the_next_one_has_a_session_of_its_own(conn):
    signal.signal(signal.SIGALRM, lambda signum, frame: (_ for _ in ()).throw(Interrupted(signal.SIGTERM)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Interrupted):
            conn.execute("SELECT pg_sleep(600)")
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    assert wait_until(lambda: conn.execute(running).fetchone()[0] == 0)
