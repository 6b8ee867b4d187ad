"""What more than the two lists of items tells: answers, reviews, who waits for whom, what was reopened, sizes.

The figures are those of the views (docs/METRICS.md). Nothing is asked of them where no run read what they need.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from typing import Any, NamedTuple, Sequence

import db
from report import spread
from report.items import CHUNK_ROWS, KINDS, PULL, where
from report.periods import Scope
from report.spread import Spread

REOPENED_SHOWN = 10
# Lines added and deleted, up to so many.
SIZES = ((10, "up to 10 lines"), (50, "11 to 50"), (200, "51 to 200"), (500, "201 to 500"), (1000, "501 to 1,000"),
         (float("inf"), "over 1,000"))  # fmt: skip
STAGES = ("to the first review", "from review to approval", "from approval to merge")
# What tells that a stream was read: a run that knows it, or rows, which `rebuild` brings as well.
_READ = {
    "issue-comments": "SELECT 1 FROM comments WHERE kind = 'issue' LIMIT 1",
    "pull-details": "SELECT 1 FROM pull_details LIMIT 1",
    "events": "SELECT 1 FROM item_events LIMIT 1",
}


class Reopened(NamedTuple):
    times: int
    repo: str
    number: int
    title: str
    html_url: str | None


class WaitsFor(NamedTuple):
    """`pulls` open pull requests wait for a review of the person, since `since`; the authors of most of them first."""

    person: str
    pulls: int
    since: str
    authors: list[str]


class Streams(NamedTuple):
    """None, or nothing in it: no figure has come of it yet."""

    read: frozenset[str]
    responses: dict[str, dict[str, Spread]]  # by kind, then by the month in which they were opened
    stages: dict[str, Spread]  # by STAGES
    sizes: dict[str, Spread]  # lead time of merged pull requests, by SIZES
    opened: dict[str, int]  # by month, where it is known whether they were reopened
    reopened: dict[str, int]  # of these, as often as it may be
    reopened_most: list[Reopened]
    waits: list[WaitsFor]


def read(conn: db.Connection, scope: Scope) -> Streams:
    """Within a snapshot."""
    known = {
        row[0] for row in conn.execute("SELECT DISTINCT stream FROM ingest_state WHERE last_success_at IS NOT NULL")
    }
    there = frozenset(name for name, rows in _READ.items() if name in known or conn.execute(rows).fetchone())
    tally = _Tally(scope.now[:7])
    if there:
        of_scope, repos = where(scope, "m")
        query = f"""
            SELECT m.repo, m.number, m.item_type, m.created_at, m.merged_at, m.lead_time_hours,
                m.first_response_hours, m.first_review_hours, m.rework_hours, m.merge_wait_hours, m.times_reopened,
                m.additions + m.deletions, m.id
            FROM item_metrics m WHERE m.gone_at IS NULL AND m.created_at >= ? AND {of_scope}
        """
        for chunk in db.chunks(conn, query, [scope.since, *repos], rows=CHUNK_ROWS):
            tally.add(chunk)
    return Streams(
        there,
        spread.by_kind(tally.responses, KINDS),
        _in_order(tally.stages, STAGES),
        _in_order(tally.sizes, [name for _, name in SIZES]),
        dict(sorted(tally.opened.items())),
        dict(tally.reopened),
        [_shown(conn, each) for each in sorted(tally.most, reverse=True)],
        _waits(conn, scope) if "events" in there else [],
    )


class _Tally:
    def __init__(self, present: str) -> None:
        self._present = present
        self.responses: defaultdict[tuple[str, str], array[float]] = defaultdict(spread.hours)
        self.stages: defaultdict[str, array[float]] = defaultdict(spread.hours)
        self.sizes: defaultdict[str, array[float]] = defaultdict(spread.hours)
        self.opened: Counter[str] = Counter()
        self.reopened: Counter[str] = Counter()
        self.most: list[tuple[int, str, int, str, int]] = []  # the item's type and id at the end

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        for repo, number, kind, created_at, merged_at, lead, response, *waits, times, lines, item_id in rows:
            month = min(created_at[:7], self._present)  # as in items.py: no month is yet to come
            if response is not None:
                self.responses[kind, month].append(response)
            for stage, hours in zip(STAGES, waits):
                if hours is not None:
                    self.stages[stage].append(hours)
            if lines is not None and merged_at is not None and lead is not None:
                self.sizes[next(name for most, name in SIZES if lines <= most)].append(lead)
            if times is not None:
                self.opened[month] += 1
            if times:
                self.reopened[month] += 1
                heapq.heappush(self.most, (times, repo, number, kind, item_id))
                if len(self.most) > REOPENED_SHOWN:
                    heapq.heappop(self.most)


def _in_order(hours: defaultdict[str, array[float]], names: Sequence[str]) -> dict[str, Spread]:
    return {name: spread.of(hours[name]) for name in names if name in hours}


def _shown(conn: db.Connection, found: tuple[int, str, int, str, int]) -> Reopened:
    times, repo, number, *key = found
    row = conn.execute("SELECT title, html_url FROM issues WHERE item_type = ? AND id = ?", key).fetchone()
    return Reopened(times, repo, number, row["title"], row["html_url"])


def _waits(conn: db.Connection, scope: Scope) -> list[WaitsFor]:
    of_scope, repos = where(scope, "i")
    rows = conn.execute(
        f"""
        SELECT a.person, coalesce(i.author, 'ghost'), count(*), min(a.asked_at)
        FROM awaited_reviews a
        JOIN issues i ON i.repo = a.repo AND i.item_type = '{PULL}' AND i.number = a.number
        WHERE {of_scope}
        GROUP BY a.person, coalesce(i.author, 'ghost') ORDER BY a.person, count(*) DESC, 2
        """,
        repos,
    )
    found: dict[str, WaitsFor] = {}
    for person, author, pulls, since in rows:
        before = found.get(person, WaitsFor(person, 0, since, []))
        found[person] = WaitsFor(person, before.pulls + pulls, min(before.since, since), [*before.authors, author])
    return sorted(found.values(), key=lambda each: (-each.pulls, each.since, each.person))
