"""What is particular to PostgreSQL: sessions beside each other, its clock, what breaks on the way, roles, addresses.

What both engines have in common is in the tests of db.py and queue_manager.py, which run on both.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading

import pytest

import db
import main
import queue_manager
import worker
from commands import runs
from engines import heartbeats, presence
from engines import postgres as engine
from foundation import timestamps
from foundation.clock import SYSTEM_CLOCK
from foundation.errors import AnotherRun, ConfigurationError, Outage
from foundation.records import Row
from lake.objects import ItemRefused
from queue_manager import Lease
from tests.conftest import REAL_SLEEP, ROOT, started_main
from tests.postgres_server import PASSWORD
from tests.postgres_server import PostgresServer as OwnServer
from tests.test_db import issues_row, tombstone
from tests.test_queue_manager import (
    claim,
    claim_archived,
    claim_batch,
    claim_begun,
    enqueue,
    item,
    prune,
    row,
    statuses,
)
from tests.test_worker import Archive
from tests.test_worker import enqueue as enqueue_payloads

NOW = "2026-11-23T10:00:00Z"
DAY = 86400


@pytest.fixture
def session(postgres_db):
    """Makes connections to one database, each with a session of its own."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(contextlib.closing(db.connect(postgres_db, **options)))


@pytest.fixture
def conn(session):
    return session()


@pytest.fixture
def new_db(postgres):
    """The address of a database without tables."""
    name = postgres.make_database()
    yield postgres.url(name)
    postgres.drop_database(name)


def run_worker(conn, address, archive, *, clock=SYSTEM_CLOCK, lease_seconds=60):
    """One worker in this process; returns what came of it, and the outage that ended it."""
    settings = worker.Settings("raw/github/", False, 2, 5)
    with presence.fresh_token(conn, address, lease_seconds=lease_seconds) as token:
        job = worker.Worker(
            conn=conn, db_path=address, token=token, open_archive=lambda: archive, settings=settings, clock=clock,
            rng=random.Random(1), idle=lambda seconds: None,
        )  # fmt: skip
        return job.run(), job.outage


def off_by(seconds):
    """The clock of a host that is wrong."""
    return SYSTEM_CLOCK._replace(now=lambda: SYSTEM_CLOCK.now() + seconds)


def dead_elsewhere(conn, token, *, seconds_ago, is_stopping=False):
    """A process of another host, of which nothing was heard since its lease ended so long ago."""
    conn.execute(
        f"""
        INSERT INTO owners (token, host, pid, birth, is_stopping, alive_until)
        VALUES (?, 'elsewhere', 1, '', ?, {engine.time_text("clock_timestamp() - make_interval(secs => ?)")})
        """,
        (token, is_stopping, float(seconds_ago)),
    )


# Claims


def test_claims_of_two_sessions_take_different_rows_and_neither_waits(session):
    one, two = session(), session()
    enqueue(one, *map(item, range(1, 7)))
    two.execute("SET statement_timeout = '5s'")  # one that waited would fail by it
    with db.transaction(one), db.transaction(two):
        first = [claimed.id for claimed in claim(one, "one", limit=2)]
        second = [claimed.id for claimed in claim(two, "two", limit=3)]
    assert (first, second) == ([1, 2], [3, 4, 5])
    assert sorted(queue_manager.claim_tokens(one)) == ["one", "two"]


def test_a_begun_batch_goes_whole_to_one_of_two_sessions(postgres_db, session):
    conn = session()
    enqueue(conn, *map(item, range(1, 41)))
    queue_manager.claim_batch(
        conn, Lease("me", NOW, 60), limit=40, max_bytes=10**6, fetched_before=None, place="here",
        key_of=lambda items: "batch-1",
    )  # fmt: skip
    queue_manager.release(conn, token="me")

    def claim_begun(token):
        with contextlib.closing(db.connect(postgres_db)) as own, db.transaction(own):
            return len(queue_manager.claim_begun(own, Lease(token, NOW, 60), place="here", prefix="batch-").items)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(claim_begun, "abcd")) == [0, 0, 0, 40]


LONG_AGO = "2020-01-01T00:00:00Z"


def begin_batch(conn, rows):
    """A batch of a worker that lost its lease; returns the keys of its rows."""
    enqueue(conn, *map(item, range(1, rows + 1)))
    claimed = claim_batch(conn, "owner", limit=rows)
    conn.execute("UPDATE queue_items SET lease_until = ?", (LONG_AGO,))
    return {each.id: claimed.batch_key for each in claimed.items}


def free_and_claim(conn, token, *, now=NOW):
    with db.transaction(conn):
        freed = queue_manager.release_expired(conn, now=now)
        claimed = queue_manager.claim_begun(conn, Lease(token, NOW, 60), place="here", prefix="batch-")
        return freed, len(claimed.items)


def end_or_wait(session, *under_way):
    """Each of them has ended, or waits for another's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    observer = session()
    assert wait_until(lambda: observer.execute(waiting).fetchone()[0] >= sum(not future.done() for future in under_way))


def test_of_a_batch_whose_lease_ended_no_part_is_freed_and_taken_for_the_whole(session):
    holder, freers = session(), [session(), session()]
    begin_batch(holder, 40)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with db.transaction(holder):
            holder.execute("SELECT 1 FROM queue_items WHERE id = 20 FOR UPDATE")
            freeing = [pool.submit(free_and_claim, conn, token) for conn, token in zip(freers, "ab")]
            end_or_wait(session, *freeing)
        assert sorted(future.result() for future in freeing) == [(0, 0), (40, 40)]


def test_a_batch_of_which_the_rest_is_handed_back_while_it_is_claimed_is_claimed_whole(session):
    holder, claimer = session(), session()
    begin_batch(holder, 40)
    holder.execute("UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL WHERE id = 1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with db.transaction(holder):
            holder.execute("SELECT 1 FROM queue_items WHERE id = 1 FOR UPDATE")
            claiming = pool.submit(free_and_claim, claimer, "a", now=LONG_AGO)  # the lease has not ended by that
            end_or_wait(session, claiming)
            queue_manager.release(holder, token="owner")
        assert claiming.result() == (0, 40)


def test_a_batch_that_is_freed_while_its_owner_completes_it_is_all_freed_or_all_completed(session):
    """And they wait for each other in no circle, wherever both began."""
    holder, owner, freer = session(), session(), session()
    s3_keys = begin_batch(holder, 40)

    def complete():
        with db.transaction(owner):  # the last first: the statement's own order is of no account
            return len(
                queue_manager.complete(owner, s3_keys=dict(reversed(list(s3_keys.items()))), token="owner", now=NOW)
            )

    for first in (0, 1):
        holder.execute(
            "UPDATE queue_items SET status = 'processing', claim_token = 'owner', lease_until = ?, batch_key = ?, "
            "s3_key = NULL",
            (LONG_AGO, s3_keys[1]),
        )
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            with db.transaction(holder):
                holder.execute("SELECT 1 FROM queue_items WHERE id = 20 FOR UPDATE")
                steps = [complete, lambda: free_and_claim(freer, "f")]
                under_way = []
                for step in (steps[first], steps[1 - first]):
                    under_way.append(pool.submit(step))
                    end_or_wait(session, *under_way)
            found = [future.result() for future in under_way]
        assert (found[first], found[1 - first]) in [(40, (0, 0)), (0, (40, 40))]


def test_rows_that_two_sessions_release_at_once_are_released_once(session):
    one, two = session(), session()
    enqueue(one, *map(item, range(1, 5)))
    claim(one)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with db.transaction(one):
            assert queue_manager.release_expired(one, now="2026-11-23T11:00:00Z") == 4
            other = pool.submit(queue_manager.release_expired, two, now="2026-11-23T11:00:00Z")
            end_or_wait(session, other)
        assert other.result() == 0


def test_no_step_reads_more_rows_than_it_changes_however_many_lie_there(conn):
    """And whatever the statistics say: here they were made when nothing was pending."""
    for page in range(30):
        enqueue(conn, *map(item, range(100 * page, 100 * page + 100)))
    conn.execute("UPDATE queue_items SET status = 'done', s3_key = 'k', finished_at = '2026-01-01T00:00:00Z'")
    conn.execute("ANALYZE queue_items")
    for page in range(30, 60):
        enqueue(conn, *map(item, range(100 * page, 100 * page + 100)))
    ids = [claimed.id for claimed in claim(conn, "mine", limit=10)]
    claim(conn, "other", limit=10)
    steps = {
        "claim": lambda: claim(conn, limit=10),
        "claim a batch": lambda: claim_batch(conn, limit=10),
        "complete": lambda: queue_manager.complete(conn, s3_keys=dict.fromkeys(ids, "k"), token="mine", now=NOW),
        "extend": lambda: queue_manager.extend_leases(conn, Lease("other", NOW, 60)),
        "release": lambda: queue_manager.release(conn, token="other"),
        "prune": lambda: prune(conn, limit=10),
        "enqueue again": lambda: enqueue(conn, *map(item, range(5000, 5010))),
    }
    for name, step in steps.items():
        with db.transaction(conn):
            before = reads(conn)
            step()
            scans, rows = (now - then for now, then in zip(reads(conn), before))
        assert (scans, rows <= 50) == (0, True), (name, scans, rows)


def reads(conn):
    """Of queue_items: how often it was read as a whole, and how many rows by an index."""
    counts = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'queue_items'"
    return conn.execute(counts).fetchone()


# Clocks


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_all_that_a_worker_writes_down_is_of_the_databases_time_whatever_its_own_clock_says(
    conn, postgres_db, session, seconds
):
    enqueue_payloads(conn, 3)
    other, leases = session(), []

    def refuse_the_first(key):
        if "/1-" in key:
            leases.extend(found[0] for found in other.execute("SELECT lease_until FROM queue_items"))
            raise ItemRefused("no")

    run_worker(conn, postgres_db, Archive(refuse_the_first), clock=off_by(seconds))
    assert statuses(conn) == ["pending", "done", "done"]
    finished = [row(conn, row_id)["finished_at"] for row_id in (2, 3)]
    now = timestamps.to_epoch(db.now(conn, SYSTEM_CLOCK))
    for moment in [*leases, row(conn, 1)["available_at"], *finished]:
        assert abs(timestamps.to_epoch(moment) - now) < 3600


def test_an_ingest_and_a_rebuild_reckon_by_the_databases_time_whatever_their_own_clock_says(
    conn, postgres_db, github, tmp_path
):
    repo = github.add_repo("acme/widgets")
    repo.make(2)
    environ = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db}
    archive = ["--archive-dir", str(tmp_path / "archive")]
    now = timestamps.to_epoch(db.now(conn, SYSTEM_CLOCK))
    for command in (["ingest", "--repo", "acme/widgets", "--days", "30"], ["worker", *archive], ["rebuild", *archive]):
        conn.execute("DELETE FROM issues")
        assert main.main([*command, "-q"], environ, off_by(1000 * DAY)) == 0
    covered = [found[0] for found in conn.execute("SELECT covered_since FROM ingest_state")]
    processed = [found[0] for found in conn.execute("SELECT processed_at FROM issues")]
    assert (len(covered), len(processed)) == (2, 2)
    for moment, days_ago in [*((each, 30) for each in covered), *((each, 0) for each in processed)]:
        assert abs(timestamps.to_epoch(moment) + days_ago * DAY - now) < 3600


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_a_clock_that_is_a_day_off_takes_nothing_from_who_has_it_in_hand(conn, postgres_db, session, seconds):
    enqueue_payloads(conn, 2)
    other = session()
    with presence.fresh_token(other, postgres_db, lease_seconds=60) as token:
        with db.transaction(other):
            lease = Lease(token, db.now(other, SYSTEM_CLOCK), 60)
            queue_manager.claim_single(other, lease, limit=1)
        result, _ = run_worker(conn, postgres_db, Archive(), clock=off_by(seconds))
        assert (result.done, statuses(conn)) == (1, ["processing", "done"])


# Who is alive


def test_rows_of_a_worker_that_died_on_another_host_are_done_after_its_lease_and_nobody_is_blamed(conn, postgres_db):
    enqueue_payloads(conn, 5)
    dead_elsewhere(conn, "gone", seconds_ago=5)
    claim(conn, "gone", limit=5, now=db.now(conn, SYSTEM_CLOCK))
    result, _ = run_worker(conn, postgres_db, Archive())
    blame = [(row(conn, row_id)["attempts"], row(conn, row_id)["group_failures"]) for row_id in range(1, 6)]
    assert (result.done, blame) == (5, [(0, 0)] * 5)


def test_rows_of_a_worker_on_another_host_are_its_own_for_as_long_as_its_lease_runs(conn, postgres_db):
    enqueue_payloads(conn, 2)
    dead_elsewhere(conn, "quiet", seconds_ago=-60)
    claim(conn, "quiet", limit=1, now=db.now(conn, SYSTEM_CLOCK))
    run_worker(conn, postgres_db, Archive())
    assert statuses(conn) == ["processing", "done"]


@pytest.mark.parametrize("is_stopping, state", [(False, presence.State.DIED), (True, presence.State.ENDED)])
@pytest.mark.parametrize("seconds_ago", [5, -60])
def test_a_process_that_was_told_to_stop_did_not_die_of_what_it_had(conn, postgres_db, is_stopping, state, seconds_ago):
    dead_elsewhere(conn, "gone", seconds_ago=seconds_ago, is_stopping=is_stopping)
    birth = heartbeats._birth(os.getpid()) + "0"  # another process of this host had our number
    conn.execute("UPDATE owners SET pid = ?, birth = ?", (os.getpid(), birth))
    assert presence.state(conn, postgres_db, "gone") is state


def test_who_lived_through_an_outage_that_was_longer_than_its_lease_did_not_die(conn, postgres_db):
    with presence.fresh_token(conn, postgres_db, lease_seconds=3600) as token:
        conn.execute("UPDATE owners SET alive_until = ?", (LONG_AGO,))
        assert presence.state(conn, postgres_db, token) is presence.State.ENDED


def test_what_was_taken_while_the_servers_clock_stood_years_ahead_blocks_nobody_for_years(conn, postgres_db):
    enqueue_payloads(conn, 3)
    dead_elsewhere(conn, "quiet", seconds_ago=-3000 * DAY)
    runs.take_lock(conn, "prune", owner="quiet", now=NOW)
    claim(conn, "quiet", limit=1)
    with presence.fresh_token(conn, postgres_db, lease_seconds=3600) as token:
        claim(conn, token, limit=1)
        assert presence.state(conn, postgres_db, token) is presence.State.ALIVE
        conn.execute("UPDATE queue_items SET lease_until = '2099-01-01T00:00:00Z' WHERE status = 'processing'")
        assert run_worker(conn, postgres_db, Archive())[0].done == 3
    with recorded(conn, postgres_db) as run:
        run.hold(["prune"])
    assert conn.execute("SELECT count(*) FROM owners").fetchone()[0] == 0


def test_a_process_of_this_host_that_was_killed_is_seen_at_once(conn, postgres_db):
    script = (
        "import sys, db; from engines import presence; conn = db.connect(sys.argv[1])\n"
        "with presence.fresh_token(conn, sys.argv[1], lease_seconds=3600) as token:\n"
        "    print(token, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, postgres_db], cwd=str(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        token = process.stdout.readline().decode().strip()
        assert presence.state(conn, postgres_db, token) is presence.State.ALIVE
        assert str(process.pid) in presence.process(conn, postgres_db, token)
        process.kill()
        process.wait()
        assert presence.state(conn, postgres_db, token) is presence.State.DIED


def test_who_lives_says_so_again_and_again_also_after_it_was_forgotten(conn, postgres_db):
    with presence.fresh_token(conn, postgres_db, lease_seconds=1) as token:
        conn.execute("DELETE FROM owners")
        found = wait_until(lambda: conn.execute("SELECT 1 FROM owners WHERE token = ?", (token,)).fetchone())
        assert found
        presence.told_to_stop(conn, postgres_db, token)
        assert wait_until(lambda: conn.execute("SELECT 1 FROM owners WHERE is_stopping").fetchone())
    assert presence.state(conn, postgres_db, token) is presence.State.ENDED


def wait_until(answer, tries=1200):
    for _ in range(tries):
        if answer():
            return True
        REAL_SLEEP(0.05)
    return False


def test_processes_that_died_are_forgotten_once_they_have_nothing_in_hand(conn, postgres_db):
    enqueue(conn, item())
    for token, seconds_ago in (("idle", 5), ("busy", 5), ("quiet", -60)):
        dead_elsewhere(conn, token, seconds_ago=seconds_ago)
    claim(conn, "busy")
    presence.tidy(conn, postgres_db, in_use=lambda: queue_manager.claim_tokens(conn))
    left = [found["token"] for found in conn.execute("SELECT token FROM owners ORDER BY token")]
    assert left == ["busy", "quiet"]


# Locks


def recorded(conn, address, **environ):
    return runs.recorded(
        conn, db_path=address, command="ingest", what="x", clock=SYSTEM_CLOCK, environ=environ
    )  # fmt: skip


def test_of_two_ingests_of_a_repository_from_two_hosts_the_second_ends_with_4(conn, postgres_db, run_main, github):
    github.add_repo("acme/widgets").make(3)
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db}
    dead_elsewhere(conn, "other", seconds_ago=-60)
    runs.take_lock(conn, "ingest of acme/widgets", owner="other", now=NOW)
    code, _, err = run_main("ingest", "--repo", "acme/widgets", "--all", env=env)
    assert (code, "process 1 on elsewhere since" in err) == (4, True), err
    assert PASSWORD not in err
    conn.execute(f"UPDATE owners SET alive_until = {engine.time_text('clock_timestamp() - make_interval(secs => 5)')}")
    assert run_main("ingest", "--repo", "acme/widgets", "--all", env=env)[0] == 0
    assert queue_manager.counts(conn).pending == 3


def test_a_thousand_locks_take_few_requests(conn, postgres_db, monkeypatch):
    names, sent, execute = [f"ingest of acme/{number}" for number in range(1000)], [], conn.execute
    dead_elsewhere(conn, "gone", seconds_ago=5)
    for name in names:
        runs.take_lock(conn, name, owner="gone", now=NOW)
    with recorded(conn, postgres_db) as record:
        monkeypatch.setattr(conn, "execute", lambda *arguments: sent.append(arguments) or execute(*arguments))
        record.hold(names)
        assert all(runs.is_held(conn, name, owner=record.token) for name in names[::100])
    assert len(sent) < 40


def test_a_worker_that_follows_looks_often_enough_to_begin_within_a_second_of_a_commit_elsewhere(
    conn, postgres_db, session
):
    other, waits = session(), []

    def idle(seconds):
        waits.append(seconds)
        if len(waits) == 1:
            enqueue_payloads(other, 3)
        else:
            job.stop()

    with presence.fresh_token(conn, postgres_db, lease_seconds=60) as token:
        job = worker.Worker(
            conn=conn, db_path=postgres_db, token=token, open_archive=Archive, rng=random.Random(1), idle=idle,
            settings=worker.Settings("raw/github/", False, 2, 5, follow=True), clock=SYSTEM_CLOCK,
        )  # fmt: skip
        assert (job.run().done, max(waits) < 1) == (3, True)


def test_of_eight_who_want_a_lock_at_once_one_gets_it(postgres_db):
    everybody = threading.Barrier(8)

    def hold(number):
        with contextlib.closing(db.connect(postgres_db)) as own, recorded(own, postgres_db) as run:
            everybody.wait()
            try:
                run.hold(["prune"])
                return True
            except AnotherRun:
                return False
            finally:
                everybody.wait()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(hold, range(8))) == [False] * 7 + [True]


def test_who_lost_its_lock_to_another_commits_nothing_any_more(conn, session, postgres_db):
    with recorded(conn, postgres_db) as run:
        run.hold(["ingest of a/b"])
        with db.transaction(conn):
            run.check_held(conn, "ingest of a/b")
        runs.take_lock(session(), "ingest of a/b", owner="another", now=NOW)
        with pytest.raises(AnotherRun, match="taken over"), db.transaction(conn):
            run.check_held(conn, "ingest of a/b")


def test_what_was_forgotten_while_an_ingest_stood_still_beyond_its_lease_stays_forgotten(
    conn, postgres_db, github, run_main, tmp_path
):
    """One that has nothing to commit but how it ended."""
    github.add_repo("acme/widgets").make(3)
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db, "PIPELINE_LEASE_SECONDS": "2"}
    ingest = ["ingest", "--repo", "acme/widgets", "--only", "issues"]
    assert run_main(*ingest, "--all", env=env)[0] == 0
    answer, asked, forgotten = github.answer, threading.Event(), threading.Event()

    def answer_late(*arguments):
        asked.set()
        forgotten.wait(60)
        return answer(*arguments)

    github.answer = answer_late
    with started_main(*ingest, env=env, cwd=tmp_path) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGSTOP)
        assert wait_until(lambda: run_main("forget", "--repo", "acme/widgets", env=env)[0] == 0, tries=20)
        forgotten.set()
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "was taken over" in err) == (4, True), err
    assert conn.execute("SELECT repo FROM ingest_state").fetchall() == []


def test_a_server_that_crashes_forgets_no_claim_though_it_may_forget_what_was_done(session, postgres_db):
    conn = session()
    enqueue_payloads(conn, 1)
    conn.execute("CREATE TABLE commits (status TEXT, durable TEXT)")
    conn.execute(
        """
        CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO commits VALUES (new.status, current_setting('synchronous_commit')); RETURN NULL; END $$
        """
    )
    conn.execute("CREATE TRIGGER note_commit AFTER UPDATE ON queue_items FOR EACH ROW EXECUTE FUNCTION note_commit()")
    with contextlib.closing(db.connect(postgres_db, synchronous="NORMAL")) as hasty:
        run_worker(hasty, postgres_db, Archive())
    found = {tuple(row) for row in conn.execute("SELECT status, durable FROM commits")}
    assert found == {("processing", "on"), ("done", "off")}


def test_status_says_where_a_run_works_and_who_died_elsewhere(conn, postgres_db, run_main):
    dead_elsewhere(conn, "gone", seconds_ago=5)
    dead_elsewhere(conn, "quiet", seconds_ago=-60)
    for token in ("gone", "quiet"):
        runs.start_run(conn, command="worker", owner=token, now=NOW)
    conn.execute("UPDATE runs SET host = 'elsewhere' WHERE owner = 'quiet'")
    code, out, _ = run_main("status", env={"PIPELINE_DB": postgres_db})
    assert code == 0
    assert "worker running on elsewhere, began" in out
    assert f"worker died on {socket.gethostname()}, began" in out


def test_status_counts_the_dead_rows_of_the_queue_and_says_when_they_were_vacuumed_last(conn, postgres_db, run_main):
    def vacuum():
        code, out, err = run_main("status", "--json", env={"PIPELINE_DB": postgres_db})
        assert code == 0, err
        return json.loads(out)["vacuum"]

    conn.execute("ALTER TABLE queue_items SET (autovacuum_enabled = off)")
    enqueue(conn, *map(item, range(1, 51)))
    conn.execute("UPDATE queue_items SET status = 'done', finished_at = '2020-01-01T00:00:00Z'")
    # A session tells the others once a second at most, so it is closed.
    conn.close()
    assert wait_until(lambda: vacuum() == {"dead_rows": 50, "last_at": None}), vacuum()
    began = db.now(conn, SYSTEM_CLOCK)
    assert run_main("prune", "--older-than", "30", env={"PIPELINE_DB": postgres_db})[0] == 0
    assert wait_until(lambda: vacuum()["last_at"] is not None)
    assert (vacuum()["dead_rows"], vacuum()["last_at"] >= began) == (0, True)
    lines = [line.split() for line in run_main("status", env={"PIPELINE_DB": postgres_db})[1].splitlines()]
    assert ["dead", "rows", "0"] in lines
    assert ["last", "vacuum", vacuum()["last_at"]] in lines


# What breaks on the way


def end_other_sessions(postgres, address):
    with postgres.connect() as admin:
        name = address.rpartition("/")[2]
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


def end_session_at(conn, event, turn):
    """The server ends the session of whoever does this to queue_items for the `turn`-th time, in the middle of it."""
    conn.execute("CREATE SEQUENCE turns")
    conn.execute(
        f"""
        CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('turns') = {turn} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
            RETURN NULL;
        END $$
        """
    )
    conn.execute(f"CREATE TRIGGER end_it AFTER {event} ON queue_items FOR EACH ROW EXECUTE FUNCTION end_it()")


def test_a_connection_that_breaks_within_a_transaction_is_an_outage_and_nothing_is_lost(conn, postgres_db):
    enqueue_payloads(conn, 30)
    end_session_at(conn, "UPDATE", 40)  # 16 are claimed, then done, then 14 more
    archive = Archive()
    result, outage = run_worker(conn, postgres_db, archive)
    assert isinstance(outage, Outage)
    assert (result.stopped_by, "processing" in statuses(conn)) == ("outage", False)
    assert queue_manager.counts(conn).done == result.done > 0
    result, outage = run_worker(conn, postgres_db, archive)
    assert (outage, statuses(conn), len(archive.objects)) == (None, ["done"] * 30, 30)


def test_a_connection_that_breaks_while_nothing_is_under_way_is_made_anew_and_nobody_notices(
    postgres, conn, postgres_db
):
    enqueue(conn, item())
    end_other_sessions(postgres, postgres_db)
    assert queue_manager.counts(conn).pending == 1
    end_other_sessions(postgres, postgres_db)
    with db.transaction(conn):
        enqueue(conn, item(2))
    assert queue_manager.counts(conn).pending == 2


def test_an_ingest_whose_connection_breaks_stops_with_3_and_the_next_brings_the_rest(
    conn, postgres_db, github, run_main
):
    github.add_repo("acme/widgets").make(600)
    end_session_at(conn, "INSERT", 250)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t", "PIPELINE_DB": postgres_db}
    code, _, err = run_main("ingest", "--repo", "acme/widgets", "--all", "-q", env=env)
    assert (code, err.count("\n"), "run again later" in err) == (3, 1, True), err
    assert 0 < queue_manager.counts(conn).pending < 250
    assert runs.runs(conn)[0]["exit_code"] == 3
    assert run_main("ingest", "--repo", "acme/widgets", "--all", env=env)[0] == 0
    assert queue_manager.counts(conn).pending == 600


def test_a_server_that_is_killed_under_a_worker_that_follows_is_waited_for(tmp_path):
    """As by a power cut of the server's; the worker has hours, and one connection after the other."""
    with contextlib.closing(OwnServer()) as server:
        address = server.url(server.migrated())
        with contextlib.closing(db.connect(address)) as conn:
            enqueue_payloads(conn, 40)
        env = {"PIPELINE_DB": address, "PIPELINE_LEASE_SECONDS": "5"}
        with started_main("worker", "--follow", "--archive-dir", "archive", env=env, cwd=tmp_path) as process:
            assert wait_until(lambda: list((tmp_path / "archive").rglob("*.json")))
            server.kill()
            server.start()
            with contextlib.closing(db.connect(address)) as conn:
                enqueue_payloads(conn, 40, first=41)
                assert wait_until(lambda: queue_manager.counts(conn) == (0, 0, 80, 0)), queue_manager.counts(conn)
                assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 80
            process.terminate()
            assert process.wait() == 143
    assert len(list((tmp_path / "archive").rglob("*.json"))) == 80


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_a_worker_that_follows_waits_for_a_server_that_is_not_there_when_it_starts(tmp_path, run_main, processes):
    with contextlib.closing(OwnServer()) as server:
        address = server.url(server.migrated())
        with contextlib.closing(db.connect(address)) as conn:
            enqueue_payloads(conn, 5)
        server.stop()
        env, options = {"PIPELINE_DB": address}, ["--archive-dir", "archive", "--processes", processes]
        assert run_main("worker", *options, env=env)[0] == 3
        with started_main("worker", "--follow", *options, env=env, cwd=tmp_path) as process:
            assert "can't be reached" in process.stderr.readline()
            server.start()
            with contextlib.closing(db.connect(address)) as conn:
                assert wait_until(lambda: queue_manager.counts(conn).done == 5), process.poll()
            server.stop()
            process.terminate()
            assert (process.wait(), "Traceback" in process.stderr.read()) == (143, False)


def test_a_worker_that_waits_for_a_server_at_its_start_can_be_stopped(tmp_path):
    env = {"PIPELINE_DB": "postgresql://me@127.0.0.1:1/x"}
    options = ["--archive-dir", "archive", "--processes", "2"]
    with started_main("worker", "--follow", *options, env=env, cwd=tmp_path) as process:
        assert "outage" in process.stderr.readline()
        process.terminate()
        assert (process.wait(), "interrupted" in process.stderr.read()) == (143, True)


def test_who_is_stopped_while_the_server_is_down_hands_its_rows_back_when_that_is_up_again():
    with contextlib.closing(OwnServer()) as server:
        address = server.url(server.migrated())

        def idle(seconds):
            server.start()
            job.stop()

        def stop_the_server(key):
            if server.is_running:
                server.stop()

        with contextlib.closing(db.connect(address)) as conn:
            enqueue_payloads(conn, 3)
            with presence.fresh_token(conn, address, lease_seconds=60) as token:
                job = worker.Worker(
                    conn=conn, db_path=address, token=token, open_archive=lambda: Archive(stop_the_server), idle=idle,
                    settings=worker.Settings("raw/github/", False, 1, 5, follow=True), clock=SYSTEM_CLOCK,
                    rng=random.Random(1),
                )  # fmt: skip
                result = job.run()
            assert (job.outage, job.in_hand, result.stopped_by) == (None, False, "signal")
            assert queue_manager.counts(conn) == (3 - result.done, 0, result.done, 0)


def test_a_worker_whose_server_hangs_ends_when_it_is_told_to(tmp_path):
    """Its processes are stopped: the kernel takes what is sent, and no time-out of the connection's is met."""
    script = "import sys, main; from engines import heartbeats; heartbeats.END_SECONDS = 1; sys.exit(main.main())"
    with contextlib.closing(OwnServer()) as server:
        address = server.url(server.migrated())
        process = subprocess.Popen(
            [sys.executable, "-c", script, "worker", "--follow", "--db", address, "--archive-dir", "archive"],
            cwd=str(tmp_path), env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
        )  # fmt: skip
        with process, contextlib.closing(db.connect(address)) as conn:
            try:
                enqueue_payloads(conn, 1)
                assert wait_until(lambda: statuses(conn) == ["done"])
                with server.hanging():
                    process.send_signal(signal.SIGTERM)
                    _, said = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, b"does not answer" in said) == (143, True), said


def test_a_transaction_that_was_cut_off_is_gone_whole_and_the_next_has_a_new_connection(postgres, conn, postgres_db):
    with pytest.raises(engine.Error) as error, db.transaction(conn):
        enqueue(conn, item())
        end_other_sessions(postgres, postgres_db)
        enqueue(conn, item(2))
    assert isinstance(error.value.explained, Outage)
    with db.transaction(conn):
        enqueue(conn, item(3))
    assert [found["item_id"] for found in conn.execute("SELECT item_id FROM queue_items")] == [3]


def test_what_a_server_may_lack_that_took_over_or_was_restored_is_not_built_on(postgres, new_db):
    """It says of each since when it runs; here what it says changes, which a restart takes seconds for."""
    name = new_db.rpartition("/")[2]

    def runs_since(day):
        with postgres.connect(name) as admin:
            admin.execute(
                "CREATE OR REPLACE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz "
                f"LANGUAGE sql AS $$ SELECT timestamptz '2026-11-{day} 00:00:00Z' $$"
            )
            admin.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")

    def states():
        with postgres.connect(name) as admin:
            ours = "datname = current_database() AND application_name <> ''"
            return [state for (state,) in admin.execute(f"SELECT state FROM pg_stat_activity WHERE {ours}")]

    runs_since(20)
    with contextlib.closing(db.connect(new_db)) as conn:
        enqueue(conn, item())
        for day, block in ((21, db.transaction), (22, db.snapshot)):
            runs_since(day)
            with pytest.raises(engine.Error, match="another server took over") as error, block(conn):
                pytest.fail("the block was entered")
            assert (type(error.value.explained), states()) == (Outage, ["idle"])
            with db.transaction(conn):  # who asks again knows what it does
                enqueue(conn, item(day))
        runs_since(23)
        with db.transaction(conn, afresh=True):
            enqueue(conn, item(23))
        assert queue_manager.counts(conn).pending == 4


def test_what_was_begun_before_the_connection_broke_goes_on_over_no_new_one(postgres, conn, postgres_db):
    with pytest.raises(engine.Error, match="connection was lost"), db.transaction(conn):
        enqueue(conn, item())
        end_other_sessions(postgres, postgres_db)
        with contextlib.suppress(engine.Error):
            conn.execute("SELECT 1")
        enqueue(conn, item(2))
    assert queue_manager.counts(conn).pending == 0


def test_a_database_of_another_encoding_is_refused(postgres):
    with postgres.connect() as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with contextlib.closing(engine.connect(postgres.url("latin"))) as conn:
        with pytest.raises(engine.Error, match="not encoded in UTF8") as error:
            conn.execute("SELECT 1")
        assert type(error.value.explained) is ConfigurationError
    postgres.drop_database("latin")


def test_a_commit_that_the_server_answers_with_a_rollback_is_an_error(conn):
    with pytest.raises(engine.Error, match="not committed"), db.transaction(conn):
        enqueue(conn, item())
        with contextlib.suppress(engine.Error):
            conn.execute("SELECT nonsense")
    assert queue_manager.counts(conn).pending == 0


@pytest.mark.parametrize("turns", [{1}, {2}, {3}, {4}, {1, 2}, {2, 4}])
def test_a_limit_is_kept_where_the_answers_to_commits_are_lost(conn, postgres_db, monkeypatch, turns):
    enqueue_payloads(conn, 60)
    commit, commits, waits = engine.Connection.commit, [], []

    def lose_some(self):
        commit(self)
        commits.append(self)
        if len(commits) in turns:
            raise engine.Error(Outage("the answer was lost"))

    def idle(seconds):
        waits.append(seconds)
        if len(waits) == 10:  # it would never end: the limit was not reached
            job.stop()

    with presence.fresh_token(conn, postgres_db, lease_seconds=60) as token:
        job = worker.Worker(
            conn=conn, db_path=postgres_db, token=token, open_archive=Archive, rng=random.Random(1), idle=idle,
            settings=worker.Settings("raw/github/", False, 1, 5, limit=20, follow=True), clock=SYSTEM_CLOCK,
        )  # fmt: skip
        monkeypatch.setattr(engine.Connection, "commit", lose_some)
        result = job.run()
    assert (queue_manager.counts(conn), result.stopped_by) == ((40, 0, 20, 0), "limit")


@pytest.mark.parametrize("block", [db.transaction, contextlib.nullcontext], ids=["transaction", "statement"])
def test_a_lock_of_another_session_ends_a_run_as_an_outage_and_is_not_waited_for_for_ever(
    session, postgres_db, monkeypatch, block
):
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.25)
    for address in (postgres_db, postgres_db + "?options=-cgeqo%3Doff"):
        with contextlib.closing(engine.connect(address)) as conn, db.transaction(session()) as other:
            other.execute("LOCK TABLE runs")
            with pytest.raises(engine.Error) as error, block(conn):
                conn.execute("SET statement_timeout = '20s'")  # one that waited would fail by that
                conn.execute("SELECT count(*) FROM runs")
            assert (error.value.state, type(error.value.explained)) == ("55P03", Outage)


def test_a_transaction_keeps_its_limits_whatever_those_of_the_session_are(postgres_db, monkeypatch):
    """Behind a pool the session is another's."""
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    monkeypatch.setenv("PGOPTIONS", " ".join(f"-c {name}=0" for name in names))
    with contextlib.closing(engine.connect(postgres_db)) as conn:
        with db.transaction(conn):
            limits = [conn.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in names]
        assert limits == ["30s", "5min", "1min"]
        with db.snapshot(conn):  # for as long as it takes
            limits = [conn.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in names]
        assert limits == ["30s", "0", "0"]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_what_was_waited_for_is_read_again_whatever_the_database_is_set_to(postgres_db, monkeypatch, isolation):
    monkeypatch.setenv("PGOPTIONS", f"-c default_transaction_isolation={isolation}".replace(" read", "\\ read"))
    with contextlib.closing(engine.connect(postgres_db)) as conn:
        assert conn.execute("SELECT current_setting('transaction_isolation')").fetchone()[0] == isolation
        for block, found in ((db.transaction, "read committed"), (db.snapshot, "repeatable read")):
            with block(conn):
                assert conn.execute("SELECT current_setting('transaction_isolation')").fetchone()[0] == found


def test_a_statement_of_a_transaction_has_its_time(postgres_db, monkeypatch):
    monkeypatch.setattr(engine, "STATEMENT_SECONDS", 0.25)
    with contextlib.closing(engine.connect(postgres_db)) as conn:
        with pytest.raises(engine.Error) as error, db.transaction(conn):
            conn.execute("SELECT pg_sleep(20)")
        assert (error.value.state, type(error.value.explained)) == ("57014", Outage)
        with db.transaction(conn):
            engine.take_time(conn)
            conn.execute("SELECT pg_sleep(0.5)")


def test_who_reads_all_as_of_one_moment_has_the_usual_plans_but_compiles_none(conn):
    with db.snapshot(conn):
        found = [conn.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in ("enable_seqscan", "jit")]
    assert found == ["on", "off"]


def test_options_of_the_environment_count_on(postgres_db, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c geqo=off")
    with contextlib.closing(engine.connect(postgres_db)) as conn:
        found = conn.execute("SELECT current_setting('geqo'), current_setting('lock_timeout')").fetchone()
    assert found == ("off", "30s")


def test_after_an_error_within_a_transaction_nothing_of_it_stays(conn):
    with pytest.raises(engine.Error), db.transaction(conn):
        enqueue(conn, item())
        conn.execute("SELECT nonsense")
    with db.transaction(conn):
        enqueue(conn, item(2))
    assert queue_manager.counts(conn).pending == 1


COMMANDS = ["worker --archive-dir a", "ingest --repo acme/widgets --all", "prune --older-than 1"]


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_what_another_session_keeps_locked_for_longer_than_lock_timeout_is_an_outage(
    postgres, conn, postgres_db, github, run_main, command
):
    github.add_repo("acme/widgets").make(3)
    enqueue_payloads(conn, 3, first=11)
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db + "?options=-clock_timeout%3D100ms"}
    with postgres.connect(postgres_db.rpartition("/")[2]) as other, other.transaction():
        other.execute("LOCK TABLE queue_items IN ACCESS EXCLUSIVE MODE")
        code, _, err = run_main(*command.split(), "-q", env=env)
    assert (code, err.count("\n"), "longer than lock_timeout" in err) == (3, 1, True), err
    assert run_main(*command.split(), env=env)[0] == 0
    assert statuses(conn)[:3] == (["done"] * 3 if command.startswith("worker") else ["pending"] * 3)


@pytest.mark.parametrize("command, rows", [(COMMANDS[0], 70), (COMMANDS[1], 150)])
def test_a_full_disk_of_the_servers_ends_a_run_with_3_and_nothing_is_lost(
    conn, postgres_db, github, run_main, command, rows
):
    """So many rows are written, then none."""
    github.add_repo("acme/widgets").make(250)
    enqueue_payloads(conn, 50, first=1001)
    conn.execute("CREATE SEQUENCE turns")
    conn.execute(
        f"""
        CREATE FUNCTION fill_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('turns') > {rows} THEN RAISE 'could not extend file: no space left' USING ERRCODE = '53100';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    conn.execute("CREATE TRIGGER fill_it AFTER INSERT OR UPDATE ON queue_items FOR EACH ROW EXECUTE FUNCTION fill_it()")
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db}
    code, _, err = run_main(*command.split(), "-q", env=env)
    assert (code, err.count("\n"), "disk is full" in err) == (3, 1, True), err
    conn.execute("DROP TRIGGER fill_it ON queue_items")
    for again in COMMANDS[1], COMMANDS[0]:
        assert run_main(*again.split(), env=env)[0] == 0
    attempts = {found["attempts"] for found in conn.execute("SELECT attempts FROM queue_items")}
    assert (statuses(conn), attempts) == (["done"] * 300, {0})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_only_reads_says_so(conn, postgres_db, github, run_main, command):
    github.add_repo("acme/widgets").make(3)
    read_only = postgres_db + "?options=-cdefault_transaction_read_only%3Don"
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": read_only}
    code, _, err = run_main(*command.split(), "-q", env=env)
    assert (code, err.count("\n"), "it only reads" in err) == (3, 1, True), err
    assert run_main("status", env=env)[0] == 0


def test_a_server_that_is_gone_ends_a_run_with_3_and_a_line_without_the_password(run_main):
    address = f"postgresql://me:{PASSWORD}secret@127.0.0.1:1/x?connect_timeout=2".replace("/p@", "%2Fp%40")
    for command in ("status", "worker --archive-dir a", "ingest --repo a/b", "prune --older-than 1"):
        code, out, err = run_main(*command.split(), env={"PIPELINE_DB": address})
        assert (code, err.count("\n"), "can't be reached" in err) == (3, 1, True), err
        assert "secret" not in out + err


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda url: url.replace("s3cret", "wr0ng"), "authentication failed"),
        (lambda url: url + "nowhere", "does not exist"),
        (lambda url: url.replace("%2F", "/").replace("%40", "@"), "percent-encoded"),
        (lambda url: url + "?sslmod=require", "sslmod"),
        (lambda url: url + "?sslmode=require", "SSL"),
        (lambda url: url + "?schema=a;b", "schema"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_in_a_line_without_the_password(postgres_db, run_main, wrong, said):
    code, out, err = run_main("status", env={"PIPELINE_DB": wrong(postgres_db)})
    assert (code, err.count("\n"), said in err) == (2, 1, True), err
    for secret in ("s3cret", "wr0ng", "p@ss", "p%40ss"):
        assert secret not in out + err


def test_a_copy_looks_for_its_database_before_it_copies_anything(conn, postgres_db, github, run_main, tmp_path):
    github.add_repo("acme/widgets").make(2)
    env = {"GITHUB_API_URL": github.url, "PIPELINE_DB": postgres_db}
    assert run_main("ingest", "--repo", "acme/widgets", "--all", env=env)[0] == 0
    assert run_main("worker", "--archive-dir", "here", env=env)[0] == 0
    copy = ["copy", "--archive-dir", "here", "--to-archive-dir", "there"]
    code, _, err = run_main(*copy, env={"PIPELINE_DB": postgres_db.replace("s3cret", "wr0ng")})
    assert (code, err.count("\n"), "authentication failed" in err) == (2, 1, True), err
    assert not list(tmp_path.glob("there/*"))
    assert run_main(*copy, env=env)[0] == 0
    assert len(list((tmp_path / "there").rglob("*.json"))) == 2
    places = conn.execute("SELECT items FROM archives ORDER BY place").fetchall()
    assert [items for (items,) in places] == [0, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://sp:open s3cret@127.0.0.1:1/db",
        "postgresql://owner:s3cret/db",
        " postgresql://us@er:s3cret@127.0.0.1:1/db",
        "Postgresql://me:s3cret@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?Password=s3cret",
        "postgresql://127.0.0.1:1/db?%70assword=s3cret",
    ],
)
def test_no_way_to_write_an_address_shows_its_password(run_main, wrong):
    code, out, err = run_main("status", env={"PIPELINE_DB": wrong})
    assert (code in (2, 3), "s3cret" in out + err) == (True, False), err
    with pytest.raises((ConfigurationError, Outage)) as caught:
        db.connect(wrong)
    assert "s3cret" not in str(caught.value)


def test_what_is_sent_is_utf_8_whatever_encoding_the_environment_names(postgres_db, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    for address in (postgres_db, postgres_db + "?client_encoding=SQL_ASCII"):
        with contextlib.closing(db.connect(address)) as conn:
            assert conn.execute("SELECT CAST(? AS text)", ("é😀",)).fetchone()[0] == "é😀"


def test_a_text_that_can_t_be_sent_is_an_error_that_does_not_show_it(conn):
    with pytest.raises(engine.Error, match="not UTF-8") as caught:
        conn.execute("SELECT CAST(? AS text)", ("secret \ud800",))
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.explained, ConfigurationError)


def test_without_the_driver_a_line_says_what_to_install(tmp_path, run_main):
    (tmp_path / "psycopg.py").write_text("raise ImportError('no libpq')")
    code, _, err = run_main("status", "--db", "postgresql://h/d", env={"PYTHONPATH": str(tmp_path)})
    assert (code, err.count("\n"), "requirements-postgres.txt" in err) == (2, 1, True), err


def test_where_the_queue_lies_in_sqlite_no_driver_is_imported(tmp_path, run_main):
    (tmp_path / "psycopg.py").write_text("raise SystemExit('imported')")
    env = {"PYTHONPATH": str(tmp_path)}
    assert run_main("--help", env=env)[0] == 0
    db.connect(str(tmp_path / "pipeline.db")).close()
    assert run_main("status", env=env)[0] == 0


# Schema and roles


def test_eight_processes_that_start_at_once_make_the_tables_once(new_db):
    script = "import sys, db; print(db.connect(sys.argv[1]).execute('SELECT count(*) FROM issues').fetchone()[0])"
    command = [sys.executable, "-c", script, new_db]
    processes = [
        subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)
    ]
    assert [process.communicate() for process in processes] == [(b"0\n", b"")] * 8
    with contextlib.closing(db.connect(new_db)) as conn:
        assert [tuple(found) for found in conn.execute("SELECT version FROM schema_version")] == [(len(db.MIGRATIONS),)]


def test_the_tables_have_the_same_columns_in_both_engines(conn, tmp_path):
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as other:
        for table in db.TABLES:
            names = [found["name"] for found in other.execute(f"SELECT name FROM pragma_table_info('{table}')")]
            found = conn.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = ? ORDER BY ordinal_position",
                (table,),
            )
            assert [column for (column,) in found] == names


def test_every_text_is_compared_byte_by_byte_and_no_time_has_a_type_of_its_own(conn):
    found = conn.execute(
        """
        SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns
        WHERE table_schema = 'public'
        """
    ).fetchall()
    assert {each["data_type"] for each in found} == {"bigint", "text", "double precision", "boolean"}
    assert {each["collation_name"] for each in found if each["data_type"] == "text"} == {"C"}


def test_a_role_that_may_not_make_tables_is_told_what_its_owner_has_to_run(postgres, new_db, run_main):
    name = new_db.rpartition("/")[2]
    role = "app_" + name
    with postgres.connect(name) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        env = {"PIPELINE_DB": postgres.url(name, user=role), "GITHUB_API_URL": "http://127.0.0.1:9"}
        code, _, err = run_main("ingest", "--repo", "a/b", env=env)
        assert (code, err.count("\n"), "main.py schema --sql" in err) == (2, 1, True), err
        code, sql, _ = run_main("schema", "--sql", env=env)
        assert code == 0
        admin.execute(sql)
        admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        assert run_main("worker", "--archive-dir", "a", env=env)[0] == 0
        assert run_main("prune", "--older-than", "1", env=env)[0] == 0
        assert run_main("schema", "--sql", env=env)[:2] == (0, "-- nothing to do: the tables are of this version\n")
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")


def test_the_statements_of_a_schema_of_its_own_make_the_tables_there_and_no_others(postgres, new_db, run_main):
    env = {"PIPELINE_DB": new_db + "?schema=lake"}
    _, sql, _ = run_main("schema", "--sql", env=env)
    assert sql.startswith("BEGIN;\nCREATE SCHEMA IF NOT EXISTS lake;\nSET search_path = lake;\n")
    with postgres.connect(new_db.rpartition("/")[2]) as owner:
        owner.execute(sql)
        tables = "SELECT schemaname, tablename FROM pg_tables WHERE tablename = ANY (%s) ORDER BY tablename"
        assert owner.execute(tables, (list(db.TABLES),)).fetchall() == [("lake", name) for name in sorted(db.TABLES)]
    assert run_main("schema", "--sql", env=env)[1] == "-- nothing to do: the tables are of this version\n"
    assert run_main("worker", "--archive-dir", "a", env=env)[0] == 0


def test_a_schema_that_is_there_needs_no_right_to_make_one(postgres, new_db, run_main):
    with postgres.connect(new_db.rpartition("/")[2]) as owner:
        owner.execute("CREATE SCHEMA lake")
        _, sql, _ = run_main("schema", "--sql", "--db", new_db + "?schema=lake")
        assert sql.startswith("BEGIN;\nSET search_path = lake;\n")


@pytest.mark.parametrize("made", ["(version int)", "AS SELECT CAST('3' AS text) AS version", "(installed_rank int)"])
def test_a_table_of_versions_of_another_program_is_said_in_a_line(new_db, run_main, made):
    with contextlib.closing(engine.connect(new_db)) as conn:
        conn.execute(f"CREATE TABLE schema_version {made}")
    code, _, err = run_main("status", env={"PIPELINE_DB": new_db})
    assert (code, err.count("\n"), "schema_version of another program" in err) == (2, 1, True), err


def test_a_time_zone_that_there_is_not_is_a_persons_to_mend(postgres_db, run_main):
    code, _, err = run_main("status", env={"PIPELINE_DB": postgres_db, "PGTZ": "Mars/Olympus"})
    assert (code, err.count("\n"), "TimeZone" in err) == (2, 1, True), err


def test_check_says_what_work_a_role_may_not_do_and_wants_no_more_than_that(postgres, postgres_db, run_main):
    name = postgres_db.rpartition("/")[2]
    roles = ("lake_ingest", "lake_worker", "lake_reader")

    def checked(role):
        out = run_main("check", "--json", env={"PIPELINE_DB": postgres.url(name, user=role)})[1]
        return next((c["state"], c["detail"]) for c in json.loads(out)["checks"] if c["name"].startswith("database p"))

    with postgres.connect(name) as admin:
        for role in roles:
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        admin.execute(sql_of("OPERATIONS.md", "Roles with as few rights"))
        try:
            found = {role: checked(role) for role in roles}
            admin.execute("REVOKE DELETE ON owners FROM lake_worker")
            lacking = checked("lake_worker")
            admin.execute("REVOKE SELECT ON owners FROM lake_worker")
            unreadable = checked("lake_worker")
        finally:
            for role in roles:
                admin.execute(f"DROP OWNED BY {role}")
                admin.execute(f"DROP ROLE {role}")
    assert [state for state, _ in found.values()] == ["ok", "ok", "warning"], found
    assert "may not run worker" in found["lake_ingest"][1]
    assert "may not run ingest" in found["lake_worker"][1]
    assert (lacking[0], "DELETE on owners" in lacking[1]) == ("warning", True)
    assert (unreadable[0], "SELECT on owners" in unreadable[1]) == ("error", True)


def sql_of(document, behind):
    """The first block of SQL behind some words of a document."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8").partition(behind)[2]
    return text.partition("```sql\n")[2].partition("```")[0]


def test_each_role_of_the_documents_can_do_its_work_and_no_more(postgres, github, run_main):
    github.add_repo("acme/widgets").make(5)
    roles = ("lake_owner", "lake_ingest", "lake_worker", "lake_reader")

    def run(role, *arguments):
        env = {"PIPELINE_DB": postgres.url("lake", user=role), "GITHUB_API_URL": github.url}
        return run_main(*arguments, env=env)

    with postgres.connect() as admin:
        for statement in sql_of("OPERATIONS.md", "The database and its roles").split(";")[:-1]:
            admin.execute(statement)
        for role in roles:
            admin.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    with postgres.connect("lake") as owner:
        owner.execute("SET ROLE lake_owner")
        owner.execute(run("lake_owner", "schema", "--sql")[1])
        owner.execute(sql_of("OPERATIONS.md", "Roles with as few rights"))
    codes = [
        run("lake_ingest", "ingest", "--repo", "acme/widgets", "--all")[0],
        run("lake_worker", "worker", "--archive-dir", "archive")[0],
        run("lake_reader", "status")[0],
        run("lake_reader", "ingest", "--repo", "acme/widgets")[0],
        run("lake_worker", "prune", "--older-than", "1")[0],
        run("lake_owner", "prune", "--older-than", "1")[0],
    ]
    with postgres.connect("lake") as admin:
        done = admin.execute("SELECT count(*) FROM queue_items WHERE status = 'done'").fetchone()[0]
    postgres.drop_database("lake")
    with postgres.connect() as admin:
        for role in roles:
            admin.execute(f"DROP ROLE {role}")
    assert (codes, done) == ([0, 0, 0, 2, 2, 0], 5)


def test_the_questions_of_the_documents_have_answers(conn):
    db.upsert(
        conn, "issues", [issues_row(), issues_row(id=2, labels='["bug"]', merged_at=NOW, item_type="pull_request")]
    )
    enqueue(conn, item(), item(2, payload=b'{"title": "a NUL: \\u0000"}'))
    statements = sql_of("REFERENCE.md", "In PostgreSQL the tables").split(";")[:-1]
    assert len(statements) == 4
    for statement in statements:
        conn.execute(statement).fetchall()


def test_a_schema_of_its_own_is_made_and_hides_nothing_of_others(new_db):
    with contextlib.closing(engine.connect(new_db)) as conn:
        conn.execute("CREATE TABLE queue_items (x int)")
    with pytest.raises(ConfigurationError, match="another program"):
        db.connect(new_db)
    with contextlib.closing(db.connect(new_db + "?schema=lake")) as conn:
        enqueue(conn, item())
        assert conn.execute("SELECT count(*) FROM lake.queue_items").fetchone()[0] == 1


def test_a_payload_comes_back_byte_for_byte(conn):
    payload = '{"a": "\\u0000 \\ud800 é 😀 %s :now ?"}'.encode()
    enqueue(conn, item(payload=payload))
    assert [claimed.payload for claimed in claim(conn)] == [payload]


def test_a_payload_that_postgresql_can_t_hold_is_named_as_what_it_is(conn):
    with pytest.raises(engine.Error, match="no text that PostgreSQL holds"):
        enqueue(conn, item(payload=b'"\xff"'))


# All of it


def test_a_whole_pipeline_runs_on_postgresql(postgres_db, conn, github, run_main):
    repo = github.add_repo("acme/widgets")
    repo.make(40)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t", "PIPELINE_DB": postgres_db}

    def run(*arguments):
        code, out, err = run_main(*arguments, "--json", env=env)
        assert (code, PASSWORD in out + err) == (0, False), err
        return json.loads(out)

    assert run("ingest", "--repo", "acme/widgets", "--all")["enqueued"] == 40
    assert run("ingest", "--repo", "acme/widgets", "--all")["enqueued"] == 0
    for layout in ("object", "batch"):
        repo.touch(*next(iter(repo._fields)))
        run("ingest", "--repo", "acme/widgets")
        worked = run("worker", "--archive-dir", "archive", "--layout", layout, "--processes", "2")
        assert (worked["pending"], worked["failed"]) == (0, 0)
    status = run("status")
    assert (status["issues"], status["queue"]["pending"], status["db_bytes"] > 10**5) == (40, 0, True)
    before = conn.execute("SELECT id, title, state, lead_time_hours FROM issues ORDER BY item_type, id").fetchall()
    conn.execute("DELETE FROM issues")
    assert run("rebuild", "--archive-dir", "archive")["issues"] == 40
    after = conn.execute("SELECT id, title, state, lead_time_hours FROM issues ORDER BY item_type, id").fetchall()
    assert after == before
    conn.execute("UPDATE queue_items SET finished_at = '2020-01-01T00:00:00Z', updated_at = '2020-01-01T00:00:00Z'")
    assert run("prune", "--older-than", "30")["deleted"] >= 40
    checks = {check["name"]: check["state"] for check in run("check")["checks"]}
    assert (checks["PostgreSQL"], checks["connections"], checks["clock against the database"]) == ("ok", "ok", "ok")


@pytest.mark.parametrize("comes_first", ["the item", "the tombstone"])
def test_a_tombstone_and_its_item_that_come_at_the_same_moment_see_each_other(session, comes_first):
    one, other = session(), session()
    both = [Row("issues", issues_row()), tombstone()]
    first, second = both if comes_first == "the item" else reversed(both)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with db.transaction(one):
            db.upsert_all(one, [first])
            later = pool.submit(_upsert, other, second)
            concurrent.futures.wait([later], timeout=0.5)
        later.result(timeout=30)
    assert [row["gone_reason"] for row in one.execute("SELECT gone_reason FROM issues")] == ["deleted"]


def _upsert(conn, row):
    with db.transaction(conn):
        db.upsert_all(conn, [row])


@pytest.mark.parametrize("claim_some", [claim, claim_batch], ids=["objects", "batches"])
def test_a_claim_does_not_read_over_what_is_done(conn, session, claim_some):
    """The statistics of a queue are always old: these are from when all of it was pending."""
    with db.transaction(conn):
        enqueue(conn, *map(item, range(1, 3001)))
    with contextlib.closing(session()) as other:
        other.execute("ANALYZE queue_items")
    with db.transaction(conn):
        conn.execute("UPDATE queue_items SET status = 'done', s3_key = 'k', finished_at = ? WHERE id <= 2900", (NOW,))
    with db.transaction(conn):
        before = rows_read(conn)
        taken = claim_some(conn, limit=5)
        assert rows_read(conn) - before < 100
    assert len(taken if isinstance(taken, list) else taken.items) == 5


@pytest.mark.parametrize(
    "claim_some, state",
    [(claim, {}), (claim_batch, {}), (claim_begun, {"batch_key": "batch-1", "batch_place": "here"}),
     (claim_archived, {"s3_key": "k"})],
    ids=["objects", "batches", "begun", "archived"],
)  # fmt: skip
def test_rows_are_claimed_in_the_order_in_which_they_came_by_whatever_plan(conn, claim_some, state):
    """Also by no index, where they lie in another order; a batch that is made again has the same bytes."""
    enqueue(conn, *map(item, range(1, 6)))
    keys = "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass('queue_items') AND contype IN ('p', 'u')"
    for (key,) in conn.execute(keys).fetchall():
        conn.execute(f"ALTER TABLE queue_items DROP CONSTRAINT {key}")
    for (index,) in conn.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'queue_items'").fetchall():
        conn.execute(f"DROP INDEX {index}")
    changes = ", ".join(f"{name} = '{value}'" for name, value in {"status": "pending", **state}.items())
    for row_id in (4, 2, 5, 3, 1):
        conn.execute(f"UPDATE queue_items SET {changes} WHERE id = ?", (row_id,))
    with db.transaction(conn):
        taken = claim_some(conn)
    assert [each.id for each in (taken if isinstance(taken, list) else taken.items)] == [1, 2, 3, 4, 5]


def rows_read(conn):
    """By this session, since some earlier time."""
    (read,) = conn.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'queue_items'"
    ).fetchone()
    return read
