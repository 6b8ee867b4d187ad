"""Tokens of live processes, the locks that hang on them, and the private folder that they lie in."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import db
from commands import runs
from engines import owners
from engines.owners import State
from foundation.clock import Clock
from foundation.errors import AnotherRun, ConfigurationError, Outage
from tests.conftest import ROOT, started_main
from tests.test_worker import dead_token, enqueue

NOW = "2026-11-23T10:00:00Z"
CLOCK = Clock(now=lambda: 1795428000, monotonic=lambda: 0.0, sleep=lambda seconds: None)


def recorded(conn, path):
    return runs.recorded(conn, db_path=path, command="x", what="something", clock=CLOCK, environ={})


# tokens


def test_a_token_lives_as_long_as_its_block(path):
    with owners.fresh_token(path) as token:
        assert (owners.state(path, token), owners.process(path, token)) == (State.ALIVE, f"process {os.getpid()}")
    assert (owners.state(path, token), owners.process(path, token)) == (State.ENDED, "another process")


def test_a_process_that_was_told_to_stop_lives_on_but_does_not_die(path):
    code = (
        "import os; from engines import owners\n"
        f"made = owners.fresh_token({path!r}); token = made.__enter__(); print(token, flush=True)\n"
        f"owners.told_to_stop({path!r}, token); assert owners.is_alive({path!r}, token); os._exit(0)"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), check=True, stdout=subprocess.PIPE)
    assert owners.state(path, made.stdout.decode().strip()) is State.ENDED
    assert owners.state(path, dead_token(path)) is State.DIED


def test_the_files_of_dead_owners_are_tidied_away_but_for_those_that_are_asked_for(path):
    gone, needed = dead_token(path), dead_token(path)
    with owners.fresh_token(path) as living:
        assert gone in os.listdir(path + ".owners")
        owners.tidy(path, in_use=lambda: [needed])
        assert sorted(os.listdir(path + ".owners")) == sorted([needed, living])
        assert owners.state(path, needed) is State.DIED


def test_a_file_that_tidying_takes_before_it_is_locked_is_made_again(path, monkeypatch):
    import fcntl

    lock, taken = fcntl.flock, []

    def tidied_first(descriptor, how):
        if how == fcntl.LOCK_EX and not taken:
            taken.append(1)
            owners.tidy(path, in_use=list)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", tidied_first)
    with owners.fresh_token(path) as token:
        assert (taken, owners.state(path, token), os.listdir(path + ".owners")) == ([1], State.ALIVE, [token])


@pytest.mark.parametrize("token", ["", "../x", "/etc/passwd", "..", "a" * 5000])
def test_a_token_out_of_a_damaged_database_leads_nowhere(path, token):
    with owners.fresh_token(path):
        assert owners.state(path, token) in (State.ENDED, State.ALIVE)
        owners.told_to_stop(path, token)


# the folder


def test_what_is_made_is_private_whatever_the_umask(path, tmp_path):
    before = os.umask(0)
    try:
        conn = db.connect(path)
        enqueue(conn, 1)
        with owners.fresh_token(path):
            made = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*")}
        conn.close()
    finally:
        os.umask(before)
    assert {mode for name, mode in made.items() if not name.endswith(".owners")} == {0o600}
    assert made["pipeline.db.owners"] == 0o700
    assert {"pipeline.db", "pipeline.db-wal", "pipeline.db-shm"} <= set(made)


@pytest.mark.parametrize("umask", ["777", "277", "000"])
def test_a_umask_leaves_us_the_rights_that_we_need(tmp_path, umask):
    command = f"umask {umask}; exec {sys.executable} {ROOT}/main.py worker --archive-dir a"
    subprocess.run(["bash", "-c", command], cwd=str(tmp_path), check=True, capture_output=True)
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert made == {"pipeline.db": 0o600, "pipeline.db.owners": 0o700}


def test_a_database_that_was_there_keeps_its_rights(path):
    db.connect(path).close()
    os.chmod(path, 0o640)
    db.connect(path).close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_through_a_link_the_same_locks_are_seen(conn, path, tmp_path):
    link = str(tmp_path / "elsewhere" / "link.db")
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(path, link)
    enqueue(conn, 100)
    other = db.connect(link)
    with recorded(conn, path) as run, recorded(other, link) as second:
        assert owners.is_alive(link, run.token)
        run.hold(["prune"])
        with pytest.raises(AnotherRun):
            second.hold(["prune"])
    assert db.size_bytes(other, link) == db.size_bytes(conn, path) > 10**5
    other.close()
    assert os.listdir(tmp_path / "elsewhere") == ["link.db"]


def test_a_link_in_place_of_the_folder_or_of_a_file_is_not_followed(path, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("data")
    os.symlink(theirs, path + ".owners")
    owners.tidy(path, in_use=list)
    with pytest.raises(ConfigurationError, match="lock folder"), owners.fresh_token(path):
        pass
    os.unlink(path + ".owners")
    token = dead_token(path)
    os.unlink(f"{path}.owners/{token}")
    os.symlink(theirs / "precious", f"{path}.owners/{token}")
    owners.told_to_stop(path, token)
    owners.tidy(path, in_use=list)
    assert ((theirs / "precious").read_text(), owners.is_alive(path, token)) == ("data", True)


def test_a_folder_of_another_user_is_a_clear_error_and_nothing_in_it_is_touched(path, monkeypatch):
    token = dead_token(path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user; run this as that user"):
        owners.fresh_token(path).__enter__()
    owners.tidy(path, in_use=list)
    owners.told_to_stop(path, token)
    assert owners.state(path, token) is State.DIED  # looking is allowed, where the system allows it


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave another user's file behind")
def test_a_file_that_no_process_wrote_names_none(path):
    with owners.fresh_token(path) as token:
        Path(path + ".owners", token).write_text("no number\n")
        assert owners.process(path, token) == "another process"


def test_a_file_that_another_user_left_is_nobodys_token(path):
    token = dead_token(path)
    os.chown(f"{path}.owners/{token}", 65534, 65534)
    assert owners.state(path, token) is State.ENDED
    owners.tidy(path, in_use=list)
    assert os.listdir(path + ".owners") == [token]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_may_only_read_takes_every_owner_for_alive():
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "pipeline.db")
        token = dead_token(path)
        code = f"import os; from engines import owners; os.setuid(65534); print(owners.state({path!r}, {token!r}))"
        said = subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), check=True, stdout=subprocess.PIPE)
        assert said.stdout == b"State.ALIVE\n"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "number, kind, advice",
    [(errno.ENOSPC, Outage, "make room"), (errno.EMFILE, Outage, "ulimit"), (errno.EROFS, ConfigurationError, "permi")],
)
@pytest.mark.parametrize("call", ["mkdir", "open", "write"])
def test_a_folder_that_cannot_be_used_is_a_clear_error(path, monkeypatch, number, kind, advice, call):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched, pytest.raises(kind, match=f"lock folder .*pipeline.db.owners.*{advice}"):
        patched.setattr(os, call, refuse)
        owners.fresh_token(path).__enter__()
    assert not os.path.exists(path + ".owners") or os.listdir(path + ".owners") == []


# locks


def test_a_lock_is_free_again_after_its_run_and_after_a_death(conn, path):
    for _ in range(2):
        with recorded(conn, path) as first, recorded(conn, path) as second:
            first.hold(["x"])
            first.hold(["x", "y"])
            second.hold(["z"])
            with pytest.raises(AnotherRun, match=f"x runs already on .*: process {os.getpid()} since {NOW[:10]}"):
                second.hold(["w", "x"])
            assert runs.lock_owner(conn, "w") is None  # all or nothing
    assert conn.execute("SELECT count(*) FROM locks").fetchone()[0] == 0
    runs.take_lock(conn, "x", owner=dead_token(path), now=NOW)
    with recorded(conn, path) as run:
        run.hold(["x"])


def test_a_lock_for_a_block_is_free_behind_it_but_not_where_another_took_it_over(conn, path):
    with recorded(conn, path) as run:
        with run.while_held("x"):
            assert runs.lock_owner(conn, "x")[0] == run.token
        assert runs.lock_owner(conn, "x") is None
        with run.while_held("x"):
            runs.take_lock(conn, "x", owner="another", now=NOW)
        assert runs.lock_owner(conn, "x")[0] == "another"


def test_many_repositories_need_no_more_open_files_than_one(github, tmp_path):
    names = "".join(f"acme/r{number}\n" for number in range(120))
    (tmp_path / "repos.txt").write_text(names)
    command = f"ulimit -n 64; exec {sys.executable} {ROOT}/main.py ingest -q --only issues --repos-file repos.txt"
    env = {**os.environ, "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    done = subprocess.run(["bash", "-c", command], cwd=str(tmp_path), env=env, capture_output=True, text=True)
    assert (done.returncode, "unexpected" in done.stderr) == (1, False), done.stderr  # none of them is there


def test_a_run_whose_lock_folder_is_unusable_says_so_in_one_line(run_main, tmp_path):
    (tmp_path / "pipeline.db.owners").write_text("a file, where a folder should be")
    (tmp_path / "a").mkdir()
    for command in (
        ["worker", "--archive-dir", "a"],
        ["prune", "--older-than", "3"],
        ["rebuild", "--archive-dir", "a"],
    ):
        code, _, err = run_main(*command, "-q")
        assert (code, len(err.splitlines()), "lock folder" in err) == (2, 1, True), err


def test_a_lock_says_who_has_it_also_through_a_link(github, run_main, tmp_path):
    github.add_repo("acme/widgets").make(3)
    os.symlink("pipeline.db", tmp_path / "link.db")
    env = {"GITHUB_API_URL": github.url}
    github.fail_next("hang", match="widgets")
    with started_main("ingest", "--repo", "acme/widgets", env=env, cwd=tmp_path) as first:
        while github.hanging == 0:
            assert first.poll() is None
        code, out, err = run_main("ingest", "--repo", "acme/widgets", "--db", "link.db", env=env)
        assert (code, out, f"process {first.pid} since 20" in err.splitlines()[-1]) == (4, "", True)
        first.kill()


# the place of the database


@pytest.mark.parametrize(
    "where", ["", " ", ":memory:", "file:x.db", "file::memory:?cache=shared", "folder", "new/", "/dev/null"]
)
def test_what_is_no_place_for_a_database_is_refused_and_nothing_is_made(run_main, tmp_path, where):
    (tmp_path / "folder").mkdir()
    for command in (["status"], ["worker", "--archive-dir", "a"]):
        code, out, err = run_main(*command, "--db", where)
        assert (code, out, "Traceback" in err) == (2, "", False), err
        assert ("path of a database" in err) or ("no file" in err), err
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_an_empty_variable_is_as_one_that_is_not_set_and_a_wrong_one_is_refused(run_main, tmp_path):
    assert run_main("status", env={"PIPELINE_DB": ":memory:"})[0] == 2
    db.connect(str(tmp_path / "pipeline.db")).close()
    assert run_main("status", env={"PIPELINE_DB": ""})[0] == 0
    assert Path(tmp_path / "pipeline.db").exists()
