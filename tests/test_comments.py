"""The streams of comments, from GitHub's list to the table."""

import contextlib
import random

import pytest

import db
from fetcher import ALL_HISTORY
from tests.github_server import GitHubServer
from tests.ingesting import Killed, github, run, time  # noqa: F401 - fixtures

KINDS = {"issue-comments": "issue_comment", "review-comments": "review_comment"}


def say(repo, stream, **fields):
    return repo.add_comment(1, **fields) if stream == "issue-comments" else repo.add_review_comment(2, **fields)


def edit(repo, stream, comment_id):
    (repo.edit_comment if stream == "issue-comments" else repo.edit_review_comment)(comment_id, body="Never mind.")


@pytest.fixture
def repo(github, time):
    made = github.add_repo("acme/widgets")
    made.add_issue()
    made.add_pull()
    for number in range(430):
        for stream in KINDS:
            say(made, stream, at=f"2026-11-2{number % 3}T0{number % 7}:00:0{number % 9}Z")
    return made


def shown(repo, stream):
    return {item_id: updated_at for updated_at, item_id in repo.streams[stream].order}


def missing(tmp_path, stream, before):
    """Comments of which neither the version that existed before nor a newer one is in the queue."""
    conn = db.connect(str(tmp_path / "p.db"))
    found = conn.execute(
        "SELECT item_id, max(updated_at) AS updated_at FROM queue_items WHERE item_type = ? GROUP BY item_id",
        (KINDS[stream],),
    )
    newest = {row["item_id"]: row["updated_at"] for row in found}
    conn.close()
    return [item_id for item_id, updated_at in before.items() if newest.get(item_id, "") < updated_at]


@pytest.mark.parametrize("stream", KINDS)
def test_comments_that_are_edited_while_the_scan_goes_on_are_not_missed(run, github, time, tmp_path, repo, stream):
    before, rng = shown(repo, stream), random.Random(3)
    time.seconds += 600

    def edit_one(repo, stream, served):
        time.seconds += 1
        if served and len(github.journal) < 60:
            edit(repo, stream, rng.choice(sorted(before)))

    github.after_page = edit_one
    (result,) = run(only=stream, since=ALL_HISTORY)
    assert (result.error, missing(tmp_path, stream, before)) == (None, [])


@pytest.mark.parametrize("stream", KINDS)
def test_a_scan_of_comments_that_is_killed_after_each_page_still_ends_complete(run, time, tmp_path, repo, stream):
    before, killed = shown(repo, stream), 0
    while True:
        try:
            (result,) = run(only=stream, since=ALL_HISTORY if killed == 0 else None, pages=1)
            break
        except Killed:
            killed += 1
        assert killed < 40
    assert killed > 3
    assert (result.error, missing(tmp_path, stream, before)) == (None, [])


@pytest.mark.parametrize("stream", KINDS)
def test_where_no_comment_changed_one_request_that_costs_nothing_is_made(run, time, repo, stream):
    run(only=stream, since=ALL_HISTORY)
    time.seconds += 600
    run(only=stream)
    time.seconds += 600
    (result,) = run(only=stream)
    assert (result.requests, result.not_modified, result.enqueued) == (1, 1, 0)


def test_comments_are_archived_extracted_and_rebuilt(run_main, tmp_path):
    def main(*words):
        code, _, err = run_main(*words, env={"PIPELINE_DB": str(tmp_path / "p.db"), **env})
        assert code == 0, err

    def comments():
        with db.reader(str(tmp_path / "p.db")) as conn:
            return [
                tuple(row) for row in conn.execute("SELECT kind, number, author, s3_key FROM comments ORDER BY kind")
            ]

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        repo.add_issue()
        repo.add_pull()
        for stream in KINDS:
            say(repo, stream)
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "all"}
        main("ingest", "--repo", "acme/widgets", "--all")
    archive = str(tmp_path / "archive")
    main("worker", "--archive-dir", archive)
    found = comments()
    assert [row[:3] for row in found] == [("issue", 1, "bo"), ("review", 2, "bo")]
    assert "/issue-comments/dt=" in found[0][3]
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        conn.execute("DELETE FROM comments")
    main("rebuild", "--archive-dir", archive)
    assert comments() == found


def test_streams_that_are_not_there_are_named_before_anything_is_asked(run_main, tmp_path):
    env = {"PIPELINE_DB": str(tmp_path / "p.db")}
    for words, given in (["--streams", "issues,stars"], {}), ([], {"PIPELINE_STREAMS": "stars"}):
        code, _, err = run_main("ingest", "--repo", "acme/widgets", *words, env={**env, **given})
        assert (code, "there is no stream 'stars'; give some of issues,pulls," in err) == (2, True)
    code, _, err = run_main("ingest", "--repo", "a/b", "--only", "issues", "--streams", "pulls", env=env)
    assert (code, "not allowed with" in err) == (2, True)
