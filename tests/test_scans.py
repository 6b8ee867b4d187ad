"""GitHub as others have met it: names used again, odd answers, broken items, lists that shift while they are read."""

import contextlib
import itertools
import json
import random
import sqlite3
from urllib.parse import urlencode

import pytest

import db
import ingest
from fetcher import ALL_HISTORY
from foundation import timestamps
from foundation.errors import EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, Interrupted
from github import pages
from github.spots import SEEN, Cut, Spot, page_at
from scans import lists
from tests.ingesting import START, Killed, github, missing, queued, run, time, versions  # noqa: F401 - fixtures


def codes(results):
    return ingest.exit_code(results)


def requests(results):
    return [result.requests for result in results]


# A repository is its numeric id.


@pytest.mark.parametrize("items", [7, 250])
@pytest.mark.parametrize("alias_is_known", [True, False])
def test_a_name_that_another_repository_took_is_read_as_that_one(run, github, time, tmp_path, items, alias_is_known):
    old = github.add_repo("acme/app").make(items)
    run(repo="acme/app", since=ALL_HISTORY)
    github.rename("acme/app", "acme/app-legacy")
    if alias_is_known:
        old.touch(old.stream_of(1), 1)
        assert {result.repo for result in run(repo="acme/app")} == {"acme/app-legacy"}
    new = github.add_repo("acme/app").make(items, step_seconds=3600, seed=2)  # most of it older than the cursor
    for _ in range(2):
        assert codes(run(repo="acme/app", since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, new, versions(new)) == []
    old.touch(old.stream_of(2), 2)
    run(repo="acme/app-legacy")
    conn = db.connect(str(tmp_path / "p.db"))
    assert conn.execute("SELECT count(DISTINCT item_id) FROM queue_items").fetchone()[0] == 2 * items
    conn.close()


def test_a_repository_that_takes_a_name_unseen_does_not_inherit_its_cursor(run, github, tmp_path):
    github.add_repo("acme/app").make(150)
    run(repo="acme/app")
    del github.repos["acme/app"]
    new = github.add_repo("acme/app").make(150, step_seconds=3600, seed=2)
    first = run(repo="acme/app")
    days = timestamps.from_epoch(START - 7 * 86400)
    recent = {item: updated for item, updated in versions(new).items() if updated >= days}
    assert len(recent) > 100
    assert missing(tmp_path, new, recent) == []
    assert requests(run(repo="acme/app")) == [1, 1]
    assert [result.error for result in first] == [None, None]


@pytest.mark.parametrize("before", [5, 150])  # with so many, the id of the one before was seen
def test_issues_on_one_page_of_a_repository_that_took_the_name_are_not_skipped(run, github, tmp_path, before):
    github.add_repo("acme/app").make(before, pulls=0)
    run(repo="acme/app", only="issues")
    del github.repos["acme/app"]
    new = github.add_repo("acme/app").make(7, pulls=0, step_seconds=3600, seed=2)
    run(repo="acme/app", only="issues")
    assert missing(tmp_path, new, versions(new)) == []


def test_the_cursor_of_a_repository_whose_name_was_taken_goes_on_under_its_new_name(run, github, time, tmp_path):
    old = github.add_repo("acme/app").make(250)
    cursors = [result.cursor for result in run(repo="acme/app", since=ALL_HISTORY)]
    github.rename("acme/app", "acme/app-legacy")
    github.add_repo("acme/app").make(120, seed=2)
    run(repo="acme/app")
    time.seconds += 30 * 86400
    for number in range(1, 51):
        old.touch(old.stream_of(number), number)
    time.seconds += 20 * 86400  # longer ago than a first run looks back
    results = run(repo="acme/app-legacy")
    assert sum(result.enqueued for result in results) >= 50
    assert [result.cursor > cursor for result, cursor in zip(results, cursors)] == [True, True]
    assert missing(tmp_path, old, versions(old)) == []


def test_an_empty_repository_that_takes_the_name_of_a_renamed_one_leaves_that_as_it_is(run, github):
    old = github.add_repo("acme/app").make(150)
    run(repo="acme/app", since=ALL_HISTORY)
    github.rename("acme/app", "acme/app-legacy")
    for kind in ("issues", "pulls"):
        old.touch(kind, next(number for number in range(1, 150) if old.stream_of(number) == kind))
    cursors = [result.cursor for result in run(repo="acme/app")]
    github.add_repo("acme/app")
    assert {result.repo for result in run(repo="acme/app")} == {"acme/app"}
    legacy = run(repo="acme/app-legacy")
    assert [(result.repo, result.cursor) for result in legacy] == [("acme/app-legacy", cursor) for cursor in cursors]
    assert requests(legacy) == [1, 1]


def test_two_names_of_one_repository_in_a_run_are_read_once(run, github, tmp_path):
    github.add_repo("acme/app").make(150, pulls=1.0)
    github.rename("acme/app", "acme/new")
    results = run(repo=["acme/app", "acme/new"], only="pulls", since=ALL_HISTORY)
    assert codes(results) == EXIT_OK
    assert sum(result.fetched for result in results) == 150 + 1  # the two pages overlap by one


def test_a_run_without_change_costs_one_request_a_stream_and_one_more_for_a_former_name(run, github):
    repo = github.add_repo("acme/app").make(150)
    run(repo="acme/app", since=ALL_HISTORY)
    github.rename("acme/app", "acme/new")
    repo.touch("issues", next(n for kind, n in versions(repo) if kind == "issue"))
    run(repo="acme/app")
    points = github.points_used
    assert requests(run(repo="acme/app")) == [2, 2]
    assert requests(run(repo="acme/new")) == [1, 1]
    assert github.points_used - points == 2  # the redirects


def test_each_repository_that_takes_a_name_after_another_begins_anew(run, github, tmp_path):
    for seed in range(3):
        github.repos.pop("acme/app", None)
        repo = github.add_repo("acme/app").make(150, pulls=1.0, step_seconds=3600, seed=seed)
        run(repo="acme/app", only="pulls", since=ALL_HISTORY if seed == 0 else None)
        if seed < 2:
            repo.touch("pulls", 1)
            run(repo="acme/app", only="pulls")
    assert missing(tmp_path, repo, versions(repo)) == []
    conn = db.connect(str(tmp_path / "p.db"))
    assert conn.execute("SELECT count(DISTINCT item_id) FROM queue_items").fetchone()[0] == 3 * 150
    conn.close()


def test_of_a_repository_that_took_the_name_unseen_no_older_issues_are_taken_than_of_the_one_before(
    run, github, time, tmp_path
):
    github.add_repo("acme/app").make(5, pulls=0)
    run(repo="acme/app", only="issues")
    del github.repos["acme/app"]
    new = github.add_repo("acme/app").make(7, pulls=0, step_seconds=2 * 86400, seed=2)
    run(repo="acme/app", only="issues")
    week = timestamps.from_epoch(START - 7 * 86400)
    assert missing(tmp_path, new, {item: at for item, at in versions(new).items() if at >= week}) == []
    conn = db.connect(str(tmp_path / "p.db"))
    assert conn.execute("SELECT min(updated_at) FROM queue_items").fetchone()[0] >= week
    conn.close()


@pytest.mark.parametrize("items, kept", [(5, 5), (150, 50)])  # the id was never seen; it was, but no page shows it now
def test_issues_on_one_page_that_hold_the_newest_seen_before_are_those_of_the_same_repository(run, github, items, kept):
    repo = github.add_repo("acme/app").make(items, pulls=0, step_seconds=3600)
    run(repo="acme/app", only="issues")
    for _, item_id in repo.streams["issues"].order[: items - kept]:
        repo.streams["issues"].remove(item_id)
    repo.touch("issues", items - 2)
    assert [(result.fetched, result.requests) for result in run(repo="acme/app", only="issues")] == [(2, 1)]


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_a_walk_through_a_repository_whose_name_was_taken_begins_anew(run, github, tmp_path, only):
    pulls = 0 if only == "issues" else 1
    github.add_repo("acme/app").make(350, pulls=pulls)
    with pytest.raises(Killed):
        run(repo="acme/app", only=only, since=ALL_HISTORY, pages=2)
    del github.repos["acme/app"]
    new = github.add_repo("acme/app").make(350, pulls=pulls, seed=2)
    assert codes(run(repo="acme/app", only=only)) == EXIT_OK
    assert missing(tmp_path, new, versions(new)) == []


def test_a_name_that_means_another_repository_with_each_page_is_given_up_for_this_run(run, github):
    def another(*served):
        github.repos.pop("acme/app", None)
        github.add_repo("acme/app").make(150, pulls=1.0)

    another()
    github.after_page = another
    (result,) = run(repo="acme/app", only="pulls", since=ALL_HISTORY)
    assert (result.exit_code, len(github.journal)) == (EXIT_FAILED, 7)
    assert "404" in result.error  # the one that was begun with is gone


def test_the_spelling_of_a_name_outlives_its_last_item(run, github):
    stream = github.add_repo("Acme/Widgets").make(1, pulls=0).streams["issues"]
    run(only="issues")
    stream.remove(stream.order[-1][1])
    assert [result.repo for result in run(only="issues")] == ["Acme/Widgets"]


def test_an_item_that_names_another_repository_renames_none(run, github, time):
    repo = github.add_repo("acme/widgets").make(3, pulls=0)
    text = '{"id": 1, "number": 9, "repository_url": "https://api.github.com/repos/acme/moved"}'
    repo.add_raw("issues", text, item_id=1, number=9, updated_at=timestamps.from_epoch(START))
    assert [(result.repo, result.enqueued) for result in run(only="issues")] == [("acme/widgets", 4)]


# What GitHub is asked.

HEAD = {"state": "all", "sort": "updated", "direction": "desc", "per_page": "100"}


@pytest.mark.parametrize(
    "only, since, following",
    [
        ("issues", ALL_HISTORY, {**HEAD, "direction": "asc"}),
        ("issues", "2026-11-23T00:00:00Z", {**HEAD, "direction": "asc", "since": "2026-11-23T00:00:00Z"}),
        ("pulls", "2026-11-23T00:00:00Z", {**HEAD, "per_page": "99", "page": "2"}),
    ],
)
def test_a_list_is_asked_for_by_the_time_of_the_last_update_and_for_all_states(run, github, only, since, following):
    github.add_repo("acme/widgets").make(170, pulls=0 if only == "issues" else 1)
    run(only=only, since=since)
    assert [request.query for request in github.journal[:2]] == [HEAD, following]


def test_an_etag_is_sent_to_the_address_that_it_came_from_and_to_no_other(run, github):
    github.add_repo("acme/widgets").make(5, pulls=0)
    for path, sent in (("", False), ("", True), ("/api/v3", False), ("/api/v3", True), ("", False)):
        url, github.url = github.url, github.url + path
        run(only="issues")
        github.url = url
        assert ("if-none-match" in github.journal[-1].headers) is sent


def test_an_etag_is_kept_with_the_whole_address(run, github, tmp_path):
    github.add_repo("acme/widgets").make(5, pulls=0)
    run(only="issues")
    conn = db.connect(str(tmp_path / "p.db"))
    (url,) = conn.execute("SELECT etag_url FROM ingest_state").fetchone()
    conn.close()
    assert url == f"{github.url}/repos/acme/widgets/issues?{urlencode(HEAD)}"


def test_the_etag_of_a_page_in_a_smaller_size_is_not_kept(run, github):
    github.add_repo("acme/widgets").make(5, pulls=0)
    github.fail_next(502, match="per_page=100", times=5)
    assert codes(run(only="issues")) == EXIT_OK
    run(only="issues")
    assert "if-none-match" not in github.journal[-1].headers
    assert [result.not_modified for result in run(only="issues")] == [1]


def take_name(github, **made):
    """Another repository takes the name of acme/app."""
    github.rename("acme/app", "acme/legacy")
    return github.add_repo("acme/app").make(made.pop("items"), pulls=0, **made)


def test_a_repository_of_many_pages_does_not_inherit_the_cursor_of_one_whose_id_was_never_seen(run, github, tmp_path):
    github.add_repo("acme/app").make(5, pulls=0)
    run(repo="acme/app", only="issues", since=ALL_HISTORY)
    new = take_name(github, items=250, step_seconds=3600, seed=2)
    assert codes(run(repo="acme/app", only="issues")) == EXIT_OK
    assert missing(tmp_path, new, versions(new)) == []


def test_many_changes_to_one_page_whose_id_was_never_seen_give_up_nothing(run, github, time, tmp_path):
    repo = github.add_repo("acme/app").make(90, pulls=0)
    run(repo="acme/app", only="issues", since=ALL_HISTORY)
    repo.streams["issues"].remove(repo.streams["issues"].order[-1][1])
    repo.make(250, pulls=0, start=time.seconds, step_seconds=3600)
    time.seconds += 30 * 86400  # longer than a first run looks back
    assert codes(run(repo="acme/app", only="issues")) == EXIT_OK
    repo.streams["issues"].items.pop(repo.id * 10**6 + 90, None)
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("items", [3, 250])
def test_an_unfinished_scan_goes_on_with_the_repository_that_it_began_with(run, github, time, tmp_path, items):
    old = github.add_repo("acme/app").make(350, pulls=0)
    with pytest.raises(Killed):
        run(repo="acme/app", only="issues", since=ALL_HISTORY, pages=2)
    time.seconds += 3600
    new = take_name(github, items=items, step_seconds=600)
    for name in ("acme/app", "acme/legacy"):
        assert codes(run(repo=name, only="issues", since=ALL_HISTORY)) == EXIT_OK
    conn = db.connect(str(tmp_path / "p.db"))
    there = {row["item_id"] for row in conn.execute("SELECT item_id FROM queue_items")}
    conn.close()
    assert there == set(old.streams["issues"].items) | set(new.streams["issues"].items)


def test_a_walk_says_nothing_of_the_repository_that_takes_the_name_as_it_ends(run, github, time, tmp_path):
    github.add_repo("acme/app").make(350, pulls=0)
    made = []

    def take(repo, stream, served):
        if len(github.journal) == 4 and not made:
            made.append(take_name(github, items=250, step_seconds=600, seed=5))

    github.after_page = take
    assert codes(run(repo="acme/app", only="issues", since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, made[0], versions(made[0])) == []


@pytest.mark.parametrize("at", [1, 5])
def test_two_names_that_are_swapped_during_a_run_are_no_success(run, github, tmp_path, at):
    repos = [github.add_repo(f"acme/{name}").make(250, pulls=1.0, seed=ord(name)) for name in "ab"]

    def swap(repo, stream, served):
        if len(github.journal) == at:
            first, second = repos
            first.full_name, second.full_name = second.full_name, first.full_name
            github.repos.update({repo.full_name: repo for repo in repos})

    github.after_page = swap
    results = run(repo=["acme/a", "acme/b"], only="pulls", since=ALL_HISTORY)
    assert "changed hands" in results[1].error
    assert codes(results) == EXIT_OUTAGE
    assert codes(run(repo=["acme/a", "acme/b"], only="pulls", since=ALL_HISTORY)) == EXIT_OK
    conn = db.connect(str(tmp_path / "p.db"))
    assert conn.execute("SELECT count(DISTINCT item_id) FROM queue_items").fetchone()[0] == 500
    conn.close()


def test_a_surprise_in_one_scan_ends_no_other(run, github, tmp_path, monkeypatch):
    for name in ("acme/a", "acme/b"):
        github.add_repo(name).make(5, pulls=0)
    reads = lists.PageReader.head

    def head(self, *, etag):
        if any(request.path == "/repos/acme/a/issues" for request in github.journal[-1:]):
            return reads(self, etag=etag)
        reads(self, etag=etag)
        raise KeyError("x")

    monkeypatch.setattr(lists.PageReader, "head", head)
    first, second = run(repo=["acme/a", "acme/b"], only="issues", since=ALL_HISTORY)
    assert (first.error, first.exit_code) == ("unexpected KeyError: 'x'; please report it", EXIT_FAILED)
    assert (second.error, second.enqueued) == (None, 5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted(15), sqlite3.OperationalError, MemoryError])
def test_what_ends_a_run_is_no_surprise(run, github, monkeypatch, error):
    github.add_repo("acme/widgets")

    def head(self, *, etag):
        raise error

    monkeypatch.setattr(lists.PageReader, "head", head)
    with pytest.raises(error if isinstance(error, type) else Interrupted):
        run()


# Where to look from.


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_an_item_of_the_very_second_to_look_from_is_taken_and_none_from_before(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(150, pulls=0 if only == "issues" else 1)
    kind = {"issues": "issue", "pulls": "pull_request"}[only]
    for first in (145, 20):  # on the newest page, and behind it
        run(only=only, since=versions(repo)[kind, first])
        assert {number for _, number, _ in queued(tmp_path)} == set(range(first, 151))


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_an_item_without_a_time_is_taken_and_moves_no_cursor(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(5, pulls=0 if only == "issues" else 1)
    newest = max(versions(repo).values())
    repo.add_raw(only, '{"id": 1, "number": 9}', item_id=1, number=9, updated_at=timestamps.from_epoch(START))
    assert [(result.cursor, result.enqueued) for result in run(only=only)] == [(newest, 6)]


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_what_is_covered_is_not_read_again_when_it_is_asked_for_again(run, github, only):
    repo = github.add_repo("acme/widgets").make(300, pulls=0 if only == "issues" else 1)
    run(only=only, since=ALL_HISTORY)
    repo.touch(only, 7)
    assert [(result.enqueued, result.requests) for result in run(only=only, since=ALL_HISTORY)] == [(1, 1)]


@pytest.mark.parametrize("only, asked", [("issues", 6), ("pulls", 4)])
def test_an_unfinished_walk_goes_on_to_where_a_later_run_wants_to_look_from(run, github, tmp_path, only, asked):
    repo = github.add_repo("acme/widgets").make(600, pulls=0 if only == "issues" else 1, step_seconds=3600)
    with pytest.raises(Killed):
        run(only=only, since="2026-11-12T00:00:00Z", pages=2)
    since = "2026-11-05T00:00:00Z"
    results = run(only=only, since=since)
    assert missing(tmp_path, repo, {item: at for item, at in versions(repo).items() if at >= since}) == []
    assert requests(results) == [asked]
    repo.touch(only, 600)
    assert requests(run(only=only, since=since)) == [1]


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_a_walk_that_a_later_run_widened_covers_what_it_was_widened_to_whoever_ends_it(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(600, pulls=0 if only == "issues" else 1, step_seconds=3600)
    for since in ("2026-11-12T00:00:00Z", "2026-11-05T00:00:00Z"):
        with pytest.raises(Killed):
            run(only=only, since=since, pages=1)
    run(only=only)
    assert missing(tmp_path, repo, {item: at for item, at in versions(repo).items() if at >= since}) == []
    assert requests(run(only=only, since=since)) == [1]


def test_a_server_without_a_readable_date_is_believed_the_times_of_its_items(run, github, monkeypatch):
    monkeypatch.setattr("email.utils.formatdate", lambda *when, **options: "soon")
    repo = github.add_repo("acme/widgets").make(5, pulls=0)
    assert run(only="issues")[0].cursor == max(versions(repo).values())


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00Z", "2007-09-30T00:00:00Z"])
def test_a_date_before_github_existed_means_everything(run, github, tmp_path, since):
    github.add_repo("acme/widgets").make(350)
    assert codes(run(since=since)) == EXIT_OK
    assert len(queued(tmp_path)) == 350
    assert requests(run(since=since)) == [1, 1]
    assert requests(run(since=ALL_HISTORY)) == [1, 1]


# A walk has ended when it has reached what it set out for.


@pytest.mark.parametrize("fault", ["no_items", "no_link", "not_modified"])
@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_one_odd_answer_ends_no_walk(run, github, tmp_path, fault, at, only):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    wanted = versions(repo)

    def one_later(repo, stream, served):
        if len(github.journal) == at - 1:
            github.fail_next(fault)

    github.after_page = one_later
    if at == 0:
        github.fail_next(fault)
    for _ in range(3):
        if codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK:
            break
    assert missing(tmp_path, repo, wanted) == []


@pytest.mark.parametrize("only", ["issues", "pulls"])
@pytest.mark.parametrize("fault", ["no_items", "no_link"])
def test_an_answer_that_stays_odd_leaves_the_cursor_and_is_an_outage(run, github, tmp_path, only, fault):
    repo = github.add_repo("acme/widgets", cursors=False).make(350, pulls=0 if only == "issues" else 1)
    cursor = run(only=only, since="2026-11-23T02:55:00Z")[0].cursor
    github.fail_next("no_items", match="since=" if only == "issues" else "page=2", times=10**6)
    results = run(only=only, since=ALL_HISTORY)
    assert codes(results) == EXIT_OUTAGE
    assert "contradicts itself" in results[0].error
    assert results[0].cursor == cursor
    github._faults.clear()
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("times, code", [(lists.ODD_ANSWERS, EXIT_OK), (lists.ODD_ANSWERS + 1, EXIT_OUTAGE)])
def test_a_walk_survives_so_many_odd_answers_in_a_row_and_no_more(run, github, times, code):
    github.add_repo("acme/widgets", cursors=False).make(150, pulls=0)
    github.fail_next("no_items", match="direction=asc", times=times)
    (result,) = run(only="issues", since=ALL_HISTORY)
    assert result.exit_code == code
    assert (code == EXIT_OK) != (
        f"{lists.ODD_ANSWERS} answers in a row led no further; the cursor stays, run again later" in str(result.error)
    )


def test_a_walk_that_only_comes_back_to_where_it_was_is_given_up(run, github):
    github.add_repo("acme/widgets").make(350, pulls=1)
    github.fail_next("no_items", match="&page=3", times=200)
    (result,) = run(only="pulls", since=ALL_HISTORY)
    assert (result.exit_code, result.requests < 50) == (EXIT_OUTAGE, True)


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_a_list_that_is_emptied_during_the_walk_has_been_read(run, github, only):
    repo = github.add_repo("acme/widgets").make(150, pulls=0 if only == "issues" else 1)

    def take_all(*served):
        for _, item_id in list(repo.streams[only].order):
            repo.streams[only].remove(item_id)

    github.after_page = take_all
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK
    assert [result.error for result in run(only=only)] == [None]


def answers_with(github, change):
    """Each list is answered by what `change(ask, query)` makes of the query."""
    ask = github._list
    github._list = lambda repo, stream, query: change(lambda query: ask(repo, stream, query), query)


def bounded(github, most=150, also=lambda repo, stream, served: None):
    """Ends a run that asks without end."""

    def count(repo, stream, served):
        also(repo, stream, served)
        if len(github.journal) > most:
            github.fail_next(403, times=10**6)

    github.after_page = count


def test_a_server_that_ignores_the_number_of_the_page_is_an_outage(run, github):
    github.add_repo("acme/widgets").make(350, pulls=1.0)
    answers_with(github, lambda ask, query: ask({**query, "page": "1", "per_page": "100"}))
    bounded(github)
    results = run(only="pulls", since=ALL_HISTORY)
    assert "contradicts itself" in results[0].error
    assert (codes(results), len(github.journal) < 20) == (EXIT_OUTAGE, True)


@pytest.mark.parametrize("period", [1, 3])
def test_a_cursor_that_leads_in_a_circle_is_an_outage(run, github, period):
    github.add_repo("acme/widgets").make(1350, pulls=0, same_second=True)
    met = []

    def in_a_circle(ask, query):
        if "after" in query and len(met) < period:
            met.append(query)
        elif "after" in query:
            query = met[len(github.journal) % period]
        return ask(query)

    answers_with(github, in_a_circle)
    bounded(github)
    results = run(only="issues", since=ALL_HISTORY)
    assert (codes(results), "contradicts itself" in results[0].error) == (EXIT_OUTAGE, True)


def test_an_old_gap_in_a_list_that_seems_to_have_no_end_is_an_outage_and_no_longer_in_the_way(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(350, pulls=1.0)
    repo.broken = {("pulls", 1)}
    run(only="pulls", since=ALL_HISTORY)
    repo.broken = set()

    def endless(ask, query):
        answer = ask(query)
        return answer._replace(headers={"Link": f'<{github.url}/x?page=2>; rel="next"'})

    asks = github._list
    answers_with(github, endless)
    bounded(github)
    assert codes(run(only="pulls")) == EXIT_OUTAGE
    github._list, github.after_page = asks, None
    assert codes(run(only="pulls")) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("items", [100, 200])
@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_a_list_that_ends_with_a_full_page_is_complete(run, github, tmp_path, items, only):
    github.add_repo("acme/widgets").make(items, pulls=0 if only == "issues" else 1)
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK
    assert len(queued(tmp_path)) == items


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_the_newest_item_going_away_during_the_walk_is_no_contradiction(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    stream = repo.streams[only]
    removed = []

    def remove_newest(repo, kind, served):
        if len(github.journal) == 1:
            removed.append(stream.items[stream.order[-1][1]][1])
            stream.remove(stream.order[-1][1])

    github.after_page = remove_newest
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK
    wanted = versions(repo)
    wanted.pop(("issue", removed[0]), None)  # a pull request that is gone from its own list only
    assert missing(tmp_path, repo, wanted) == []


# Lists that shift.


@pytest.mark.parametrize("gone_at_once", [1, 3, 40])
@pytest.mark.parametrize("step_seconds", [60.0, 0.0])
def test_pull_requests_that_go_away_while_the_pages_are_walked_hide_no_other(
    run, github, tmp_path, gone_at_once, step_seconds
):
    repo = github.add_repo("acme/widgets").make(1000, pulls=1.0, step_seconds=step_seconds)
    stream, rng = repo.streams["pulls"], random.Random(5)

    def hide_some(repo, kind, served):
        if served and len(github.journal) < 40:
            for _ in range(gone_at_once):
                stream.remove(rng.choice(stream.order[-100:])[1])  # among the newest, which were read before

    github.after_page = hide_some
    assert codes(run(only="pulls", since=ALL_HISTORY)) == EXIT_OK
    assert len(stream.order) < 1000
    kept = {("pull_request", number): updated for updated, number, _, _ in stream.items.values()}
    assert missing(tmp_path, repo, kept) == []


def test_an_item_whose_time_jumps_ahead_does_not_drag_the_walk_with_it(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(1000, pulls=0)
    stream = repo.streams["issues"]
    oldest = {("issue", stream.items[item_id][1]): updated for updated, item_id in stream.order}

    # GitHub chooses the page, then the item changes, then the answer is written.
    last_of_first_page = stream.order[99][1]
    updated, number, state, render = stream.items[last_of_first_page]
    now = timestamps.from_epoch(START)
    stream.items[last_of_first_page] = (updated, number, state, lambda: render().replace(updated, now))
    assert codes(run(only="issues", since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, repo, oldest) == []


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("only, page", [("issues", 2), ("issues", 5), ("pulls", 5)])
@pytest.mark.parametrize("same_second", [False, True])
def test_items_updated_between_selection_and_answer_lead_the_walk_nowhere(
    run, github, time, tmp_path, count, only, page, same_second
):
    repo = github.add_repo("acme/widgets").make(1000, pulls=0 if only == "issues" else 1, same_second=same_second)
    repo.touch(only, 500)
    before = versions(repo)
    time.seconds += 3600

    def update_the_last(repo, stream, numbers):
        if len(github.journal) == page - 1:
            for number in numbers[-count:]:
                time.seconds += 1
                repo.touch(only, number)

    github.after_selection = update_the_last
    results = run(only=only, since=ALL_HISTORY)
    assert codes(results) == EXIT_OK
    assert missing(tmp_path, repo, before) == []
    assert len(github.journal) < 25


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_a_run_ends_although_more_than_a_page_changes_each_minute(run, github, time, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(500, pulls=0 if only == "issues" else 1)
    numbers = itertools.cycle(range(1, 501))

    def touch_some(repo, stream, served):
        for _ in range(3):
            time.seconds += 0.4
            repo.touch(only, next(numbers))

    for _ in range(60):
        touch_some(repo, only, [])
    before = versions(repo)
    bounded(github, also=touch_some)
    (result,) = run(only=only, since=ALL_HISTORY)
    assert (result.error, result.requests < 40) == (None, True)
    github.after_page = None
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, repo, before) == []


def test_a_walk_that_was_cut_short_goes_on_among_what_is_newer_than_its_head_was(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(250, pulls=0)
    with pytest.raises(Killed):
        run(only="issues", since=ALL_HISTORY, pages=3)
    time.seconds += 3600
    for number in range(1, 251):
        repo.touch("issues", number)
        time.seconds += 1
    time.seconds += 3600
    assert codes(run(only="issues")) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


def test_an_item_that_is_shown_late_behind_a_full_head_is_found(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(20, pulls=0)
    repo.make(120, pulls=0, start=time.seconds - 40, step_seconds=0.3)
    assert codes(run(only="issues", since=ALL_HISTORY)) == EXIT_OK
    repo.add_issue(updated_at=timestamps.from_epoch(time.seconds - 39))
    for _ in range(3):
        time.seconds += 3600
        points = github.points_used
        assert codes(run(only="issues")) == EXIT_OK
        assert missing(tmp_path, repo, versions(repo)) == []
    assert github.points_used == points  # what is old enough is not read again


def test_an_item_that_is_shown_late_behind_a_full_head_during_a_long_walk_is_found(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(250, pulls=0)
    repo.make(120, pulls=0, start=time.seconds - 40, step_seconds=0.3)

    def show_late(repo, stream, served):
        time.seconds += 4
        if len(github.journal) == 4:
            repo.add_issue(updated_at=timestamps.from_epoch(START - 39))

    github.after_page = show_late
    assert codes(run(only="issues", since=ALL_HISTORY)) == EXIT_OK
    assert codes(run(only="issues")) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


def test_pull_requests_that_move_during_the_walk_are_read_although_one_is_dated_far_ahead(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(1000, pulls=1.0)
    repo.add_pull(updated_at="2030-01-01T00:00:00Z")
    before = versions(repo)
    time.seconds += 600

    def touch_the_oldest(repo, stream, served):
        if len(github.journal) == 2:
            for number in range(1, 151):
                time.seconds += 1
                repo.touch("pulls", number)

    github.after_page = touch_the_oldest
    assert codes(run(only="pulls", since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, repo, before) == []


def test_single_items_are_read_without_a_hole_where_others_go_away(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(350, pulls=1.0)
    stream = repo.streams["pulls"]
    singles = []

    def take_one_away(repo, kind, served):
        if len(served) == 1:
            singles.append(served)
            if len(singles) == 2:
                stream.remove(stream.order[-1][1])
            if len(singles) == 8:
                github._faults.clear()
        elif len(github.journal) == 0:
            for size in range(2, 101):
                github.fail_next(502, times=10**6, match=f"per_page={size}&")

    github.after_page = take_one_away
    assert codes(run(only="pulls", since=ALL_HISTORY)) == EXIT_OK
    wanted = {("pull_request", number): updated for updated, number, _, _ in stream.items.values()}
    assert (len(singles) >= 8, missing(tmp_path, repo, wanted)) == (True, [])


def test_an_update_among_many_items_of_the_newest_second_is_seen(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(150, pulls=0, same_second=True)
    run(only="issues", since=ALL_HISTORY)
    newest = repo.streams["issues"].order[-1][0]
    for number in (1, 75, 150):
        repo.touch("issues", number, updated_at=newest)
    run(only="issues")
    assert len(queued(tmp_path)) == 153


def test_a_server_whose_clock_was_set_back_does_not_make_the_walk_loop(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(500, pulls=0)
    github.clock = lambda: time.seconds - 86400
    results = run(only="issues", since=ALL_HISTORY)
    assert (codes(results), requests(results)[0] < 12) == (EXIT_OK, True)
    assert missing(tmp_path, repo, versions(repo)) == []
    assert results[0].cursor <= timestamps.from_epoch(START - 86400)


@pytest.mark.parametrize("refusal", [404, 422])
def test_one_refusal_in_the_middle_of_a_walk_does_not_start_it_over(run, github, tmp_path, refusal):
    github.add_repo("acme/widgets").make(600, pulls=1.0)
    github.fail_next(refusal, match="page=4")
    results = run(only="pulls", since=ALL_HISTORY)
    assert (codes(results), len(queued(tmp_path))) == (EXIT_OK, 600)
    assert [request.status for request in github.journal].count(200) < 10


@pytest.mark.parametrize(
    "status, times, code, refused",
    [
        *[(status, 2, EXIT_OK, 2) for status in (400, 404, 422)],
        (422, 10**6, EXIT_FAILED, 4),
        (451, 2, EXIT_FAILED, 2),  # this says nothing of the place
    ],
)
def test_a_place_that_github_refuses_starts_its_walk_over_once(run, github, tmp_path, status, times, code, refused):
    repo, since = github.add_repo("acme/widgets").make(500, pulls=1.0, step_seconds=3600), "2026-11-05T00:00:00Z"
    with pytest.raises(Killed):
        run(only="pulls", since=since, pages=2)
    github.fail_next(status, match="&page=3", times=times)
    assert codes(run(only="pulls", since="2026-11-20T00:00:00Z")) == code
    assert [request.status for request in github.journal].count(status) == refused
    assert code != EXIT_OK or len(queued(tmp_path)) == sum(at >= since for at in versions(repo).values())


def test_a_second_of_more_items_than_pages_can_be_numbered_for_is_walked_by_githubs_own_links(run, github, tmp_path):
    github.add_repo("acme/widgets").make(650, pulls=0, same_second=True)
    github.max_page = 3
    assert codes(run(only="issues", since=ALL_HISTORY)) == EXIT_OK
    assert len(queued(tmp_path)) == 650


def test_where_large_pages_fail_githubs_links_which_ask_for_as_large_ones_are_not_followed(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(350, pulls=0, same_second=True)
    github.fail_next(502, match="per_page=100", times=10**6)

    def links_fail_after_the_first(repo, stream, served):
        if github.journal and "after" in github.journal[-1].query:
            github.fail_next(502, match="after=", times=10**6)

    github.after_page = links_fail_after_the_first
    assert codes(run(only="issues", since=ALL_HISTORY)) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("jobs", [1, 6])
def test_an_outage_ends_a_run_over_many_repositories_soon(run, github, time, jobs):
    names = [f"acme/r{number}" for number in range(25)]
    for name in names:
        github.add_repo(name)
    github.fail_next(503, times=10**6)
    assert codes(run(repo=names, jobs=jobs)) == EXIT_OUTAGE
    assert len(github.journal) < 50 + 20 * (3 + jobs)
    assert sum(time.slept) < 300 * jobs


# Items that can't be had.


@pytest.mark.parametrize("only", ["issues", "pulls"])
@pytest.mark.parametrize("broken", [{1}, {170}, {350}, {170, 171}, {1, 350}])
def test_an_item_that_breaks_its_page_is_stepped_over_and_named(run, github, time, tmp_path, only, broken):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    repo.broken = {(only, number) for number in broken}
    (result,) = run(only=only, since=ALL_HISTORY)
    assert result.exit_code == EXIT_FAILED
    assert f"{len(broken)} items of acme/widgets {only}" in result.error
    kind = "issue" if only == "issues" else "pull_request"
    wanted = {(kind, number) for number in set(range(1, 351)) - broken}
    assert {(kind, number) for kind, number, _ in queued(tmp_path)} == wanted
    before = len(github.journal)
    assert run(only=only)[0].exit_code == EXIT_FAILED  # still, but for next to nothing
    assert len(github.journal) - before <= 40
    repo.broken = set()
    assert run(only=only)[0].error is None
    assert missing(tmp_path, repo, versions(repo)) == []
    assert requests(run(only=only)) == [1]


@pytest.mark.parametrize("only", ["issues", "pulls"])
@pytest.mark.parametrize("same_second", [False, True])
def test_an_item_that_can_not_be_had_is_not_forgotten_when_others_move(run, github, time, tmp_path, only, same_second):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1, same_second=same_second)
    repo.broken = {(only, 170)}
    run(only=only, since=ALL_HISTORY)
    for number in (3, 160, 168, 169, 171, 172, 300):
        time.seconds += 60
        repo.touch(only, number)
        assert run(only=only)[0].exit_code == EXIT_FAILED
    time.seconds += 60
    repo.broken = set()
    repo.touch(only, 1)
    assert run(only=only)[0].error is None
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("only, broken, first, then", [("issues", 200, 36, 3), ("pulls", 100, 28, 4)])
def test_what_could_not_be_had_is_asked_for_alone_and_then_read_with_what_is_around_it(
    run, github, only, broken, first, then
):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    repo.broken = {(only, broken)}
    assert requests(run(only=only, since=ALL_HISTORY))[0] <= first
    assert github.journal[-1].query["per_page"] != "1"  # not in the run that met it first
    assert requests(run(only=only)) == [1 + 2]
    repo.broken = set()
    assert requests(run(only=only)) == [then]


@pytest.mark.parametrize("only", ["issues", "pulls"])
@pytest.mark.parametrize("same_second", [False, True])
def test_an_item_that_can_be_had_at_last_is_read_although_the_run_is_killed(
    run, github, time, tmp_path, only, same_second
):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1, same_second=same_second)
    repo.broken = {(only, 170)}
    github.max_page = 1000  # so that it can be asked for alone
    time.seconds += 3600
    (repo.add_issue if only == "issues" else repo.add_pull)()  # later, so that no run walks through that second anew
    run(only=only, since=ALL_HISTORY)
    repo.broken = set()
    for pages_read in (1, 2):
        with contextlib.suppress(Killed):
            run(only=only, pages=pages_read)
    assert run(only=only)[0].error is None
    assert missing(tmp_path, repo, versions(repo)) == []


def test_an_item_that_can_be_had_at_last_is_found_although_many_before_it_have_gone(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(350, pulls=0, same_second=True)
    repo.broken = {("issues", 170)}
    github.max_page = 1000
    time.seconds += 3600
    repo.add_issue()
    run(only="issues", since=ALL_HISTORY)
    repo.broken = set()
    for _, item_id in repo.streams["issues"].order[:150]:
        repo.streams["issues"].remove(item_id)
    assert run(only="issues")[0].error is None
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_an_item_that_can_be_had_once_and_then_no_more_is_not_forgotten(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    broken = {(only, 170)}
    repo.broken = broken
    run(only=only, since=ALL_HISTORY)

    def breaks_again(repo, stream, served):
        if len(served) == 1:  # once it was had alone
            repo.broken = broken

    github.after_page = breaks_again
    for _ in range(2):
        repo.broken = set()
        assert "GitHub does not give 1 items" in run(only=only)[0].error
    repo.broken, github.after_page = set(), None
    assert run(only=only)[0].error is None
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("at", ["the probe", "the page before"])
def test_an_item_that_leaves_the_list_beside_one_that_can_not_be_had_hides_nothing(run, github, tmp_path, at):
    repo = github.add_repo("acme/widgets").make(350, pulls=1.0)
    repo.broken = {("pulls", 171)}
    stream, gone = repo.streams["pulls"], []

    def hide_one(repo, kind, served):
        if not gone and (len(served) == 1 and served[0].number == 170 if at == "the probe" else len(served) > 1):
            gone.append(stream.order[-1][1])
            stream.remove(gone[0])

    github.after_page = hide_one
    (result,) = run(only="pulls", since=ALL_HISTORY)
    assert (result.exit_code, "1 items of acme/widgets" in result.error) == (EXIT_FAILED, True)
    repo.broken = set()
    assert codes(run(only="pulls")) == EXIT_OK
    wanted = {("pull_request", number): updated for updated, number, _, _ in stream.items.values()}
    assert missing(tmp_path, repo, wanted) == []


@pytest.mark.parametrize("gone", [101, 250])
@pytest.mark.parametrize("is_broken", [True, False])
def test_a_gap_is_not_forgotten_when_the_list_moves_up_by_more_than_a_page(run, github, tmp_path, gone, is_broken):
    repo = github.add_repo("acme/widgets").make(500, pulls=1.0)
    repo.broken = {("pulls", 170)}
    run(only="pulls", since=ALL_HISTORY)
    stream = repo.streams["pulls"]
    for _ in range(gone):
        stream.remove(stream.order[-1][1])
    if is_broken:
        assert codes(run(only="pulls")) == EXIT_FAILED
    repo.broken = set()
    assert codes(run(only="pulls")) == EXIT_OK
    wanted = {("pull_request", number): updated for updated, number, _, _ in stream.items.values()}
    assert missing(tmp_path, repo, wanted) == []


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_one_odd_answer_makes_no_one_forget_what_could_not_be_had(run, github, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    repo.broken = {(only, 170)}
    run(only=only, since=ALL_HISTORY)
    repo.broken = set()
    before = len(github.journal)

    def an_empty_page(ask, query):
        odd = len(github.journal) == before + 2
        return ask(query)._replace(body=b"[]", headers={}) if odd else ask(query)

    answers_with(github, an_empty_page)
    assert codes(run(only=only)) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


@pytest.mark.parametrize("only", ["issues", "pulls"])
def test_what_stands_in_the_way_of_a_walk_does_not_hide_what_is_new(run, github, time, tmp_path, only):
    repo = github.add_repo("acme/widgets").make(350, pulls=0 if only == "issues" else 1)
    repo.broken = {(only, number) for number in range(100, 120)}
    assert codes(run(only=only, since=ALL_HISTORY)) == EXIT_OUTAGE
    time.seconds += 3600
    repo.touch(only, 7)
    assert codes(run(only=only)) == EXIT_OUTAGE
    assert any(item[1] == 7 and item in queued(tmp_path) for item in queued(tmp_path))
    repo.broken = set()
    assert codes(run(only=only)) == EXIT_OK
    assert missing(tmp_path, repo, versions(repo)) == []


def test_pages_grow_again_after_a_bad_minute(run, github, time):
    github.add_repo("acme/widgets").make(3000, pulls=1.0)
    github.fail_next(502, times=8, match="per_page=9")  # the second page, until a small one passes
    results = run(only="pulls", since=ALL_HISTORY)
    assert codes(results) == EXIT_OK
    assert requests(results)[0] < 3000 / 100 * 1.2 + 20


# Places in a list.


@pytest.mark.parametrize("most", [1, 5, 25, 50, 100])
def test_pages_cover_a_list_without_a_hole_and_overlap_where_they_can(most):
    offset = 0
    while offset < 2000:
        cut = page_at(offset, most=most, overlap=1)
        assert cut.start <= offset < cut.end
        assert cut.size <= most
        assert cut.start < offset or most < 50 or offset == 0
        offset = cut.end


def test_no_page_begins_before_what_can_not_be_had():
    for not_before in range(1, 300):
        cut = page_at(not_before + 7, most=100, overlap=1, not_before=not_before)
        assert not_before <= cut.start <= not_before + 7 < cut.end
    assert page_at(197, most=100, overlap=1, not_before=197) == Cut(1, 198)


def element(item_id, updated_at):
    text = '{"id": %d, "updated_at": "%s"}' % (item_id, updated_at)
    return pages.cut(f"[{text}]")[0]


def test_a_place_knows_what_was_read_last_and_all_of_its_second():
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    spot = Spot(since="x", link="l").read_up_to([element(1, late), element(2, early), element(3, early)], offset=100)
    seen = ((1, late), (2, early), (3, early))
    assert spot == Spot(since="x", offset=100, last_time=early, last_seen=seen)
    again = spot._replace(link="l").read_up_to([element(4, early)], offset=199)
    assert again == Spot(since="x", offset=199, last_time=early, last_seen=(*seen, (4, early)))
    assert again._replace(link="l").read_up_to([], offset=250) == again._replace(offset=250)
    assert len(again.read_up_to([element(number, late) for number in range(1000)], offset=250).last_seen) == SEEN


def test_what_is_not_older_than_the_horizon_was_seen_and_leads_nothing():
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    spot = Spot().read_up_to([element(1, early), element(2, late)], offset=2, horizon=late)
    assert spot == Spot(offset=2, last_time=early, last_seen=((1, early), (2, late)))
    assert not spot.is_continued_by([element(3, late)], start=1, newest_first=True, horizon=late)
    assert spot.is_continued_by([element(3, late), element(1, early)], start=1, newest_first=True, horizon=late)
    assert spot.is_continued_by([element(2, late)], start=1, newest_first=True, horizon=late)


def test_a_step_back_is_a_page_and_ends_at_the_head():
    assert Spot(offset=150, link="l", last_time="t", not_before=149).stepped_back() == Spot(offset=50, last_time="t")
    assert Spot(offset=99).stepped_back().offset == 0
    assert Spot(offset=999).stepped_back(400).offset == 599


@pytest.mark.parametrize(
    "newest_first, first, start, continues",
    [
        (True, (9, "2026-01-03T00:00:00Z"), 90, True),  # read before
        (True, (9, "2026-01-01T00:00:00Z"), 90, False),
        (True, (7, "2026-01-02T00:00:00Z"), 90, True),  # of the last second, and read
        (True, (9, "2026-01-02T00:00:00Z"), 90, False),
        (False, (9, "2026-01-01T00:00:00Z"), 90, True),
        (False, (9, "2026-01-03T00:00:00Z"), 90, False),
        (False, (9, "2026-01-02T00:00:00Z"), 90, False),
        (True, (9, "2026-01-01T00:00:00Z"), 0, True),  # the whole list from its head
        (True, (7, "2026-01-03T00:00:00Z"), 90, True),
        (False, (7, "2026-01-03T00:00:00Z"), 90, False),  # it has moved
        (True, None, 90, False),
        (True, None, 1, False),
    ],
)
def test_a_page_goes_on_only_from_what_was_read(newest_first, first, start, continues):
    spot = Spot(offset=100, last_time="2026-01-02T00:00:00Z", last_seen=((7, "2026-01-02T00:00:00Z"),))
    page = [element(*first)] if first else []
    assert spot.is_continued_by(page, start=start, newest_first=newest_first) is continues


def test_a_saved_place_of_another_version_is_none():
    assert Spot.saved({"since": None}) is None
    assert Spot.saved(None) is None
    spot = Spot(since="x", last_seen=((1, "t"),))
    assert Spot.saved(json.loads(json.dumps(spot._asdict()))) == spot
    assert Spot.saved({**Spot(offset=99, not_before=198)._asdict(), "last_ids": []}) is None


def test_a_scan_that_an_older_version_saved_starts_over(run, github, tmp_path):
    github.add_repo("acme/widgets").make(350, pulls=1.0)
    with pytest.raises(Killed):
        run(only="pulls", since=ALL_HISTORY, pages=2)
    conn = db.connect(str(tmp_path / "p.db"))
    with db.transaction(conn):
        conn.execute("UPDATE ingest_state SET scan = json_remove(scan, '$.spot')")
    conn.close()
    assert codes(run(only="pulls")) == EXIT_OK
    assert len(queued(tmp_path)) == 350
    assert lists.ODD_ANSWERS > 1


def test_a_link_to_the_list_of_another_repository_brings_nothing_of_it(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(350, pulls=0, same_second=True)
    other = github.add_repo("acme/other").make(350, pulls=0, same_second=True, seed=2)
    time.seconds += 3600
    repo.add_issue()  # GitHub's own links are followed where nothing moves any more
    astray = []

    def lead_astray(ask, query):
        answer = ask(query)
        if (
            query["direction"] == "asc" and "Link" in answer.headers and len(astray) < 3
        ):  # the head tells whose list it is
            astray.append(query)
            link = answer.headers["Link"].replace(f"/repositories/{repo.id}/", f"/repositories/{other.id}/")
            answer = answer._replace(headers={"Link": link})
        return answer

    answers_with(github, lead_astray)
    (result,) = run(only="issues", since=ALL_HISTORY)
    assert (result.exit_code, "another repository" in result.error) == (EXIT_OUTAGE, True)
    astray += [None] * 3  # from here on its links are right
    assert codes(run(only="issues")) == EXIT_OK
    conn = db.connect(str(tmp_path / "p.db"))
    there = {row[0] for row in conn.execute("SELECT item_id FROM queue_items")}
    conn.close()
    assert there == set(repo.streams["issues"].items)
