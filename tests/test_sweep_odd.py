"""`sweep`, and what GitHub answered others: parts that are refused, too slow, null, hidden; switches; odd redirects."""

import base64
import contextlib
import time

import pytest

import db
from audit import inventory, sweep
from commands import runs
from foundation import timestamps
from foundation.errors import EXIT_BUSY, EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, Outage
from github import graphql
from scans import census
from tables.columns import MARKED
from tests import sweeping
from tests.sweeping import CLOCK, REPO, Pipeline, issues, of_stream


@pytest.fixture
def pipeline(github, path, tmp_path, capsys):
    return Pipeline(github, path, tmp_path, capsys)


@pytest.fixture
def repo(github):
    return made(github, REPO)


def made(github, name, count=24):
    return github.add_repo(name).make(count, start=time.time() - 90_000, pulls=0.3)


def of(summary, repo):
    return next(each for each in summary["repos"] if each["repo"] == repo)


# Many at once.


def test_a_repository_that_may_be_read_in_part_only_keeps_no_other_back(pipeline, github, repo):
    locked = made(github, "acme/locked")
    pipeline.fill(repos=[REPO, "acme/locked"])
    repo.delete_issue(issues(repo)[0])
    locked.denied.add("issues")
    github.fail_next(403, times=99, match=f"/{locked.id}/issues", message="Resource not accessible")
    code, summary = pipeline.run("sweep")
    assert (code, summary["gone"]) == (1, 1)
    assert "403" in of(summary, "acme/locked")["error"]


def test_a_repository_that_takes_too_long_to_count_keeps_no_other_back(pipeline, github, repo):
    slow = made(github, "acme/slow")
    pipeline.fill(repos=[REPO, "acme/slow"])
    repo.delete_issue(issues(repo)[0])
    slow.delete_issue(issues(slow)[0])
    slow.broken.add(("pull-details", of_stream(slow, "pulls")[-1]))
    code, summary = pipeline.run("sweep")
    assert (code, summary["gone"]) == (0, 2)


def test_where_nothing_can_be_counted_not_each_repository_is_asked_for(pipeline, github):
    names = [f"acme/r{at}" for at in range(20)]
    for name in names:
        made(github, name, 3)
    pipeline.fill(repos=names)
    github.graphql_heaviest = 1
    before = len(github.journal)
    code, summary = pipeline.run("sweep")
    asked = [one for one in github.journal[before:] if one.path == "/graphql"]
    assert (code, summary["gone"]) == (3, 0)
    assert len(asked) <= 30


# Lists.


def test_what_is_counted_and_not_listed_or_null_in_the_list_ends_nothing(pipeline, repo):
    pipeline.fill()
    deleted, hidden, null = issues(repo)[:3]
    repo.delete_issue(deleted)
    repo.unlisted.add(hidden)
    repo.nulls.add(null)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["unsure"]) == (0, 1, 0)


def test_a_list_that_is_too_heavy_for_graphql_is_read_by_rest(pipeline, github, repo):
    pipeline.fill()
    repo.delete_issue(issues(repo)[0])
    github.graphql_heaviest = 60
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (0, 1)


def test_a_list_that_is_cut_short_is_not_made_up_for_item_by_item(pipeline, github):
    made(github, REPO, 250)
    pipeline.fill()
    del pipeline.environ["GITHUB_TOKEN"]
    github.fail_next("no_link", times=9, match="sort=created")
    before = len(github.journal)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (3, 0)
    assert len(github.journal) - before < 20


def test_a_list_that_leads_in_a_circle_ends(pipeline, github, repo, monkeypatch):
    pipeline.fill()
    repo.delete_issue(issues(repo)[0])
    first = base64.b64encode(b"cursor:v2:5").decode()
    monkeypatch.setattr(census, "_after", lambda connection: graphql.quoted(first))
    before = len(github.journal)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (3, 0)
    assert len(github.journal) - before < 10


def test_a_name_that_changes_hands_before_its_items_are_listed_ends_that(pipeline, github, repo):
    pipeline.fill()
    repo.delete_issue(issues(repo)[0])
    asked = []

    def hand_over(target):
        asked.append(target)
        if len(asked) == 2:
            github.rename(REPO, "acme/renamed")
            made(github, REPO, 3)

    github.on_request = hand_over
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], len(asked)) == (3, 0, 2)
    assert "another repository than a moment ago" in summary["repos"][0]["error"]


def test_a_list_of_rests_that_leads_in_a_circle_ends(pipeline, github, repo):
    pipeline.fill()
    del pipeline.environ["GITHUB_TOKEN"]
    here = f"{github.url}/repositories/{repo.id}/issues?state=all&sort=created&direction=asc&per_page=100"
    github.fail_next("link", times=50, match="sort=created", url=here)
    before = len(github.journal)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (3, 0)
    assert len(github.journal) - before < 10


# One item.


def test_an_issue_that_was_transferred_there_and_back_says_its_new_number(pipeline, repo):
    pipeline.fill()
    number = issues(repo)[0]
    repo.delete_issue(number)
    repo.absent[number] = (301, (repo, 40))
    assert pipeline.sweep()[1]["repos"][0]["gone"][0]["moved_to"] == f"{REPO}#40"


@pytest.mark.parametrize("place", ["{url}/repositories/{id}/issues/{number}", "{url}/repositories/{id}/discussions/7"])
def test_an_item_that_leads_to_itself_or_to_no_issue_keeps_no_other_back(pipeline, github, repo, place):
    pipeline.fill()
    odd, deleted = issues(repo)[:2]
    repo.delete_issue(odd)
    repo.absent[odd] = (301, place.format(url=github.url, id=repo.id, number=odd))
    repo.delete_issue(deleted)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["unsure"]) == (0, 1, 1)
    assert [each["number"] for each in summary["repos"][0]["gone"]] == [deleted]


def test_an_item_that_can_not_be_had_keeps_no_other_back(pipeline, github, repo):
    comment = repo.add_comment(issues(repo)[5])
    pipeline.fill("--streams", "issues,pulls,issue-comments")
    odd, deleted = issues(repo)[:2]
    repo.delete_issue(odd)
    repo.delete_issue(deleted)
    repo.delete_comment(comment)
    github.fail_next(502, times=99, match=f"/issues/{odd}")
    github.fail_next(502, times=99, match=f"/issues/{issues(repo)[3]}/comments")
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["unsure"]) == (0, 1, 1)
    pipeline.work()
    assert sorted(pipeline.gone()) == [deleted]


@pytest.mark.parametrize("way", ["graphql", "rest"])
def test_an_issue_that_became_a_pull_request_is_no_issue_any_more(pipeline, github, repo, way):
    """REST's list shows of a pull request no id of its own."""
    github.graphql_enabled = way == "graphql"
    pipeline.fill()
    number = issues(repo)[0]
    _, _, fields = repo._unlist(number)
    repo._put("pulls", number, {**fields, "id": 777, "updated_at": repo.when(-5)})
    assert pipeline.run("ingest", "--repo", REPO)[0] == 0
    pipeline.work()
    assert pipeline.sweep()[1]["gone"] == 1
    pipeline.work()
    assert pipeline.gone() == {number: ("converted", None)}
    assert pipeline.sweep()[1]["repos"][0]["compared"] == ("counts" if way == "graphql" else "list")


def test_a_tombstone_counts_also_where_the_item_is_newer_than_githubs_clock(pipeline, repo):
    number = repo.add_issue(updated_at=repo.when(-3600))
    pipeline.fill()
    repo.hide(number)
    assert pipeline.sweep()[1]["gone"] == 1
    pipeline.work()
    assert sorted(pipeline.gone()) == [number]
    repo.show(number)
    assert pipeline.sweep()[1]["back"] == 1
    pipeline.work()
    assert pipeline.gone() == {}


def test_issues_that_are_switched_off_while_they_are_looked_at_are_not_gone(pipeline, github, repo):
    pipeline.fill()
    number = issues(repo)[0]
    repo.hide(number)
    del repo.absent[number]

    def switch_off(target):
        if f"/issues/{number}" in target:
            repo.issues_enabled = False
            repo.absent[number] = (410, "disabled")

    github.on_request = switch_off
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (1, 0)


def test_only_a_lasting_redirect_says_that_an_issue_was_transferred(pipeline, github, repo):
    pipeline.fill()
    number = issues(repo)[0]
    repo.hide(number)
    elsewhere = made(github, "acme/gadgets", 3)
    to = f"{github.url}/repositories/{elsewhere.id}/issues/1"
    github.fail_next("redirect", times=9, match=f"/issues/{number}", url=to)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["unsure"]) == (0, 0, 1)


def test_since_when_something_is_gone_is_told_by_githubs_clock_and_not_by_ours(pipeline, repo, monkeypatch):
    """Else what is changed there meanwhile would not be seen to be there again."""
    pipeline.fill()
    repo.hide(issues(repo)[0])
    monkeypatch.setattr(sweeping, "CLOCK", CLOCK._replace(now=lambda: CLOCK.now() + 86_400))
    assert pipeline.sweep()[1]["gone"] == 1
    pipeline.work()
    ((gone_at,),) = pipeline.ask("SELECT gone_at FROM issues WHERE gone_at IS NOT NULL")
    assert gone_at < timestamps.from_epoch(time.time() + 60)


# What is another one, or lost.


def test_another_repository_of_the_same_name_is_not_compared(pipeline, github, repo):
    pipeline.fill()
    github.rename(REPO, "acme/renamed")
    made(github, REPO, 3)
    code, summary = pipeline.sweep("--max-gone", "99")
    assert (code, summary["gone"], summary["missed"]) == (1, 0, 0)
    assert "another repository than the one that is kept" in summary["repos"][0]["error"]
    run = next(run for run in pipeline.run("status")[1]["runs"] if run["command"] == "sweep")
    assert (run["exit_code"], "another repository" in run["note"]) == (1, True)


@pytest.mark.parametrize("count", [3, 10])
def test_few_items_may_be_gone_at_once_but_not_all_that_are_known(pipeline, github, count):
    repo = made(github, REPO, count)
    pipeline.fill()
    for _, number in list(repo.known()):
        repo.hide(number)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (1, 0)
    assert f"lists none of the {count} items that are known" in summary["repos"][0]["error"]
    assert pipeline.sweep("--max-gone", str(count))[1]["gone"] == count


def test_a_repository_that_is_lost_while_its_items_are_looked_at_changes_nothing(pipeline, github, repo):
    pipeline.fill()
    number = issues(repo)[0]
    repo.hide(number)
    github.on_request = lambda target: f"/issues/{number}" in target and github.repos.pop(REPO, None)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (1, 0)
    assert "itself is not to be seen any more" in summary["repos"][0]["error"]
    assert pipeline.ask("SELECT count(*) FROM queue_items WHERE item_type = 'gone'") == [(0,)]


# What no ingest had to bring.


def test_what_no_ingest_was_to_look_back_to_was_not_missed(pipeline, repo):
    since = repo.fields("issues", issues(repo)[8])["updated_at"]
    assert pipeline.run("ingest", "--repo", REPO, "--since", since)[0] == 0
    pipeline.work()
    ((known,),) = pipeline.ask("SELECT count(*) FROM issues")
    code, summary = pipeline.sweep("--full")
    assert (code, summary["missed"], 0 < known < 24) == (0, 0, True)


def test_what_the_next_ingest_looks_at_once_more_was_not_missed(pipeline, repo):
    """GitHub shows some items late: the minute before the cursor is read again."""
    pipeline.fill()
    ((cursor,),) = pipeline.ask("SELECT cursor FROM ingest_state WHERE stream = 'issues'")
    repo.add_issue(updated_at=timestamps.shift(cursor, seconds=-30))
    assert pipeline.sweep()[1]["missed"] == 0
    repo.add_issue(updated_at=timestamps.shift(cursor, seconds=-90))
    assert pipeline.sweep()[1]["missed"] == 1


def test_what_was_missed_and_waits_in_the_queue_is_missed_once(pipeline, github, repo):
    """REST's list shows of a pull request no id of its own."""
    github.graphql_enabled = False
    pipeline.fill()
    repo.add_pull(updated_at=repo.when(89_500))
    assert pipeline.sweep()[1]["missed"] == 1
    assert pipeline.sweep()[1]["missed"] == 0


def test_what_is_shown_again_before_it_was_written_down_as_gone_is_not_gone(pipeline, repo):
    pipeline.fill()
    number = issues(repo)[0]
    repo.hide(number)
    assert pipeline.sweep()[1]["gone"] == 1
    repo.show(number)
    assert [pipeline.sweep()[1]["back"] for _ in range(2)] == [1, 0]
    pipeline.work()
    assert pipeline.gone() == {}


# What is switched off.


def test_pull_requests_that_are_switched_off_are_not_gone(pipeline, repo):
    pipeline.fill()
    pulls = of_stream(repo, "pulls")
    assert 1 < len(pulls) <= sweep.MOST_GONE
    repo.pulls_enabled = False
    for number in pulls:
        repo._unlist(number)
        repo.absent[number] = (404, None)
    repo.delete_issue(issues(repo)[0])
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (0, 1)


def test_issues_that_are_switched_off_are_not_asked_for_one_by_one(pipeline, github, repo):
    pipeline.fill()
    repo.issues_enabled = False
    for number in issues(repo):
        repo._unlist(number)
        repo.absent[number] = (410, "disabled")
    before = len(github.journal)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"]) == (0, 0)
    assert len(github.journal) - before < 8


# Others at work.


@contextlib.contextmanager
def ingest_of(pipeline, repo):
    with contextlib.closing(db.connect(pipeline.path)) as conn, runs.recorded(
        conn, db_path=pipeline.path, command="ingest", what="it", clock=CLOCK, environ={}
    ) as record:
        record.hold([f"ingest of {repo}"])
        yield


def test_a_repository_that_is_being_ingested_keeps_no_other_back(pipeline, github, repo):
    other = made(github, "acme/other")
    pipeline.fill(repos=[REPO, "acme/other"])
    repo.delete_issue(issues(repo)[0])
    other.delete_issue(issues(other)[0])
    with ingest_of(pipeline, "acme/other"):
        code, summary = pipeline.run("sweep")
    assert (code, summary["gone"]) == (4, 1)
    assert "runs already" in of(summary, "acme/other")["error"]
    assert pipeline.run("sweep")[0] == 0


def test_a_repository_is_held_only_while_it_is_read(pipeline, github, repo):
    other = made(github, "acme/other")
    pipeline.fill(repos=[REPO, "acme/other"])
    repo.delete_issue(issues(repo)[0])
    other.delete_issue(issues(other)[0])
    held = set()

    def look(target):
        with contextlib.closing(db.connect(pipeline.path)) as conn:
            held.add(tuple(name for (name,) in conn.execute("SELECT name FROM locks")))

    github.on_request = look
    assert pipeline.run("sweep")[0] == 0
    assert held == {(), (f"ingest of {REPO}",), ("ingest of acme/other",)}


def test_of_several_errors_the_one_that_a_person_has_to_mend_first_decides():
    codes = [EXIT_OK, EXIT_BUSY, EXIT_FAILED, EXIT_OUTAGE, EXIT_CONFIGURATION]
    for last, code in enumerate(codes, start=1):
        assert sweep.exit_code([sweep.RepoResult(REPO, exit_code=each) for each in codes[:last]]) == code
    assert sweep.exit_code([sweep.RepoResult(REPO)], [Outage("GitHub is down")]) == EXIT_OUTAGE


def test_a_run_that_was_taken_over_is_no_success():
    assert sweep.exit_code([sweep.RepoResult(REPO, error="taken over", exit_code=EXIT_BUSY)]) == EXIT_BUSY


def test_a_repository_of_an_organisation_that_is_not_listed_any_more_is_named(pipeline, github, repo):
    made(github, "acme/lost")
    pipeline.fill(repos=[REPO, "acme/lost"])
    del github.repos["acme/lost"]
    code, summary = pipeline.run("sweep", "--org", "acme")
    assert code == 1
    assert "404" in of(summary, "acme/lost")["error"]


def test_an_organisation_that_can_not_be_listed_is_in_the_exit_code(pipeline, github, repo):
    pipeline.fill()
    code, summary = pipeline.run("sweep", "--org", "nobody", "--org", "acme")
    assert (code, [each["repo"] for each in summary["repos"]]) == (1, [REPO])


def test_who_is_told_that_too_many_are_gone_is_told_how_many(pipeline, repo):
    pipeline.fill()
    for number in issues(repo)[:12]:
        repo.delete_issue(number)
    code, summary = pipeline.sweep()
    assert code == 1
    assert "12" in summary["repos"][0]["error"]


def test_status_knows_the_last_sweep_however_many_runs_came_after_it(pipeline, repo, monkeypatch):
    pipeline.fill()
    assert pipeline.sweep()[0] == 0
    monkeypatch.setattr(runs, "RUNS_KEPT", 3)
    for _ in range(6):
        pipeline.work()
    commands = [run["command"] for run in pipeline.run("status")[1]["runs"]]
    assert commands == ["ingest", "sweep", "worker"]


def test_a_repository_whose_name_is_anothers_by_now_is_asked_for_by_its_id(pipeline, github, repo):
    pipeline.fill()
    github.rename(REPO, "acme/renamed")
    made(github, REPO, 3)
    pipeline.fill()
    number = of_stream(repo, "pulls")[0]
    repo.hide(number)
    code, summary = pipeline.run("sweep")
    assert (code, of(summary, f"repositories/{repo.id}")["gone"][0]["number"]) == (0, number)


def test_a_comment_that_is_shown_again_is_seen_wherever_the_list_is_read(pipeline, repo):
    """Not by --full alone: there are more comments than of which we know that they are there."""
    number, other = issues(repo)[:2]
    comment = [repo.add_comment(number) for _ in range(2)][0]
    pipeline.fill("--streams", "issues,issue-comments")
    pipeline.ask(f"UPDATE comments SET gone_at = '{repo.when(10)}' WHERE id = {comment}")
    repo.hide(other)
    code, summary = pipeline.sweep()
    assert (code, summary["gone"], summary["back"]) == (0, 1, 1)


def test_comments_on_pull_requests_are_looked_at_where_only_issues_are_read_beside_them(pipeline, repo):
    comment = repo.add_comment(repo.add_pull())
    pipeline.fill("--streams", "issues,issue-comments")
    repo.delete_comment(comment)
    assert pipeline.sweep("--full")[1]["gone"] == 1


@pytest.mark.parametrize("kind", MARKED)
def test_what_is_known_of_a_repository_is_found_by_its_name(on_sqlite, kind):
    """A million rows of others are not read for each."""
    asked = []
    on_sqlite.set_trace_callback(asked.append)
    assert inventory.said(on_sqlite, kind, [REPO]) == []
    on_sqlite.set_trace_callback(None)
    statement = next(each for each in asked if f"FROM {MARKED[kind].table}" in each)
    plan = [row["detail"] for row in on_sqlite.execute("EXPLAIN QUERY PLAN " + statement)]
    assert any("repo=?" in step for step in plan)
