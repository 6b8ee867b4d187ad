import random
import signal
import sqlite3
import threading

import pytest

import db
import owners
import queue_manager
import worker
from clock import Clock
from errors import ConfigurationError, Outage
from queue_manager import Item
from s3_writer import DirectoryArchive, ItemRefused
from tests import payloads
from tests.conftest import started_main

NOW = 1_800_000_000


class Archive:
    """Keeps objects in memory; `fault(key)` may raise."""

    def __init__(self, fault=lambda key: None):
        self.objects, self.fault, self.lock = {}, fault, threading.Lock()

    def put(self, key, body, *, sha256):
        self.fault(key)
        with self.lock:
            self.objects[key] = body


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "p.db")


@pytest.fixture
def conn(path):
    connection = db.connect(path)
    yield connection
    connection.close()


def enqueue(conn, count, **changes):
    items = []
    for number in range(1, count + 1):
        text = payloads.as_text(payloads.issue(id=number, number=number, **changes))
        items.append(Item("issue", number, number, "2026-01-02T00:00:00Z", text, f"{number:064x}"))
    queue_manager.enqueue(conn, repo="a/b", items=items, now="2026-01-01T00:00:00Z")


@pytest.fixture
def make(conn, path):
    def made(archive, **options):
        return worker.Worker(
            conn=conn,
            db_path=path,
            archive=archive,
            clock=Clock(now=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda seconds: None),
            rng=random.Random(1),
            prefix="raw/",
            **{"threads": 4, "max_attempts": 3, **options},
        )

    return made


@pytest.fixture
def work(make):
    def run(archive, **options):
        made = make(archive, **options)
        return made, made.run()

    return run


def counts(conn):
    return tuple(queue_manager.counts(conn))


def test_done_means_archived_and_in_issues(conn, work):
    enqueue(conn, 100)
    archive = Archive()
    _, result = work(archive)
    assert (result.done, result.objects, result.stopped_by) == (100, 100, None)
    for row in conn.execute("SELECT * FROM queue_items"):
        assert archive.objects[row["s3_key"]] == row["payload"].encode()
    assert conn.execute("SELECT count(*), count(DISTINCT s3_key) FROM issues").fetchone()[:] == (100, 100)


def test_nothing_to_do_is_no_failure(work):
    assert work(Archive())[1] == worker.Result()


@pytest.mark.parametrize("error", [Outage("down"), ConfigurationError("wrong key")])
def test_an_outage_hands_everything_back_with_attempts_untouched(conn, work, error):
    enqueue(conn, 50)

    def fault(key):
        raise error

    made, result = work(Archive(fault))
    assert (made.outage, result.stopped_by, counts(conn)) == (error, "outage", (50, 0, 0, 0))
    assert conn.execute("SELECT max(attempts) FROM queue_items").fetchone()[0] == 0


def test_what_was_uploaded_before_an_outage_is_done(conn, work):
    enqueue(conn, 10)
    archive = Archive()

    def fault(key):
        if len(archive.objects) == 4:
            raise Outage("down")

    archive.fault = fault
    work(archive, threads=1)
    assert counts(conn) == (6, 0, 4, 0)


def test_an_items_own_fault_is_retried_and_then_a_dead_letter_that_holds_up_no_other(conn, work):
    enqueue(conn, 10)

    def fault(key):
        if "/3-" in key:
            raise ItemRefused("too large")

    archive = Archive(fault)
    assert work(archive)[1]._replace(bytes=0) == worker.Result(done=9, retrying=1, objects=9)
    for _ in range(2):
        conn.execute("UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z'")
        _, result = work(archive)
    assert (result.failed, counts(conn)) == (1, (0, 0, 9, 1))
    (failed,) = queue_manager.failed_items(conn, limit=5)
    assert (failed["number"], failed["attempts"], failed["last_error"]) == (3, 3, "too large")


def test_a_surprise_in_one_item_is_that_items_fault(conn, work):
    enqueue(conn, 3)

    def fault(key):
        if "/2-" in key:
            raise RuntimeError("surprise")

    assert work(Archive(fault), max_attempts=1)[1].failed == 1
    assert "RuntimeError" in queue_manager.failed_items(conn, limit=5)[0]["last_error"]


def test_a_payload_that_cannot_be_extracted_is_archived_and_then_failed(conn, work):
    enqueue(conn, 1, created_at=None)
    archive = Archive()
    _, result = work(archive)
    assert (result.failed, result.done, len(archive.objects)) == (1, 0, 1)
    assert conn.execute("SELECT s3_key FROM queue_items").fetchone()[0] in archive.objects


def test_a_limit_is_kept_to_the_item(conn, work):
    enqueue(conn, 100)
    assert work(Archive(), limit=7)[1].done == 7
    assert counts(conn) == (93, 0, 7, 0)


def test_stop_finishes_what_is_under_way_and_hands_back_the_rest(conn, make):
    enqueue(conn, 100)
    archive = Archive()
    made = make(archive, threads=2)
    archive.fault = lambda key: made.stop()
    result = made.run()
    assert result.stopped_by == "signal"
    assert 1 <= result.done <= 2
    assert counts(conn) == (100 - result.done, 0, result.done, 0)


def test_rows_of_a_process_that_died_are_free_at_the_next_start(conn, path, work):
    enqueue(conn, 5)
    with db.transaction(conn):
        queue_manager.claim(conn, token="dead", limit=5, now="2026-11-23T00:00:00Z", lease_seconds=10**8)
    assert work(Archive())[1].done == 5


def test_rows_of_a_process_that_lives_are_left_to_it(conn, path, work):
    enqueue(conn, 5)
    with owners.claim_token(path) as token:
        assert owners.is_alive(path, token)
        with db.transaction(conn):
            queue_manager.claim(conn, token=token, limit=5, now="2026-11-23T00:00:00Z", lease_seconds=10**8)
        assert work(Archive())[1].done == 0
    assert not owners.is_alive(path, token)
    assert work(Archive())[1].done == 5


def test_a_late_workers_result_changes_neither_the_row_nor_issues(conn, path, work):
    enqueue(conn, 1)

    def steal(key):
        other = sqlite3.connect(path)
        other.execute("UPDATE queue_items SET claim_token = 'other'")
        other.commit()
        other.close()

    assert work(Archive(steal))[1].done == 0
    assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 0
    assert counts(conn) == (0, 1, 0, 0)


def test_two_workers_side_by_side_do_everything_once(conn, path, tmp_path):
    enqueue(conn, 400)
    keys = []

    class Noting(DirectoryArchive):
        def put(self, key, body, *, sha256):
            keys.append(key)
            super().put(key, body, sha256=sha256)

    def run():
        own = db.connect(path)
        worker.Worker(
            conn=own,
            db_path=path,
            archive=Noting(str(tmp_path / "archive")),
            clock=Clock(now=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda seconds: None),
            rng=random.Random(1),
            prefix="raw/",
            threads=2,
            max_attempts=3,
        ).run()
        own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == len(set(keys)) == 400
    assert counts(conn) == (0, 0, 400, 0)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_killed_process_leaves_nothing_that_the_next_run_does_not_bring_home(conn, path, tmp_path, number, code):
    enqueue(conn, 3000)
    archive = tmp_path / "archive"
    with started_main("worker", "--db", path, "--archive-dir", archive, "--threads", 2, cwd=tmp_path) as process:
        while not (archive / "raw").exists():
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (code, False)
    if number != signal.SIGKILL:
        assert queue_manager.counts(conn).processing == 0
    assert queue_manager.counts(conn).done < 3000
    with started_main("worker", "--db", path, "--archive-dir", archive, cwd=tmp_path) as process:
        process.communicate(timeout=60)
    assert (process.returncode, counts(conn)) == (0, (0, 0, 3000, 0))
    files = {str(p.relative_to(archive)): p.read_text("utf-8") for p in archive.rglob("*.json")}
    assert files == dict(conn.execute("SELECT s3_key, payload FROM queue_items").fetchall())
    assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
