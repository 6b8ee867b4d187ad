"""The stream of events, from GitHub's list to the table."""

import contextlib
import random

import pytest

import db
from commands import figures
from fetcher import ALL_HISTORY
from foundation.errors import EXIT_FAILED
from scans import events
from tests.github_server import GitHubServer
from tests.ingesting import START, github, run, through_kills, time  # noqa: F401 - fixtures


@pytest.fixture
def repo(github):
    made = github.add_repo("acme/widgets")
    for _ in range(20):
        made.add_issue()
    return made


@pytest.fixture
def few_pages(github, monkeypatch):
    """GitHub shows so many events, and not one page more."""
    monkeypatch.setattr(events, "DEEPEST_PAGE", 4)
    monkeypatch.setattr(events.EventScan, "deepest_page", 4)
    github.event_pages = 4


def happen(repo, count, step=60):
    """Events of the past, the last of them an hour ago."""
    end = START - 3600
    return [repo.add_event(1 + at % 20, "mentioned", at=end - step * (count - at)) for at in range(count)]


def queued(tmp_path):
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        rows = conn.execute("SELECT item_id FROM queue_items WHERE item_type = 'event'").fetchall()
    assert len(rows) == len({row["item_id"] for row in rows})  # each of them once
    return {row["item_id"] for row in rows}


def test_all_events_are_read_with_few_requests_and_later_runs_cost_nothing(run, github, tmp_path, repo):
    ids = happen(repo, 1000)
    (first,) = run(only="events", since=ALL_HISTORY)
    assert (first.error, queued(tmp_path)) == (None, set(ids))
    assert first.requests <= 1000 / 88 + 3
    points = github.points_used
    (again,) = run(only="events")
    assert (again.requests, again.not_modified, github.points_used) == (1, 1, points)


def test_a_long_scan_says_before_how_many_requests_it_may_take(run, github, caplog, repo):
    happen(repo, 1000)
    caplog.set_level("INFO")
    (first,) = run(only="events", since=ALL_HISTORY)
    (said,) = [message for message in caplog.messages if "a long scan" in message]
    assert said == (
        f"acme/widgets events: a long scan, of about {first.requests} requests if all is wanted; points left: 4999"
    )
    caplog.clear()
    run(only="events", since=ALL_HISTORY)
    assert caplog.messages == []


def test_a_list_of_items_that_has_no_last_page_is_foretold_by_their_numbers(run, github, caplog):
    github.add_repo("acme/widgets").make(1500)
    caplog.set_level("INFO")
    (result,) = run(only="issues", since=ALL_HISTORY)
    assert f"acme/widgets issues: a long scan, of about {result.requests} requests" in caplog.text


def test_a_first_run_takes_seven_days(run, tmp_path, repo):
    ids = happen(repo, 240, step=3600)
    (first,) = run(only="events")
    assert (first.error, queued(tmp_path)) == (None, set(ids[-167:]))


def test_an_event_is_taken_once_whatever_its_issue_looks_like(run, time, tmp_path, repo):
    ids = happen(repo, 120)
    run(only="events", since=ALL_HISTORY)
    time.seconds += 600
    for number in range(1, 21):
        repo.touch("issues", number, body="Otherwise")
    added = repo.add_event(3, "locked")
    (again,) = run(only="events")
    assert (again.enqueued, again.requests, queued(tmp_path)) == (1, 1, {*ids, added})


def test_events_that_are_shown_late_by_less_than_a_minute_are_met(run, time, tmp_path, repo):
    happen(repo, 50)
    repo.add_event(2, "locked", at=START)
    time.seconds += 5
    run(only="events")
    late = repo.add_event(2, "unlocked", at=START - 50)
    (again,) = run(only="events")
    assert (again.enqueued, late in queued(tmp_path)) == (1, True)


def test_what_moves_up_while_the_list_is_read_is_not_missed(run, github, time, tmp_path, repo):
    happen(repo, 900)
    rng, numbers = random.Random(4), list(range(1, 21))

    def delete_or_add(repo, stream, served):
        time.seconds += 1
        if len(numbers) > 12:
            repo.delete_issue(numbers.pop(rng.randrange(len(numbers))))
        elif len(github.journal) < 40:
            repo.add_event(numbers[0], "mentioned")

    github.after_page = delete_or_add
    before = set(repo.streams["events"].items)
    (result,) = run(only="events", since=ALL_HISTORY)
    assert len(numbers) == 12
    left = before & set(repo.streams["events"].items)
    assert (result.error, left - queued(tmp_path)) == (None, set())


def test_a_scan_that_is_killed_after_each_page_still_ends_complete(run, tmp_path, repo):
    ids = happen(repo, 900)
    (result,), killed = through_kills(run, most=40, only="events", since=ALL_HISTORY)
    assert (killed > 5, result.error, queued(tmp_path)) == (True, None, set(ids))


@pytest.mark.parametrize("count", [400, 401, 640])
def test_a_list_that_github_shows_no_end_of_is_truncated_and_never_finished(
    run, github, time, tmp_path, repo, few_pages, count
):
    ids = happen(repo, count)
    (first,) = run(only="events", since=ALL_HISTORY, token=None)
    assert (queued(tmp_path), first.exit_code) == (set(ids[-400:]), EXIT_FAILED)
    assert "acme/widgets events is truncated: GitHub shows only the newest 400, and nothing from the" in (first.error)
    assert "what is older was not had item by item: that takes a token" in first.error
    time.seconds += 600
    added = repo.add_event(1, "locked")
    (second,) = run(only="events", token=None)
    assert ("is truncated" in second.error, added in queued(tmp_path)) == (True, True)
    time.seconds += 600
    (third,) = run(only="events", token=None)
    assert (third.requests, third.not_modified, third.error) == (1, 1, second.error)
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        (shown,) = figures.streams(conn)
    oldest = min(repo.streams["events"].items[item_id][0] for item_id in queued(tmp_path))
    assert (shown["truncated_at"], shown["last_error"], shown["last_success_at"]) == (oldest, third.error, None)


def test_a_list_that_github_refuses_to_go_on_with_sooner_than_it_says_is_truncated_too(run, github, tmp_path, repo):
    github.event_pages = 2  # of the 300 that are asked for
    ids = happen(repo, 640)
    (result,) = run(only="events", since=ALL_HISTORY, token=None)
    assert ("is truncated" in (result.error or ""), result.exit_code) == (True, EXIT_FAILED), result.error
    assert set(ids[-190:]) <= queued(tmp_path)


def test_a_list_that_ends_on_the_last_page_that_github_shows_is_whole(run, tmp_path, repo, few_pages):
    ids = happen(repo, 399)
    (result,) = run(only="events", since=ALL_HISTORY)
    assert (result.error, queued(tmp_path)) == (None, set(ids))


def test_what_is_wanted_may_end_before_the_list_does(run, tmp_path, repo, few_pages):
    happen(repo, 640, step=3600)
    (result,) = run(only="events")
    assert (result.error, len(queued(tmp_path))) == (None, 167)


def test_a_deletion_deep_in_a_truncated_list_hides_nothing_that_is_newer_than_its_end(
    run, github, tmp_path, repo, few_pages
):
    ids, gone = happen(repo, 640), []

    def delete(repo, stream, served):
        if len(github.journal) in (4, 5) and len(gone) < 2:
            gone.append(len(gone) + 1)
            repo.delete_issue(gone[-1])

    github.after_page = delete
    (result,) = run(only="events", since=ALL_HISTORY, token=None)
    left = set(ids[-400:]) & set(repo.streams["events"].items)
    assert (len(gone), "is truncated" in result.error, left - queued(tmp_path)) == (2, True, set())


@pytest.mark.parametrize("at, lost", [(700, 1), (100, 5), (20, 6)])
def test_an_event_that_breaks_its_page_is_stepped_over_with_as_few_others_as_can_be_asked_for(
    run, github, tmp_path, repo, at, lost
):
    ids = happen(repo, 900)
    repo.broken.add(("events", ids[at]))
    (result,) = run(only="events", since=ALL_HISTORY)
    missed = set(ids) - queued(tmp_path)
    assert (ids[at] in missed, len(missed) <= lost) == (True, True)
    assert "items of acme/widgets events, not even alone" in result.error
    repo.broken.clear()
    assert (run(only="events")[0].error, queued(tmp_path)) == (None, set(ids))


def test_events_are_archived_extracted_and_rebuilt(run_main, tmp_path):
    def main(*words):
        code, _, err = run_main(*words, env={"PIPELINE_DB": str(tmp_path / "p.db"), **env})
        assert code == 0, err

    def rows():
        with db.reader(str(tmp_path / "p.db")) as conn:
            found = conn.execute("SELECT event, number, actor, label, s3_key FROM item_events ORDER BY id")
            return [tuple(row) for row in found]

    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        repo.add_issue()
        repo.add_event(1, "labeled", label="bug")
        last = repo.add_event(1, "mentioned", actor=None, orphan=True)
        env = {"GITHUB_API_URL": server.url, "PIPELINE_STREAMS": "events"}
        main("ingest", "--repo", "acme/widgets", "--all")
    archive = str(tmp_path / "archive")
    main("worker", "--archive-dir", archive)
    found = rows()
    assert [row[:4] for row in found] == [("labeled", 1, "ada", "bug"), ("mentioned", 0, None, None)]
    assert found[1][4].endswith(f"-{last}.json")
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        conn.execute("DELETE FROM item_events")
    main("rebuild", "--archive-dir", archive)
    assert rows() == found


def test_an_event_that_was_pruned_is_not_taken_again_in_other_bytes(run, github, time, tmp_path, run_main):
    repo = github.add_repo("acme/widgets")
    repo.add_issue(created_at="2026-11-01T00:00:00Z", updated_at="2026-11-01T00:00:00Z")
    event = repo.add_event(1, "reopened", at="2026-11-20T00:00:00Z")
    repo.add_event(1, "closed", at="2026-11-22T00:00:00Z")
    path = str(tmp_path / "p.db")
    run(streams=("issues", "events"))
    assert run_main("worker", "--archive-dir", "archive", "--db", path)[0] == 0
    with contextlib.closing(db.connect(path)) as conn:
        conn.execute("DELETE FROM queue_items")
    repo.happened[event]["orphan"] = True
    repo.touch("issues", 1, title="another")
    time.seconds += 60
    _, result = run(streams=("issues", "events"), since="2026-10-01T00:00:00Z")
    assert result.error is None
    with contextlib.closing(db.connect(path)) as conn:
        found = conn.execute(
            "SELECT item_id FROM queue_items WHERE item_type = 'event' AND item_id IN (SELECT id FROM item_events)"
        )
        assert found.fetchall() == []
