"""What somebody meets who does not know the project yet: no packages, wrong paths, rights to look only."""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import db
import main
from foundation.clock import SYSTEM_CLOCK
from tests.conftest import ROOT
from tests.github_server import GitHubServer


def without_packages(*arguments, cwd):
    """As the system's Python runs main.py: with the standard library, and nothing that was installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-s", str(ROOT / "main.py"), *arguments],
        cwd=str(cwd), capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["ingest", "--repo", "a/b"], ["worker", "--bucket", "b"], ["check"], ["--print-completion", "bash"]],
)
def test_a_missing_package_is_one_line_that_says_what_to_run(tmp_path, arguments):
    (tmp_path / "pipeline.db").touch()
    code, out, err = without_packages(*arguments, cwd=tmp_path)
    if arguments[0] == "worker":  # nothing to upload: boto3 is not asked for
        assert code == 0
        return
    assert (code, out) == (2, "")
    assert "./run_pipeline.sh" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_help_status_and_retry_need_no_package(tmp_path, run_main):
    run_main("worker", "--archive-dir", "archive")
    for arguments in (["--help"], ["status"], ["retry", "--all"]):
        assert without_packages(*arguments, cwd=tmp_path)[0] == 0


def test_publish_without_its_package_says_what_to_install(tmp_path, run_main):
    (tmp_path / "deltalake.py").write_text("raise ImportError('no wheel for this Python')")
    code, out, err = run_main("publish", "--archive-dir", "lake", env={"PYTHONPATH": str(tmp_path)})
    assert (code, out, err.count("\n"), "pip install -r requirements-publish.txt" in err) == (2, "", 1, True), err


@pytest.mark.parametrize("package", ["vl_convert", "jinja2"])
def test_report_without_its_packages_says_what_to_install(tmp_path, run_main, package):
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    code, out, err = run_main("report", "--out", "report.html", env={"PYTHONPATH": str(tmp_path)})
    assert (code, out, err.count("\n"), "pip install -r requirements-report.txt" in err) == (2, "", 1, True), err


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_a_python_that_is_too_old_is_told_so_in_one_line(tmp_path, version):
    found = sorted(Path(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv", "versions").glob(f"{version}.*/bin/python"))
    python = str(found[-1]) if found else shutil.which(f"python{version}") or pytest.skip(f"no Python {version} here")
    done = subprocess.run([python, str(ROOT / "main.py"), "status"], cwd=str(tmp_path), capture_output=True)
    said = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(said), list(tmp_path.iterdir())) == (2, b"", 1, [])
    assert version in said[0] and "3.8" in said[0]


@pytest.mark.parametrize("arguments", [["status"], ["retry", "--all"], ["prune", "--older-than", "1"]])
def test_a_database_that_is_not_there_is_said_and_not_made(run_main, tmp_path, arguments):
    code, out, err = run_main(*arguments, "--db", "typo.db")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "no database 'typo.db'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "worker --archive-dir a", "ingest --repo a/b"])
def test_a_current_directory_that_was_deleted_is_said_in_one_line(tmp_path, command):
    shell = f"mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} {ROOT}/main.py {command}"
    done = subprocess.run(["bash", "-c", shell], cwd=str(tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"error: {command.split()[0]}: the current directory was deleted; change to one that is there (cd)\n"
    )


def test_a_row_that_did_not_fail_can_not_be_retried(run_main, tmp_path):
    conn = db.connect(str(tmp_path / "pipeline.db"))
    conn.executescript(
        """
        INSERT INTO queue_items
            (repo, item_type, item_id, number, updated_at, payload, payload_sha256, status, fetched_at)
        VALUES ('a/b', 'issue', 1, 1, 'x', '{}', 'h', 'failed', 'x'),
            ('a/b', 'issue', 2, 2, 'x', '{}', 'h', 'done', 'x')
        """
    )
    conn.close()
    code, _, err = run_main("retry", "--item", "1", "--item", "999")
    assert (code, "--item: 999 is no failed row," in err) == (2, True)
    assert json.loads(run_main("status", "--json")[1])["queue"]["failed"] == 1
    assert run_main("retry", "--item", "2")[0] == 2
    code, _, err = run_main("forget", "--item", "1", "--item", "2", "--item", "999")
    assert (code, "--item: 2, 999 are no failed rows," in err) == (2, True)
    assert run_main("retry", "--item", "1", "--item", "1")[0] == 0


def test_an_api_that_nobody_serves_is_named_with_its_variable(tmp_path, capsys):
    environ = {"GITHUB_API_URL": "http://127.0.0.1:9"}
    clock = SYSTEM_CLOCK._replace(sleep=lambda seconds: None)
    assert main.main(["ingest", "-q", "--repo", "a/b", "--db", str(tmp_path / "p.db")], environ, clock) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert "connection refused by 127.0.0.1:9 " in said and "check GITHUB_API_URL" in said


def test_a_worker_with_nothing_to_do_says_that_and_no_zeros(run_main):
    assert run_main("worker", "--archive-dir", "archive")[1] == "no row is pending: nothing to do\n"
    assert json.loads(run_main("worker", "--archive-dir", "archive", "--json")[1])["done"] == 0


@pytest.mark.parametrize("log_is_there", [False, True])
def test_status_works_for_a_user_who_may_only_read(log_is_there):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.db"
        conn = db.connect(str(path))
        conn.execute("INSERT INTO archives (place, items) VALUES ('x', 1)")
        if log_is_there:
            for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                name.chmod(0o644)
        else:
            conn.close()
            path.chmod(0o444)
        os.chmod(folder, 0o555)
        # Once for what it imports: the project may lie where the other user can't read.
        code = """
import contextlib, io, os, sys
sys.path.insert(0, sys.argv[1])
import main
with contextlib.redirect_stdout(io.StringIO()):
    main.main(["status", "--db", sys.argv[2], "--json"])
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
sys.exit(main.main(["status", "--db", sys.argv[2], "--json"]))
"""
        done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(path)], capture_output=True)
        os.chmod(folder, 0o755)
        conn.close()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["queue"]["pending"] == 0


def test_the_cursors_of_one_server_say_nothing_of_another(github, run_main, tmp_path):
    def numbers(path):
        with contextlib.closing(db.connect(str(path))) as conn:
            return {row[0] for row in conn.execute("SELECT number FROM queue_items")}

    github.add_repo("acme/widgets").make(20)
    assert run_main("ingest", "--repo", "acme/widgets", "--all", env={"GITHUB_API_URL": github.url})[0] == 0
    with GitHubServer() as real:
        real.add_repo("acme/widgets").make(150)
        env = {"GITHUB_API_URL": real.url}
        code, out, err = run_main("ingest", "--repo", "acme/widgets", "--all", env=env)
        assert (code, real.journal) == (2, [])
        assert f"are of {github.url}, not of {real.url}" in err
        assert run_main("forget", "--repo", "acme/widgets")[0] == 0
        assert run_main("ingest", "--repo", "acme/widgets", "--all", env=env)[0] == 0
        assert numbers(tmp_path / "pipeline.db") == set(range(1, 151))
