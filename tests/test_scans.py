"""GitHub as others have met it: names used again, odd answers, broken items, lists that shift while they are read."""

import itertools
import json
import random
import sqlite3

import pytest

import db
import fetcher
import ingest
import pages
import timestamps
from errors import EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, Interrupted
from fetcher import ALL_HISTORY
from spots import SEEN, Cut, Spot, page_at
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


def test_issues_on_one_page_of_a_repository_that_took_the_name_are_not_skipped(run, github, tmp_path):
    github.add_repo("acme/app").make(5, pulls=0)
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
    reads = fetcher.PageReader.head

    def head(self, *, etag):
        if any(request.path == "/repos/acme/a/issues" for request in github.journal[-1:]):
            return reads(self, etag=etag)
        reads(self, etag=etag)
        raise KeyError("x")

    monkeypatch.setattr(fetcher.PageReader, "head", head)
    first, second = run(repo=["acme/a", "acme/b"], only="issues", since=ALL_HISTORY)
    assert (first.error, first.exit_code) == ("unexpected KeyError: 'x'; please report it", EXIT_FAILED)
    assert (second.error, second.enqueued) == (None, 5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted(15), sqlite3.OperationalError, MemoryError])
def test_what_ends_a_run_is_no_surprise(run, github, monkeypatch, error):
    github.add_repo("acme/widgets")

    def head(self, *, etag):
        raise error

    monkeypatch.setattr(fetcher.PageReader, "head", head)
    with pytest.raises(error if isinstance(error, type) else Interrupted):
        run()


# Where to look from.


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00Z", "2007-09-30T00:00:00Z"])
def test_a_date_before_github_existed_means_everything(run, github, tmp_path, since):
    github.add_repo("acme/widgets").make(350)
    assert codes(run(since=since)) == EXIT_OK
    assert len(queued(tmp_path)) == 350
    assert requests(run(since=since)) == [1, 1]


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
    assert fetcher.ODD_ANSWERS > 1
