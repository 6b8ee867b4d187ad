"""Labels, milestones and releases, from GitHub's lists to the tables."""

import contextlib

import pytest

import db
from tests.github_server import GitHubServer
from tests.ingesting import github, run, through_kills, time  # noqa: F401 - fixtures

LISTS = {"label": "labels", "milestone": "milestones", "release": "releases"}


@pytest.fixture
def repo(github):
    made = github.add_repo("acme/widgets")
    made.add_label("bug", default=True)
    made.add_milestone("1.0", state="closed")
    made.add_release("v1")
    return made


def queued(tmp_path):
    """(item_type, id) of what is in the queue, once a version."""
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        return [tuple(row) for row in conn.execute("SELECT item_type, item_id FROM queue_items ORDER BY id")]


def there(repo):
    return {(item_type, item_id) for item_type, name in LISTS.items() for item_id in repo.streams[name].items}


def test_all_three_lists_are_read_whole_and_later_runs_cost_nothing(run, github, tmp_path, repo):
    (first,) = run(only="meta")
    assert (first.error, first.requests, set(queued(tmp_path))) == (None, 3, there(repo))
    points = github.points_used
    (again,) = run(only="meta")
    assert (again.requests, again.not_modified, github.points_used) == (3, 3, points)
    assert first.cursor == again.cursor


def test_a_change_is_a_version_more_and_what_is_gone_stays(run, tmp_path, repo):
    run(only="meta")
    (label,) = repo.streams["labels"].items
    (release,) = repo.streams["releases"].items
    repo.edit("labels", label, name="defect")
    repo.delete("releases", release)
    (again,) = run(only="meta")
    assert (again.enqueued, again.not_modified, again.error) == (1, 1, None)
    assert queued(tmp_path).count(("label", label)) == 2
    assert ("release", release) in queued(tmp_path)


def test_prune_leaves_the_newest_version_of_each_since_its_page_may_be_shown_again(run_main, tmp_path):
    def main(*words):
        code, out, err = run_main(*words, env={"PIPELINE_DB": str(tmp_path / "p.db"), **env})
        assert code == 0, err
        return out

    def change(statement):
        with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
            conn.execute(statement)

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        label = repo.add_label("bug")
        other = repo.add_label("docs")
        repo.add_release("v1", at="2026-01-01T00:00:00Z")
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "meta"}
        main("ingest", "--repo", "acme/widgets")
        repo.edit("labels", label, name="defect")
        main("ingest", "--repo", "acme/widgets")
        main("worker", "--archive-dir", str(tmp_path / "archive"))
        change("UPDATE queue_items SET finished_at = '2026-02-01T00:00:00Z'")
        main("prune", "--older-than", "1")
        assert [item_id for kind, item_id in queued(tmp_path) if kind == "label"] == [other, label]
        repo.edit("labels", other, color="ffffff")
        main("ingest", "--repo", "acme/widgets")
        assert [item_id for kind, item_id in queued(tmp_path) if kind == "label"] == [other, label, other]


def test_a_list_of_many_pages_has_an_etag_for_each(run, github, tmp_path, repo):
    ids = [repo.add_label(f"l{at:03d}") for at in range(250)]
    (first,) = run(only="meta")
    assert (first.error, set(queued(tmp_path))) == (None, there(repo))
    points = github.points_used
    (again,) = run(only="meta")
    assert (again.requests, again.not_modified, github.points_used) == (5, 5, points)
    repo.edit("labels", ids[240], color="000000")
    (changed,) = run(only="meta")
    assert (changed.enqueued, changed.error) == (1, None)


def test_a_list_of_a_full_page_that_grows_is_not_taken_for_ended(run, tmp_path, repo):
    for at in range(99):
        repo.add_label(f"a{at:03d}")
    run(only="meta")
    added = repo.add_label("zebra")
    assert run(only="meta")[0].enqueued == 1
    assert ("label", added) in queued(tmp_path)


@pytest.mark.parametrize("deletes", [1, 3])
def test_what_moves_up_while_the_list_is_read_is_not_missed(run, github, tmp_path, repo, deletes):
    ids = [repo.add_label(f"l{at:03d}") for at in range(350)]
    gone = []

    def delete(repo, stream, served):
        if stream == "labels" and len(gone) < 2 * deletes:
            for _ in range(deletes):
                gone.append(ids.pop(0))
                repo.delete("labels", gone[-1])

    github.after_page = delete
    (result,) = run(only="meta")
    assert (result.error, there(repo) - set(queued(tmp_path))) == (None, set())


def test_a_scan_that_is_killed_after_each_page_still_ends_complete(run, tmp_path, repo):
    for at in range(250):
        repo.add_label(f"l{at:03d}")
    (result,), killed = through_kills(run, most=20, only="meta")
    assert (killed > 2, result.error, there(repo) - set(queued(tmp_path))) == (True, None, set())


def test_a_list_that_the_token_may_not_read_hides_no_other(run, github, tmp_path, repo):
    github.fail_next(403, times=9, match="/milestones", message="Resource not accessible by personal access token")
    (result,) = run(only="meta")
    assert "the token lacks the permission" in result.error
    assert {item_type for item_type, _ in queued(tmp_path)} == {"label", "release"}
    github._faults.clear()
    assert run(only="meta")[0].error is None


def test_a_list_that_github_shows_no_end_of_is_truncated_until_it_is_short_enough(run, github, tmp_path, repo):
    ids = [*repo.streams["releases"].items, *[repo.add_release(f"v0.{at}") for at in range(230)]]
    github.deepest["releases"] = 200
    (first,) = run(only="meta")
    assert "acme/widgets meta is truncated: GitHub shows only the newest 200, and nothing from the" in first.error
    assert there(repo) - set(queued(tmp_path)) == {("release", item_id) for item_id in ids[:31]}
    points = github.points_used
    (again,) = run(only="meta")
    assert (again.error, again.requests, again.not_modified, github.points_used) == (first.error, 4, 4, points)
    for item_id in ids[100:150]:
        repo.delete("releases", item_id)
    assert run(only="meta")[0].error is None
    assert there(repo) - set(queued(tmp_path)) == set()


def test_a_list_that_always_fails_hides_no_other(run, github, tmp_path, repo):
    github.fail_next(500, times=10**6, match="/milestones")
    (result,) = run(only="meta")
    assert ("status 500" in result.error, {kind for kind, _ in queued(tmp_path)}) == (True, {"label", "release"})


def test_a_list_whose_long_pages_fail_is_read_in_shorter_ones(run, github, tmp_path, repo):
    for at in range(70):
        repo.add_release(f"v0.{at}")
    github.fail_next(502, times=5, match="/releases")
    (result,) = run(only="meta")
    assert (result.error, there(repo) - set(queued(tmp_path))) == (None, set())


def test_an_odd_empty_answer_is_not_believed(run, github, tmp_path, repo):
    github.fail_next("no_items", times=2, match="/labels")
    run(only="meta")
    assert set(queued(tmp_path)) == there(repo)


def test_a_repository_that_is_renamed_keeps_its_state(run, github, tmp_path, repo):
    for at in range(150):
        repo.add_label(f"l{at:03d}")
    run(only="meta")
    github.rename("acme/widgets", "acme/gears")
    assert run(only="meta")[0].repo == "acme/gears"
    assert run(only="meta", repo="acme/gears")[0].not_modified == 4


def test_a_repository_that_is_missing_is_asked_for_once(run, github):
    (result,) = run(only="meta", repo="acme/nothing")
    assert (result.requests, "404" in result.error) == (1, True)


def test_they_are_archived_extracted_and_rebuilt(run_main, tmp_path):
    def main(*words):
        code, _, err = run_main(*words, env={"PIPELINE_DB": str(tmp_path / "p.db"), **env})
        assert code == 0, err

    def rows():
        with db.reader(str(tmp_path / "p.db")) as conn:
            return [
                [tuple(row) for row in conn.execute(f"SELECT {columns}, s3_key, fetched_order FROM {table}")]
                for table, columns in (("labels", "name"), ("milestones", "title"), ("releases", "tag"))
            ]

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        repo.add_milestone("1.0")
        repo.add_release("v1")
        label = repo.add_label("bug")
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "meta"}
        main("ingest", "--repo", "acme/widgets")
        repo.edit("labels", label, name="defect")
        main("ingest", "--repo", "acme/widgets")
    archive = str(tmp_path / "archive")
    main("worker", "--archive-dir", archive)
    found = rows()
    assert [[row[0] for row in some] for some in found] == [["defect"], ["1.0"], ["v1"]]
    assert f"/labels/dt=1970-01-01/acme/widgets/{label}-" in found[0][0][1]
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        for table in LISTS.values():
            conn.execute(f"DELETE FROM {table}")
    main("rebuild", "--archive-dir", archive)
    assert rows() == found
