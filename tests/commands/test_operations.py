"""What keeps a pipeline running for a year: check, prune, rebuild, locks, logs."""

import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import time

import pytest

import db
import queue_manager
from commands import figures
from foundation import timestamps
from tests import payloads
from tests.conftest import ROOT, started_main
from tests.fault_proxy import FaultProxy
from tests.reconcile import questions
from tests.test_crashes import enqueue
from tests.test_queue_manager import item

NOW = "2026-11-23T10:00:00Z"
PAYLOAD_COLUMNS = [name for name in db.FILLED["issues"].columns if name not in ("s3_key", "processed_at")]


@pytest.fixture
def path(db_path, monkeypatch):
    """A database of either engine, which every command of the test works on."""
    monkeypatch.setenv("PIPELINE_DB", db_path)
    return db_path


def table(path):
    """`issues` as a person's SQL sees it, in every column that comes from the payload."""
    with questions(path) as ask:
        rows = ask(f"SELECT {', '.join(PAYLOAD_COLUMNS)} FROM issues")
    return sorted((tuple(row.values()) for row in rows), key=repr)


def empty(path):
    """As new: for SQLite without its file."""
    if not path.startswith("postgresql:"):
        for file in glob.glob(path + "*"):
            if os.path.isfile(file):
                os.unlink(file)
        return
    with contextlib.closing(db.connect(path)) as conn:
        conn.execute(f"TRUNCATE {', '.join(db.TABLES)}")


# check


def states(out):
    return {check["name"]: check["state"] for check in json.loads(out)["checks"]}


def test_check_finds_everything_in_place_and_leaves_nothing_behind(github, bucket, run_main, tmp_path):
    github.add_repo("acme/widgets")
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "secret-token", **bucket.env}
    code, out, err = run_main("check", "--repo", "acme/widgets", "--json", env=env)
    found = states(out)
    assert (code, err) == (0, "")
    for name in ("repository acme/widgets", "GitHub token", "GitHub points", "clock against GitHub", "clock against S3",
                 f"bucket {bucket.name}", "database pipeline.db", "disk of pipeline.db"):  # fmt: skip
        assert found[name] == "ok", out
    assert "ada" in out
    assert "secret-token" not in out
    assert (bucket.keys(), list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    "wrong, options, name, code, said",
    [
        ({"GITHUB_TOKEN": "wrong"}, [], "GitHub", 2, "GITHUB_TOKEN"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, [], "GitHub", 3, "run again later"),
        ({}, ["--repo", "acme/gone"], "repository acme/gone", 2, "check the name"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, [], "archive", 2, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "reader-access-key", "AWS_SECRET_ACCESS_KEY": "reader-secret-key"}, [], "archive", 2,
         "s3:PutObject"),
        ({"BUCKET_NAME": ""}, [], "archive", 0, "--archive-dir"),
        ({"PIPELINE_DB": "missing/p.db"}, [], "database missing/p.db", 2, "create it"),
        ({}, ["--archive-dir", f"{ROOT}/README.md/x"], f"directory {ROOT}/README.md/x", 2, "--archive-dir"),
    ],
)  # fmt: skip
def test_check_says_what_is_wrong_and_goes_on(github, bucket, run_main, wrong, options, name, code, said):
    github.tokens = {"right"}
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "right", **bucket.env, **wrong}
    got, out, err = run_main("check", "--json", *options, env=env)
    (found,) = [check for check in json.loads(out)["checks"] if check["name"] == name]
    assert (got, said in found["detail"], found["state"] != "ok") == (code, True, True), out + err
    assert len(json.loads(out)["checks"]) >= 3
    assert bucket.keys() == []


@pytest.mark.parametrize("path, permission", [("/issues", "Issues"), ("/pulls", "Pull requests")])
def test_check_looks_at_the_permissions_that_a_run_needs(github, run_main, path, permission):
    github.add_repo("acme/widgets").make(5)
    github.fail_next(403, match=path + "?", message="Resource not accessible by personal access token", times=9)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    code, out, _ = run_main("check", "--repo", "acme/widgets", "--json", env=env)
    found = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (code, found["repository acme/widgets"]["state"]) == (2, "ok")
    assert found[f"{permission} of acme/widgets"]["state"] == "error"
    assert repr(permission) in found[f"{permission} of acme/widgets"]["detail"]
    assert [r.query["per_page"] for r in github.journal if r.path.endswith(("issues", "pulls"))] == ["1", "1"]


def test_check_does_not_ask_for_what_is_disabled(github, run_main):
    github.add_repo("acme/widgets", issues_enabled=False, pulls_enabled=False)
    code, out, _ = run_main("check", "--repo", "acme/widgets", "--json", env={"GITHUB_API_URL": github.url})
    found = states(out)
    assert (code, found["Issues of acme/widgets"], found["Pull requests of acme/widgets"]) == (0, "warning", "warning")


def test_check_sends_what_the_worker_is_going_to_send(github, bucket, run_main):
    with FaultProxy(bucket.endpoint) as proxy:
        env = {"GITHUB_API_URL": github.url, **bucket.env, "AWS_ENDPOINT_URL_S3": proxy.url}
        sent = ["--sse", "AES256", "--storage-class", "STANDARD_IA", "--tag", "team=data"]
        run_main("check", *sent, env=env)
    headers = proxy.put_headers[0]
    assert headers["x-amz-server-side-encryption"] == "AES256"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-tagging"] == "team=data"
    assert run_main("check", "--archive-dir", "a", "--sse", "AES256", env={"GITHUB_API_URL": github.url})[0] == 2


def test_check_sees_a_clock_that_is_wrong(run_main, tmp_path):
    import time

    from tests.github_server import GitHubServer

    with GitHubServer(clock=lambda: time.time() - 7200) as server:
        code, out, _ = run_main("check", "--json", env={"GITHUB_API_URL": server.url})
    (clock,) = [check for check in json.loads(out)["checks"] if check["name"] == "clock against GitHub"]
    assert (code, clock["state"], "NTP" in clock["detail"]) == (2, "error", True)


def test_check_speaks_of_a_damaged_database_and_changes_none(github, on_sqlite, run_main, tmp_path):
    conn, path = on_sqlite, str(tmp_path / "pipeline.db")
    enqueue(conn, 300)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,), (page_bytes,) = conn.execute("PRAGMA page_count").fetchone(), conn.execute("PRAGMA page_size").fetchone()
    conn.close()
    with open(path, "r+b") as file:
        file.seek(pages // 2 * page_bytes)
        file.write(b"\xff" * page_bytes)
    before = (tmp_path / "pipeline.db").read_bytes()
    code, out, _ = run_main("check", "--json", env={"GITHUB_API_URL": github.url})
    (found,) = [check for check in json.loads(out)["checks"] if check["name"].startswith("database")]
    assert (code, found["state"], "damaged" in found["detail"]) == (2, "error", True)
    assert (tmp_path / "pipeline.db").read_bytes() == before


@pytest.mark.parametrize(
    "version, faulty",
    [((3, 51, 3), False), ((3, 51, 2), True), ((3, 52, 0), False), ((3, 50, 7), False), ((3, 50, 6), True),
     ((3, 44, 6), False), ((3, 45, 1), True), ((3, 24, 0), True)],
)  # fmt: skip
def test_check_knows_which_versions_of_sqlite_have_the_wal_reset_fault(version, faulty):
    from commands import findings

    assert findings._has_wal_reset_fault(version) is faulty


# prune


def done(conn, path, archive, *, days_ago):
    with started_main("worker", "-q", "--db", path, "--archive-dir", archive, cwd=archive.parent) as process:
        assert process.wait(60) == 0
    conn.execute("UPDATE queue_items SET finished_at = ?", (timestamps.from_epoch(time.time() - 86400 * days_ago),))


@pytest.mark.slow
def test_prune_deletes_only_what_is_done_and_old_and_gives_the_space_back(conn, path, run_main, tmp_path):
    enqueue(conn, 3000)
    done(conn, path, tmp_path / "a", days_ago=40)
    conn.execute("UPDATE queue_items SET status = 'failed' WHERE id % 100 = 1")
    conn.execute("UPDATE queue_items SET status = 'pending' WHERE id % 100 = 2")
    conn.execute("UPDATE queue_items SET finished_at = ? WHERE id % 100 = 3", (timestamps.from_epoch(time.time()),))
    before = table(path)
    conn.close()
    code, out, err = run_main("prune", "--older-than", "30", "--json")
    result = json.loads(out)
    assert (code, result["deleted"]) == (0, 3880), err
    with questions(path) as ask:
        left = ask("SELECT status, count(*) AS rows FROM queue_items GROUP BY status ORDER BY status")
        assert [tuple(row.values()) for row in left] == [("done", 40), ("failed", 40), ("pending", 40)]
        if not path.startswith("postgresql:"):  # which keeps what lies between rows, for new ones
            assert ask("PRAGMA freelist_count") == [{"freelist_count": 0}]
            assert result["freed_bytes"] > 0.5 * (result["freed_bytes"] + result["db_bytes"] - 1_500_000)
    assert table(path) == before


def test_prune_needs_to_be_told_how_old(run_main):
    code, _, err = run_main("prune")
    assert (code, "--older-than" in err) == (2, True)


# rebuild


@pytest.mark.parametrize("layout", ["object", "batch"])
@pytest.mark.parametrize("where", ["bucket", "directory"])
def test_rebuild_makes_the_table_that_the_worker_had_made(conn, path, bucket, run_main, tmp_path, layout, where):
    numbers = range(1, 400)
    items = []
    for number in numbers:
        for version in range(1 + number % 3):
            make = payloads.issue if number % 2 else payloads.pull
            text = payloads.as_text(
                make(
                    id=number, number=number, title=f"{number}\u2028{version}",
                    updated_at="2026-01-%02dT00:00:%02dZ" % (1 + number % 5, version),
                    repository_url="https://api.github.com/repos/acme/widgets",
                    url="https://api.github.com/repos/acme/widgets/pulls/%d" % number,
                )
            )  # fmt: skip
            items.append(text)
    from github.pages import cut, to_item

    queued = []
    for element in cut("[" + ",".join(items) + "]"):
        queued.append(to_item(element, "issue" if element.number % 2 else "pull_request"))
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="acme/widgets", items=queued, now=NOW)
    conn.close()
    archive = ["--archive-dir", "archive"] if where == "directory" else []
    env = {} if where == "directory" else bucket.env
    assert run_main("worker", "-q", "--layout", layout, *archive, env=env)[0] == 0
    before = table(path)
    empty(path)
    code, out, err = run_main("rebuild", "--json", *archive, env=env)
    result = json.loads(out)
    assert (code, result["items"], result["unreadable"]) == (0, len(items), 0), err
    assert len(before) == result["issues"] == len(numbers)
    assert table(path) == before


def test_rebuild_goes_on_where_it_was_stopped_and_reads_one_repository_if_asked(tmp_path, path, conn):
    from foundation.clock import SYSTEM_CLOCK
    from lake import rebuild
    from lake.local import DirectoryArchive

    enqueue(conn, 600)
    archive = tmp_path / "archive"
    done(conn, path, archive, days_ago=1)
    before = table(path)
    conn.execute("DELETE FROM issues")
    reads = []

    class Noting(DirectoryArchive):
        def get(self, key):
            reads.append(key)
            if len(reads) == stop_at:
                raise KeyboardInterrupt
            return super().get(key)

    def job(repos=None):
        return rebuild.Rebuild(
            conn=conn, store=Noting(str(archive)), where="a", prefix="raw/github/", repos=repos, threads=4,
            clock=SYSTEM_CLOCK,
        )  # fmt: skip

    rebuild.COMMIT_ROWS, usual = 50, rebuild.COMMIT_ROWS
    try:
        stop_at = 500
        with pytest.raises(KeyboardInterrupt):
            job().run()
        assert 300 < conn.execute("SELECT count(*) FROM queue_items JOIN issues USING (s3_key)").fetchone()[0] < 600
        stop_at = None
        job().run()
    finally:
        rebuild.COMMIT_ROWS = usual
    assert len(reads) < 800 + 100
    assert table(path) == before
    conn.execute("DELETE FROM issues")
    assert job(frozenset({"acme/other"})).run().objects == 0
    assert job(frozenset({"acme/widgets"})).run().objects == 800


def test_rebuild_passes_over_foreign_files_and_speaks_of_damaged_ones(run_main, tmp_path):
    folder = tmp_path / "archive" / "raw" / "github" / "issues" / "dt=2026-01-01"
    (folder / "acme" / "widgets").mkdir(parents=True)
    (folder / "notes.txt").write_text("not ours")
    (folder / "acme" / "widgets" / ("1-20260101T000000Z-" + "a" * 12 + ".json")).write_text('{"id": 1')
    (folder / ("batch-" + "a" * 32 + ".jsonl.gz")).write_bytes(b"\x1f\x8b half")
    code, out, err = run_main("rebuild", "--archive-dir", "archive", "--json")
    result = json.loads(out)
    assert (code, result["objects"], result["unreadable"], "Traceback" in err) == (1, 2, 2, False)
    assert "1-20260101T000000Z" in err


# runs that don't trip over each other


def test_two_ingests_of_one_repository_are_refused_and_say_who_has_it(github, path, run_main, tmp_path):
    github.add_repo("acme/widgets").make(3)
    github.add_repo("acme/gadgets").make(3)
    env = {"GITHUB_API_URL": github.url}
    github.fail_next("hang", match="widgets")
    with started_main("ingest", "--repo", "acme/widgets", env=env, cwd=tmp_path) as first:
        while github.hanging == 0:
            assert first.poll() is None
        code, out, err = run_main("ingest", "--repo", "ACME/widgets", env=env)
        assert (code, out) == (4, "")
        assert re.search(rf"process {first.pid}( on \S+)? since 20", err.splitlines()[-1]), err
        assert run_main("ingest", "--repo", "acme/gadgets", env=env)[0] == 0
        first.kill()
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 0  # a dead process holds nothing


# logs and status


def test_json_logs_are_an_object_a_line_the_error_included(github, run_main):
    github.add_repo("acme/widgets").make(3)
    env = {"GITHUB_API_URL": github.url}
    code, out, err = run_main("ingest", "--log-format", "json", "--repo", "acme/gone", env=env)
    lines = [json.loads(line) for line in err.splitlines()]
    assert code == 1
    assert [line["level"] for line in lines][0] == "INFO"
    assert "begins" in lines[0]["message"]
    assert "acme/gone" in lines[0]["message"]
    assert all(sorted(line) == ["level", "logger", "message", "time"] for line in lines)
    code, _, err = run_main("worker", "--log-format", "json", "--db", "missing/p.db", "--archive-dir", "a")
    assert (code, json.loads(err)["level"]) == (2, "ERROR")


def test_status_shows_the_last_run_of_each_command_and_how_it_ended(github, path, run_main):
    run_main("ingest", "--repo", "acme/gone", env={"GITHUB_API_URL": github.url})
    run_main("worker", "--archive-dir", "a")
    found = json.loads(run_main("status", "--json")[1])
    assert [(run["command"], run["state"], run["exit_code"]) for run in found["runs"]] == [
        ("ingest", "ended", 1),
        ("worker", "ended", 0),
    ]
    assert "404" in found["runs"][0]["note"]


def test_status_groups_failures_and_says_what_waits(conn, run_main):
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="a/b", items=[item(number) for number in range(1, 31)], now=NOW)
    conn.execute("UPDATE queue_items SET status = 'failed', last_error = CASE WHEN id < 3 THEN 'x' ELSE 'y' END")
    conn.execute("UPDATE queue_items SET status = 'pending', available_at = '2999-01-01T00:00:00Z' WHERE id > 28")
    found = json.loads(run_main("status", "--json")[1])
    assert found["failed_reasons"] == [{"reason": "y", "rows": 26}, {"reason": "x", "rows": 2}]
    assert found["waiting"] == {"rows": 2, "first_at": "2999-01-01T00:00:00Z", "last_at": "2999-01-01T00:00:00Z"}
    assert len(found["failed_items"]) == 20
    assert "failed 26 times: y" in run_main("status")[1]


def test_no_query_of_status_reads_a_row_of_the_queue(on_sqlite):
    conn, asked = on_sqlite, []
    conn.set_trace_callback(asked.append)
    queue_manager.counts(conn)
    figures.waiting(conn, now=NOW)
    figures.oldest_pending(conn)
    figures.failed_reasons(conn, limit=5)
    figures.issues_count(conn)
    figures.failed_items(conn, limit=0)
    conn.set_trace_callback(None)
    for statement in asked:
        plan = [row["detail"] for row in conn.execute("EXPLAIN QUERY PLAN " + statement)]
        assert "COVERING INDEX" in plan[0] or "queue_items_failed" in plan[0], (statement, plan)
    assert len(asked) == 9


def test_completion_scripts_know_every_command():
    made = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--print-completion", "bash"], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    asked = subprocess.run(["bash", "-c", made + "\ncomplete -p main.py"], stdout=subprocess.PIPE, check=True)
    assert b"main.py" in asked.stdout
    for word in ("ingest", "worker", "rebuild", "--older-than", "--layout"):
        assert word in made


def test_completion_offers_files_and_folders_where_an_option_takes_one():
    made = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--print-completion", "bash"], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    for place in ("status___db", "ingest___repos_file", "check___repos_file"):
        assert f"{place}_COMPGEN=_shtab_compgen_files" in made, place
    for place in ("worker___archive_dir", "rebuild___archive_dir", "copy___to_archive_dir"):
        assert f"{place}_COMPGEN=_shtab_compgen_dirs" in made, place
