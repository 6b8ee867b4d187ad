import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Stands in for the real commands: writes down how it was called, and ends as it is told to.
STUB = """
import os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ.get(sys.argv[1].upper() + "_CODE", 0)))
"""


@pytest.fixture
def copy(tmp_path):
    """The script with a stub behind it and a virtual environment that counts as set up."""
    home = tmp_path / "it's home"
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / "run_pipeline.sh").write_bytes((ROOT / "run_pipeline.sh").read_bytes())
    (home / "run_pipeline.sh").chmod(0o755)
    (home / "requirements.txt").write_text("")
    (home / "main.py").write_text(STUB)
    (home / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stamp = subprocess.run(["cksum"], input=(sys.version + "\n").encode(), stdout=subprocess.PIPE, check=True).stdout
    (home / ".venv" / "stamp").write_bytes(stamp)
    return home / "run_pipeline.sh"


def run(script, *arguments, cwd, **env):
    calls = cwd / "calls"
    bare = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "CALLS": str(calls), **env}
    done = subprocess.run([str(script), *arguments], cwd=str(cwd), env=bare, capture_output=True, timeout=60)
    made = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, made, done.stdout.decode() + done.stderr.decode()


def test_without_a_bucket_it_archives_into_a_directory_and_says_so(copy, tmp_path):
    code, calls, said = run(copy, "a/b", "c/d", cwd=tmp_path)
    assert (code, calls) == (0, ["ingest --repo a/b --repo c/d", "worker --archive-dir archive"])
    assert "./archive" in said


def test_with_a_bucket_the_worker_takes_it_from_the_environment(copy, tmp_path):
    assert run(copy, "a/b", cwd=tmp_path, BUCKET_NAME="lake")[1] == ["ingest --repo a/b", "worker"]


def test_repositories_come_from_the_environment_else_the_example(copy, tmp_path):
    assert run(copy, cwd=tmp_path, PIPELINE_REPOS="a/b  c/d")[1][0] == "ingest --repo a/b --repo c/d"
    (tmp_path / "calls").unlink()
    assert run(copy, cwd=tmp_path)[1][0] == "ingest --repo octocat/Hello-World"


@pytest.mark.parametrize("ingest, worker, worst", [(3, 0, 3), (1, 3, 3), (0, 1, 1), (2, 1, 2)])
def test_the_worker_runs_whatever_ingest_did_and_the_worst_code_wins(copy, tmp_path, ingest, worker, worst):
    code, calls, _ = run(copy, cwd=tmp_path, INGEST_CODE=str(ingest), WORKER_CODE=str(worker))
    assert (code, len(calls)) == (worst, 2)


def test_an_interrupted_ingest_ends_it_all(copy, tmp_path):
    code, calls, _ = run(copy, cwd=tmp_path, INGEST_CODE="143")
    assert (code, len(calls)) == (143, 1)


def test_it_works_through_a_link_from_any_directory(copy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "link.sh"
    link.symlink_to(os.path.relpath(str(copy), str(elsewhere)))
    code, calls, said = run(link, "a/b", cwd=elsewhere)
    assert (code, len(calls)) == (0, 2), said


@pytest.mark.parametrize("argument", ["--frob", "-x", "a b/c", "a/b;ls", "$(ls)/x"])
def test_what_is_no_repository_is_refused_before_anything_runs(copy, tmp_path, argument):
    assert run(copy, argument, cwd=tmp_path)[:2] == (2, [])


def test_help_shows_how_to_call_it(copy, tmp_path):
    code, calls, said = run(copy, "--help", cwd=tmp_path)
    assert (code, calls) == (0, [])
    assert "OWNER/NAME" in said
    assert "--demo" in said


def test_a_missing_interpreter_is_said_in_one_line(copy, tmp_path):
    code, _, said = run(copy, cwd=tmp_path, PYTHON="no-such-python")
    assert (code, len(said.splitlines())) == (2, 1)


def test_the_lock_of_a_dead_set_up_is_taken_over(copy, tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = copy.parent / ".venv.lock"
    lock.mkdir()
    (lock / "pid").write_text(str(ended.pid))
    (copy.parent / ".venv" / "stamp").write_text("stale")
    code, calls, said = run(copy, "a/b", cwd=tmp_path)  # requirements.txt is empty: the set-up installs nothing
    assert (code, len(calls)) == (0, 2), said
    assert not lock.exists()


@pytest.mark.slow
def test_the_demo_runs_from_set_up_to_the_end(tmp_path):
    copy = tmp_path / "clone"
    for source in [
        *ROOT.glob("*.py"),
        ROOT / "run_pipeline.sh",
        ROOT / "requirements.txt",
        *(ROOT / "tests").glob("*.py"),
    ]:
        target = copy / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (copy / "run_pipeline.sh").chmod(0o755)
    done = subprocess.run(
        [str(copy / "run_pipeline.sh"), "--demo"], cwd=str(tmp_path), env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    assert "500 objects" in done.stdout.decode()
