"""Pull requests by themselves: the work list that `pulls` notes, GraphQL or REST, and the rows of both."""

import contextlib
import functools
import json
import random

import pytest

import db
from fetcher import ALL_HISTORY
from github.streams import pull_details
from tests.github_server import GitHubServer
from tests.github_world.life import happen
from tests.ingesting import Killed, ask, github, rows_of, run, through_kills, time  # noqa: F401 - fixtures
from tests.turns import with_others

BOTH = ("pulls", "pull-details")


@pytest.fixture
def repo(github, time):
    """60 pull requests, some of them reviewed."""
    made = github.add_repo("acme/widgets")
    made.add_issue()
    for number in range(2, 62):
        made.add_pull(updated_at=f"2026-11-20T10:{number % 60:02}:00Z")
        for state in ("COMMENTED", "APPROVED")[: number % 3]:
            made.add_review(
                number, state, author="rev[bot]" if number % 2 else "bo", at=f"2026-11-21T10:{number % 60:02}:00Z"
            )
    time.seconds += 600
    return made


def details(github):
    """The requests for pull requests by themselves."""
    return [one for one in github.journal if one.path == "/graphql" or one.path.split("/")[-1].isdecimal()]


def newest(ask):
    return dict(ask("SELECT number, max(updated_at) FROM queue_items WHERE item_type = 'pull_detail' GROUP BY number"))


def versions(repo):
    return {number: updated_at for updated_at, number, _, _ in repo.streams["pulls"].items.values()}


def behind(ask, before):
    """Pull requests of which neither the version that existed `before`, nor a newer one, is in the queue."""
    found = newest(ask)
    return [number for number, updated_at in before.items() if found.get(number, "") < updated_at]


def test_all_pull_requests_are_asked_for_25_at_a_time(run, github, repo, ask):
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.stream, result.error, result.enqueued, result.requests) == ("pull-details", None, 60, 3)
    assert result.cursor == max(versions(repo).values())
    assert behind(ask, versions(repo)) == []
    assert ask("SELECT * FROM pull_work") == []
    shown = {one.sha256 for one in github.served if one.stream == "pull-details"}
    assert {
        sha256 for (sha256,) in ask("SELECT payload_sha256 FROM queue_items WHERE item_type = 'pull_detail'")
    } == shown
    assert github.graphql_points_used == 3


@pytest.mark.parametrize("jobs", [1, 4])
def test_where_nothing_changed_nothing_is_asked_and_ten_changes_cost_at_most_two_points(
    run, github, time, repo, ask, jobs
):
    run(streams=BOTH, since=ALL_HISTORY, jobs=jobs)
    time.seconds += 600
    before = len(details(github))
    _, result = run(streams=BOTH, jobs=jobs)
    assert (result.error, result.requests, len(details(github))) == (None, 0, before)
    for number in range(2, 12):
        repo.add_review(number, "APPROVED")
    spent = github.graphql_points_used
    time.seconds += 600
    _, result = run(streams=BOTH, jobs=jobs)
    assert (result.enqueued, result.requests, github.graphql_points_used - spent) == (10, 1, 1)
    assert behind(ask, versions(repo)) == []


def test_what_was_read_before_anything_was_noted_is_asked_for_when_the_stream_is_switched_on(run, time, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    ask("DELETE FROM pull_work")
    (result,) = run(only="pull-details", since="2026-11-21T10:30:00Z")
    recent = {number: at for number, at in versions(repo).items() if at >= "2026-11-21T10:30:00Z"}
    assert (result.error, set(newest(ask))) == (None, set(recent))
    assert run(only="pull-details")[0].requests == 0
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.enqueued, behind(ask, versions(repo))) == (60 - len(recent), [])


def test_what_was_noted_is_asked_for_only_as_far_back_as_it_is_wanted(run, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    run(only="pull-details", since="2026-11-21T10:30:00Z")
    assert min(newest(ask).values()) >= "2026-11-21T10:30:00Z"
    run(only="pull-details", since=ALL_HISTORY)
    assert behind(ask, versions(repo)) == []


def test_of_more_than_a_hundred_reviews_each_payload_has_a_part(run, github, repo, ask):
    for number in range(230):
        repo.add_review(2, "COMMENTED", at=f"2026-11-21T1{number % 10}:00:00Z")
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, result.enqueued, result.requests) == (None, 62, 5)
    rows = parts(ask, 2)
    assert len({row["id"] for row in rows if "state" in row}) == len(repo.reviews_of(2, "ada"))
    assert {row["reviews"] for row in rows if "reviews" in row} == {len(repo.reviews_of(2, "ada"))}


def between_parts(github, happen):
    """`happen()` once, when the first part of a pull request with more than a hundred reviews was shown."""

    def after_page(repo, stream, served):
        if stream == "pull-details":
            github.after_page = None
            happen()

    github.after_page = after_page


def test_what_changes_between_the_parts_of_a_pull_request_is_asked_for_again(run, github, repo, ask):
    """Its first part shows it as it was; what `pulls` notes meanwhile stays noted."""
    reviews = [repo.add_review(2, "APPROVED", at="2026-11-21T10:00:00Z") for _ in range(130)]
    run(only="pulls", since=ALL_HISTORY)

    def dismiss():
        repo.dismiss_review(reviews[0])
        ask("UPDATE pull_work SET updated_at = ? WHERE number = 2", versions(repo)[2])

    between_parts(github, dismiss)
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, ask("SELECT number FROM pull_work")) == (None, [(2,)])
    run(only="pull-details")
    states = [row["state"] for row in parts(ask, 2) if row.get("id") == reviews[0]]
    assert (states, ask("SELECT * FROM pull_work")) == (["APPROVED", "DISMISSED"], [])


def test_a_pull_request_of_which_a_part_can_not_be_had_is_not_done(run, github, repo, ask):
    for _ in range(130):
        repo.add_review(2, "COMMENTED", at="2026-11-21T10:00:00Z")
    run(only="pulls", since=ALL_HISTORY)
    between_parts(github, lambda: repo.broken.update([("pull-details", 2), ("pull", 2)]))
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.exit_code, "pull request 2" in result.error) == (1, True)
    assert (parts(ask, 2), ask("SELECT number FROM pull_work")) == ([], [(2,)])
    repo.broken.clear()
    (result,) = run(only="pull-details")
    assert (result.error, behind(ask, versions(repo)), ask("SELECT * FROM pull_work")) == (None, [], [])


def test_of_a_pull_request_that_goes_between_its_parts_none_is_kept(run, github, repo, ask):
    for _ in range(130):
        repo.add_review(2, "COMMENTED", at="2026-11-21T10:00:00Z")
    run(only="pulls", since=ALL_HISTORY)
    between_parts(github, lambda: repo.hide(2))
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, parts(ask, 2), ask("SELECT * FROM pull_work")) == (None, [], [])


def parts(ask, number):
    found = ask("SELECT payload FROM queue_items WHERE item_type = 'pull_detail' AND number = ?", number)
    return [row.columns for (payload,) in found for row in pull_details.rows("acme/widgets", json.loads(payload))]


def busy(repo):
    """A pull request with all that the two ways could spell differently."""
    repo.touch("pulls", 3, merged_at="2026-11-21T12:00:00Z", merged_by="merge[bot]", state="closed")
    for who, state in (
        ("bo", "CHANGES_REQUESTED"),
        (None, "COMMENTED"),
        ("dependabot[bot]", "APPROVED"),
        ("ada", "PENDING"),
    ):
        repo.add_review(3, state, author=who)
    repo.dismiss_review(repo.add_review(3, "APPROVED", author="cy"))
    repo.edit_review(repo.add_review(3, "APPROVED", author="cy"), body="edited later")


@pytest.mark.parametrize("number", [2, 3])
def test_both_ways_give_the_same_rows(run, github, time, tmp_path, repo, ask, number):
    busy(repo)
    time.seconds += 60
    run(streams=BOTH, since=ALL_HISTORY)
    by_graphql = parts(ask, number)
    ask("DELETE FROM queue_items")
    ask("DELETE FROM ingest_state")
    github.graphql_enabled = False
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, result.enqueued) == (None, 60)
    by_rest = parts(ask, number)
    unknown = {"review_decision": None}
    assert by_rest[0] == {**by_graphql[0], **unknown}
    assert by_rest[1:] == by_graphql[1:]
    if number == 3:
        assert (by_rest[0]["merged_by"], by_rest[0]["merged_by_type"]) == ("merge[bot]", "Bot")
        assert "dependabot[bot]" in [row["author"] for row in by_rest[1:]]


def test_without_a_token_rest_is_asked(run, github, repo, ask):
    github.rate_limit = None
    _, result = run(streams=BOTH, since=ALL_HISTORY, token=None)
    assert (result.error, result.enqueued, result.requests) == (None, 60, 120)
    assert not [one for one in github.journal if one.path == "/graphql"]


def test_one_empty_page_does_not_say_that_there_are_no_more_reviews(run, github, repo, ask):
    for _ in range(130):
        repo.add_review(2, "COMMENTED", at="2026-11-21T10:00:00Z")
    github.graphql_enabled = False
    github.fail_next("no_items", match="/pulls/2/reviews?per_page=100&page=2")
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, sum("state" in row for row in parts(ask, 2))) == (None, len(repo.reviews_of(2, "ada")))


def test_a_pull_request_that_is_gone_is_asked_for_once(run, github, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    ask("INSERT INTO pull_work VALUES ('acme/widgets', 1, '2026-11-21T00:00:00Z')")  # an issue
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, result.enqueued, ask("SELECT * FROM pull_work")) == (None, 60, [])


def test_a_repository_that_can_not_be_read_leaves_the_work_list_alone(run, github, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    del github.repos["acme/widgets"]
    for enabled in (True, False):
        github.graphql_enabled = enabled
        (result,) = run(only="pull-details", since=ALL_HISTORY)
        assert (result.exit_code, "404" in result.error, len(ask("SELECT * FROM pull_work"))) == (1, True, 60)


@pytest.mark.parametrize("ways", [("pull-details",), ("pull-details", "pull")])
def test_what_graphql_can_not_show_alone_rest_does_else_it_is_a_gap(run, github, repo, ask, ways):
    repo.broken.update((way, 30) for way in ways)
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    if len(ways) == 1:
        assert (result.error, behind(ask, versions(repo))) == (None, [])
        return
    assert (result.exit_code, behind(ask, versions(repo))) == (1, [30])
    assert "pull request 30" in result.error
    _, result = run(streams=BOTH)
    assert (result.exit_code, ask("SELECT number FROM pull_work")) == (1, [(30,)])
    assert "does not give 1 of" in result.error
    repo.broken.clear()
    _, result = run(streams=BOTH)
    assert (result.error, behind(ask, versions(repo)), ask("SELECT * FROM pull_work")) == (None, [], [])


def test_rest_is_asked_for_no_more_than_graphql_can_not_show(run, github, repo, ask):
    repo.broken.update(("pull-details", number) for number in (2, 10, 20, 30))
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, behind(ask, versions(repo))) == (None, [])
    alone = [int(one.path.split("/")[-1]) for one in details(github) if one.path != "/graphql"]
    assert sorted(alone) == [2, 10, 20, 30]


def test_some_that_can_not_be_had_here_and_there_are_no_reason_to_give_up(run, github, repo, ask):
    github.graphql_enabled = False
    repo.broken.update(("pull", number) for number in (2, 10, 20, 30))
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.exit_code, behind(ask, versions(repo))) == (1, [2, 10, 20, 30])


def test_where_graphql_can_show_none_of_many_rest_does_all_of_them(run, github, repo, ask):
    repo.broken.update(("pull-details", number) for number in range(2, 8))
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, behind(ask, versions(repo))) == (None, [])


def test_many_that_fail_hide_no_others_from_the_next_run(run, github, repo, ask):
    repo.broken.update((way, number) for way in ("pull-details", "pull") for number in range(2, 8))
    codes = [run(streams=BOTH, since=ALL_HISTORY)[1].exit_code for _ in range(4)]
    assert (codes[0], codes[-1]) == (3, 1)
    assert behind(ask, versions(repo)) == list(range(2, 8))


def test_an_outage_is_one_and_commits_nothing(run, github, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    github.fail_next(502, times=1000)
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.exit_code, newest(ask), ask("SELECT gaps FROM ingest_state WHERE stream = 'pull-details'")) == (
        3,
        {},
        [(None,)],
    )
    assert len(details(github)) < 20


KINDS = ["graphql_502", "graphql_wrong", "graphql_slow", "graphql_nulls", "graphql_null_reviews", "graphql_partly",
         "reset", "truncate", "invalid_json", "html", 502]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_holds_less_than_was_asked_for_is_no_answer(run, github, repo, ask, kind):
    run(only="pulls", since=ALL_HISTORY)
    github.fail_next(kind, times=3, match="/graphql")
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, behind(ask, versions(repo)), ask("SELECT * FROM pull_work")) == (None, [], [])


@pytest.mark.parametrize("kind, details", [
    ("graphql_limited", {}), ("graphql_limited", {"spelling": "RATE_LIMIT"}), ("graphql_secondary", {"retry_after": 7}),
    ("secondary_403", {"retry_after": 7})])  # fmt: skip
def test_a_limit_of_graphql_is_waited_for_although_it_comes_as_200(run, github, time, repo, kind, details):
    run(only="pulls", since=ALL_HISTORY)
    github.fail_next(kind, match="/graphql", **details)
    slept = len(time.slept)
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, result.enqueued) == (None, 60)
    assert time.slept[slept:] == [details.get("retry_after", 60)]


def test_neither_query_nor_token_follows_a_redirect_to_elsewhere(run, github, repo):
    run(only="pulls", since=ALL_HISTORY)
    with GitHubServer() as elsewhere:
        github.fail_next("redirect", match="/graphql", url=elsewhere.url + "/graphql")
        (result,) = run(only="pull-details", since=ALL_HISTORY)
        assert (result.exit_code, elsewhere.journal) == (2, [])


@pytest.mark.parametrize("kind", ["graphql_forbidden", 403, 404])
def test_a_token_that_may_not_ask_graphql_asks_rest(run, github, repo, ask, kind):
    run(only="pulls", since=ALL_HISTORY)
    github.fail_next(kind, times=2, match="/graphql")
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.error, behind(ask, versions(repo)), github.graphql_points_used <= 2) == (None, [], True)


def test_graphql_s_points_are_a_budget_of_their_own(run, github, repo, ask):
    github.graphql_limit = 1
    _, result = run(streams=BOTH, since=ALL_HISTORY, max_wait_seconds=0)
    assert (result.exit_code, "rate limit holds until" in result.error) == (3, True)
    assert len(newest(ask)) == 25
    assert ask("SELECT scan IS NOT NULL FROM ingest_state WHERE stream = 'pull-details'") == [(1,)]  # unfinished
    assert run(only="pulls")[0].error is None
    github.graphql_limit = 5000
    assert run(only="pull-details")[0].error is None  # as far back as the run before was told to look
    assert behind(ask, versions(repo)) == []
    assert ask("SELECT scan FROM ingest_state WHERE stream = 'pull-details'") == [(None,)]


def test_changes_on_every_page_while_it_is_read_are_not_missed(run, github, time, repo, ask):
    before, rng = versions(repo), random.Random(5)

    def change(repo, stream, served):
        time.seconds += 1
        if stream in ("pulls", "pull-details") and len(github.journal) < 100:
            repo.add_review(rng.choice(sorted(before)), "COMMENTED")

    github.after_page = change
    _, result = run(streams=BOTH, since=ALL_HISTORY)
    assert (result.error, behind(ask, before)) == (None, [])


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_whatever_happens_while_requests_fail_and_runs_are_killed_nothing_is_missed(run, github, time, repo, ask, seed):
    for _ in range(100):
        repo.add_pull(updated_at="2026-11-20T12:00:00Z")
    rng = random.Random(seed)
    before, killed = versions(repo), 0

    def live(target):
        time.seconds += 1
        if len(github.journal) < 300:
            happen(repo, rng, kinds=("open", "touch", "close", "review", "dismiss", "event"))

    github.on_request = live
    github.fail_randomly(0.3, KINDS, rng)
    for attempt in range(60):
        try:
            results = run(streams=BOTH, since=ALL_HISTORY, pages=1 if attempt < 8 else None)
        except Killed:
            killed += 1
            continue
        if not any(result.error for result in results):
            break
    assert (behind(ask, before), killed > 2) == ([], True)
    assert not any(result.error for result in results)


def test_a_run_that_is_killed_after_each_commit_in_turn_still_ends_complete(run, repo, ask):
    before = versions(repo)
    results, killed = through_kills(run, most=20, streams=BOTH, since=ALL_HISTORY)
    assert killed > 2
    assert ([result.error for result in results], behind(ask, before)) == ([None, None], [])


def test_a_repository_that_was_renamed_goes_on_under_its_new_name(run, github, repo, ask):
    run(streams=BOTH, since=ALL_HISTORY)
    repo.add_review(2, "APPROVED")
    github.rename("acme/widgets", "acme/gadgets")
    _, result = run(streams=BOTH)
    assert (result.error, result.repo, behind(ask, versions(repo))) == (None, "acme/gadgets", [])
    assert {repo for (repo,) in ask("SELECT repo FROM ingest_state")} == {"acme/gadgets"}


def test_by_two_names_of_one_repository_its_pull_requests_are_asked_for_once(run, github, repo, ask):
    run(streams=BOTH, since=ALL_HISTORY)
    github.rename("acme/widgets", "acme/gadgets")
    run(streams=BOTH)
    repo.add_review(2, "APPROVED")
    run(only="pulls")
    results = run(repo=["acme/widgets", "acme/gadgets"], only="pull-details", jobs=2)
    assert sorted((result.requests, result.error) for result in results) == [(0, None), (1, None)]


def test_another_repository_of_the_same_name_is_not_asked_for_the_old_one_s_pull_requests(run, github, repo, ask):
    run(only="pulls", since=ALL_HISTORY)
    github.rename("acme/widgets", "acme/gadgets")
    github.add_repo("acme/widgets").make(5)
    (result,) = run(only="pull-details", since=ALL_HISTORY)
    assert (result.exit_code, newest(ask)) == (3, {})
    assert "another repository" in result.error


@pytest.mark.slow
@pytest.mark.parametrize("way, layout", with_others(["graphql", "rest"], ("object",), ("batch",)))
def test_they_are_archived_extracted_and_rebuilt(run_main, db_path, tmp_path, layout, way):
    ask = functools.partial(rows_of, db_path)

    def main(*words):
        code, _, err = run_main(*words, env={"PIPELINE_DB": db_path, **env})
        assert code == 0, err

    def found():
        return [
            ask("SELECT repo, number, reviews, payload_sha256, s3_key FROM pull_details"),
            ask('SELECT repo, number, author, state, "commit", payload_sha256, s3_key FROM reviews ORDER BY id'),
        ]

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        repo.add_pull()
        for number in range(130):
            repo.add_review(1, "COMMENTED", author=None if number % 2 else "bo")
        server.graphql_enabled = way == "graphql"
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "all", "GITHUB_TOKEN": "t"}
        main("ingest", "--repo", "acme/widgets", "--all")
    archive = ("--archive-dir", str(tmp_path / "archive"))
    main("worker", "--layout", layout, *archive)
    before = found()
    ((named, number, reviews, _, key),) = before[0]
    assert (named, number, reviews, len(before[1]), "/pull-details/dt=" in key) == ("acme/widgets", 1, 130, 130, True)
    for table in ("pull_details", "reviews"):
        with contextlib.closing(db.connect(db_path)) as conn, db.transaction(conn):
            conn.execute(f"DELETE FROM {table}")
    main("rebuild", *archive)
    assert found() == before


def test_a_first_run_that_takes_long_says_how_long(run, repo, caplog):
    for _ in range(200):
        repo.add_pull(updated_at="2026-11-20T12:00:00Z")
    caplog.set_level("INFO", "pipeline.ingest")
    run(streams=BOTH, since=ALL_HISTORY)
    assert "acme/widgets pull-details: 260 to ask for, about 11 requests" in caplog.text


def test_pull_details_without_pulls_are_a_mistake(run_main, tmp_path):
    env = {"PIPELINE_DB": str(tmp_path / "p.db")}
    code, _, err = run_main("ingest", "--repo", "a/b", "--streams", "issues,pull-details", env=env)
    assert (code, "pull-details needs pulls beside it: give pulls,issues,pull-details" in err) == (2, True)
