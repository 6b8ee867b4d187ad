import errno
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys

import pytest

import db
import main
from commands import status
from tests.conftest import ROOT, started_main


def rows(path, query):
    conn = sqlite3.connect(str(path))
    try:
        return conn.execute(query).fetchall()
    finally:
        conn.close()


def test_the_whole_way_into_a_directory_and_a_second_run_finds_nothing_new(github, run_main, tmp_path):
    github.add_repo("acme/widgets").make(250)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "secret-token"}
    code, out, err = run_main("ingest", "--repo", "acme/widgets", "--all", "--json", env=env)
    assert (code, json.loads(out)["enqueued"]) == (0, 250), err
    code, out, err = run_main("worker", "--archive-dir", "archive", "--json", env=env)
    assert (code, json.loads(out)["done"]) == (0, 250), err

    archived = {
        str(p.relative_to(tmp_path / "archive")): p.read_bytes() for p in (tmp_path / "archive").rglob("*.json")
    }
    queued = rows(tmp_path / "pipeline.db", "SELECT s3_key, payload FROM queue_items WHERE status = 'done'")
    assert archived == {key: payload.encode() for key, payload in queued}
    by_hash = {hashlib.sha256(body).hexdigest() for body in archived.values()}
    assert by_hash <= {version.sha256 for version in github.served}
    assert rows(tmp_path / "pipeline.db", "SELECT count(*) FROM issues") == [(250,)]

    points = github.points_used
    code, out, err = run_main("ingest", "--repo", "ACME/widgets", "--json", env=env)
    again = json.loads(out)
    assert (code, again["enqueued"], again["requests"], again["not_modified"]) == (0, 0, 2, 2)
    assert github.points_used == points
    assert run_main("worker", "--archive-dir", "archive")[0] == 0


def test_the_same_objects_are_in_a_real_bucket(github, bucket, run_main, tmp_path):
    github.add_repo("acme/widgets").make(40)
    env = {"GITHUB_API_URL": github.url, **bucket.env}
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 0
    code, out, err = run_main("worker", env=env)
    assert code == 0, err
    queued = rows(tmp_path / "pipeline.db", "SELECT s3_key, payload FROM queue_items")
    assert len(queued) == 40
    assert bucket.objects() == {key: payload.encode() for key, payload in queued}
    head = bucket.client.head_object(Bucket=bucket.name, Key=queued[0][0])
    assert head["ContentType"] == "application/json"
    assert head["Metadata"]["sha256"] == hashlib.sha256(queued[0][1].encode()).hexdigest()


def test_an_issue_and_a_pull_request_that_share_an_id_make_two_rows(github, run_main, tmp_path):
    repo = github.add_repo("acme/widgets")
    repo.add_issue(id=77)
    repo.add_pull(id=77)
    env = {"GITHUB_API_URL": github.url}
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 0
    assert run_main("worker", "--archive-dir", "archive")[0] == 0
    assert rows(tmp_path / "pipeline.db", "SELECT item_type, id FROM issues ORDER BY 1") == [
        ("issue", 77),
        ("pull_request", 77),
    ]


HOSTILE = [
    '{"id":1,"number":1,"title":"\'); DROP TABLE issues;--","state":"open","created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z","labels":[]}',
    '{"id":2,"number":2,"title":"\\u0000\\ud800\\u001b[31m","state":"open","created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z","base":{"ref":"../../etc/passwd"}}',
    '{"id":3,"number":3,"title":"%s","state":"open","created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z"}' % ("é" * 500000),
    '{"id":99999999999999999999,"number":4,"title":"t","state":"open","updated_at":"2026-01-01T00:00:00Z"}',
    '{"id":5,"number":"../../x","title":"t","state":"open","updated_at":"../../../x"}',
    '{"id":6,"number":6,"title":"t","state":"open","created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z","repository_url":"https://api.github.com/repos/../../etc"}',
    "[]",
    '"text"',
]


def test_hostile_payloads_go_through_or_fail_alone(github, run_main, tmp_path):
    repo = github.add_repo("acme/widgets")
    for at, text in enumerate(HOSTILE):
        repo.add_raw("issues", text, item_id=at, number=at, updated_at="2026-01-01T00:00:00Z")
    code, out, err = run_main("ingest", "--repo", "acme/widgets", "--all", env={"GITHUB_API_URL": github.url})
    assert code == 0, err
    code, out, err = run_main("worker", "--archive-dir", "archive", "--json")
    result = json.loads(out)
    assert (code, result["done"], result["failed"]) == (1, 4, 4), err
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"]
    assert sorted(path.read_text(encoding="utf-8") for path in files) == sorted(HOSTILE)
    assert all(tmp_path / "archive" / "raw" / "github" / "issues" in path.parents for path in files)
    assert "\x1b" not in err + run_main("status")[1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["ingest", "--repo", "foo"], "OWNER/NAME"),
        (["ingest", "--repo", "../etc/passwd"], "OWNER/NAME"),
        (["ingest", "--repo", "a/b?x=1"], "OWNER/NAME"),
        (
            ["ingest", "--repo", "a/b", "--days", "-1"],
            "argument --days: '-1' is no number of days from 1 to 36500; for everything there is --all",
        ),
        (["prune", "--older-than", "30d"], "argument --older-than: '30d' is no number of days from 1 to 36500\n"),
        (["ingest", "--repo", "a/b", "--since", "yesterday-ish"], "2026-11-23"),
        (["ingest", "--repo", "a/b", "--since", "2999-01-01"], "future"),
        (["ingest"], "--repo"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND is missing; it is one of ingest, worker, status"),
        (["--db", "x.db", "status"], "options come after the command: main.py status --db x.db"),
        (["-v", "status", "--json"], "options come after the command: main.py status -v --json"),
        (["--db=x y"], "options come after the command: main.py COMMAND '--db=x y'"),
        (["ingest", "acme/widgets"], "for repositories: --repo acme/widgets"),
        (["check", "https://github.com/acme/widgets/issues"], "for repositories: --repo acme/widgets"),
        (["status", "acme/widgets"], "unrecognized arguments: acme/widgets"),
        (["worker"], "--archive-dir"),
        (["worker", "--bucket", "b", "--archive-dir", "d"], "exclude"),
        (["worker", "--archive-dir", "d", "--prefix", "../x/"], "prefix"),
        (["status", "--db", "missing/p.db"], "missing"),
        (["retry"], "--all"),
    ],
)
def test_bad_input_gets_a_clear_line_and_exit_2(run_main, arguments, said):
    code, out, err = run_main(*arguments)
    assert (code, out) == (2, "")
    assert said in err.splitlines(keepends=True)[-1]
    assert "Traceback" not in err


def test_a_word_too_many_gets_the_usage_of_its_command(run_main):
    assert run_main("ingest", "--frob")[2].startswith("usage: main.py ingest ")


def test_what_stands_before_the_command_may_be_short(run_main):
    assert [run_main(word)[0] for word in ("--vers", "-h", "--print-completion=bash")] == [0, 0, 0]


def test_a_database_that_is_not_ours_is_refused(run_main, tmp_path):
    (tmp_path / "text.db").write_text("this is no database" * 100)
    conn = sqlite3.connect(str(tmp_path / "newer.db"))
    conn.execute("PRAGMA user_version = 99")
    conn.close()
    for name, said in (("text.db", "not an SQLite database"), ("newer.db", "newer version")):
        code, _, err = run_main("status", "--db", name)
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err


@pytest.mark.parametrize(
    "error, said",
    [
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (MemoryError(), "free some"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
    ],
    ids=repr,
)
def test_a_machine_without_room_is_an_outage(monkeypatch, capsys, error, said):
    def fail(context, **options):
        raise error

    monkeypatch.setattr(status, "run", fail)
    assert main.main(["status"]) == 3
    assert said in capsys.readouterr().err


def test_a_wrong_token_ends_the_run_at_once_and_is_not_shown(github, run_main):
    github.tokens = {"right"}
    github.add_repo("acme/widgets")
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "wrong-token-value"}
    code, out, err = run_main("ingest", "-v", "--repo", "acme/widgets", "--repo", "acme/other", env=env)
    assert (code, len(github.journal)) == (2, 2)  # a single 401 proves nothing
    assert "GITHUB_TOKEN" in err.splitlines()[-1]
    assert "wrong-token-value" not in out + err


def test_a_repository_that_is_not_there_does_not_end_the_others(github, run_main):
    github.add_repo("acme/widgets").make(3)
    env = {"GITHUB_API_URL": github.url}
    code, out, err = run_main("ingest", "--repo", "acme/gone", "--repo", "acme/widgets", "--json", env=env)
    result = json.loads(out)
    assert (code, result["enqueued"]) == (1, 3)
    assert ["404" in (repo["error"] or "") for repo in result["repos"]] == [True, True, False, False]
    assert "`forget --repo acme/gone`" in err.splitlines()[-1]
    assert run_main("status", "--max-age", "1h")[2].splitlines()[-1].count("forget --repo") == 1


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_ingest_ends_at_once_and_the_next_goes_on(github, run_main, tmp_path, number, code, jobs):
    github.add_repo("acme/widgets").make(250)
    arguments = ["ingest", "--repo", "acme/widgets", "--all", "--jobs", jobs]
    env = {"GITHUB_API_URL": github.url}
    github.fail_next("hang", match="page=2")
    with started_main(*arguments, env=env, cwd=tmp_path) as process:
        while github.hanging == 0:
            assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (code, False), err
    assert run_main(*arguments, env=env)[0] == 0
    assert rows(tmp_path / "pipeline.db", "SELECT count(*) FROM queue_items") == [(250,)]


def test_the_token_is_in_no_log_no_database_and_no_archive(github, run_main, tmp_path):
    github.add_repo("acme/widgets").make(5)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "ghp_very_secret_token"}
    github.fail_next(404, match="/pulls", message="not for ghp_very_secret_token")
    code, out, err = run_main("ingest", "-v", "--repo", "acme/widgets", env=env)
    run_main("worker", "-v", "--archive-dir", "archive", env=env)
    assert code == 1
    assert "ghp_very" not in out + err
    assert b"ghp_very" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("layout, synchronous", [("object", "NORMAL"), ("batch", "FULL")])
def test_a_batch_is_on_disk_before_it_is_uploaded_and_a_done_may_be_lost_to_a_power_cut(
    tmp_path, monkeypatch, layout, synchronous
):
    chosen, connect = [], db.connect

    def spy(path, **options):
        chosen.append(options.get("synchronous", "FULL"))
        return connect(path, **options)

    monkeypatch.setattr(db, "connect", spy)
    monkeypatch.chdir(tmp_path)
    assert main.main(["worker", "-q", "--archive-dir", "a", "--layout", layout]) == 0
    assert chosen[-1] == synchronous


def test_a_password_in_netrc_goes_nowhere(github, run_main, tmp_path):
    """requests would send it by itself: https://requests.readthedocs.io/en/latest/user/authentication/"""
    github.tokens = {"right"}
    github.add_repo("acme/widgets").make(3)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password right\n")
    (tmp_path / ".netrc").chmod(0o600)
    env = {"GITHUB_API_URL": github.url, "HOME": str(tmp_path)}
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 0
    assert not [request for request in github.journal if "authorization" in request.headers]


@pytest.mark.parametrize("command", ["worker", "check", "rebuild"])
def test_without_boto3_s3_is_a_persons_work_and_costs_no_row(github, run_main, tmp_path, command):
    github.add_repo("acme/widgets").make(5)
    env = {"GITHUB_API_URL": github.url, "PYTHONPATH": str(tmp_path)}
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 0
    (tmp_path / "boto3.py").write_text("raise ImportError('not installed')")
    code, out, err = run_main(command, "--bucket", "lake", env=env)
    assert code == 2
    assert "S3 needs boto3: not installed; install it: pip install -r requirements.txt" in out + err
    assert json.loads(run_main("status", "--json", env=env)[1])["queue"]["pending"] == 5


def test_quiet_prints_only_what_needs_a_person(github, run_main):
    github.add_repo("acme/widgets").make(5)
    assert run_main("ingest", "-q", "--repo", "acme/widgets", env={"GITHUB_API_URL": github.url}) == (0, "", "")
    assert run_main("worker", "-q", "--archive-dir", "archive") == (0, "", "")


@pytest.fixture
def queued(github, run_main):
    github.add_repo("acme/widgets").make(20)
    assert run_main("ingest", "--repo", "acme/widgets", env={"GITHUB_API_URL": github.url})[0] == 0


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"BUCKET_NAME": "not-there"}, "bucket is there"),  # this server says AccessDenied
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "reader-access-key", "AWS_SECRET_ACCESS_KEY": "reader-secret-key"}, "AccessDenied"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
        ({"BUCKET_NAME": "no bucket name"}, "bucket"),
    ],
)
def test_a_wrong_key_or_bucket_is_exit_2_and_leaves_every_row_pending(queued, bucket, run_main, wrong, said):
    code, out, err = run_main("worker", "--json", env={**bucket.env, **wrong})
    assert (code, json.loads(out)["pending"], json.loads(out)["stopped_by"]) == (2, 20, "outage"), err
    assert said in err.splitlines()[-1]
    assert "wrong-secret" not in out + err
    assert json.loads(run_main("status", "--json")[1])["queue"] == {
        "pending": 20,
        "processing": 0,
        "done": 0,
        "failed": 0,
    }


def test_an_endpoint_that_is_down_is_exit_3_and_leaves_every_row_pending(queued, bucket, run_main):
    code, out, err = run_main("worker", "--json", env={**bucket.env, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
    assert (code, json.loads(out)["pending"]) == (3, 20)
    assert "run again later" in err.splitlines()[-1]


def test_status_speaks_to_people_and_to_monitors(queued, run_main):
    code, out, _ = run_main("status")
    assert (code, "pending         20" in out) == (0, True), out
    found = json.loads(run_main("status", "--json")[1])
    keys = "command queue oldest_pending_seconds waiting issues repos runs failed_reasons failed_items db_bytes vacuum"
    assert list(found) == keys.split()
    assert 0 <= found["oldest_pending_seconds"] < 600


def worker_run(run_main):
    """What `status` says of the worker's last run; None when it has none."""
    runs = json.loads(run_main("status", "--json")[1])["runs"]
    return next((run for run in runs if run["command"] == "worker"), None)


def test_a_following_worker_that_waits_for_an_outage_says_so_in_log_and_status(queued, bucket, run_main, tmp_path):
    wrong = {**bucket.env, "AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    with started_main("worker", "--follow", "-q", env=wrong, cwd=tmp_path) as process:
        for _ in range(100):
            found = worker_run(run_main)
            if found and found["state"] == "waiting":
                break
        assert (found["state"], process.poll()) == ("waiting", None)
        assert "AWS_SECRET_ACCESS_KEY" in found["note"]
        assert "worker waiting" in run_main("status")[1]
        queue = json.loads(run_main("status", "--json")[1])["queue"]
        assert (queue["pending"], queue["processing"]) == (20, 0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, "outage: S3 bucket" in err, "wrong-secret" in out + err) == (143, True, False)
    assert worker_run(run_main)["exit_code"] == 143


def test_a_run_that_was_killed_is_seen_as_dead(queued, run_main, tmp_path):
    with started_main("worker", "--follow", "--archive-dir", "a", cwd=tmp_path) as process:
        while not rows(tmp_path / "pipeline.db", "SELECT 1 FROM runs WHERE command = 'worker'"):
            assert process.poll() is None
        process.kill()
    assert worker_run(run_main)["state"] == "died"


def test_a_failed_item_comes_back_by_retry(github, run_main):
    github.add_repo("acme/widgets").add_raw(
        "issues", '{"id": 5}', item_id=5, number=5, updated_at="2026-01-01T00:00:00Z"
    )
    run_main("ingest", "--repo", "acme/widgets", "--all", env={"GITHUB_API_URL": github.url})
    assert run_main("worker", "--archive-dir", "a")[0] == 1
    assert "created_at" in run_main("status")[1]
    assert json.loads(run_main("retry", "--all", "--json")[1]) == {"command": "retry", "retried": 1}
    assert json.loads(run_main("status", "--json")[1])["queue"]["pending"] == 1


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["retry", "--all"], ["worker", "--help"]])
def test_light_commands_load_neither_boto3_nor_requests(tmp_path, arguments):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'main.py'; import main\n"
        f"try: main.main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(len({'boto3', 'botocore', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.DEVNULL).returncode == 0
