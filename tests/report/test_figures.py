"""The figures against a calculation of its own in plain Python, on both engines."""

import contextlib
import statistics
from collections import Counter, defaultdict
from datetime import date, timedelta

import pytest

import db
from report import items, periods, spread, streams
from report.periods import Scope
from tests.report import made_up
from tests.report.made_up import NOW, item

KINDS = ("issue", "pull_request")
SINCE = "2026-03-04T00:00:00Z"


@pytest.fixture
def path(db_path):
    return db_path


def monday(day):
    found = date.fromisoformat(day[:10])
    return str(found - timedelta(days=found.weekday()))


def quantiles(hours):
    """The median, the 75th and the 90th percentile, by the standard library."""
    if len(hours) == 1:
        return pytest.approx([hours[0]] * 3)
    parts = statistics.quantiles(hours, n=20, method="inclusive")
    return pytest.approx([parts[9], parts[14], parts[17]])


def fill(conn, *rows):
    with db.transaction(conn):
        db.upsert(conn, "issues", rows)


def read(conn, scope):
    with db.snapshot(conn):
        return items.read(conn, scope)


@pytest.mark.parametrize("repos", [(), ("acme/gadgets", "acme/docs")])
def test_the_figures_of_items_are_those_that_plain_python_finds(conn, repos):
    rows = [row for row in made_up.year(conn) if not repos or row["repo"] in repos]
    found = read(conn, Scope(repos, SINCE, NOW))
    is_open = [row for row in rows if row["closed_at"] is None]
    assert found.total == len(rows) > 50
    assert found.open == {kind: sum(row["item_type"] == kind for row in is_open) for kind in KINDS}
    assert found.drafts == sum(row["draft"] or 0 for row in is_open)
    opened = Counter((row["item_type"], monday(row["created_at"])) for row in rows if row["created_at"] >= SINCE)
    done = [row for row in rows if row["closed_at"] and row["closed_at"] >= SINCE]
    closed = Counter((row["item_type"], monday(row["closed_at"])) for row in done)
    assert [flow.begin for flow in found.flow][:2] == ["2026-03-02", "2026-03-09"]
    assert found.flow[-1].begin == "2026-11-23"
    for flow in found.flow:
        ends = str(date.fromisoformat(flow.begin) + timedelta(days=7))
        for kind in KINDS:
            assert flow.opened[kind] == opened[kind, flow.begin]
            assert flow.closed[kind] == closed[kind, flow.begin]
            assert flow.left[kind] == sum(
                row["item_type"] == kind and row["created_at"] < ends and not (row["closed_at"] or "9") < ends
                for row in rows
            )
    for kind in KINDS:
        by_month = defaultdict(list)
        for row in done:
            if row["item_type"] == kind:
                by_month[row["closed_at"][:7]].append(row["lead_time_hours"])
        assert list(found.lead[kind]) == sorted(by_month)
        for month, hours in by_month.items():
            of = found.lead[kind][month]
            assert (of.items, [of.half, of.most, of.nearly_all]) == (len(hours), quantiles(hours))
            assert of.mean == pytest.approx(statistics.mean(hours))
        assert sum(found.ages[kind]) == found.open[kind]
    counts = {each.repo: (sum(each.open.values()), each.opened, each.closed) for each in found.repos}
    assert counts == {
        repo: (
            sum(row["repo"] == repo for row in is_open),
            sum(row["repo"] == repo and row["created_at"] >= SINCE for row in rows),
            sum(row["repo"] == repo for row in done),
        )
        for repo in {row["repo"] for row in rows}
    }


def test_the_figures_of_streams_are_those_of_the_view(conn):
    made_up.year(conn)
    conn.execute("UPDATE issues SET gone_at = ? WHERE id % 4 = 0", (NOW,))
    with db.snapshot(conn):
        found = streams.read(conn, Scope((), SINCE, NOW))
    statement = "SELECT * FROM item_metrics WHERE created_at >= ? AND gone_at IS NULL"
    rows = [dict(row) for row in conn.execute(statement, (SINCE,))]
    for kind in KINDS:
        by_month = defaultdict(list)
        for row in rows:
            if row["item_type"] == kind and row["first_response_hours"] is not None:
                by_month[row["created_at"][:7]].append(row["first_response_hours"])
        assert list(found.responses[kind]) == sorted(by_month) and by_month
        for month, hours in by_month.items():
            of = found.responses[kind][month]
            assert [of.half, of.most, of.nearly_all] == quantiles(hours)
    stages = ("first_review_hours", "rework_hours", "merge_wait_hours")
    assert [(of.items, of.half) for of in found.stages.values()] == [
        (len(hours), pytest.approx(statistics.median(hours)))
        for hours in ([row[stage] for row in rows if row[stage] is not None] for stage in stages)
    ]
    merged = [row for row in rows if row["merged_at"] and row["additions"] is not None]
    assert sum(of.items for of in found.sizes.values()) == len(merged) > 20
    small = [row["lead_time_hours"] for row in merged if row["additions"] + row["deletions"] <= 10]
    assert found.sizes["up to 10 lines"].half == pytest.approx(statistics.median(small))
    again = [row for row in rows if row["times_reopened"]]
    assert sum(found.reopened.values()) == len(again) > 3
    assert [each.times for each in found.reopened_most] == sorted(
        (row["times_reopened"] for row in again), reverse=True
    )[:10]
    asked = conn.execute("SELECT person, count(*), min(asked_at) FROM awaited_reviews GROUP BY person").fetchall()
    assert {(each.person, each.pulls, each.since) for each in found.waits} == {tuple(row) for row in asked}


def test_the_two_lists_alone_bring_no_figure_of_other_streams(conn):
    made_up.year(conn, streams=("issues", "pulls"), items=50)
    with db.snapshot(conn):
        found = streams.read(conn, Scope((), SINCE, NOW))
    assert (found.read, found.stages, found.waits, found.opened) == (frozenset(), {}, [], {})
    conn.execute("UPDATE ingest_state SET stream = 'events', last_success_at = NULL WHERE stream = 'pulls'")
    with db.snapshot(conn):
        assert streams.read(conn, Scope((), SINCE, NOW)).read == frozenset()  # it was begun, no more


def test_of_many_that_were_reopened_those_stay_that_were_most_often():
    tally = streams._Tally(NOW[:7])
    for times in (7, 1, 12, 3, 9, 2, 11, 5, 4, 10, 6, 8):
        tally.add([("acme/widgets", times, "issue", NOW, *[None] * 6, times, None, times)])
    assert sorted(times for times, *_ in tally.most) == list(range(3, 13))


def test_open_pull_requests_wait_in_the_order_in_which_they_came_without_drafts_and_what_is_gone(conn):
    kinds = {"kind": "pull_request"}
    fill(
        conn,
        item(1, created_at="2026-01-02T00:00:00Z", **kinds),
        item(2, created_at="2026-01-01T00:00:00Z", **kinds),
        item(3, created_at="2025-01-01T00:00:00Z", draft=1, **kinds),
        item(4, created_at="2025-01-01T00:00:00Z", closed_at="2025-01-02T00:00:00Z", **kinds),
        item(5, created_at="2025-01-01T00:00:00Z"),
        item(6, created_at="2025-01-01T00:00:00Z", **kinds),
    )
    conn.execute("UPDATE issues SET gone_at = '2026-01-01T00:00:00Z' WHERE id = 6")
    scope = Scope((), SINCE, NOW)
    assert [each.number for each in items.waiting_longest(conn, scope)] == [2, 1]
    counted = read(conn, scope)
    assert (counted.total, counted.gone, counted.open["pull_request"]) == (5, 1, 3)


def test_a_long_history_goes_by_months_and_begins_with_its_first_item(conn):
    fill(conn, item(1, created_at="2020-02-03T00:00:00Z", closed_at="2020-02-04T00:00:00Z"))
    scope = items.narrowed(conn, Scope((), "2010-01-01T00:00:00Z", NOW))
    assert scope.since == "2020-02-03T00:00:00Z"
    found = read(conn, scope)
    assert (found.flow[0].begin, found.flow[0].opened["issue"], len(found.flow)) == ("2020-02", 1, 82)
    assert items.narrowed(conn, Scope((), "2026-01-01T00:00:00Z", NOW)).since == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("created_at, since", [("1970-01-01", "2007-12-31"), ("2031-01-01", periods.week_of(NOW[:10]))])
def test_a_time_before_githubs_or_after_ours_makes_no_year_of_nothing(conn, created_at, since):
    fill(conn, item(1, created_at=f"{created_at}T00:00:00Z"))
    assert items.narrowed(conn, Scope((), "1969-01-01T00:00:00Z", NOW)).since == f"{since}T00:00:00Z"


def test_a_repository_is_found_by_any_case_and_by_its_former_name(conn):
    made_up.year(conn, items=5, repos=("acme/widgets",))
    conn.execute("INSERT INTO repo_aliases (alias, repo) VALUES ('acme/old', 'acme/widgets')")
    assert items.repositories(conn) == {"acme/widgets": "acme/widgets", "acme/old": "acme/widgets"}


def test_percentiles_lie_between_values_where_no_value_has_their_place():
    assert [spread.percentile([1, 2, 3, 4], share) for share in (0, 0.5, 0.75, 1)] == [1, 2.5, 3.25, 4]
    assert spread.percentile([7], 0.9) == 7


def test_weeks_begin_on_monday_and_months_have_no_gap():
    scope = Scope((), "2025-12-31T00:00:00Z", "2026-02-01T23:59:59Z")
    assert periods.weeks(scope) == ["2025-12-29", "2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26"]
    assert periods.months(scope) == ["2025-12", "2026-01", "2026-02"]
    assert periods.default_since(NOW) == "2025-11-24T00:00:00Z"


def test_many_repositories_are_asked_for_in_chunks_on_either_engine(conn):
    made_up.year(conn, items=20, repos=("acme/widgets",))
    with db.snapshot(conn):
        chunks = db.chunks(conn, "SELECT number FROM issues WHERE number > ? ORDER BY number", [15], rows=2)
        assert [[row[0] for row in chunk] for chunk in chunks] == [[16, 17], [18, 19], [20]]
    with contextlib.closing(conn.execute("SELECT 1")) as still:
        assert still.fetchone()[0] == 1
