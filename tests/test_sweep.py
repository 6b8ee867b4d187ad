"""`sweep`: what is gone from GitHub, what is there again, and what was missed; on either engine."""

import contextlib
import time

import pytest

import db
from commands import runs
from foundation.errors import EXIT_BUSY
from github.transport import Transport
from tests.github_server import GitHubServer
from tests.sweeping import CLOCK, REPO, Pipeline, issues


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def pipeline(github, db_path, tmp_path, capsys):
    return Pipeline(github, db_path, tmp_path, capsys)


@pytest.fixture
def repo(github):
    made = github.add_repo(REPO)
    made.make(30, start=time.time() - 90_000, pulls=0.3)
    return made


def test_what_is_deleted_transferred_and_hidden_is_told_apart_and_comes_back(pipeline, github, repo):
    pipeline.fill()
    deleted, moved, hidden = issues(repo, 3)
    gadgets = github.add_repo("acme/gadgets")
    repo.delete_issue(deleted)
    new = repo.transfer(moved, gadgets)
    repo.hide(hidden)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["missed"], summary["unsure"]) == (0, 3, 0, 0)
    pipeline.work()
    assert pipeline.gone() == {
        deleted: ("deleted", None), moved: ("transferred", f"acme/gadgets#{new}"), hidden: ("missing", None),
    }  # fmt: skip
    repo.show(hidden)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["back"]) == (0, 0, 1)
    pipeline.work()
    assert sorted(pipeline.gone()) == [deleted, moved]


@pytest.mark.slow
def test_3000_items_of_which_40_go_and_7_come_back(pipeline, github):
    repo, gadgets = github.add_repo(REPO), github.add_repo("acme/gadgets")
    repo.make(3000, start=time.time() - 400_000, step_seconds=100, pulls=0.3)
    pipeline.fill()
    some = iter(issues(repo))
    reasons = {}
    for reason, count, act in (
        ("deleted", 20, repo.delete_issue), ("transferred", 10, lambda number: repo.transfer(number, gadgets)),
        ("missing", 5, repo.hide), ("missing", 5, repo.convert), ("missing", 7, repo.hide),
    ):  # fmt: skip
        for _ in range(count):
            number = next(some)
            reasons[number] = reason
            act(number)
    code, _ = pipeline.sweep()
    assert code == 1  # over 1 % of what is known
    pipeline.work()
    assert pipeline.gone() == {}
    code, summary = pipeline.sweep("--max-gone", "47")
    assert (code, summary["gone"]) == (0, 47)
    assert pipeline.sweep()[1]["gone"] == 0  # although no worker has told the tables yet
    pipeline.work()
    assert {number: said[0] for number, said in pipeline.gone().items()} == reasons
    shown = [number for number, reason in reasons.items() if reason == "missing"][-7:]
    for number in shown:
        repo.show(number)
    assert pipeline.sweep()[1]["back"] == 7
    pipeline.work()
    assert sorted(pipeline.gone()) == sorted(set(reasons) - set(shown))
    before = pipeline.gone()
    for table in ("issues", "gone"):
        with contextlib.closing(db.connect(pipeline.path)) as conn, db.transaction(conn):
            conn.execute(f"DELETE FROM {table}")
    assert pipeline.run("rebuild", "--archive-dir", str(pipeline.folder / "archive"))[0] == 0
    assert pipeline.gone() == before


@pytest.mark.slow
def test_where_nothing_changed_fifty_repositories_cost_a_point(pipeline, github):
    for at in range(50):
        github.add_repo(f"acme/r{at}").make(4)
    names = [word for at in range(50) for word in ("--repo", f"acme/r{at}")]
    assert pipeline.run("ingest", *names, "--all")[0] == 0
    pipeline.work()
    before = len(github.journal)
    code, summary = pipeline.run("sweep")
    asked = github.journal[before:]
    assert (code, summary["requests"], summary["gone"]) == (0, 1, 0)
    assert [(one.path, one.points) for one in asked] == [("/graphql", 1)]


def test_a_repository_that_the_token_lost_changes_nothing_and_says_so(pipeline, github, repo):
    pipeline.fill()
    lost = github.repos.pop(REPO)
    code, summary = pipeline.sweep("--full")
    assert (code, summary["gone"]) == (1, 0)
    assert "404" in summary["repos"][0]["error"]
    lost._fields.clear()  # there, but empty
    github.repos[REPO] = lost
    code, summary = pipeline.sweep("--full")
    assert (code, summary["gone"]) == (1, 0)
    pipeline.work()
    assert pipeline.gone() == {}


def test_one_odd_answer_proves_nothing(pipeline, github, repo):
    pipeline.fill()
    (number,) = issues(repo, 1)
    repo.hide(number)
    repo.absent[number] = (410, None)

    def change(target):
        if target.endswith(f"/issues/{number}"):
            github.on_request = lambda target: repo.absent.update({number: (404, None)})

    github.on_request = change
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["unsure"]) == (0, 0, 1)


def test_an_update_that_no_ingest_brought_is_fetched_and_counted(pipeline, repo):
    pipeline.fill()
    late = repo.when(89_500)
    number = repo.add_issue(updated_at=late, title="Shown late")
    pull = repo.add_pull(updated_at=late)
    code, summary = pipeline.sweep("--dry-run")
    assert (code, summary["missed"]) == (0, 2)
    code, summary = pipeline.sweep()
    assert (code, summary["missed"]) == (0, 2)
    assert (pull,) in pipeline.ask("SELECT number FROM pull_work")  # whose reviews no ingest brought, either
    assert pipeline.sweep("--full")[1]["missed"] == 0
    pipeline.work()
    assert pipeline.ask(f"SELECT title FROM issues WHERE number = {number}") == [("Shown late",)]
    assert pipeline.ask(f"SELECT count(*) FROM issues WHERE number = {pull}") == [(1,)]


def test_what_was_updated_since_the_last_ingest_was_not_missed(pipeline, repo):
    pipeline.fill()
    repo.touch("issues", issues(repo, 1)[0])
    repo.add_issue()
    assert pipeline.sweep("--full")[1]["missed"] == 0


def test_as_many_new_ones_as_are_gone_do_not_hide_them(pipeline, repo):
    pipeline.fill()
    repo.add_issue(created_at=repo.when(60))
    repo.delete_issue(issues(repo, 1)[0])
    assert pipeline.sweep()[1]["gone"] == 1


def test_a_dry_run_writes_nothing(pipeline, repo):
    pipeline.fill()
    repo.delete_issue(issues(repo, 1)[0])
    assert pipeline.sweep("--dry-run")[1]["gone"] == 1
    pipeline.work()
    assert pipeline.gone() == {}


def test_without_a_token_the_list_itself_tells(pipeline, github, repo):
    pipeline.fill()
    repo.delete_issue(issues(repo, 1)[0])
    del pipeline.environ["GITHUB_TOKEN"]
    assert pipeline.sweep()[1]["gone"] == 1
    assert all(one.path != "/graphql" for one in github.journal[-5:])


def test_comments_and_reviews_that_are_deleted_are_gone(pipeline, repo):
    number, pull = issues(repo, 1)[0], repo.add_pull()
    comments = [repo.add_comment(number) for _ in range(3)]
    code_comments = [repo.add_review_comment(pull) for _ in range(2)]
    reviews = [repo.add_review(pull) for _ in range(3)]
    pipeline.fill("--streams", "all")
    repo.delete_comment(comments[1])
    repo.delete_review_comment(code_comments[0])
    repo._reviewed[pull].remove(reviews[0])
    del repo.reviews[reviews[0]]
    code, summary = pipeline.sweep("--full")
    assert (code, summary["gone"], summary["back"]) == (0, 3, 0)
    pipeline.work()
    assert pipeline.gone("comments") == {comments[1]: True, code_comments[0]: True}
    assert pipeline.gone("reviews") == {reviews[0]: True}
    assert pipeline.sweep("--full")[1]["gone"] == 0


def test_a_redirect_to_another_host_is_no_transfer_and_is_not_followed(pipeline, github, repo):
    pipeline.fill()
    number = issues(repo, 1)[0]
    repo.delete_issue(number)
    with GitHubServer() as other:
        repo.absent[number] = (301, f"{other.url}/repos/evil/x/issues/1")
        code, summary = pipeline.sweep()
        assert (code, summary["gone"]) == (3, 0)
        assert other.journal == []


def test_a_sweep_that_is_killed_at_a_request_writes_nothing_and_the_next_ends_as_one_alone(pipeline, github, repo):
    killed_at_each(pipeline, github, repo, step=7)


@pytest.mark.long
def test_a_sweep_may_be_killed_at_each_request(pipeline, github, repo):
    killed_at_each(pipeline, github, repo, step=1)


def test_a_repository_that_is_being_ingested_is_not_swept(pipeline, repo):
    pipeline.fill()
    with contextlib.closing(db.connect(pipeline.path)) as conn, runs.recorded(
        conn, db_path=pipeline.path, command="ingest", what="it", clock=CLOCK, environ={}
    ) as record:
        record.hold([f"ingest of {REPO}"])
        assert pipeline.sweep("--full")[0] == 4
        assert pipeline.sweep()[0] == 0  # its counts are as known: nothing is read
    assert pipeline.sweep("--full")[0] == 0


def test_a_sweep_whose_repository_another_run_took_over_writes_nothing(github, postgres_db, tmp_path, capsys, repo):
    pipeline = Pipeline(github, postgres_db, tmp_path, capsys)
    pipeline.fill()
    number = issues(repo)[0]
    repo.hide(number)

    def take_over(target):
        if f"/issues/{number}" in target:
            with contextlib.closing(db.connect(pipeline.path)) as conn:
                runs.take_lock(conn, f"ingest of {REPO}", owner="another", now="2026-11-23T10:00:00Z")

    github.on_request = take_over
    assert pipeline.sweep()[0] == EXIT_BUSY
    assert pipeline.ask("SELECT count(*) FROM queue_items WHERE item_type = 'gone'") == [(0,)]


def test_what_is_gone_and_then_updated_is_alive_again_by_an_ingest_alone(pipeline, repo):
    pipeline.fill()
    (number,) = issues(repo, 1)
    repo.hide(number)
    assert pipeline.sweep()[1]["gone"] == 1
    pipeline.work()
    assert sorted(pipeline.gone()) == [number]
    repo.show(number)
    repo.touch("issues", number, updated_at=repo.when(-2))
    assert pipeline.run("ingest", "--repo", REPO)[0] == 0
    pipeline.work()
    assert pipeline.gone() == {}


def test_issues_that_are_switched_off_are_not_gone(pipeline, repo):
    pipeline.fill()
    repo.issues_enabled = False
    for number in issues(repo, 2):
        repo._unlist(number)
        repo.absent[number] = (410, "disabled")
    code, summary = pipeline.sweep("--full")
    assert (code, summary["gone"]) == (0, 0)


def test_an_item_that_github_can_not_show_keeps_no_tombstone_back(pipeline, github, repo):
    pipeline.fill()
    repo.add_issue(updated_at=repo.when(89_500))
    github.fail_next(502, times=99, match=f"/issues/{max(issues(repo))}")
    repo.delete_issue(issues(repo, 1)[0])
    code, summary = pipeline.sweep("--full")
    assert (code, summary["gone"], summary["missed"]) == (0, 1, 0)


def test_a_repository_of_which_nothing_was_read_is_named(pipeline, github, repo):
    pipeline.fill()
    github.add_repo("acme/gadgets")
    code, summary = pipeline.run("sweep", "--repo", "acme/gadgets")
    assert code == 1
    assert "run ingest first" in summary["repos"][0]["error"]


def killed_at_each(pipeline, github, repo, *, step):
    pipeline.fill("--streams", "all")
    gone = issues(repo, 6)
    repo.transfer(gone[0], github.add_repo("acme/gadgets"))
    for number in gone[1:]:
        repo.delete_issue(number)
    at = 1
    while killed(pipeline, github, at):
        assert pipeline.ask("SELECT count(*) FROM queue_items WHERE item_type = 'gone'") == [(0,)]
        at += step
        assert at < 500
    assert at > 12
    pipeline.work()
    assert sorted(pipeline.gone()) == gone


def killed(pipeline, github, at):
    """A sweep dies at its `at`-th request; False where it needs fewer."""
    begun, send = len(github.journal), Transport.send

    def die_or_send(self, *arguments, **options):
        if len(github.journal) - begun >= at - 1:
            raise Killed
        return send(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "send", die_or_send)
        try:
            return pipeline.sweep()[0] != 0
        except Killed:
            return True
