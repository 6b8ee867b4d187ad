"""How runs end: signals, to one process and to all of its group; processes that die; outputs that can't be written."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

import db
import queue_manager
from commands import processes, signals
from cursors import states
from engines import owners, sqlite
from foundation.errors import Interrupted, Outage
from tests.conftest import REAL_SLEEP, ROOT, started_main
from tests.fault_proxy import FaultProxy
from tests.test_worker import Archive, Time, claim, counts, dead_token, enqueue, made_worker

ENOUGH_SECONDS = 20  # for a process to end that has no reason to wait


@pytest.fixture
def hanging(bucket):
    """A store in which every request hangs; the variables that lead to it."""
    with FaultProxy(bucket.endpoint, lambda method, path: "hang") as proxy:
        yield proxy, {**bucket.env, "AWS_ENDPOINT_URL_S3": proxy.url}


@contextlib.contextmanager
def started_group(*arguments, env=None, cwd):
    """main.py as the leader of a process group, as systemd and a terminal start it."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *map(str, arguments)],
        env={**os.environ, **(env or {})}, cwd=str(cwd), start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until(process, happened):
    end = time.monotonic() + ENOUGH_SECONDS
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "it did not happen"
        REAL_SLEEP(0.01)


def left(conn):
    rows = conn.execute("SELECT status, max(attempts), max(group_failures) FROM queue_items GROUP BY status").fetchall()
    return [tuple(row) for row in rows if row["status"] != "done"]


# signals


class Exits(Exception):
    pass


@pytest.fixture
def restored(monkeypatch):
    """After a signal the handlers stay for the rest of the process, which here is the tests'."""
    previous = {number: signal.getsignal(number) for number in signals.STOP_SIGNALS}

    def exits(code):
        raise Exits(code)

    monkeypatch.setattr(os, "_exit", exits)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.STOP_SIGNALS)
def test_a_repeat_within_two_seconds_is_the_same_signal_and_a_later_one_ends_the_process_at_once(restored, number):
    now, stops = [100.0], []
    with signals.SignalsCall(stops.append, monotonic=lambda: now[0]) as handled:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        now[0] += 1.9
        os.kill(os.getpid(), signal.SIGTERM)
        assert (handled.received, stops) == (number, [number])
    os.kill(os.getpid(), number)  # the block has ended, the process has not
    now[0] += 0.2
    with pytest.raises(Exits, match=str(128 + number)):
        os.kill(os.getpid(), number)


def test_a_repeat_does_not_interrupt_what_the_first_signal_set_off(restored):
    cleaned = []
    with pytest.raises(Interrupted), signals.SignalsRaise():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("all of it")
    os.kill(os.getpid(), signal.SIGTERM)
    assert cleaned == ["all of it"]


def test_without_a_signal_the_handlers_are_as_before_and_nohup_is_respected():
    def handlers():
        return [signal.getsignal(number) for number in signals.STOP_SIGNALS]

    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        before = handlers()
        with signals.SignalsRaise():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != before[1]
        assert handlers() == before
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize(
    "options, number, code",
    [
        ([], signal.SIGTERM, 143),
        ([], signal.SIGHUP, 129),
        (["--processes", "2"], signal.SIGINT, 130),
        (["--processes", "2", "--follow"], signal.SIGTERM, 143),
    ],
)
def test_a_signal_to_the_whole_group_twice_hands_everything_back_and_blames_nobody(
    conn, path, bucket, tmp_path, options, number, code
):
    """systemd signals all processes of a service, `timeout` and a terminal the whole group, and a parent repeats it."""
    enqueue(conn, 400)
    with started_group("worker", "--db", path, "--json", *options, env=bucket.env, cwd=tmp_path) as process:
        until(process, lambda: queue_manager.counts(conn).done)
        os.killpg(process.pid, number)
        REAL_SLEEP(0.05)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, "Traceback" in err) == (code, False), err
    assert "handed back" in err.splitlines()[-1]
    assert json.loads(out)["stopped_by"] == "signal"
    assert left(conn) == [("pending", 0, 0)]


def test_a_signal_while_processes_are_being_started_shows_no_traceback(path, tmp_path, conn):
    arguments = ["worker", "--db", path, "--archive-dir", "a", "--processes", "2", "--follow"]
    with started_group(*arguments, cwd=tmp_path) as process:
        until(process, lambda: "spawn_main" in children(process.pid))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, "Traceback" in err) == (130, False), err


def children(pid):
    return subprocess.run(["ps", "-ww", "--ppid", str(pid), "-o", "args="], stdout=subprocess.PIPE).stdout.decode()


@pytest.mark.slow
def test_a_signal_wins_over_an_outage_and_over_uploads_that_hang(conn, path, hanging, tmp_path):
    proxy, env = hanging
    faults = ["hang", (403, "AccessDenied")]  # the second upload ends the run, the first does not end
    proxy.fault = lambda method, path: faults.pop(0) if faults else "hang"
    enqueue(conn, 20)
    started = time.monotonic()
    with started_main("worker", "--db", path, "--json", "--threads", "2", env=env, cwd=tmp_path) as process:
        until(process, lambda: not faults)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, json.loads(out)["stopped_by"]) == (143, "signal"), err
    assert time.monotonic() - started < ENOUGH_SECONDS
    assert left(conn) == [("pending", 0, 0)]


def test_a_signal_ends_a_rebuild_whose_downloads_hang(hanging, tmp_path):
    proxy, env = hanging
    listed = threading.Event()
    keys = "".join(
        f"<Contents><Key>raw/github/issues/dt=2026-01-01/a/b/{n}-20260101T000000Z-{'a' * 12}.json</Key></Contents>"
        for n in range(50)
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode()
    proxy.forward = lambda method, path, headers, body: (200, [("Content-Type", "application/xml")], listing)

    def fault(method, path):
        if "list-type=2" in path:
            return None
        listed.set()
        return "hang"

    proxy.fault = fault
    with started_main("rebuild", env=env, cwd=tmp_path) as process:
        assert listed.wait(ENOUGH_SECONDS)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=5)
    assert (process.returncode, "Traceback" in err) == (143, False), err


@pytest.mark.parametrize("number", signals.STOP_SIGNALS)
def test_a_signal_during_the_imports_is_one_line_and_the_signals_exit_code(tmp_path, number):
    (tmp_path / "sqlite3.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    with started_main("worker", "--archive-dir", "a", env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, err) == (128 + number, "error: interrupted; the next run goes on from here\n")


# orderly and other ends


def ended_while_the_database_was_locked(conn, path, archive):
    """A worker that was told to stop, and could not write that down; returns it, and its token."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    conn.execute("PRAGMA busy_timeout = 10")

    def stop_and_lock(key):
        made.stop()
        other.execute("BEGIN IMMEDIATE")

    with owners.fresh_token(path) as token:
        made = made_worker(conn, path, token, Archive(stop_and_lock), threads=1)
        made.run()
    other.close()
    return made, token


@pytest.mark.parametrize("count", [1, 8])
def test_an_orderly_end_that_could_not_release_counts_no_attempt(conn, path, count):
    enqueue(conn, count)
    made, _ = ended_while_the_database_was_locked(conn, path, Archive())
    assert (made.in_hand, queue_manager.counts(conn).processing) == (True, count)
    with owners.fresh_token(path) as token:
        waiting = made_worker(conn, path, token, Archive(), max_attempts=1)
        assert waiting._rows.free_the_dead() == count
    assert left(conn) == [("pending", 0, 0)]


def test_a_worker_that_was_told_to_stop_and_then_killed_is_no_items_fault(conn, path, hanging, tmp_path):
    """As a container runtime does after ten seconds, when the database is locked so long."""
    enqueue(conn, 16)
    with started_main("worker", "--db", path, "--threads", "2", env=hanging[1], cwd=tmp_path) as process:
        until(process, lambda: queue_manager.counts(conn).processing)
        (token,) = queue_manager.claim_tokens(conn)
        process.send_signal(signal.SIGTERM)
        until(process, lambda: os.path.getsize(f"{path}.owners/{token}") == 0)
        process.kill()
        process.wait()
    assert owners.state(path, token) is owners.State.ENDED
    assert queue_manager.counts(conn).processing == 16


def test_a_worker_that_was_killed_over_its_rows_is_still_found_after_other_runs(conn, path, run_main):
    """Its file tells how it ended; no run tidies that away while rows ask for it."""
    enqueue(conn, 3)
    claim(conn, dead_token(path), 3)
    assert run_main("prune", "--older-than", "30")[0] == 0
    with owners.fresh_token(path) as token:
        assert made_worker(conn, path, token, Archive())._rows.free_the_dead() == 3
    assert left(conn) == [("pending", 0, 1)]
    run_main("prune", "--older-than", "30")
    assert os.listdir(f"{path}.owners") == []


def test_what_could_not_be_handed_back_is_not_said_to_be(conn, path, tmp_path, monkeypatch, restored, capsys):
    import main
    from lake import local

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.1)
    enqueue(conn, 1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def put(archive, made):
        other.execute("BEGIN IMMEDIATE")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(local.DirectoryArchive, "put", put)
    assert main.main(["worker", "--db", path, "--archive-dir", str(tmp_path / "a")]) == 143
    other.close()
    said = capsys.readouterr().err.splitlines()[-1]
    assert ("could not be handed back" in said, "locked" in said) == (True, True), said


# a database that goes away


def test_a_worker_that_follows_ends_with_2_when_its_database_is_replaced(conn, path, tmp_path):
    with started_group("worker", "--db", path, "--archive-dir", "a", "--follow", cwd=tmp_path) as process:
        until(process, lambda: runs_alive(conn, path))
        os.rename(path, tmp_path / "moved.db")
        open(path, "x").close()
        _, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, "replaced meanwhile" in err.splitlines()[-1], "Traceback" in err) == (2, True, False)


def test_an_ingest_into_a_database_that_is_deleted_meanwhile_does_not_succeed(github, run_main, tmp_path):
    def delete(*page):
        for file in tmp_path.glob("pipeline.db*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    github.add_repo("acme/widgets").make(3)
    github.after_page = delete
    code, _, err = run_main("ingest", "--repo", "acme/widgets", env={"GITHUB_API_URL": github.url})
    assert (code, "deleted, moved" in err.splitlines()[-1]) == (2, True), err


# processes


def test_a_process_that_was_killed_is_replaced_with_a_warning_while_it_follows(conn, path, tmp_path):
    arguments = ["worker", "--db", path, "--archive-dir", "a", "--processes", "2", "--follow"]
    with started_group(*arguments, cwd=tmp_path) as process:
        until(process, lambda: len(runs_alive(conn, path)) == 2)
        before = runs_alive(conn, path)
        victim = int(owners.process(path, before[0]).split()[1])
        os.kill(victim, signal.SIGKILL)
        until(process, lambda: len(runs_alive(conn, path)) == 2 and runs_alive(conn, path) != before)
        enqueue(conn, 20)
        until(process, lambda: queue_manager.counts(conn).done == 20)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=ENOUGH_SECONDS)
    assert (process.returncode, "a worker process was killed" in err) == (143, True), err
    assert left(conn) == []


def runs_alive(conn, path):
    return [owner for (owner,) in conn.execute("SELECT owner FROM runs") if owners.is_alive(path, owner)]


def kill_itself(report, control, argument):
    report("a life")
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_place_of_a_process_that_keeps_dying_is_taken_ever_more_slowly(monkeypatch):
    monkeypatch.setattr(processes, "FIRST_RESTART_SECONDS", 0.01)
    reports, pauses, lives = [], [], iter([True, True, None])
    group = processes.Processes(
        kill_itself, [True], on_report=lambda *report: reports.append(report), again=lambda number: next(lives)
    )
    pause_after = group._pause_after
    monkeypatch.setattr(group, "_pause_after", lambda *life: pauses.append(pause_after(*life)) or pauses[-1])
    (end,) = group.run()
    assert (pauses, reports) == ([0.01, 0.02], [(0, "a life")] * 3)
    assert isinstance(end.error, processes.Died)


def fail_or_wait(report, control, argument):
    if argument == "fail":
        raise ValueError("nobody thought of this")
    return control.recv()


def test_an_error_that_ends_one_process_ends_them_all():
    group = processes.Processes(fail_or_wait, ["fail", "wait"], on_report=print)
    failed, other = group.run()
    assert (str(failed.error), other.value) == ("nobody thought of this", signal.SIGTERM)


def return_at_once(report, control, argument):
    return argument


@pytest.mark.parametrize("follows", [True, False])
def test_no_room_for_a_process_is_waited_out_or_an_outage(monkeypatch, follows):
    monkeypatch.setattr(processes, "FIRST_RESTART_SECONDS", 0.01)
    failures = [BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))]
    monkeypatch.setattr(processes.resource_tracker, "ensure_running", lambda: raise_first(failures))
    again = (lambda number: "again") if follows else (lambda number: None)
    (end,) = processes.Processes(return_at_once, ["first"], on_report=print, again=again).run()
    if follows:
        assert end.value == "again"
    else:
        assert isinstance(end.error, Outage) and "ulimit -u" in str(end.error)


def raise_first(failures):
    if failures:
        raise failures.pop()


def lack_memory(report, control, argument):
    raise MemoryError


def test_a_process_that_the_machine_has_no_room_for_counts_as_killed():
    (end,) = processes.Processes(lack_memory, ["x"], on_report=print).run()
    assert isinstance(end.error, processes.Died)


def report_for_ever(report, control, argument):
    open(argument, "x").close()
    while not control.poll(0.001):
        report("still here")
    with contextlib.suppress(EOFError):
        control.recv()
    REAL_SLEEP(0.1)  # the other pipe of the dead parent is closed a moment later
    report("and here")
    raise ValueError("what ends it")


def test_processes_whose_parent_was_killed_end_without_a_traceback(tmp_path):
    code = (
        "import sys; from commands import processes; from tests.commands import test_stops\n"
        "if __name__ == '__main__':\n"
        "    work, begun = test_stops.report_for_ever, sys.argv[1]\n"
        "    processes.Processes(work, [begun], on_report=lambda *report: None).run()\n"
    )
    (tmp_path / "parent.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "parent.py", tmp_path / "begun"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        until(process, (tmp_path / "begun").exists)
        process.kill()
        _, err = process.communicate(timeout=ENOUGH_SECONDS)  # the pipe ends with the last of them
    assert b"Traceback" not in err, err


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_no_room_for_a_thread_is_an_outage_which_follow_waits_out(conn, path, monkeypatch, error):
    enqueue(conn, 20)
    clock, start, started = Time(), threading.Thread.start, []

    def start_one(thread):
        started.append(thread)
        if len(started) > 1 and not clock.waits:
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with owners.fresh_token(path) as token:
        result = made_worker(conn, path, token, Archive(), time=clock, follow=True, limit=20).run()
    assert (result.done, len(clock.waits)) == (20, 1)


@pytest.mark.parametrize("options", [[], ["--processes", "2"]], ids=str)
def test_follow_ends_at_its_limit_and_what_was_handed_back_does_not_count(conn, path, tmp_path, options):
    enqueue(conn, 50)
    arguments = ["worker", "--db", path, "--archive-dir", "a", "--follow", "--limit", "20", "--json", *options]
    with started_main(*arguments, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=ENOUGH_SECONDS)
    result = json.loads(out)
    assert (process.returncode, result["done"], result["stopped_by"]) == (0, 20, "limit"), err


def test_rows_that_an_outage_handed_back_do_not_count_against_the_limit(conn, path):
    enqueue(conn, 50)
    clock, archive = Time(), Archive()

    def down_at_first(key):
        if not clock.waits:
            raise Outage("down")

    archive.fault = down_at_first
    with owners.fresh_token(path) as token:
        result = made_worker(conn, path, token, archive, time=clock, follow=True, limit=20).run()
    assert (result.done, result.released, result.stopped_by) == (20, 20, "limit")
    assert (counts(conn), len(clock.waits)) == ((30, 0, 20, 0), 1)


# output


def run_shell(command, cwd, env=None):
    text = command.format(main=f"{sys.executable} {ROOT}/main.py")
    done = subprocess.run(
        ["bash", "-c", text], cwd=str(cwd), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr
    return done


DOWN = {"BUCKET_NAME": "lake", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "{main} worker --json | true; exit ${{PIPESTATUS[0]}}",
        "{main} worker --json 2>/dev/full",
        "{main} worker --json >/dev/full",
        "{main} worker --json -v >/dev/full 2>&1",
        "{main} worker --json 2>&-",
        "{main} worker --json >&-",
        "{main} worker --log-format json <&- >&- 2>&-",
        "{main} worker --processes 2 2>&-",
    ],
)
def test_the_exit_code_is_the_runs_whatever_becomes_of_the_output(conn, tmp_path, monkeypatch, command):
    enqueue(conn, 3)
    assert run_shell(command, tmp_path, DOWN).returncode == 3
    assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert left(conn) == [("pending", 0, 0)]


@pytest.mark.parametrize("arguments", ["--help", "worker --help", "--print-completion bash", "status", "status --json"])
@pytest.mark.parametrize("output", ["| true", ">/dev/full", ">&-", ">&- 2>&-"])
def test_help_and_results_that_nobody_reads_are_no_failure(tmp_path, conn, arguments, output):
    assert run_shell("{main} %s %s; exit ${{PIPESTATUS[0]}}" % (arguments, output), tmp_path).returncode == 0


@pytest.mark.parametrize("output", ["2>/dev/full", "2>&-"])
def test_a_usage_error_that_nobody_reads_is_still_exit_2(tmp_path, output):
    assert run_shell("{main} worker %s" % output, tmp_path).returncode == 2


def test_what_the_terminal_cannot_show_is_shown_in_another_way(tmp_path, conn):
    with db.transaction(conn):
        states.record_run(conn, repo="a/b", stream="issues", now="2026-01-01T00:00:00Z", error="no \u2603")
    done = run_shell("PYTHONIOENCODING=ascii {main} status", tmp_path)
    assert (done.returncode, "\\u2603" in done.stdout) == (0, True), done.stderr
