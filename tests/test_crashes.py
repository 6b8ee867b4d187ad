"""Workers killed at named points and at random moments; one more run brings everything home."""

import contextlib
import hashlib
import itertools
import json
import random
import signal
import time

import pytest

import db
import queue_manager
from commands import figures
from engines import presence
from foundation.records import Item
from tests import payloads, postgres_server
from tests.conftest import NO_POSTGRES, REAL_SLEEP, ROOT, started_main
from tests.crashes import POINTS, Zygote
from tests.postgres_server import PostgresServer
from tests.reconcile import problems, read_directory
from tests.turns import with_others

KILLS = 200
ROWS = 5000


def enqueue(conn, count, *, first=1):
    """Issues and pull requests of several days, each third one in two versions."""
    items = []
    for number in range(first, first + count):
        for version in range(1 + (number % 3 == 0)):
            make, item_type = (payloads.issue, "issue") if number % 2 else (payloads.pull, "pull_request")
            updated_at = "2026-01-%02dT00:00:%02dZ" % (1 + number % 5, version)
            text = payloads.as_text(
                make(id=number, number=number, title=f"item {number}, version {version}", updated_at=updated_at)
            )
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            items.append(Item(item_type, number, number, updated_at, text.encode(), sha256))
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="acme/widgets", items=items, now="2026-01-01T00:00:00Z")


@pytest.fixture
def path(db_path):
    return db_path


@pytest.fixture
def zygote(request, tmp_path):
    """Its workers reach the bucket of a test that has one."""
    env = request.getfixturevalue("bucket").env if "bucket" in request.fixturenames else {}
    made = Zygote(env, tmp_path / "log")
    yield made
    made.close()


def finish(zygote, *arguments):
    assert zygote.wait(zygote.start(*arguments)) == 0


def bring_home(zygote, conn, *arguments):
    """A row over which a worker was killed while alone waits for a while before its next attempt."""
    for _ in range(2):
        finish(zygote, *arguments)
        with db.transaction(conn):
            conn.execute("UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z' WHERE status = 'pending'")


@pytest.mark.slow
@pytest.mark.parametrize("point, layout", with_others(POINTS, ("object",), ("batch",)))
def test_a_worker_killed_at_this_point_is_made_good_by_the_next(zygote, conn, path, tmp_path, point, layout):
    archive = tmp_path / "archive"
    arguments = ["worker", "--db", path, "--archive-dir", archive, "--layout", layout]
    for number in (1, 2):
        enqueue(conn, 300, first=number * 1000)
        assert zygote.wait(zygote.start(f"die:{point}:{number}", *arguments)) == -signal.SIGKILL
    bring_home(zygote, conn, *arguments)
    assert problems(path, read_directory(archive)) == []


@pytest.mark.parametrize("layout", ["object", "batch"])
def test_an_item_that_kills_every_worker_fails_in_the_end_and_takes_no_other_with_it(
    zygote, conn, path, tmp_path, layout
):
    enqueue(conn, 150)
    archive = tmp_path / "archive"
    arguments = ["worker", "--db", path, "--archive-dir", archive, "--layout", layout, "--max-attempts", "3"]
    ends = []
    while queue_manager.counts(conn).failed == 0:
        ends.append(zygote.wait(zygote.start("die over:item 77, version 0", *arguments)))
        conn.execute("UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z' WHERE status = 'pending'")
        assert len(ends) < 12
    assert (queue_manager.counts(conn).failed, queue_manager.counts(conn).done) == (1, 199)
    (failed,) = figures.failed_items(conn, limit=5)
    assert (failed["number"], failed["attempts"], "died" in failed["last_error"]) == (77, 3, True)
    with db.transaction(conn):
        queue_manager.retry(conn, item_ids=None)
    finish(zygote, *arguments)  # the parser has been mended
    assert problems(path, read_directory(archive)) == []


@pytest.mark.parametrize("layout", ["object", "batch"])
def test_a_worker_killed_each_time_before_its_only_item_is_archived_blames_nobody(zygote, conn, path, tmp_path, layout):
    enqueue(conn, 1)
    archive = tmp_path / "archive"
    arguments = ["worker", "--db", path, "--archive-dir", archive, "--layout", layout, "--max-attempts", "2"]
    for _ in range(4):
        assert zygote.wait(zygote.start("die:before the upload:1", *arguments)) == -signal.SIGKILL
    finish(zygote, *arguments)
    assert (queue_manager.counts(conn).done, problems(path, read_directory(archive))) == (1, [])


@pytest.mark.long
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_after_many_kills_at_random_moments_everything_is_there_once(zygote, bucket, conn, path, layout, s3_way):
    rng = random.Random(layout)
    # The longest for what most people have; the others differ in one respect each.
    kills_wanted, rows_wanted = (KILLS, ROWS) if "postgresql:" not in path and s3_way == "direct" else (40, 1000)
    arguments = ["worker", "--db", path, "--layout", layout, "--threads", "4", "--max-attempts", "50"]
    running, kills, rows, first = [], 0, 0, 1
    while kills < kills_wanted or rows < rows_wanted:
        counted = queue_manager.counts(conn)
        if counted.pending < 300:
            enqueue(conn, 300, first=first)
            first += 300
            rows += 400
        running = [pid for pid in running if zygote.is_running(pid)]
        running += [zygote.start(*arguments) for _ in range(4 - len(running))]
        REAL_SLEEP(rng.random() * 0.15)
        kills += zygote.kill(running.pop(rng.randrange(4)))
    for pid in running:
        zygote.kill(pid)
        zygote.wait(pid)
    bring_home(zygote, conn, *arguments)
    assert problems(path, bucket.objects(), bucket.get) == []
    assert sum(queue_manager.counts(conn)) >= rows_wanted


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_a_worker_stopped_past_its_lease_changes_nothing_that_another_has_claimed(zygote, conn, path, tmp_path, layout):
    archive = tmp_path / "archive"
    arguments = ["worker", "--db", path, "--archive-dir", archive, "--layout", layout]
    for first in itertools.count(1, 3000):
        enqueue(conn, 3000, first=first)
        stalled = zygote.start(*arguments)
        while queue_manager.counts(conn).processing == 0 or not list(archive.rglob("dt=*")):
            assert zygote.is_running(stalled)
            REAL_SLEEP(0.01)
        held = stop_with_its_lease_run_out(zygote, conn, stalled)
        finish(zygote, *arguments)
        if queue_manager.counts(conn)[:2] == (0, 0):
            break
        # It was stopped amid a transaction of PostgreSQL's: the rows that it has locked are passed over by others.
        zygote.kill(stalled, signal.SIGCONT)
        zygote.wait(stalled)
    before = everything(conn)
    zygote.kill(stalled, signal.SIGCONT)
    assert zygote.wait(stalled) == 0
    assert held > 0
    assert everything(conn) == before
    assert problems(path, read_directory(archive)) == []


def stop_with_its_lease_run_out(zygote, conn, pid):
    """Returns how many rows it holds. Not in the middle of a commit: nobody could write then until it goes on."""
    conn.execute("SET lock_timeout = '10ms'" if conn.words.is_postgres else "PRAGMA busy_timeout = 10")
    while True:
        zygote.kill(pid, signal.SIGSTOP)
        try:
            with db.transaction(conn):
                return conn.execute(
                    "UPDATE queue_items SET lease_until = '2020-01-01T00:00:00Z' WHERE status = 'processing'"
                ).rowcount
        except db.Error:
            zygote.kill(pid, signal.SIGCONT)


def everything(conn):
    return [
        tuple(row) for table in ("queue_items", "issues") for row in conn.execute(f"SELECT * FROM {table} ORDER BY id")
    ]


@pytest.mark.slow
def test_eight_workers_share_a_queue_without_a_lock_error_or_a_row_done_twice(zygote, conn, path, tmp_path):
    enqueue(conn, 3000)
    archive = tmp_path / "archive"
    arguments = ["worker", "--db", path, "--archive-dir", archive, "--json", "--threads", "2"]
    pids = [zygote.start(*arguments) for _ in range(8)]
    assert [zygote.wait(pid) for pid in pids] == [0] * 8
    zygote.close()
    said = (tmp_path / "log").read_text()
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert sum(result["done"] for result in results) == sum(result["objects"] for result in results) == 4000
    assert "locked" not in said
    assert problems(path, read_directory(archive)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, number, code",
    with_others(
        [[], ["--processes", "2"], ["--layout", "batch"], ["--follow"]], (signal.SIGTERM, 143), (signal.SIGINT, 130)
    ),
    ids=str,
)
def test_a_signal_during_many_uploads_leaves_nothing_in_hand(conn, path, bucket, tmp_path, number, code, options):
    enqueue(conn, 300 if options else 1000)
    arguments = ["worker", "--db", path, *options]
    with started_main(*arguments, env=bucket.env, cwd=tmp_path) as process:
        while queue_manager.counts(conn).done == 0:
            assert process.poll() is None, process.stderr.read()
            REAL_SLEEP(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (code, False), err
    assert queue_manager.counts(conn).processing == 0
    with started_main("worker", "--db", path, env=bucket.env, cwd=tmp_path) as process:
        process.communicate(timeout=60)
    assert problems(path, bucket.objects(), bucket.get) == []


def test_a_killed_parent_takes_its_worker_processes_with_it(conn, path, tmp_path):
    arguments = ["worker", "--db", path, "--archive-dir", tmp_path / "archive", "--processes", "2", "--follow"]
    with started_main(*arguments, cwd=tmp_path) as process:
        while len(alive(conn, path)) < 2:
            assert process.poll() is None, process.stderr.read()
        process.kill()
    end = time.monotonic() + 20
    while alive(conn, path):
        assert time.monotonic() < end, "they still run"
        REAL_SLEEP(0.05)


def alive(conn, path):
    return [
        owner for (owner,) in conn.execute("SELECT owner FROM runs").fetchall() if presence.is_alive(conn, path, owner)
    ]


# The server of PostgreSQL itself


@pytest.fixture
def own_server():
    """A PostgreSQL that may be killed: no other test's."""
    if postgres_server.programs() is None:
        pytest.skip(NO_POSTGRES)
    server = PostgresServer()
    yield server
    server.close()


@pytest.mark.long
@pytest.mark.parametrize("end", ["kill", "stop"])  # as by a power cut; an immediate stop
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_a_server_that_dies_and_comes_back_in_mid_run_costs_nothing(own_server, bucket, tmp_path, end, layout):
    rng = random.Random(layout)
    path = own_server.url(own_server.migrated())
    arguments = ["worker", "--db", path, "--layout", layout, "--threads", "2", "--max-attempts", "50"]
    deaths = []
    with contextlib.closing(Zygote(bucket.env, tmp_path / "log")) as zygote:
        workers = [zygote.start(*arguments, "--follow") for _ in range(3)]
        while len(deaths) < 5:
            with contextlib.closing(db.connect(path)) as conn:
                enqueue(conn, 200, first=1 + 200 * len(deaths))
                before = queue_manager.counts(conn).done
                while queue_manager.counts(conn).done == before:
                    assert all(map(zygote.is_running, workers))
            REAL_SLEEP(rng.random() * 0.2)
            getattr(own_server, end)()
            deaths.append(end)
            own_server.start()
        for pid in workers:
            zygote.kill(pid, signal.SIGTERM)
        assert [zygote.wait(pid) for pid in workers] == [143] * 3
        with contextlib.closing(db.connect(path)) as conn:
            bring_home(zygote, conn, *arguments)
    found = problems(path, bucket.objects(), bucket.get)
    assert (found, "Traceback" in (tmp_path / "log").read_text()) == ([], False)


def test_what_an_ingest_has_committed_outlives_the_server_and_the_next_goes_on(own_server, github, run_main):
    github.add_repo("acme/widgets").make(500)
    path = own_server.url(own_server.migrated())
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t", "PIPELINE_DB": path}
    ingest = ["ingest", "--repo", "acme/widgets", "--all"]
    with started_main(*ingest, env=env, cwd=ROOT) as process:
        with contextlib.closing(db.connect(path)) as conn:
            while queue_manager.counts(conn).pending < 100:
                assert process.poll() is None, process.stderr.read()
        own_server.kill()
        _, err = process.communicate(timeout=60)
    own_server.start()
    assert "Traceback" not in err
    assert process.returncode in (0, 3), err  # all of it may have been in
    code, _, err = run_main(*ingest, env=env)
    assert code == 0, err
    with contextlib.closing(db.connect(path)) as conn:
        assert queue_manager.counts(conn).pending == 500
