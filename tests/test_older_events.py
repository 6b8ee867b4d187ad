"""Events beyond the end of GitHub's list: had item by item, by GraphQL, and the same as REST's."""

import contextlib
import functools
import json
import random

import pytest

import db
from commands import figures, reports
from fetcher import ALL_HISTORY
from foundation.errors import EXIT_FAILED, EXIT_OUTAGE
from foundation.records import Gap
from github import pages
from github.listing import EMPTY_ANSWERS
from github.streams import KINDS, timeline
from scans import events
from tests.github_server import GitHubServer
from tests.github_world import life
from tests.ingesting import START, Killed, ask, github, rows_of, run, through_kills, time  # noqa: F401 - fixtures

FAULTS = ["graphql_502", "graphql_wrong", "graphql_slow", "graphql_nulls", "graphql_null_reviews", "graphql_partly",
          500, "reset", "truncate", "invalid_json", "html", "secondary_403"]  # fmt: skip


@pytest.fixture(autouse=True)
def few_pages(github, monkeypatch):
    """GitHub shows so many events, and not one page more."""
    shows(1, monkeypatch, github)


def shows(pages, monkeypatch, server):
    monkeypatch.setattr(events, "DEEPEST_PAGE", pages)
    monkeypatch.setattr(events.EventScan, "deepest_page", pages)
    server.event_pages = pages


@pytest.fixture
def repo(github):
    made = github.add_repo("acme/widgets")
    for number in range(60):
        made.add_pull() if number % 3 else made.add_issue()
    return made


KINDS_MADE = ["mentioned", "subscribed", "labeled", "closed", "reopened", "referenced"]


def happen(repo, count, step=60, most=60):
    """Events of the past, the last of them an hour ago."""
    end = START - 3600
    return [
        repo.add_event(1 + at * 7 % most, KINDS_MADE[at % 6], at=end - step * (count - at),
                       **({"label": "bug"} if at % 6 == 2 else {}))
        for at in range(count)
    ]  # fmt: skip


def queued(ask):
    found = [item_id for (item_id,) in ask("SELECT item_id FROM queue_items WHERE item_type = 'event'")]
    assert len(found) == len(set(found))  # each of them once
    return set(found)


def fills(github):
    return [one for one in github.journal if one.path == "/graphql"]


def test_what_the_list_does_not_reach_is_had_item_by_item_and_then_the_stream_is_finished(run, github, ask, repo, time):
    ids = happen(repo, 360)
    (first,) = run(only="events", since=ALL_HISTORY)
    assert (first.error, queued(ask), first.enqueued) == (None, set(ids), 360)
    assert (len(fills(github)), github.graphql_points_used) == (3, 3)  # of 60 items
    assert first.requests == 3 + 2 + 3  # the list and whose it is; the newest number, and whether REST knows the ids
    (shown,) = [state for state in streams(ask) if state["stream"] == "events"]
    assert (shown["truncated_at"], shown["items_to_fill"], shown["last_error"]) == (None, None, None)
    assert shown["filled_before"] == repo.happened[ids[-100]]["created_at"]
    time.seconds += 600
    added = repo.add_event(1, "locked")
    (second,) = run(only="events")
    assert (second.error, second.requests, second.enqueued, queued(ask)) == (None, 1, 1, {*ids, added})
    time.seconds += 600
    points = github.points_used, github.graphql_points_used
    (third,) = run(only="events", since=ALL_HISTORY)
    assert (third.error, third.requests, third.not_modified) == (None, 1, 1)
    assert (github.points_used, github.graphql_points_used) == points


def streams(ask):
    path = ask.args[0]
    with contextlib.closing(db.connect(path)) as conn:
        return figures.streams(conn)


def test_it_is_filled_only_as_far_back_as_it_is_wanted(run, github, ask, repo):
    ids = happen(repo, 360, step=3600)  # 100 of them take 100 hours
    (first,) = run(only="events")
    week = [at for at in ids if repo.happened[at]["created_at"] >= "2026-11-16T03:00:00Z"]
    assert (first.error, queued(ask), 100 < len(week) < 360) == (None, set(week), True)
    (second,) = run(only="events", since=ALL_HISTORY)
    assert (second.error, queued(ask)) == (None, set(ids))
    ((gaps,),) = ask("SELECT gaps FROM ingest_state")
    assert len(json.loads(gaps)) == 1  # the later end of the list stands for the one before


def test_what_the_list_had_shown_is_not_brought_again_although_the_queue_has_forgotten_it(run, github, ask, repo):
    """But for the minute before its end, of which it may have shown only a part, and the minute before the cursor."""
    ids = happen(repo, 360)
    run(only="events", since=ALL_HISTORY, token=None)
    ask("DELETE FROM queue_items")
    (result,) = run(only="events")
    assert (result.error, queued(ask)) == (None, set(ids[:-98] + ids[-2:]))


@pytest.mark.parametrize("number", [5, 60])
def test_an_item_with_more_events_than_an_answer_holds_is_read_on(run, github, ask, repo, number):
    ids = [repo.add_event(number, "subscribed", at=START - 10**6 + at) for at in range(430)]
    ids += happen(repo, 200)
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.error, queued(ask)) == (None, set(ids))
    assert len(fills(github)) == 3 + 4


def test_a_run_that_is_killed_after_each_commit_in_turn_still_ends_complete(run, github, ask, repo):
    ids = [repo.add_event(9, "subscribed", at=START - 10**6 + at) for at in range(250)]
    ids += happen(repo, 300)
    (result,), killed = through_kills(run, most=30, only="events", since=ALL_HISTORY)
    assert (killed > 5, result.error, queued(ask)) == (True, None, set(ids))


def test_a_run_that_is_killed_between_the_halves_of_what_failed_still_ends_complete(run, github, ask, repo):
    ids = happen(repo, 360)
    repo.broken.add(("timeline", 20))
    with pytest.raises(Killed):
        run(only="events", since=ALL_HISTORY, pages=3)
    ((gaps,),) = ask("SELECT gaps FROM ingest_state")
    assert 0 < Gap(*json.loads(gaps)[0]).filled_to < 20
    repo.broken.clear()
    (result,) = run(only="events")
    assert (result.error, queued(ask)) == (None, set(ids))


def test_without_a_token_what_the_list_does_not_reach_is_a_gap_and_no_mistake(run, github, ask, repo):
    ids = happen(repo, 360)
    results = run(streams=("events", "issues"), since=ALL_HISTORY, token=None)
    assert [result.exit_code for result in results] == [EXIT_FAILED, 0]
    assert "is truncated" in results[0].error and "not had item by item: that takes a token" in results[0].error
    assert (queued(ask), fills(github)) == (set(ids[-100:]), [])


def test_status_says_how_far_it_has_come(run, github, ask, repo):
    happen(repo, 360)
    github.graphql_limit = 2
    (result,) = run(only="events", since=ALL_HISTORY, max_wait_seconds=0)
    assert (result.exit_code, "rate limit" in result.error) == (EXIT_OUTAGE, True)
    (shown,) = streams(ask)
    assert (shown["items_filled"], shown["items_to_fill"], shown["filled_before"]) == (50, 60, None)
    lines = reports.status_lines({
        "queue": {}, "oldest_pending_seconds": None, "waiting": {"rows": 0}, "issues": 0, "db_bytes": 0,
        "vacuum": None, "repos": [shown], "runs": [], "failed_reasons": [], "failed_items": [],
    })  # fmt: skip
    assert f"truncated at {shown['truncated_at']}, filled for 50 of 60 items" in "\n".join(lines)
    github.graphql_limit = 5000
    assert run(only="events")[0].error is None
    (shown,) = streams(ask)
    assert (shown["truncated_at"], shown["items_to_fill"]) == (None, None)


def test_a_long_fill_says_before_what_it_takes(run, github, caplog):
    repo = github.add_repo("acme/widgets").make(250)
    happen(repo, 250, most=250)
    caplog.set_level("INFO")
    run(only="events", since=ALL_HISTORY)
    said = "beyond the list's end it asks 250 items, in about 10 requests; points of GraphQL left: unknown"
    assert f"acme/widgets events: {said}" in caplog.messages


def test_what_happens_while_it_is_filled_is_read_by_the_next_run(run, github, ask, repo, time):
    ids = happen(repo, 360)

    def more(target):
        if target.startswith("/graphql"):
            time.seconds += 1
            ids.append(repo.add_event(3, "mentioned"))

    github.on_request = more
    (result,) = run(only="events", since=ALL_HISTORY)
    github.on_request = None
    time.seconds += 600
    assert (result.error, run(only="events")[0].error, queued(ask)) == (None, None, set(ids))


def test_what_is_gone_and_discussions_are_passed_over(run, github, ask, repo):
    ids = set(happen(repo, 360))
    for number in (4, 5, 30):
        repo.delete_issue(number)
    (result,) = run(only="events", since=ALL_HISTORY)
    left = ids & set(repo.streams["events"].items)
    assert (result.error, queued(ask), len(left) < 360) == (None, left, True)


QUICK = ("graphql_nulls", "graphql_partly")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.long) for kind in FAULTS]
)
def test_an_answer_that_holds_less_than_was_asked_for_is_no_answer(run, github, ask, repo, kind):
    ids = happen(repo, 200)
    github.fail_next(kind, times=3, match="/graphql")
    (result,) = run(only="events", since=ALL_HISTORY, max_wait_seconds=10**6)
    assert (result.error, queued(ask)) == (None, set(ids))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_whatever_happens_while_requests_fail_and_runs_are_killed_nothing_is_missed(run, github, time, ask, repo, seed):
    ids, killed, rng = happen(repo, 360), 0, random.Random(seed)

    def live(target):
        time.seconds += 1
        if len(github.journal) < 200:
            life.happen(repo, rng, kinds=("open", "touch", "close", "event", "delete"))

    github.on_request = live
    github.fail_randomly(0.3, FAULTS, rng)
    for attempt in range(60):
        try:
            (result,) = run(
                only="events", since=ALL_HISTORY, pages=attempt + 1 if attempt < 6 else None, max_wait_seconds=10**6
            )
        except Killed:
            killed += 1
            continue
        if result.error is None:
            break
    left = set(ids) & set(repo.streams["events"].items)
    assert (result.error, left - queued(ask), killed > 2, len(left) > 100) == (None, set(), True, True)


def test_an_item_that_graphql_can_not_show_is_had_by_rest_else_named_and_asked_for_again(run, github, ask, repo):
    ids = happen(repo, 360)
    repo.broken.update([("timeline", 7), ("timeline", 8), ("item-events", 7)])
    (first,) = run(only="events", since=ALL_HISTORY)
    assert first.exit_code == EXIT_FAILED
    assert "does not give the older events of 1 items of acme/widgets, not even alone (#7)" in first.error
    lost = set(ids) - queued(ask)
    assert {repo.happened[at]["of"] for at in lost} == {7}
    ((gaps,),) = ask("SELECT gaps FROM ingest_state")
    assert len(json.loads(gaps)) == 2  # the end of the list, and the item
    (second,) = run(only="events")
    assert second.error == first.error
    repo.broken.clear()
    (third,) = run(only="events")
    assert (third.error, queued(ask)) == (None, set(ids))


def test_some_that_can_not_be_had_here_and_there_are_no_reason_to_give_up(run, github, ask, repo):
    ids = happen(repo, 200)
    github.graphql_enabled = False

    def lost(*numbers):
        repo.broken = {("item-events", number) for number in numbers}
        (result,) = run(only="events", since=ALL_HISTORY)
        left = {repo.happened[at]["of"] for at in set(ids) - queued(ask)}
        return result.exit_code, sorted(left)

    assert lost(10, 20, 25, 30, 40) == (EXIT_FAILED, [10, 20, 25, 30, 40])
    assert lost(10, 25, 30) == (EXIT_FAILED, [10, 25, 30])


@pytest.mark.long
def test_many_that_fail_hide_no_others_from_the_next_run(run, github, ask, repo):
    ids = happen(repo, 360)
    repo.broken.update((way, number) for way in ("timeline", "item-events") for number in range(10, 14))
    codes = [run(only="events", since=ALL_HISTORY)[0].exit_code for _ in range(2)]
    assert codes == [EXIT_OUTAGE, EXIT_FAILED]
    assert {repo.happened[at]["of"] for at in set(ids) - queued(ask)} == {10, 11, 12, 13}
    repo.broken.clear()
    assert (run(only="events")[0].error, queued(ask)) == (None, set(ids))


def test_without_graphql_rest_is_asked(run, github, ask, repo):
    ids = happen(repo, 300)
    ids += [repo.add_event(9, "subscribed", at=START - 10**6 + at) for at in range(150)]
    github.graphql_enabled = False
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.error, queued(ask)) == (None, set(ids))


@pytest.mark.long
def test_without_graphql_a_run_that_is_killed_after_each_commit_in_turn_still_ends_complete(run, github, ask, repo):
    ids = happen(repo, 200, most=20)
    github.graphql_enabled = False
    (result,), killed = through_kills(run, most=60, pages=2, only="events", since=ALL_HISTORY)
    assert (killed > 20, result.error, queued(ask)) == (True, None, set(ids))


@pytest.mark.parametrize("wrong", ["unreadable", "another", "another of one kind", "nothing to compare with"])
def test_where_the_ids_can_not_be_read_or_are_not_rests_rest_is_asked(run, github, ask, repo, monkeypatch, wrong):
    right = repo.event_node_id
    ids = happen(repo, 300) + [repo.add_event(3, kind, at=START - 10**6) for kind in ("mentioned", "closed") * 9]

    def made(at):
        if wrong == "unreadable":
            return f"XX_{at}"
        is_wrong = wrong == "another" or (wrong == "another of one kind" and repo.happened[at]["event"] == "closed")
        return repo.node_id("LE", 2, at + 10**6) if is_wrong else right(at)

    monkeypatch.setattr(repo, "event_node_id", made)
    if wrong == "nothing to compare with":
        github.fail_next("no_items", times=EMPTY_ANSWERS, match="/issues/3/events")
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.error, queued(ask), len(fills(github))) == (None, set(ids), 1)


def test_another_repository_of_the_same_name_is_not_asked_for_the_old_one_s_events(run, github, ask, repo):
    ids = happen(repo, 360)
    run(only="events", since=ALL_HISTORY, token=None)
    renamed = []

    def rename(target):
        if target.startswith("/graphql") and not renamed:
            github.rename("acme/widgets", "acme/gadgets")
            renamed.append(github.add_repo("acme/widgets").make(5))

    github.on_request = rename
    (result,) = run(only="events")
    assert (result.exit_code, "another repository" in result.error) == (EXIT_OUTAGE, True)
    assert queued(ask) == set(ids[-100:])


def test_what_an_earlier_end_of_the_list_left_is_filled_also_where_it_ended_once_more_since(run, ask, repo, time):
    ids = happen(repo, 360)
    run(only="events", since=ALL_HISTORY, token=None)
    time.seconds += 10**6
    ids += [repo.add_event(1 + at % 60, "mentioned", at=START + 60 * at) for at in range(200)]
    run(only="events", token=None)
    (result,) = run(only="events")
    assert (result.error, queued(ask)) == (None, set(ids))


def test_one_empty_list_of_items_does_not_say_that_there_is_none(run, github, ask, repo):
    ids = happen(repo, 360)
    github.fail_next("no_items", match="sort=created")
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.error, queued(ask)) == (None, set(ids))


def test_items_of_a_repository_that_can_not_be_read_any_more_are_not_taken_for_gone(run, github, ask, repo):
    ids = happen(repo, 200)
    github.graphql_enabled = False
    github.on_request = lambda target: "/issues/1/events" in target and github.repos.pop("acme/widgets", None)
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.exit_code, "not had item by item" in result.error) == (EXIT_FAILED, True)
    github.on_request = None
    github.repos["acme/widgets"] = repo
    (result,) = run(only="events")
    assert (result.error, queued(ask)) == (None, set(ids))


def test_an_outage_is_one_and_no_fault_of_an_item(run, github, ask, repo):
    happen(repo, 200)
    github.graphql_enabled = False
    github.on_request = lambda target: "/issues/1/events" in target and github.fail_next(502, times=1000)
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.exit_code, "GitHub: status 502" in result.error) == (EXIT_OUTAGE, True)
    ((gaps,),) = ask("SELECT gaps FROM ingest_state")
    assert len(json.loads(gaps)) == 1  # the end of the list alone


def test_a_list_that_an_earlier_version_found_truncated_is_filled(run, github, ask, repo):
    ids = happen(repo, 360)
    run(only="events", since=ALL_HISTORY, token=None)
    ((gaps,),) = ask("SELECT gaps FROM ingest_state")
    ask("UPDATE ingest_state SET gaps = ?", json.dumps([gap[:5] for gap in json.loads(gaps)]))
    (result,) = run(only="events")
    assert (result.error, queued(ask)) == (None, set(ids))


# The same events in each way.

EACH = [
    ("closed", {"state_reason": "not_planned"}), ("closed", {"commit_id": "1" * 40}), ("reopened", {}),
    ("merged", {"commit_id": "2" * 40}), ("labeled", {"label": "bug"}), ("unlabeled", {"label": "bug"}),
    ("assigned", {"assignee": "cy"}), ("unassigned", {"assignee": "dependabot[bot]"}),
    ("milestoned", {"milestone": "1"}), ("demilestoned", {"milestone": "1"}), ("renamed", {"rename": ("Old", "New")}),
    ("locked", {"lock_reason": "off-topic"}), ("locked", {"lock_reason": "too heated"}),
    ("locked", {"lock_reason": "spam"}), ("unlocked", {}), ("review_requested", {"reviewer": "bo"}),
    ("review_requested", {"team": "core"}),
    ("review_request_removed", {"reviewer": "renovate[bot]"}), ("ready_for_review", {}), ("convert_to_draft", {}),
    ("head_ref_deleted", {}), ("head_ref_force_pushed", {}), ("referenced", {"commit_id": "3" * 40}), ("mentioned", {}),
    ("subscribed", {"actor": None}), ("subscribed", {"actor": "renovate[bot]"}), ("transferred", {}), ("pinned", {}),
]  # fmt: skip


@pytest.mark.parametrize("way", ["graphql", "rest"])
def test_all_ways_give_the_same_rows(run, github, ask, repo, way):
    found = [repo.add_event(3, event, at=START - 9999 - at, **details) for at, (event, details) in enumerate(EACH)]
    listed = [rows(payload) for payload in payloads(run, ask)]
    for table in ("queue_items", "ingest_state"):
        ask(f"DELETE FROM {table}")
    for second in range(100):
        repo.add_event(1, "mentioned", at=START - 4000 + second)
    github.graphql_enabled = way == "graphql"
    filled = [payload for payload in payloads(run, ask) if "number" in payload]
    assert {pages.repo_name(payload) for payload in filled} == {"acme/widgets"}
    assert all(("node" in payload) == (way == "graphql") for payload in filled)
    ours = [rows(payload) for payload in filled]
    assert len(found) == len(listed) == len(ours)
    assert sorted(ours, key=lambda row: row["id"]) == sorted(listed, key=lambda row: row["id"])


def payloads(run, ask):
    (result,) = run(only="events", since=ALL_HISTORY)
    assert result.error is None
    return [json.loads(payload) for (payload,) in ask("SELECT payload FROM queue_items WHERE item_type = 'event'")]


def rows(payload):
    (row,) = KINDS["event"].rows("acme/widgets", payload)
    return row.columns


def test_every_kind_that_is_asked_for_has_a_name_of_rests():
    assert len(set(timeline.NAMES.values())) == len(timeline.NAMES) == 37
    assert {"renamed", "convert_to_draft", "head_ref_force_pushed", "review_request_removed"} <= set(
        timeline.NAMES.values()
    )


@pytest.mark.parametrize("layout", ["object", pytest.param("batch", marks=pytest.mark.long)])
def test_they_are_archived_extracted_and_rebuilt_and_the_metrics_are_as_by_rest(
    run_main, db_path, tmp_path, monkeypatch, layout
):
    ask = functools.partial(rows_of, db_path)

    def main(*words, path=db_path):
        code, _, err = run_main(*words, env={"PIPELINE_DB": path, **env})
        assert code == 0, err

    def found(path=db_path):
        return [
            rows_of(path, "SELECT id, number, event, actor, label, created_at FROM item_events ORDER BY id"),
            rows_of(path, "SELECT number, times_reopened, draft_hours, cycle_hours FROM item_metrics ORDER BY number"),
            rows_of(path, "SELECT number, label, labeled_at, unlabeled_at FROM label_spans ORDER BY 1, 2, 3"),
        ]

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        repo.add_issue(created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z")
        repo.add_pull(draft=True, created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z")
        for day, (number, event, more) in enumerate([
            (1, "labeled", {"label": "bug"}), (1, "closed", {}), (1, "reopened", {}),
            (1, "unlabeled", {"label": "bug"}),
            (2, "ready_for_review", {}), (2, "convert_to_draft", {}), (2, "ready_for_review", {}),
            (2, "labeled", {"label": "slow"}),
        ], start=10):  # fmt: skip
            repo.add_event(number, event, at=f"2026-01-{day}T00:00:00Z", **more)
        for second in range(100):
            repo.add_event(1, "mentioned", at=START + second)
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "issues,pulls,events", "GITHUB_TOKEN": "t"}
        shows(1, monkeypatch, server)
        main("ingest", "--repo", "acme/widgets", "--all")
        shows(300, monkeypatch, server)
        main("ingest", "--repo", "acme/widgets", "--all", path=str(tmp_path / "other.db"))
    archive = ("--archive-dir", str(tmp_path / "archive"))
    main("worker", "--layout", layout, *archive)
    main("worker", "--archive-dir", str(tmp_path / "other"), path=str(tmp_path / "other.db"))
    assert len(ask("SELECT 1 FROM queue_items WHERE payload LIKE '%\"node\"%' AND item_type = 'event'")) >= 7
    by_graphql = found()
    assert by_graphql == found(str(tmp_path / "other.db"))
    assert (by_graphql[1][0][1], len(by_graphql[2]), by_graphql[1][1][2] is not None) == (1, 2, True)
    with contextlib.closing(db.connect(db_path)) as conn, db.transaction(conn):
        conn.execute("DELETE FROM item_events")
    main("rebuild", *archive)
    assert found() == by_graphql
