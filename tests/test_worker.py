import contextlib
import gzip
import logging
import random
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

import db
import queue_manager
import worker
from commands import figures
from engines import owners
from foundation import timestamps
from foundation.clock import Clock
from foundation.errors import ConfigurationError, Outage
from foundation.records import Item
from lake import notes
from lake.local import DirectoryArchive
from lake.objects import ItemRefused, Throttled
from queue_manager import Lease
from tests import payloads
from tests.conftest import REAL_SLEEP, ROOT, started_main

NOW = 1_800_000_000


def fail_with(error):
    def fault(key):
        raise error

    return fault


class Archive:
    """Keeps objects in memory; `fault(key)` may raise."""

    def __init__(self, fault=lambda key: None):
        self.objects, self.puts, self.fault, self.lock = {}, [], fault, threading.Lock()

    def put(self, made):
        self.fault(made.key)
        with self.lock:
            self.objects[made.key] = made.body
            self.puts.append(made.key)


def enqueue(conn, count, first=1, **changes):
    items = []
    for number in range(first, first + count):
        text = payloads.as_text(payloads.issue(id=number, number=number, **changes))
        items.append(Item("issue", number, number, "2026-01-02T00:00:00Z", text.encode(), f"{number:064x}"))
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="a/b", items=items, now="2026-01-01T00:00:00Z")


class Time:
    """A clock that moves only when someone waits."""

    def __init__(self):
        self.seconds = NOW
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.seconds += seconds

    @property
    def clock(self):
        return Clock(now=lambda: self.seconds, monotonic=lambda: self.seconds, sleep=self.wait)


class InTurn(Archive, Time):
    """Each upload begins when the run has taken in how the one before ended; for a `run` with one thread.

    The clock moves only then, too: to `seconds_after(uploads)`.
    """

    def __init__(self, seconds_after):
        super().__init__()
        self.run, self.seconds_after = None, seconds_after

    @property
    def seconds(self):
        return NOW + self.seconds_after(self.run.result.objects if self.run else 0)

    def put(self, made):
        for _ in range(10_000):
            if self.run.result.objects == len(self.puts):
                break
            REAL_SLEEP(0.002)
        super().put(made)


class Jitter:
    """Stands for a random.Random that always gives the same."""

    def __init__(self, jitter):
        self.random = lambda: jitter


def made_worker(conn, path, token, archive, time=None, **options):
    time = time or Time()
    hooks = {name: options.pop(name) for name in ("idle", "on_progress", "on_wait", "rng") if name in options}
    given = {"prefix": "raw/", "batches": False, "threads": 4, "max_attempts": 3, **options}
    return worker.Worker(
        conn=conn,
        db_path=path,
        token=token,
        open_archive=archive if callable(archive) else lambda: archive,
        settings=worker.Settings(**given),
        clock=time.clock,
        **{"rng": random.Random(1), "idle": time.wait, **hooks},
    )


@pytest.fixture
def make(conn, path):
    with owners.fresh_token(path) as token:
        yield lambda archive, **options: made_worker(conn, path, token, archive, **options)


@pytest.fixture
def work(make):
    def run(archive, **options):
        made = make(archive, **options)
        return made, made.run()

    return run


def counts(conn):
    return tuple(queue_manager.counts(conn))


def at(seconds):
    return timestamps.from_epoch(NOW + seconds)


def times(conn, statement):
    return [row[0] for row in conn.execute(statement)]


def dead_token(path):
    """The token of a process that was killed."""
    code = (
        "import os; from engines import owners\n"
        f"made = owners.fresh_token({path!r}); print(made.__enter__(), flush=True); os._exit(0)"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), check=True, stdout=subprocess.PIPE)
    return made.stdout.decode().strip()


def claim(conn, token, limit, seconds=10**8):
    with db.transaction(conn):
        return queue_manager.claim_single(conn, Lease(token, "2026-11-23T00:00:00Z", seconds), limit=limit).items


def test_done_means_archived_and_in_issues(conn, work):
    enqueue(conn, 100)
    archive = Archive()
    _, result = work(archive)
    assert (result.done, result.objects, result.stopped_by) == (100, 100, None)
    for row in conn.execute("SELECT * FROM queue_items"):
        assert archive.objects[row["s3_key"]] == row["payload"].encode()
    assert conn.execute("SELECT count(*), count(DISTINCT s3_key) FROM issues").fetchone()[:] == (100, 100)
    assert times(conn, "SELECT finished_at FROM queue_items UNION SELECT processed_at FROM issues") == [at(0)]


def cannot_open():
    raise ConfigurationError("no such profile")


def test_an_archive_that_cannot_be_opened_is_an_outage_and_costs_no_row(conn, work):
    enqueue(conn, 3)
    job, result = work(cannot_open)
    assert str(job.outage) == "no such profile"
    assert (result.done, result.stopped_by, counts(conn)) == (0, "outage", (3, 0, 0, 0))


def test_a_surprise_on_opening_the_archive_ends_the_run_and_costs_no_row(conn, work):
    def surprise():
        raise RuntimeError("nobody thought of this")

    enqueue(conn, 3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="nobody thought of this"):
            work(surprise)
    left = conn.execute("SELECT status, attempts, group_failures FROM queue_items").fetchall()
    assert [tuple(row) for row in left] == [("pending", 0, 0)] * 3


def test_the_archive_is_opened_only_when_there_is_something_to_upload(work):
    job, result = work(cannot_open)
    assert (job.outage, result.stopped_by) == (None, None)


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
    (failed,) = figures.failed_items(conn, limit=5)
    assert (failed["number"], failed["attempts"], failed["last_error"]) == (3, 3, "too large")


def test_an_item_is_put_off_for_longer_each_time_and_says_why(conn, work):
    enqueue(conn, 1)
    for attempts, seconds in enumerate([30, 60, 120], 1):
        conn.execute("UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z'")
        work(Archive(fail_with(ItemRefused("too large"))), rng=Jitter(0), max_attempts=9)
        (row,) = conn.execute("SELECT attempts, available_at, last_error FROM queue_items").fetchall()
        assert tuple(row) == (attempts, at(seconds), "too large")


def test_the_log_names_an_item_that_fails_and_the_row_says_since_when(conn, work, caplog):
    enqueue(conn, 1, first=7)
    work(Archive(fail_with(ItemRefused("too large"))), max_attempts=1)
    (said,) = caplog.messages
    assert said.startswith("a/b #7 (row 1) ") and said.endswith("too large")
    assert times(conn, "SELECT finished_at FROM queue_items") == [at(0)]


def test_a_surprise_in_one_item_is_that_items_fault(conn, work):
    enqueue(conn, 3)

    def fault(key):
        if "/2-" in key:
            raise RuntimeError("surprise")

    assert work(Archive(fault), max_attempts=1)[1].failed == 1
    assert "RuntimeError" in figures.failed_items(conn, limit=5)[0]["last_error"]


@pytest.mark.parametrize("batches", [False, True], ids=["object", "batch"])
def test_a_surprise_in_every_item_is_nobodys_fault_and_ends_the_run(conn, work, batches):
    """As a build of Python that refuses md5() is."""
    enqueue(conn, 3000)

    def fault(key):
        raise ValueError("md5 is disabled for FIPS")

    for _ in range(3):
        job, result = work(Archive(fault), max_attempts=1, batches=batches)
        assert (job.outage.exit_code, "md5 is disabled" in str(job.outage)) == (2, True)
        assert (result.failed, result.retrying, result.stopped_by, counts(conn)) == (0, 0, "outage", (3000, 0, 0, 0))
    assert conn.execute("SELECT max(attempts) FROM queue_items").fetchone()[0] == 0
    assert work(Archive(), batches=batches)[1].done == 3000


@pytest.mark.parametrize("batches", [False, True], ids=["object", "batch"])
@pytest.mark.parametrize("before", [0, 20])
def test_a_refusal_of_every_item_for_one_reason_is_nobodys_fault_and_ends_the_run(conn, work, batches, before):
    """As a prefix is that is too long for the file system."""
    enqueue(conn, before)
    work(Archive(), batches=batches)
    enqueue(conn, 100, first=1000)
    for _ in range(4):
        job, result = work(Archive(fail_with(ItemRefused("File name too long"))), max_attempts=1, batches=batches)
        assert (job.outage.exit_code, "no item is blamed; check --prefix" in str(job.outage)) == (2, True)
        assert (result.failed, result.retrying, counts(conn)) == (0, 0, (100, 0, before, 0))
    assert work(Archive(), batches=batches)[1].done == 100


def test_a_prefix_that_no_disk_takes_ends_the_run_and_costs_no_row(conn, work, tmp_path):
    enqueue(conn, 10)
    archive = DirectoryArchive(str(tmp_path / "archive"))
    job, result = work(archive, prefix="x" * 300 + "/", max_attempts=1)
    assert (job.outage.exit_code, "too long" in str(job.outage), counts(conn)) == (2, True, (10, 0, 0, 0))
    assert work(archive)[1].done == 10


@pytest.mark.parametrize("refused, failed", [(1, 1), (2, 2), (3, 0)])
def test_up_to_two_items_that_are_refused_alone_are_failed_in_the_end(conn, work, refused, failed):
    enqueue(conn, refused)
    for _ in range(3):
        work(Archive(fail_with(ItemRefused("too large"))))
        conn.execute("UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z'")
    assert counts(conn) == (refused - failed, 0, 0, failed)


def test_items_that_are_refused_for_different_reasons_are_blamed_each(conn, work):
    def fault(key):
        raise ItemRefused(f"I do not like {key}")

    enqueue(conn, 10)
    job, result = work(Archive(fault), max_attempts=1)
    assert (job.outage, result.failed) == (None, 10)


def test_refused_items_are_blamed_each_when_others_go_well_in_between(conn, work):
    enqueue(conn, 30)

    def fault(key):
        if int(key.split("/")[-1].split("-")[0]) <= 5:
            raise ItemRefused("too large")

    job, result = work(Archive(fault), max_attempts=1)
    assert (job.outage, result.failed, result.done) == (None, 5, 25)


def test_items_that_all_surprise_are_blamed_each_when_others_go_well_in_between(conn, work):
    """However many come first: what they would block is tried before they are judged."""
    enqueue(conn, 30)

    def fault(key):
        if int(key.split("/")[-1].split("-")[0]) <= 5:
            raise RuntimeError("surprise")

    job, result = work(Archive(fault), max_attempts=1)
    assert (job.outage, result.failed, result.done) == (None, 5, 25)


def test_a_batch_that_surprises_is_parted_until_the_one_at_fault_is_alone(conn, work):
    enqueue(conn, 40)
    archive = Archive()

    def put(made):
        if b'"number": 7,' in gzip.decompress(made.body):
            raise RuntimeError("surprise")
        archive.objects[made.key] = made.body

    archive.put = put
    job, result = work(archive, batches=True, max_attempts=1)
    assert (job.outage, result.done, result.failed, len(lines(archive))) == (None, 39, 1, 39)
    assert [failed["number"] for failed in figures.failed_items(conn, limit=5)] == [7]


def test_the_last_of_many_surprises_is_named_with_what_to_do(conn, work):
    enqueue(conn, 8)

    def fault(key):
        raise RuntimeError(key.split("/")[-1].split("-")[0])

    said = str(work(Archive(fault), threads=1)[0].outage)
    assert "RuntimeError('8'), 8 times" in said
    assert said.endswith("report it")


def test_surprises_after_a_success_end_the_run_as_well(conn, work):
    enqueue(conn, 100)
    archive = Archive()

    def breaks_down(key):
        if len(archive.puts) >= 40:
            raise ImportError("the program was replaced while it ran")

    archive.fault = breaks_down
    job, result = work(archive, threads=1, max_attempts=1)
    assert (result.done, result.failed, job.outage.exit_code) == (40, 0, 2)


def test_a_surprise_that_is_not_judged_yet_is_handed_back_by_a_stop(conn, make):
    enqueue(conn, 20)

    def fault(key):
        made.stop()
        raise RuntimeError("surprise")

    made = make(Archive(fault), threads=1, max_attempts=1)
    assert (made.run().stopped_by, counts(conn)) == ("signal", (20, 0, 0, 0))


def test_a_payload_that_cannot_be_extracted_is_archived_and_then_failed(conn, work):
    enqueue(conn, 1, created_at=None)
    archive = Archive()
    _, result = work(archive)
    assert (result.failed, result.done, len(archive.objects)) == (1, 0, 1)
    assert conn.execute("SELECT s3_key FROM queue_items").fetchone()[0] in archive.objects


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_a_limit_is_kept_to_the_item(conn, work, limit):
    enqueue(conn, 100)
    assert work(Archive(), limit=limit)[1].done == limit
    assert counts(conn) == (100 - limit, 0, limit, 0)


def test_finished_rows_are_committed_in_groups_and_none_waits_for_long(conn, make, monkeypatch):
    monkeypatch.setattr(worker, "COMMIT_ROWS", 5)
    monkeypatch.setattr(worker, "COMMIT_SECONDS", 0.5)
    enqueue(conn, 12)
    reports = []
    archive = InTurn(lambda uploads: 0 if uploads < 3 else 0.5)
    archive.run = make(archive, time=archive, threads=1, on_progress=lambda result: reports.append(result.done))
    archive.run.run()
    assert reports == [3, 8, 12, 12]


def test_a_surprise_in_the_run_itself_loses_nothing_and_begins_no_upload(conn, make, monkeypatch):
    """What is under way is finished and written down, however long it takes; the rest is handed back."""
    monkeypatch.setattr(worker, "COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(worker, "COMMIT_ROWS", 1)
    enqueue(conn, 8)
    surprised = threading.Event()

    def fault(key):
        if archive.puts:
            assert surprised.wait(20)
            REAL_SLEEP(0.2)  # many times as long as the run waits for one

    def on_progress(result):
        if not surprised.is_set():
            surprised.set()
            raise RuntimeError("nobody thought of this")

    archive = Archive(fault)
    made = make(archive, threads=1, on_progress=on_progress)
    assert not made.in_hand
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        made.run()
    assert (len(archive.puts), counts(conn), made.in_hand) == (2, (6, 0, 2, 0), False)


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
    claim(conn, dead_token(path), 5)
    assert work(Archive())[1].done == 5


def test_rows_of_a_dead_process_are_free_also_beside_those_of_one_that_lives(conn, path, work, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    enqueue(conn, 7)
    with owners.fresh_token(path) as token:
        claim(conn, token, 2, seconds=10**7)  # the first to be looked at
        claim(conn, dead_token(path), 5)
        assert work(Archive())[1].done == 5
    assert counts(conn) == (0, 2, 5, 0)
    (said,) = caplog.messages
    assert "5 rows" in said and "died" in said


@pytest.mark.parametrize(
    "max_attempts, left",
    [(2, ("pending", 1, at(45), None)), (1, ("failed", 1, "1970-01-01T00:00:00Z", at(0)))],
    ids=["another attempt", "the last"],
)
def test_a_row_over_which_alone_a_process_died_is_put_off_and_fails_in_the_end(conn, path, work, max_attempts, left):
    enqueue(conn, 1)
    with db.transaction(conn):
        conn.execute("UPDATE queue_items SET s3_key = 'k', group_failures = 1")  # archived already, and a suspect
        queue_manager.claim_archived(conn, Lease(dead_token(path), at(0), 300), limit=1)
    assert work(cannot_open, rng=Jitter(1), max_attempts=max_attempts)[1] == worker.Result()
    (row,) = conn.execute("SELECT status, attempts, available_at, finished_at FROM queue_items").fetchall()
    assert tuple(row) == left


def test_rows_of_a_live_process_whose_lease_has_ended_are_taken_and_the_log_says_so(conn, path, work, caplog):
    enqueue(conn, 5)
    with owners.fresh_token(path) as token:
        claim(conn, token, 5, seconds=300)
        assert work(Archive())[1].done == 5
    assert "lease" in caplog.messages[0]


def test_rows_of_a_process_that_lives_are_left_to_it(conn, path, work):
    enqueue(conn, 5)
    with owners.fresh_token(path) as token:
        assert owners.is_alive(path, token)
        claim(conn, token, 5)
        assert work(Archive())[1].done == 0
    assert not owners.is_alive(path, token)
    assert work(Archive())[1].done == 5


def test_a_late_workers_result_changes_neither_the_row_nor_issues(conn, path, work):
    enqueue(conn, 1)

    def steal(key):
        other = sqlite3.connect(path)
        other.execute("UPDATE queue_items SET claim_token = ?", (thief,))
        other.commit()
        other.close()

    with owners.fresh_token(path) as thief:
        assert work(Archive(steal))[1].done == 0
    assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 0
    assert counts(conn) == (0, 1, 0, 0)
    assert notes.archived_elsewhere(conn, here="elsewhere") == {}


def test_two_workers_side_by_side_do_everything_once(conn, path, tmp_path):
    enqueue(conn, 400)
    keys = []

    class Noting(DirectoryArchive):
        def put(self, made):
            keys.append(made.key)
            super().put(made)

    def run():
        own = db.connect(path)
        with owners.fresh_token(path) as token:
            made_worker(own, path, token, Noting(str(tmp_path / "archive")), threads=2).run()
        own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == len(set(keys)) == 400
    assert counts(conn) == (0, 0, 400, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_killed_process_leaves_nothing_that_the_next_run_does_not_bring_home(conn, path, tmp_path, number, code):
    enqueue(conn, 3000)
    archive = tmp_path / "archive"
    with started_main("worker", "--db", path, "--archive-dir", archive, "--threads", 2, cwd=tmp_path) as process:
        while not (archive / "raw").exists():
            assert process.poll() is None, process.stderr.read()
            REAL_SLEEP(0.01)
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


def test_a_suspect_that_is_alone_is_archived_before_it_is_extracted_and_counts_once_against_a_limit(conn, path, work):
    enqueue(conn, 3)
    for _ in range(3):
        claim(conn, dead_token(path), 1)
        work(Archive(fail_with(Outage("down"))), threads=1)
    archive = Archive()
    _, result = work(archive, limit=2)
    assert (result.done, len(archive.puts), counts(conn)) == (2, 2, (1, 0, 2, 0))


def test_what_lacks_only_its_row_in_issues_needs_no_archive(conn, work):
    enqueue(conn, 1, created_at=None)
    work(Archive())
    with db.transaction(conn):
        queue_manager.retry(conn, item_ids=None)
    job, result = work(cannot_open)
    assert (job.outage, result.failed) == (None, 1)


@pytest.mark.parametrize("first_id", [1, 101], ids=["the oldest", "the newest"])
def test_suspects_are_worked_on_with_no_other_row_in_hand(conn, path, work, first_id):
    """Whatever a process dies over is found: no upload begins while a suspect's is under way."""
    enqueue(conn, 30)
    claim(conn, dead_token(path), 10)
    conn.execute("UPDATE queue_items SET id = id + ? WHERE status = 'processing'", (first_id - 1,))
    under_way, together, lock = set(), [], threading.Lock()

    class Watching(Archive):
        def put(self, made):
            with lock:
                under_way.add(made.key)
                together.append(sorted(int(key.split("/")[-1].split("-")[0]) for key in under_way))
            REAL_SLEEP(0.005)  # long enough for others to begin
            super().put(made)
            with lock:
                under_way.discard(made.key)

    assert work(Watching())[1].done == 30
    assert all(set(group) <= set(range(1, 11)) or not set(group) & set(range(1, 11)) for group in together), together


def test_rows_of_a_worker_that_dies_meanwhile_are_brought_home_in_the_same_run(conn, path, work):
    enqueue(conn, 6)
    with contextlib.ExitStack() as life:
        claim(conn, life.enter_context(owners.fresh_token(path)), 3)
        assert work(Archive(lambda key: life.close()), threads=1)[1].done == 6


def test_leases_are_extended_while_an_upload_takes_long(conn, path, work):
    enqueue(conn, 1)
    time, leases = Time(), []

    def take_long(key):
        other = db.connect(path)
        for _ in range(500):
            REAL_SLEEP(0.01)
            lease = other.execute("SELECT lease_until FROM queue_items").fetchone()[0]
            if lease not in leases:
                leases.append(lease)
                time.seconds += worker.LEASE_EXTENSION_SECONDS + 1
            if len(leases) == 4:
                break
        other.close()

    archive = Archive(take_long)
    work(archive, time=time)
    assert len(leases) == 4
    assert leases == sorted(leases)
    assert len(archive.puts) == 1


def test_leases_are_extended_no_more_often_than_needed(conn, make):
    enqueue(conn, 7)
    leases = []
    until = "SELECT DISTINCT lease_until FROM queue_items WHERE status = 'processing'"
    archive = InTurn(lambda uploads: uploads * worker.LEASE_EXTENSION_SECONDS / 3)
    archive.run = make(archive, time=archive, threads=1, on_progress=lambda result: leases.append(times(conn, until)))
    archive.run.run()
    first, second = at(worker.LEASE_SECONDS), at(worker.LEASE_SECONDS + worker.LEASE_EXTENSION_SECONDS)
    assert leases == [[first]] * 3 + [[second]] * 3 + [[], []]


@pytest.mark.parametrize("threads", [1, 4, 8])
def test_so_many_uploads_are_under_way_as_there_are_threads(conn, work, threads):
    enqueue(conn, 16)
    under_way, most, lock, all_of_them = [0], [0], threading.Lock(), threading.Barrier(threads)

    def count(key):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        all_of_them.wait(20)
        with lock:
            under_way[0] -= 1

    assert work(Archive(count), threads=threads)[1].done == 16
    assert most == [threads]


def test_a_store_that_keeps_all_threads_waiting_is_spoken_of_in_the_log_now_and_then(conn, work, caplog):
    enqueue(conn, 1)
    time = Time()

    def drip(key):
        for spoken_of in (1, 2):
            time.seconds += worker.SILENCE_SECONDS
            for _ in range(500):
                REAL_SLEEP(0.01)
                if caplog.text.count("no upload has ended for 180 s") == spoken_of:
                    break

    assert work(Archive(drip), time=time)[1].done == 1
    assert caplog.text.count("no upload has ended for 180 s") == 2


def test_the_same_outage_of_all_uploads_ends_the_run_after_fewer_at_a_time(conn, work):
    """SlowDown: 4 at a time, then 2, then 1, and only then is it an outage; nobody's attempt is counted."""
    enqueue(conn, 50)
    sizes, under_way, lock = [], [0], threading.Lock()
    all_four = threading.Barrier(4)

    def busy(key):
        with lock:
            under_way[0] += 1
            sizes.append(under_way[0])
            is_first = len(sizes) <= 4
        if is_first:
            all_four.wait(20)
        with lock:
            under_way[0] -= 1
        raise Throttled("busy")

    made, result = work(Archive(busy))
    assert (result.stopped_by, str(made.outage), counts(conn)) == ("outage", "busy", (50, 0, 0, 0))
    assert (max(sizes), sizes[-1]) == (4, 1)
    assert conn.execute("SELECT max(attempts) FROM queue_items").fetchone()[0] == 0


def test_a_store_that_takes_fewer_at_a_time_gets_everything_in_the_end(conn, work):
    enqueue(conn, 200)
    slots = threading.Semaphore(2)

    def busy_beyond_two(key):
        if not slots.acquire(blocking=False):
            raise Throttled("busy")
        REAL_SLEEP(0.001)
        slots.release()

    assert work(Archive(busy_beyond_two), threads=8)[1].done == 200


def test_follow_polls_without_a_busy_loop_and_takes_what_comes(conn, make):
    enqueue(conn, 3)
    time, archive = Time(), Archive()

    def idle(seconds):
        time.wait(seconds)
        if len(time.waits) == 2:
            enqueue(conn, 2, first=10)
        if len(time.waits) == 4:
            made.stop()

    made = make(archive, follow=True, time=time, idle=idle)
    result = made.run()
    assert (result.done, result.stopped_by) == (5, "signal")
    assert time.waits == [worker.POLL_SECONDS] * 4


def test_a_look_at_an_empty_queue_is_one_question(conn, make):
    questions = []

    def idle(seconds):
        conn.set_trace_callback(questions.append if not questions else None)
        if questions:
            made.stop()

    made = make(Archive(), follow=True, idle=idle)
    made.run()
    assert [question.split()[0] for question in questions] == ["BEGIN", "SELECT", "COMMIT"]


def test_follow_waits_an_outage_out_with_backoff_and_says_so(conn, make):
    enqueue(conn, 20)
    time, notes, archive = Time(), [], Archive()

    def fault(key):
        if len(time.waits) < 4:
            raise ConfigurationError("expired key")

    def idle(seconds):
        time.wait(seconds)
        if seconds == worker.POLL_SECONDS:
            made.stop()

    archive.fault = fault
    made = make(archive, follow=True, time=time, idle=idle, on_wait=notes.append)
    result = made.run()
    assert (result.done, made.outage, counts(conn)) == (20, None, (0, 0, 20, 0))
    assert conn.execute("SELECT max(attempts) FROM queue_items").fetchone()[0] == 0
    first, second, third, fourth = time.waits[:4]
    assert 5 <= first <= 7.5 <= 10 <= second <= 15 < 20 <= third <= 30 < 40 <= fourth <= 60
    assert ["expired key" in (note or "-") for note in notes] == [True, False] * 4


def test_the_wait_in_an_outage_has_an_upper_limit_and_is_said_in_note_and_log(conn, make, caplog):
    enqueue(conn, 2)
    time, notes = Time(), []

    def idle(seconds):
        time.wait(seconds)
        if len(time.waits) == 8:
            made.stop()

    made = make(
        Archive(fail_with(Outage("down"))), follow=True, time=time, idle=idle, on_wait=notes.append, rng=Jitter(1)
    )
    result = made.run()
    assert time.waits == [seconds * 1.5 for seconds in (5, 10, 20, 40, 80, 160, 300, 300)]
    assert "down" in notes[0] and notes[0].endswith(at(7.5))
    assert caplog.messages[0].startswith("outage") and notes[0] in caplog.messages[0]
    assert (result.released, result.stopped_by) == (16, "signal")


def test_an_outage_after_some_success_is_waited_out_as_a_first_one(conn, make):
    enqueue(conn, 3)
    time, archive = Time(), Archive()

    def fault(key):
        if len(time.waits) in (0, 1, 3) or archive.puts and len(time.waits) == 2:
            raise Outage("down")

    def idle(seconds):
        time.wait(seconds)
        if seconds == worker.POLL_SECONDS:
            made.stop()

    archive.fault = fault
    made = make(archive, follow=True, time=time, idle=idle, threads=1, rng=Jitter(0))
    assert made.run().done == 3
    assert time.waits == [5, 10, 5, 10, worker.POLL_SECONDS]


def test_a_locked_database_ends_the_run_as_an_outage_that_names_it(conn, path, make):
    conn.execute("PRAGMA busy_timeout = 10")
    enqueue(conn, 1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    made = make(Archive(lambda key: other.execute("BEGIN IMMEDIATE")), threads=1)
    assert (made.run().stopped_by, made.in_hand) == ("outage", True)
    assert isinstance(made.outage, Outage)
    assert repr(path) in str(made.outage)
    other.close()


def test_follow_waits_for_a_locked_database_and_forgets_no_upload(conn, path, make, monkeypatch):
    conn.execute("PRAGMA busy_timeout = 10")
    enqueue(conn, 5)
    time, archive = Time(), Archive()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def lock_once(key):
        if not archive.puts:
            other.execute("BEGIN IMMEDIATE")

    def idle(seconds):
        time.wait(seconds)
        if other.in_transaction:
            other.execute("ROLLBACK")
        elif seconds == worker.POLL_SECONDS:
            made.stop()

    archive.fault = lock_once
    made = make(archive, follow=True, time=time, idle=idle, threads=1)
    assert made.run().done == 5
    other.close()


def test_a_stop_does_not_wait_for_ever_for_an_upload_that_hangs(conn, make):
    enqueue(conn, 20)
    released, time, ends = threading.Event(), Time(), []

    def hang(key):
        made.stop()
        time.seconds += worker.STOP_SECONDS
        ends.append(released.wait(10))

    made = make(Archive(hang), time=time, threads=1)
    result = made.run()
    assert ends == []
    released.set()
    assert (result.stopped_by, counts(conn)) == ("signal", (20, 0, 0, 0))


def test_an_upload_that_ends_in_time_after_a_stop_is_done(conn, make, monkeypatch):
    monkeypatch.setattr(worker, "COMMIT_SECONDS", 0.01)
    enqueue(conn, 20)
    looked_again = threading.Event()

    class Watched(Time):
        @property
        def clock(self):
            def monotonic():
                if self.seconds > NOW:
                    looked_again.set()
                return self.seconds

            return super().clock._replace(monotonic=monotonic)

    def end_in_time(key):
        made.stop()
        time.seconds += worker.STOP_SECONDS - 1
        assert looked_again.wait(20)

    time = Watched()
    made = make(Archive(end_in_time), time=time, threads=1)
    assert (made.run().stopped_by, counts(conn)) == ("signal", (19, 0, 1, 0))


def lines(archive):
    found = []
    for key, body in archive.objects.items():
        found += [(key, line) for line in gzip.decompress(body).decode().splitlines()]
    return found


def test_a_batch_holds_each_row_once_and_each_row_names_it(conn, work):
    enqueue(conn, 2500)
    archive = Archive()
    _, result = work(archive, batches=True)
    assert (result.done, result.objects, len(archive.objects)) == (2500, 3, 3)
    stored = [tuple(row) for row in conn.execute("SELECT s3_key, payload FROM queue_items ORDER BY id")]
    assert sorted(lines(archive)) == sorted(stored)
    assert (
        conn.execute("SELECT count(*) FROM issues JOIN queue_items USING (s3_key, payload_sha256)").fetchone()[0]
        == 2500
    )
    assert result.bytes == sum(map(len, archive.objects.values()))


def test_small_batches_are_under_way_in_all_threads(conn, work):
    enqueue(conn, 8)
    conn.execute("UPDATE queue_items SET updated_at = '2026-01-0' || number || 'T00:00:00Z'")  # a batch each
    all_four = threading.Barrier(4)
    assert work(Archive(lambda key: all_four.wait(20)), batches=True, threads=4)[1].objects == 8


def test_nothing_is_claimed_beside_so_many_bytes(conn, work, monkeypatch):
    enqueue(conn, 8)
    conn.execute("UPDATE queue_items SET updated_at = '2026-01-0' || number || 'T00:00:00Z'")  # a batch each
    largest = conn.execute("SELECT max(length(payload)) FROM queue_items").fetchone()[0]
    monkeypatch.setattr(worker, "BYTES_IN_HAND", largest + 1)
    under_way, most, lock = [0], [0], threading.Lock()

    def count(key):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        REAL_SLEEP(0.05)  # for others to begin, if they are let
        with lock:
            under_way[0] -= 1

    assert work(Archive(count), batches=True, threads=4)[1].objects == 8
    assert most == [2]


def test_without_follow_a_batch_is_not_left_to_grow(conn, work):
    enqueue(conn, 5)
    conn.execute("UPDATE queue_items SET fetched_at = ?", (at(0),))
    assert work(Archive(), batches=True)[1].done == 5


@pytest.mark.parametrize("place, objects", [("a bucket", 2), ("another bucket", 1)])
def test_a_batch_keeps_to_its_rows_only_where_it_was_begun(conn, work, place, objects):
    enqueue(conn, 5)
    work(Archive(fail_with(Outage("down"))), batches=True, place="a bucket")
    enqueue(conn, 5, first=10)
    result = work(Archive(), batches=True, place=place)[1]
    assert (result.done, result.objects) == (10, objects)


@pytest.mark.parametrize("then", [True, False], ids=["batch", "object"])
def test_a_batch_that_was_cut_off_goes_to_the_same_key_with_the_same_rows(conn, path, work, then):
    """Whether the upload got there is not known: the repeat must not lead to a second object."""
    enqueue(conn, 30)
    archive, first = Archive(), []

    def cut_off(key):
        if not first:
            first.append(key)
            archive.objects[key] = b"stored, but the answer is lost"
            raise Outage("reset")

    archive.fault = cut_off
    assert work(archive, batches=True)[1].done == 0
    enqueue(conn, 30, first=100)
    work(archive, batches=then)
    whole = gzip.decompress(archive.objects[first[0]]).decode().splitlines()
    assert len(whole) == 30
    assert counts(conn) == (0, 0, 60, 0)
    assert conn.execute("SELECT count(DISTINCT s3_key) FROM queue_items").fetchone()[0] == len(archive.objects)


def test_an_unreadable_row_of_a_batch_fails_alone_and_is_archived(conn, work):
    enqueue(conn, 3)
    enqueue(conn, 1, first=50, created_at=None)
    archive = Archive()
    _, result = work(archive, batches=True)
    assert (result.done, result.failed, len(lines(archive))) == (3, 1, 4)
    with db.transaction(conn):
        queue_manager.retry(conn, item_ids=None)
    assert work(archive, batches=True)[1] == worker.Result(failed=1)
    assert len(archive.puts) == 1


def test_a_batch_that_is_refused_is_parted_until_the_one_at_fault_is_alone(conn, work):
    enqueue(conn, 40)
    archive = Archive()

    def put(made):
        if b'"number": 7,' in gzip.decompress(made.body):
            raise ItemRefused("EntityTooLarge")
        archive.objects[made.key] = made.body

    archive.put = put
    _, result = work(archive, batches=True)
    assert (result.done, result.retrying, len(lines(archive))) == (39, 1, 39)
    assert conn.execute("SELECT number, attempts FROM queue_items WHERE status = 'pending'").fetchall()[0][:] == (7, 1)


@pytest.mark.parametrize(
    "now",
    [{}, {"place": "another bucket"}, {"prefix": "right/"}],
    ids=["the same place", "another bucket", "another prefix"],
)
@pytest.mark.parametrize("is_noted", [True, False])
def test_a_batch_that_was_begun_for_another_place_is_begun_anew(conn, work, now, is_noted):
    enqueue(conn, 5)
    work(Archive(fail_with(Outage("down"))), batches=True, prefix="wrong/", place="a bucket")
    (begun,) = {row["batch_key"] for row in conn.execute("SELECT batch_key FROM queue_items")}
    if not is_noted:  # begun by a version that did not note it
        conn.execute("UPDATE queue_items SET batch_place = NULL")
    archive = Archive()
    _, result = work(archive, batches=True, **{"prefix": "wrong/", "place": "a bucket", **now})
    assert (result.done, result.objects) == (5, 1)
    assert (archive.puts == [begun]) is ("prefix" not in now)
    assert archive.puts[0].startswith(now.get("prefix", "wrong/"))


@pytest.mark.parametrize("layout", [True, False])
def test_a_begun_batch_of_another_place_holds_up_no_worker_of_either_layout(conn, work, layout):
    enqueue(conn, 5)
    work(Archive(fail_with(Outage("down"))), batches=True, prefix="wrong/", place="one")
    archive = Archive(lambda key: None if key.startswith("right/") else pytest.fail(key))
    _, result = work(archive, batches=layout, prefix="right/", place="one")
    assert (result.done, result.objects) == (5, 1 if layout else 5)


def test_what_lies_where_is_counted(conn, work):
    enqueue(conn, 5)
    work(Archive(), place="one")
    enqueue(conn, 4, first=10)
    work(Archive(), batches=True, place="two")
    enqueue(conn, 2, first=20, created_at=None)  # archived, not extracted
    work(Archive(), place="two")
    enqueue(conn, 1, first=30)  # not archived
    work(Archive(fail_with(ItemRefused("too large"))), place="two", max_attempts=1)
    assert notes.archived_elsewhere(conn, here="one") == {"two": 6}
    assert notes.archived_elsewhere(conn, here="three") == {"one": 5, "two": 6}


def test_a_batch_whose_process_died_is_uploaded_first_and_extracted_row_by_row(conn, path, work):
    enqueue(conn, 20)
    token = dead_token(path)
    with db.transaction(conn):
        begun = queue_manager.claim_batch(
            conn, Lease(token, "2026-11-23T00:00:00Z", 10**8), limit=20, max_bytes=10**6, fetched_before=None,
            place="", key_of=lambda items: "raw/issues/dt=2026-01-02/batch-x.jsonl.gz",
        )  # fmt: skip
    archive = Archive()
    _, result = work(archive, batches=True)
    assert (result.done, archive.puts) == (20, [begun.batch_key])
    assert {row[0] for row in conn.execute("SELECT s3_key FROM issues")} == {begun.batch_key}
    assert notes.archived_elsewhere(conn, here="elsewhere") == {"": 20}


def test_batches_keep_to_the_limit(conn, work):
    enqueue(conn, 100)
    assert work(Archive(), batches=True, limit=30)[1]._replace(bytes=0) == worker.Result(
        30, objects=1, stopped_by="limit"
    )


def test_follow_lets_a_batch_grow_before_it_is_uploaded(conn, make):
    time, archive = Time(), Archive()
    with db.transaction(conn):
        conn.execute("DELETE FROM queue_items")
    enqueue(conn, 5)
    conn.execute("UPDATE queue_items SET fetched_at = ?", (time.clock.utc(),))

    def idle(seconds):
        time.wait(seconds)
        if archive.puts:
            made.stop()
        elif len(time.waits) == 3:
            enqueue(conn, 5, first=20)

    made = make(archive, batches=True, follow=True, time=time, idle=idle)
    made.run()
    assert len(lines(archive)) == 10
    assert len(archive.puts) == 1
    assert worker.BATCH_LINGER_SECONDS <= time.seconds - NOW <= worker.BATCH_LINGER_SECONDS + 5


def test_a_batch_of_rows_that_a_clock_far_ahead_has_fetched_does_not_wait_for_that_time(conn, make):
    time, archive = Time(), Archive()
    enqueue(conn, 5)
    conn.execute("UPDATE queue_items SET fetched_at = '2999-01-01T00:00:00Z'")
    made = make(archive, batches=True, follow=True, time=time, idle=lambda seconds: made.stop())
    assert (made.run().done, len(archive.puts)) == (5, 1)


def test_follow_hands_back_after_an_outage_of_the_database_what_was_in_hand_before(conn, path, make):
    """All that the limit allows was claimed, and could not be written down: the limit is not reached for that."""
    conn.execute("PRAGMA busy_timeout = 10")
    enqueue(conn, 5)
    time = Time()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def lock_at_first(key):
        if not time.waits:
            other.execute("BEGIN IMMEDIATE")
            raise Outage("down")

    def idle(seconds):
        time.wait(seconds)
        if other.in_transaction:
            other.execute("ROLLBACK")

    made = make(Archive(lock_at_first), time=time, idle=idle, threads=1, follow=True, limit=5)
    result = made.run()
    assert (result.done, result.stopped_by, made.in_hand) == (5, "limit", False)
    other.close()
