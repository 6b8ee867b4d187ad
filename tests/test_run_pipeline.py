import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

# Stands in for the real commands: writes down how it was called, and ends as it is told to.
STUB = """
import os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ.get(sys.argv[1].upper() + "_CODE", 0)))
"""

# Writes down each signal that it gets, and ends a while after the first as main.py does.
SLOW_STUB = """
import os, signal, sys, time
got = []
def note(signum, frame):
    got.append(signum)
    with open("signals", "a") as signals:
        signals.write("%d\\n" % signum)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
with open("started", "w") as started:
    started.write(str(os.getpid()))
end = time.monotonic() + 30
while time.monotonic() < end and not got:
    time.sleep(0.02)
time.sleep(0.5)
sys.exit(128 + got[0] if got else 0)
"""

# Runs its arguments at a terminal of their own. Not in the tests' process: that has threads, and must not fork.
# Ctrl-C counts there even where the tests run in the background of a shell, which has it ignored.
TERMINAL = """
import os, pty, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
status = pty.spawn(sys.argv[1:])
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 99)
"""


def checksum(data):
    done = subprocess.run(["cksum"], input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip().replace(" ", "-")


def environment(home, python=sys.executable):
    """The virtual environment that belongs to an interpreter and to requirements.txt as it is now."""
    about = subprocess.run([python, "-c", "import sys; print(sys.version, sys.base_prefix)"], stdout=subprocess.PIPE)
    requirements = checksum((home / "requirements.txt").read_bytes())
    return home / f".venv-run-{checksum(about.stdout)}-{requirements}"


# An interpreter whose virtual environments are made at once, and hold nothing.
QUICK_PYTHON = """#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && ln -s "%s" "$3/bin/python" && sleep 0.3 ;;
    "-c import sys; print(sys.version, sys.base_prefix)") echo "%s" ;;
    *) exec "%s" "$@" ;;
esac
"""


def quick_python(folder, name):
    path = folder / name
    path.write_text(QUICK_PYTHON % (sys.executable, name, sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def copy(tmp_path):
    """The script with a stub behind it and a virtual environment that counts as set up."""
    home = tmp_path / "it's home"
    home.mkdir()
    (home / "run_pipeline.sh").write_bytes((ROOT / "run_pipeline.sh").read_bytes())
    (home / "run_pipeline.sh").chmod(0o755)
    (home / "requirements.txt").write_text("")
    (home / "main.py").write_text(STUB)
    made = environment(home)
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    (made / "stamp").write_text(made.name.split("-", 4)[-1])
    return home / "run_pipeline.sh"


def bare_environment(**more):
    return {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **more}


def run(script, *arguments, cwd, **env):
    calls = cwd / "calls"
    bare = bare_environment(CALLS=str(calls), **env)
    done = subprocess.run([str(script), *arguments], cwd=str(cwd), env=bare, capture_output=True, timeout=60)
    made = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, made, done.stdout.decode() + done.stderr.decode()


def wait_until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_a_bucket_it_archives_into_a_directory_and_says_so(copy, tmp_path):
    code, calls, said = run(copy, "a/b", "c/d", cwd=tmp_path)
    assert (code, calls) == (0, ["ingest --repo=a/b --repo=c/d", "worker --archive-dir archive"])
    assert "./archive" in said


def test_with_a_bucket_the_worker_takes_it_from_the_environment(copy, tmp_path):
    assert run(copy, "a/b", cwd=tmp_path, BUCKET_NAME="lake")[1] == ["ingest --repo=a/b", "worker"]


def test_repositories_come_from_the_environment_else_the_example(copy, tmp_path):
    assert run(copy, cwd=tmp_path, PIPELINE_REPOS="a/b  c/d")[1][0] == "ingest --repo=a/b --repo=c/d"
    (tmp_path / "calls").unlink()
    assert run(copy, cwd=tmp_path)[1][0] == "ingest --repo=octocat/Hello-World"
    (tmp_path / "calls").unlink()
    assert run(copy, cwd=tmp_path, PIPELINE_REPOS=" ")[1][0] == "ingest --repo=octocat/Hello-World"


@pytest.mark.parametrize("ingest, worker, worst", [(3, 0, 3), (1, 3, 3), (0, 1, 1), (2, 1, 2)])
def test_the_worker_runs_whatever_ingest_did_and_the_worst_code_wins(copy, tmp_path, ingest, worker, worst):
    code, calls, _ = run(copy, cwd=tmp_path, INGEST_CODE=str(ingest), WORKER_CODE=str(worker))
    assert (code, len(calls)) == (worst, 2)


@pytest.mark.parametrize(
    "ingest, worker, said",
    [
        (3, 0, "(ingest ended with 3): stopped early by something outside (see above); run again later"),
        (4, 0, "(ingest ended with 4): another run"),
        (1, 2, "(ingest ended with 1, worker ended with 2): a person is needed"),
    ],
)
def test_its_last_line_names_what_failed_further_up(copy, tmp_path, ingest, worker, said):
    lines = run(copy, cwd=tmp_path, INGEST_CODE=str(ingest), WORKER_CODE=str(worker))[2].splitlines()
    assert said in lines[-1]
    assert "not all went well" not in run(copy, cwd=tmp_path)[2]


def test_an_interrupted_ingest_ends_it_all(copy, tmp_path):
    code, calls, _ = run(copy, cwd=tmp_path, INGEST_CODE="143")
    assert (code, len(calls)) == (143, 1)


def test_ctrl_c_at_a_terminal_reaches_the_running_command_once(copy, tmp_path):
    (copy.parent / "main.py").write_text(SLOW_STUB)
    terminal = [sys.executable, "-c", TERMINAL, str(copy), "a/b"]
    with subprocess.Popen(
        terminal, cwd=str(tmp_path), env=bare_environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as script:
        wait_until((tmp_path / "started").exists)
        script.stdin.write(b"\x03")
        script.stdin.flush()
        assert script.wait(timeout=20) == 130
    assert (tmp_path / "signals").read_text().split() == [str(int(signal.SIGINT))]


def test_a_sigterm_ends_the_running_command_first(copy, tmp_path):
    (copy.parent / "main.py").write_text(SLOW_STUB)
    with subprocess.Popen([str(copy), "a/b"], cwd=str(tmp_path), env=bare_environment()) as script:
        wait_until(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text())
        script.terminate()
        assert script.wait(timeout=20) == 143
    assert (tmp_path / "signals").read_text().split() == [str(int(signal.SIGTERM))]
    assert not is_alive(int((tmp_path / "started").read_text()))


def test_a_sigterm_ends_the_set_up_too_and_leaves_no_lock(copy, tmp_path):
    slow = tmp_path / "slow-python"
    slow.write_text(
        '#!/bin/sh\n[ "$2" = venv ] || exec "%s" "$@"\necho $$ >"%s/set-up"\nexec sleep 30\n'
        % (sys.executable, tmp_path)
    )
    slow.chmod(0o755)
    (environment(copy.parent) / "stamp").unlink()
    env = bare_environment(PYTHON=str(slow))
    with subprocess.Popen([str(copy), "a/b"], cwd=str(tmp_path), env=env, stderr=subprocess.DEVNULL) as script:
        wait_until(lambda: (tmp_path / "set-up").exists() and (tmp_path / "set-up").read_text())
        script.terminate()
        assert script.wait(timeout=10) == 143
    assert not is_alive(int((tmp_path / "set-up").read_text()))
    assert not (copy.parent / ".venv.lock").exists()


def test_it_works_through_a_link_from_any_directory(copy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "link.sh"
    link.symlink_to(os.path.relpath(str(copy), str(elsewhere)))
    code, calls, said = run(link, "a/b", cwd=elsewhere)
    assert (code, len(calls)) == (0, 2), said
    assert "OWNER/NAME" in run(link, "--help", cwd=elsewhere)[2]


def test_an_exported_cdpath_does_not_lead_it_astray(copy, tmp_path):
    (tmp_path / "trap" / copy.parent.name).mkdir(parents=True)
    relative = os.path.join(copy.parent.name, copy.name)
    code, calls, said = run(relative, "a/b", cwd=tmp_path, CDPATH=str(tmp_path / "trap"))
    assert (code, len(calls)) == (0, 2), said


@pytest.mark.parametrize(
    "argument",
    [
        "--frob",
        "-x",
        "a b/c",
        "a/b;ls",
        "$(ls)/x",
        "",
        "acme",
        "demo",
        "github.com/acme",
        "https://github.com/a?b",
        "a/",
    ],
)
def test_what_is_no_repository_is_refused_before_anything_is_set_up(copy, tmp_path, argument):
    (copy.parent / "requirements.txt").write_text("./not-there")
    code, calls, said = run(copy, argument, cwd=tmp_path)
    assert (code, calls, len(said.splitlines())) == (2, [], 1), said
    assert argument != "demo" or "--demo" in said


@pytest.mark.long
@pytest.mark.parametrize(
    "name, variables",
    [
        ("requirements-postgres.txt", {"PIPELINE_DB": "postgresql://host/lake"}),
        ("requirements-app.txt", {"GITHUB_APP_ID": "12345"}),
    ],
)
def test_what_only_some_need_is_installed_only_where_a_variable_asks_for_it(copy, tmp_path, name, variables):
    (copy.parent / name).write_text("./not-there")
    code, calls, said = run(copy, "a/b", cwd=tmp_path, **variables)
    assert (code, calls, "not-there" in said) == (3, [], True), said
    assert run(copy, "a/b", cwd=tmp_path)[0] == 0


@pytest.mark.long
def test_the_tables_are_published_where_that_is_wanted(copy, tmp_path):
    (copy.parent / "requirements-publish.txt").write_text("./not-there")
    code, calls, said = run(copy, "a/b", cwd=tmp_path, PIPELINE_PUBLISH="1")
    assert (code, calls, "not-there" in said) == (3, [], True), said
    (copy.parent / "requirements-publish.txt").write_text("")
    with_publish = run(copy, "a/b", cwd=tmp_path, PIPELINE_PUBLISH="1", BUCKET_NAME="lake")
    assert with_publish[:2] == (0, ["ingest --repo=a/b", "worker", "publish"]), with_publish
    (tmp_path / "calls").unlink()
    assert run(copy, "a/b", cwd=tmp_path, PIPELINE_PUBLISH="yes")[1][-1] == "publish --archive-dir archive"
    (tmp_path / "calls").unlink()
    assert run(copy, "a/b", cwd=tmp_path, PIPELINE_PUBLISH="0")[1][-1] == "worker --archive-dir archive"
    code, _, said = run(copy, "a/b", cwd=tmp_path, PIPELINE_PUBLISH="daily")
    assert (code, "set it to 1 or 0" in said) == (2, True)


@pytest.mark.parametrize("options", [["--db", "mine.db"], ["--all", "--db=mine.db"]])
def test_a_database_for_ingest_alone_is_refused(copy, tmp_path, options):
    code, calls, said = run(copy, "a/b", "--", *options, cwd=tmp_path)
    assert (code, calls, len(said.splitlines()), "PIPELINE_DB" in said) == (2, [], 1, True), said


@pytest.mark.skipif(shutil.which("dash") is None, reason="sh is another shell here")
def test_a_shell_that_is_not_bash_hands_over_to_it(copy, tmp_path):
    copy.write_text(copy.read_text().replace("set -u\n", 'set -u\necho "$BASH_VERSION"\n', 1))
    done = subprocess.run(["dash", str(copy), "--help"], env=bare_environment(), stdout=subprocess.PIPE)
    assert (done.returncode, b"OWNER/NAME" in done.stdout) == (0, True)


def test_help_shows_how_to_call_it(copy, tmp_path):
    code, calls, said = run(copy, "--help", cwd=tmp_path)
    assert (code, calls) == (0, [])
    assert "OWNER/NAME" in said
    assert "--demo" in said


def test_a_missing_interpreter_is_said_in_one_line(copy, tmp_path):
    code, _, said = run(copy, cwd=tmp_path, PYTHON="no-such-python")
    assert (code, len(said.splitlines())) == (2, 1)


def test_a_missing_venv_module_is_said_in_one_line(copy, tmp_path):
    without = tmp_path / "python-without-venv"
    without.write_text('#!/bin/sh\ncase $* in *venv*) exit 1 ;; esac\nexec "%s" "$@"\n' % sys.executable)
    without.chmod(0o755)
    (environment(copy.parent) / "stamp").unlink()
    code, calls, said = run(copy, cwd=tmp_path, PYTHON=str(without))
    assert (code, calls, len(said.splitlines())) == (2, [], 1), said
    assert "venv" in said


def test_two_at_once_set_it_up_once(copy, tmp_path):
    env = bare_environment(CALLS=str(tmp_path / "calls"), PYTHON=quick_python(tmp_path, "one"))
    started = [
        subprocess.Popen(
            [str(copy), "a/b"], cwd=str(tmp_path), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "".join(said).count("setting up") == 1
    assert len((tmp_path / "calls").read_text().splitlines()) == 4


@pytest.mark.long
def test_packages_that_cannot_be_fetched_are_a_reason_to_run_again_later(copy, tmp_path):
    before = run(copy, "a/b", cwd=tmp_path)[0]
    (copy.parent / "requirements.txt").write_text("./not-there")
    code, calls, said = run(copy, "a/b", cwd=tmp_path)
    assert (before, code, len(calls)) == (0, 3, 2), said
    assert "run again later" in said
    # What was there works still.
    assert subprocess.run([str(copy.parent / ".venv" / "bin" / "python"), "-c", ""]).returncode == 0
    (copy.parent / "requirements.txt").write_text("")
    assert run(copy, "a/b", cwd=tmp_path)[0] == 0


@pytest.mark.long
def test_another_interpreter_takes_nothing_from_a_run_under_way(copy, tmp_path):
    one, other = quick_python(tmp_path, "one"), quick_python(tmp_path, "other")
    assert "setting up" in run(copy, "a/b", cwd=tmp_path, PYTHON=one)[2]
    led_to = os.readlink(str(copy.parent / ".venv"))
    code, _, said = run(copy, "a/b", cwd=tmp_path, PYTHON=other)
    assert (code, "setting up" in said) == (0, True), said
    for python in (one, other):
        assert "setting up" not in run(copy, "a/b", cwd=tmp_path, PYTHON=python)[2]
    assert os.readlink(str(copy.parent / ".venv")) == led_to == environment(copy.parent, one).name
    (copy.parent / ".venv").unlink()  # as docs/OPERATIONS.md has it
    run(copy, "a/b", cwd=tmp_path, PYTHON=other)
    assert os.readlink(str(copy.parent / ".venv")) == environment(copy.parent, other).name


@pytest.mark.long
def test_new_requirements_move_the_link_and_what_was_replaced_long_ago_goes(copy, tmp_path):
    python = quick_python(tmp_path, "one")
    made = []
    for number in range(3):
        (copy.parent / "requirements.txt").write_text(f"# {number}\n")
        assert run(copy, "a/b", cwd=tmp_path, PYTHON=python)[0] == 0
        made.append(environment(copy.parent, python))
        assert os.readlink(str(copy.parent / ".venv")) == made[-1].name
        os.utime(str(made[-1] / "stamp"), (0, 0))  # how old it is by itself says nothing: a service may run in it
        assert all(folder.exists() for folder in made)
    os.utime(str(made[0] / "replaced"), (0, 0))
    os.utime(str(made[1] / "replaced"), (0, 0))
    (copy.parent / "requirements.txt").write_text("# 1\n")
    assert run(copy, "a/b", cwd=tmp_path, PYTHON=python)[0] == 0  # back to it: it is no more one that was replaced
    (copy.parent / "requirements.txt").write_text("# 3\n")
    assert run(copy, "a/b", cwd=tmp_path, PYTHON=python)[0] == 0
    assert [folder.exists() for folder in made] == [False, True, True]


@pytest.mark.long
def test_a_run_without_the_variables_of_an_app_takes_its_package_from_nobody(copy, tmp_path):
    python = quick_python(tmp_path, "one")
    (copy.parent / "requirements-app.txt").write_text("# an App's\n")

    def led_to(**variables):
        assert run(copy, "a/b", cwd=tmp_path, PYTHON=python, **variables)[0] == 0
        return os.readlink(str(copy.parent / ".venv"))

    plain = led_to()
    of_app = led_to(GITHUB_APP_ID="12345")
    assert plain != of_app == led_to()
    (copy.parent / "requirements.txt").write_text("# new\n")
    assert led_to() not in (plain, of_app)


def test_an_environment_of_an_earlier_version_is_left_alone_and_named(copy, tmp_path):
    earlier = copy.parent / ".venv"
    earlier.mkdir()
    (earlier / "stamp").write_text("1 2\n")
    code, calls, said = run(copy, "a/b", cwd=tmp_path)
    assert (code, len(calls), "out of date" in said) == (0, 2, True)
    assert (earlier / "stamp").exists()


def test_an_environment_made_by_hand_is_left_alone(copy, tmp_path):
    by_hand = copy.parent / ".venv"
    by_hand.mkdir()
    (by_hand / "mine").write_text("")
    assert run(copy, "a/b", cwd=tmp_path)[0] == 0
    assert (by_hand / "mine").exists()


@pytest.mark.parametrize("owner", ["dead", "another with the same number", "nobody yet"])
def test_the_lock_of_a_dead_set_up_is_taken_over(copy, tmp_path, owner):
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = copy.parent / ".venv.lock"
    lock.mkdir()
    if owner != "nobody yet":
        pid = ended.pid if owner == "dead" else os.getpid()  # as pid 1 of a container that was killed
        (lock / "owner").write_text(f"{pid} 17\n")
    python = quick_python(tmp_path, "one")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sleep").symlink_to(shutil.which("true"))  # what it waits for never comes
    path = f"{tmp_path / 'bin'}:{bare_environment()['PATH']}"
    code, calls, said = run(copy, "a/b", cwd=tmp_path, PYTHON=python, PATH=path)
    assert (code, len(calls)) == (0, 2), said
    assert not lock.exists()


def test_what_follows_two_hyphens_goes_to_ingest(copy, tmp_path):
    calls = run(copy, "a/b", "--", "--all", "--jobs", "2", cwd=tmp_path)[1]
    assert calls == ["ingest --repo=a/b --all --jobs 2", "worker --archive-dir archive"]
    (tmp_path / "calls").unlink()
    assert (
        run(copy, "--", "--all", cwd=tmp_path, PIPELINE_REPOS="c/d e/f")[1][0] == "ingest --repo=c/d --repo=e/f --all"
    )
    (tmp_path / "calls").unlink()
    assert run(copy, "--", "--all", cwd=tmp_path)[1][0] == "ingest --repo=octocat/Hello-World --all"


@pytest.mark.parametrize("options", ["--installation --all", "--org acme", "--repos-file=all.txt"])
def test_the_example_is_not_read_beside_what_options_name(copy, tmp_path, options):
    assert run(copy, "--", *options.split(), cwd=tmp_path)[1][0] == f"ingest {options}"


def test_addresses_that_were_pasted_are_passed_on(copy, tmp_path):
    pasted = ["https://github.com/a/b/pull/4#issue-5", "git@github.com:a/b.git", "-a/b", "a/b/", "ghe:8443/a/b?x=1&y"]
    assert run(copy, *pasted, cwd=tmp_path)[1][0] == "ingest --repo=" + " --repo=".join(pasted)


def test_a_repeat_of_a_signal_is_not_passed_on(copy, tmp_path):
    (copy.parent / "main.py").write_text(SLOW_STUB)
    with subprocess.Popen([str(copy), "a/b"], cwd=str(tmp_path), env=bare_environment()) as script:
        wait_until(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text())
        script.terminate()
        wait_until((tmp_path / "signals").exists)
        script.send_signal(signal.SIGINT)
        script.terminate()
        assert script.wait(timeout=20) == 143
    assert (tmp_path / "signals").read_text().split() == [str(int(signal.SIGTERM))]


def test_a_demo_folder_that_no_demo_made_is_left_alone(copy, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "pipeline.db").write_text("mine")
    code, _, said = run(copy, "--demo", cwd=tmp_path)
    assert (code, (tmp_path / "demo" / "pipeline.db").read_text()) == (2, "mine")
    assert "./demo is there already" in said


@pytest.mark.long
def test_the_demo_runs_from_set_up_to_the_end(tmp_path):
    copy = tmp_path / "clone it's"
    for source in [
        *ROOT.glob("*.py"),
        *ROOT.glob("[a-z]*/**/*.py"),
        *(ROOT / "report").glob("page.*"),
        *ROOT.glob("requirements*.txt"),
        ROOT / "run_pipeline.sh",
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
    said = done.stdout.decode()
    assert "500 objects" in said
    assert "<svg" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"type +number +state +lead hours +title", said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone it's", "demo"]
    commands = re.findall(
        r"^  (.+)$", said.split("What to try next:")[1].split("With what GitHub has:")[0], re.MULTILINE
    )
    assert commands[0].startswith("cd ")
    assert len(commands) >= 3
    first = ". .venv/bin/activate\npython -c 'import boto3, requests'\npython main.py --version"  # as README has it
    subprocess.run(["bash", "-e", "-c", first], cwd=str(copy), check=True)
    shell = subprocess.run(["bash", "-e", "-c", "\n".join(commands)], cwd="/", stdout=subprocess.PIPE)
    assert (shell.returncode, b"500" in shell.stdout) == (0, True), commands
