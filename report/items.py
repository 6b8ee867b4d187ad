"""Issues and pull requests as figures: one pass over `issues`, whatever its length, and the list of who waits longest.

What is gone from GitHub is left out: it is neither open nor anybody's to close.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import Any, Iterator, NamedTuple, Sequence

import db
from foundation import timestamps
from report import periods, spread
from report.periods import Scope
from report.spread import Spread

ISSUE, PULL = "issue", "pull_request"
KINDS = (ISSUE, PULL)
CHUNK_ROWS = 4096
WAITING_SHOWN = 20
RECENT_DAYS, TREND_DAYS = 90, 28
# Up to so many days old, in words.
AGES = ((7, "under a week"), (28, "1 to 4 weeks"), (91, "1 to 3 months"), (182, "3 to 6 months"),
        (365, "6 to 12 months"), (730, "1 to 2 years"), (float("inf"), "over 2 years"))  # fmt: skip


class Flow(NamedTuple):
    """Of a week or month, by kind; `left`: how many were open at its end."""

    begin: str
    opened: dict[str, int]
    closed: dict[str, int]
    left: dict[str, int]


class OfRepo(NamedTuple):
    repo: str
    open: dict[str, int]
    opened: int
    closed: int
    half: dict[str, float | None]  # the median lead time in hours, by kind


class Waiting(NamedTuple):
    """An open pull request, and whose review it waits for, as far as that is known."""

    repo: str
    number: int
    title: str
    author: str | None
    created_at: str
    html_url: str | None
    reviewers: tuple[str, ...]


class Items(NamedTuple):
    total: int
    open: dict[str, int]
    open_before: dict[str, int]  # TREND_DAYS ago
    drafts: int  # of the open pull requests
    flow: list[Flow]
    lead: dict[str, dict[str, Spread]]  # by kind, then by the month in which they were closed
    recent: dict[str, Spread | None]  # closed in the last RECENT_DAYS
    ages: dict[str, list[int]]  # by kind, as many as AGES
    repos: list[OfRepo]  # most open first
    gone: int


def where(scope: Scope, alias: str) -> tuple[str, list[str]]:
    """Which rows the page is about, and the parameters of that."""
    if not scope.repos:
        return "1 = 1", []
    return f"{alias}.repo IN {db.places(len(scope.repos))}", list(scope.repos)


def repositories(conn: db.Connection) -> dict[str, str]:
    """All that anything is known of, as they are called at present; by that name, or a former one, in lower case."""
    former = {row["alias"]: row["repo"] for row in conn.execute("SELECT alias, repo FROM repo_aliases")}
    present = conn.execute("SELECT DISTINCT repo FROM issues UNION SELECT repo FROM ingest_state")
    return {**former, **{row["repo"].lower(): row["repo"] for row in present}}


def narrowed(conn: db.Connection, scope: Scope) -> Scope:
    """Without the weeks before the first item; nothing on GitHub is older than GitHub."""
    of_scope, repos = where(scope, "i")
    query = f"SELECT min(i.created_at) FROM issues i WHERE i.gone_at IS NULL AND {of_scope}"
    first = conn.execute(query, repos).fetchone()[0] or scope.since
    begin = min(max(scope.since, first, periods.GITHUB_BEGAN), scope.now)
    return scope._replace(since=scope.since if begin == scope.since else f"{periods.week_of(begin[:10])}T00:00:00Z")


def read(conn: db.Connection, scope: Scope) -> Items:
    """Within a snapshot."""
    of_scope, repos = where(scope, "i")
    tally = _Tally(scope)
    query = f"""
        SELECT i.repo, i.item_type, i.state, i.draft, i.created_at, coalesce(i.closed_at, i.merged_at),
            i.lead_time_hours
        FROM issues i WHERE i.gone_at IS NULL AND {of_scope}
    """
    for chunk in db.chunks(conn, query, repos, rows=CHUNK_ROWS):
        tally.add(chunk)
    statement = f"SELECT count(*) FROM issues i WHERE i.gone_at IS NOT NULL AND {of_scope}"
    return tally.summed_up(gone=int(conn.execute(statement, repos).fetchone()[0]))


def waiting_longest(conn: db.Connection, scope: Scope) -> list[Waiting]:
    """Open pull requests, the oldest first; a draft waits for nobody."""
    of_scope, repos = where(scope, "i")
    rows = conn.execute(
        f"""
        SELECT i.repo, i.number, i.title, i.author, i.created_at, i.html_url FROM issues i
        WHERE i.item_type = '{PULL}' AND i.state = 'open' AND i.gone_at IS NULL AND coalesce(i.draft, 0) = 0
            AND {of_scope}
        ORDER BY i.created_at, i.repo, i.number LIMIT {WAITING_SHOWN}
        """,
        repos,
    ).fetchall()
    return [
        Waiting(**dict(row), reviewers=tuple(_asked(conn, row["repo"], row["number"])))  # by the names of its columns
        for row in rows
    ]


def _asked(conn: db.Connection, repo: str, number: int) -> Iterator[str]:
    statement = "SELECT person FROM awaited_reviews WHERE repo = ? AND number = ? ORDER BY asked_at, person"
    for row in conn.execute(statement, (repo, number)):
        yield row["person"]


class _Tally:
    """Counts by day, hours in arrays: a million rows take some tens of megabytes."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._recent = timestamps.shift(scope.now, seconds=-RECENT_DAYS * 86400)
        self._trend = timestamps.shift(scope.now, seconds=-TREND_DAYS * 86400)
        self._age_limits = [timestamps.shift(scope.now, seconds=-days * 86400) for days, _ in AGES[:-1]]
        self._total = self._drafts = 0
        self._open: Counter[str] = Counter()
        self._opened: Counter[tuple[str, str]] = Counter()  # by kind and day, of the scope alone
        self._closed: Counter[tuple[str, str]] = Counter()
        self._since_trend: Counter[str] = Counter()  # opened less closed
        self._ages: Counter[tuple[str, int]] = Counter()
        self._lead: defaultdict[tuple[str, str], array[float]] = defaultdict(spread.hours)
        self._lately: defaultdict[str, array[float]] = defaultdict(spread.hours)
        self._of_repo: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lead_of_repo: defaultdict[tuple[str, str], array[float]] = defaultdict(spread.hours)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        (_, since, now), recent, trend = self._scope, self._recent, self._trend
        self._total += len(rows)
        for repo, kind, state, draft, created_at, closed_at, hours in rows:
            # A clock that goes slow is behind what GitHub dates: that has no later week or month of its own.
            created_at = min(created_at, now)
            of_repo = self._of_repo[repo]
            if created_at >= since:
                self._opened[kind, created_at[:10]] += 1
                of_repo["opened"] += 1
            if created_at >= trend:
                self._since_trend[kind] += 1
            if state == "open":
                self._open[kind] += 1
                of_repo[kind] += 1
                self._drafts += bool(draft)
                self._ages[kind, sum(created_at < limit for limit in self._age_limits)] += 1
            elif closed_at is not None:
                closed_at = min(closed_at, now)
                if closed_at >= trend:
                    self._since_trend[kind] -= 1
                if hours is not None and closed_at >= recent:
                    self._lately[kind].append(hours)
                if closed_at >= since:
                    self._closed[kind, closed_at[:10]] += 1
                    of_repo["closed"] += 1
                    if hours is not None:
                        self._lead[kind, closed_at[:7]].append(hours)
                        self._lead_of_repo[repo, kind].append(hours)

    def summed_up(self, *, gone: int) -> Items:
        repos = [
            OfRepo(
                repo,
                {kind: counts[kind] for kind in KINDS},
                counts["opened"],
                counts["closed"],
                {kind: self._half(repo, kind) for kind in KINDS},
            )
            for repo, counts in self._of_repo.items()
        ]
        return Items(
            total=self._total,
            open={kind: self._open[kind] for kind in KINDS},
            open_before={kind: self._open[kind] - self._since_trend[kind] for kind in KINDS},
            drafts=self._drafts,
            flow=self._flow(),
            lead=spread.by_kind(self._lead, KINDS),
            recent={kind: spread.of(self._lately[kind]) if self._lately[kind] else None for kind in KINDS},
            ages={kind: [self._ages[kind, at] for at in range(len(AGES))] for kind in KINDS},
            repos=sorted(repos, key=lambda each: (-sum(each.open.values()), -each.opened, each.repo)),
            gone=gone,
        )

    def _half(self, repo: str, kind: str) -> float | None:
        hours = self._lead_of_repo.get((repo, kind))
        return spread.percentile(sorted(hours), 0.5) if hours else None

    def _flow(self) -> list[Flow]:
        """Counted back from what is open now, so that the last week ends with that."""
        by_weeks = periods.goes_by_weeks(self._scope)
        begins = periods.weeks(self._scope) if by_weeks else periods.months(self._scope)
        opened, closed = (self._summed(counts, by_weeks) for counts in (self._opened, self._closed))
        left, found = dict.fromkeys(KINDS, 0), []
        left.update(self._open)
        for begin in reversed(begins):
            of_opened, of_closed = ({kind: counts[kind, begin] for kind in KINDS} for counts in (opened, closed))
            found.append(Flow(begin, of_opened, of_closed, dict(left)))
            left = {kind: left[kind] - of_opened[kind] + of_closed[kind] for kind in KINDS}
        return found[::-1]

    @staticmethod
    def _summed(counts: Counter[tuple[str, str]], by_weeks: bool) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for (kind, day), number in counts.items():
            found[kind, periods.week_of(day) if by_weeks else day[:7]] += number
        return found
