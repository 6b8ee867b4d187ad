"""The primary dies and its standby takes over: what that lacks is noticed; a synchronous one lacks nothing.

https://www.postgresql.org/docs/current/warm-standby.html
"""

import concurrent.futures
import contextlib
import json
import threading

import pytest

import db
import queue_manager
from engines import postgres as engine
from foundation.errors import Outage
from tests import failover
from tests.conftest import started_main
from tests.engines.test_postgres import wait_until
from tests.failover import Pair
from tests.reconcile import problems, read_directory
from tests.test_crashes import enqueue

INGEST = ["ingest", "--repo", "acme/widgets", "--all", "-q"]


@pytest.fixture
def pair(postgres):
    if not failover.is_possible():
        pytest.skip(failover.NO_STANDBY)
    with contextlib.closing(Pair()) as made:
        yield made


def rows(server, database):
    with server.connect(database) as conn:
        return conn.execute("SELECT count(*) FROM queue_items").fetchone()[0]


def test_an_ingest_whose_last_pages_a_failover_lost_does_not_go_on_behind_them(pair, github, run_main):
    """The standby is cut off, two pages are committed, and it takes over between two transactions."""
    github.add_repo("acme/widgets").make(350, pulls=0)
    lists, one_at_a_time = [], threading.Lock()

    def on_request(target):
        with one_at_a_time:  # one that is asked for again, because this takes long, waits as well
            lists.extend([target] if "/issues?" in target else [])
            if len(lists) == 1:
                assert wait_until(pair.standby.has_all)
                pair.standby.kill()
            if len(lists) == 4:
                assert wait_until(lambda: rows(pair.primary, pair.database) == 299)  # pages overlap by one
                pair.primary.kill()
                pair.standby.start()
                pair.standby.promote()

    github.on_request = on_request
    env = {"PIPELINE_DB": pair.address(), "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    code, _, err = run_main(*INGEST, "--only", "issues", env=env)
    assert (code, err.count("\n"), "another server" in err) == (3, 1, True), err
    github.on_request = None
    assert run_main(*INGEST, "--only", "issues", env=env)[0] == 0
    assert rows(pair.standby, pair.database) == 350
    runs = json.loads(run_main("status", "--json", env=env)[1])["runs"]
    assert [(run["state"], run["exit_code"]) for run in runs] == [("ended", 0)]


@pytest.mark.long
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_with_a_synchronous_standby_nothing_is_lost_or_doubled_when_it_takes_over(
    pair, github, run_main, tmp_path, layout
):
    github.add_repo("acme/widgets").make(600)
    pair.wait_for_standby()
    env = {"PIPELINE_DB": pair.address(), "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    with contextlib.closing(db.connect(pair.address())) as conn:
        enqueue(conn, 300, first=10_001)
    committed, one_at_a_time = [], threading.Lock()

    def on_request(target):
        with one_at_a_time:
            if not committed and rows(pair.primary, pair.database) > 600:
                committed.append(rows(pair.primary, pair.database))
                pair.fail_over()

    github.on_request = on_request
    options = ["--follow", "--archive-dir", "archive", "--layout", layout]
    with started_main("worker", *options, env=env, cwd=tmp_path) as process:
        assert wait_until(lambda: list((tmp_path / "archive").rglob("*-*")))
        code, _, err = run_main(*INGEST, env=env)
        assert (code, err.count("\n"), bool(committed)) == (3, 1, True), err
        assert rows(pair.standby, pair.database) >= committed[0]
        assert run_main(*INGEST, env=env)[0] == 0
        with contextlib.closing(db.connect(pair.address())) as conn:
            assert wait_until(lambda: queue_manager.counts(conn)[:2] == (0, 0)), queue_manager.counts(conn)
        process.terminate()
        assert process.wait() == 143, process.stderr.read()
    assert problems(pair.standby.url(pair.database), read_directory(tmp_path / "archive")) == []
    assert rows(pair.standby, pair.database) == 1000


@pytest.mark.long
def test_a_standby_shows_its_status_and_says_that_it_only_reads(pair, github, run_main):
    github.add_repo("acme/widgets").make(20)
    address = {name: getattr(pair, name).url(pair.database) for name in ("primary", "standby")}

    def run(server, *arguments):
        return run_main(*arguments, env={"PIPELINE_DB": address[server], "GITHUB_API_URL": github.url})

    def replication(server):
        checks = json.loads(run(server, "check", "--json")[1])["checks"]
        return next(f"{check['state']}: {check['detail']}" for check in checks if check["name"] == "replication")

    assert run("primary", *INGEST)[0] == 0
    assert wait_until(pair.standby.has_all)
    for command in (INGEST, ["worker", "--archive-dir", "archive", "-q"], ["prune", "--older-than", "1", "-q"]):
        code, _, err = run("standby", *command)
        assert (code, err.count("\n"), "it only reads" in err) == (3, 1, True), err
    code, out, err = run("standby", "status", "--json")
    assert (code, json.loads(out)["queue"]["pending"]) == (0, 20), err
    assert replication("standby").startswith("warning: this is a standby, which only reads")
    assert replication("primary").startswith("ok: 1 standbys follow, none of them synchronous")
    pair.wait_for_standby()
    assert wait_until(lambda: replication("primary") == "ok: 1 standbys follow, and commits wait for them")
    pair.standby.stop()
    assert wait_until(lambda: "no standby follows" in replication("primary"))
    only = address["standby"] + "?target_session_attrs=read-write"
    pair.standby.start()
    code, _, err = run_main(*INGEST, env={"PIPELINE_DB": only, "GITHUB_API_URL": github.url})
    assert (code, err.count("\n"), "read-only" in err) == (3, 1, True), err


@pytest.mark.long
def test_a_commit_that_no_standby_confirmed_is_an_outage_although_the_server_takes_it_for_done(pair):
    """With a warning, where somebody ends the wait; who waits on is told by a time-out of ours."""
    pair.wait_for_standby()
    with contextlib.closing(db.connect(pair.primary.url(pair.database))) as conn:
        enqueue(conn, 1)
        pair.standby.kill()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            cancelled = pool.submit(wait_until, lambda: cancel_waiting_commits(pair.primary))
            with pytest.raises(engine.Error, match="no standby confirmed") as error:
                enqueue(conn, 1, first=2)
            assert cancelled.result()
        assert isinstance(error.value.explained, Outage)
        conn.answer_seconds = 0.3
        with pytest.raises(engine.Error, match="no answer came"), db.transaction(conn):
            conn.execute("UPDATE queue_items SET attempts = 7")
        heart = engine.Connection(pair.primary.url(pair.database), durable=False)
        with contextlib.closing(heart), db.transaction(heart):  # as a process says that it lives
            heart.execute("DELETE FROM owners")


def cancel_waiting_commits(server):
    with server.connect() as admin:
        waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return admin.execute(waiting).fetchall()
