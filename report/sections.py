"""What the page says: figures as sentences, plots and tables. Knows no database and no HTML."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from report import periods, words
from report.items import AGES, ISSUE, KINDS, PULL, RECENT_DAYS, TREND_DAYS, Flow, Items, OfRepo, Waiting
from report.periods import Scope
from report.pieces import NAMES, OF_KIND, ONE, Link, Plot, Section, Table, by_month, not_whole, places, spreads, telling
from report.plots import Mark, Series, areas, columns, rows

FINISHED = {ISSUE: "closed", PULL: "merged or closed"}
FLOW = (Series("opened", "--first"), Series("closed", "--second"))
REPOS_DRAWN, REPOS_LISTED = 12, 100
NONE = "\u2013"


class Number(NamedTuple):
    """One of the large ones at the top."""

    figure: str
    unit: str
    what: str
    note: str


def numbers(items: Items) -> list[Number]:
    found = [
        Number(f"{items.open[kind]:,}", "", f"open {NAMES[kind]}", _trend(items.open[kind], items.open_before[kind]))
        for kind in KINDS
    ]
    if items.drafts:
        found[1] = found[1]._replace(note=f"{found[1].note}; {words.count(items.drafts, 'draft')} among them")
    for kind in KINDS:
        lately = items.recent[kind]
        if lately is not None:
            note = f"nine of ten within {words.duration(lately.nearly_all)}"
            done = f"{words.count(lately.items, ONE[kind])} {FINISHED[kind]} in the last {RECENT_DAYS} days took"
            what = f"half of the {done} no longer"
            if lately.items == 1:
                what, note = f"{done} so long", ""
            found.append(_long(lately.half, what, note))
    return found


def _long(hours: float, what: str, note: str) -> Number:
    figure, _, unit = words.duration(hours).rpartition(words.HELD)
    return Number(figure or "< 1", unit if figure else "minute", what, note)


def _trend(now: int, before: int) -> str:
    if now == before:
        return f"as many as {TREND_DAYS // 7} weeks ago"
    return f"{abs(now - before):,} {'more' if now > before else 'fewer'} than {TREND_DAYS // 7} weeks ago"


def all_of(items: Items, waiting: Sequence[Waiting], scope: Scope) -> list[Section]:
    return [
        Section("flow", "Opened and closed", [_flow(items, scope), _left(items, scope)]),
        Section("lead-time", "Lead time", [_lead(items, scope, kind) for kind in (PULL, ISSUE)]),
        Section("age", "Open, and since when", [_ages(items), _waiting(waiting, scope)]),
        Section("repositories", "By repository", [_repos(items)]),
    ]


def _called(begin: str, by_weeks: bool) -> str:
    return f"week of {words.short_day(begin)}" if by_weeks else words.month(begin)


def _flow(items: Items, scope: Scope) -> Plot:
    by_weeks = periods.goes_by_weeks(scope)
    opened = sum(sum(flow.opened.values()) for flow in items.flow)
    closed = sum(sum(flow.closed.values()) for flow in items.flow)
    if not opened and not closed:
        return Plot(f"Nothing was opened or closed since {words.day(scope.since)}.")
    more = "as many as were closed"
    if opened != closed:
        by = abs(opened - closed)
        more = f"{by:,} {'more' if opened > closed else 'fewer'} than were closed"
    unit = "week" if by_weeks else "month"
    marks = []
    for flow in items.flow:
        for series, counts, sign in zip(FLOW, (flow.opened, flow.closed), (1, -1)):
            number = sum(counts.values())
            said = f"{_called(flow.begin, by_weeks)}: {number:,} {series.name}"
            marks.append(Mark(flow.begin, series.name, sign * number, said))
    heads = [unit, *(f"{NAMES[kind]} {done}" for kind in KINDS for done in ("opened", "closed"))]
    table = Table(heads, [_row_of_flow(flow, by_weeks) for flow in reversed(items.flow)])
    return Plot(
        f"{words.count(opened, 'item was', 'items were')} opened since {words.day(scope.since)}, {more}",
        f"Issues and pull requests by {unit}: opened above the line, closed below it. {not_whole(scope, unit)}",
        columns(places([flow.begin for flow in items.flow]), FLOW, marks, unit="items", stacked=True),
        table,
    )


def _row_of_flow(flow: Flow, by_weeks: bool) -> list[str]:
    counts = [f"{of[kind]:,}" for kind in KINDS for of in (flow.opened, flow.closed)]
    return [_called(flow.begin, by_weeks), *counts]


def _left(items: Items, scope: Scope) -> Plot:
    by_weeks = periods.goes_by_weeks(scope)
    before, now = (sum(flow.left.values()) for flow in (items.flow[0], items.flow[-1]))
    if not any(sum(flow.left.values()) for flow in items.flow):
        return Plot("Nothing was left open at the end of any week." if by_weeks else "Nothing was left open.")
    how = "is as large as" if now == before else "grew from" if now > before else "shrank from"
    since = f"{'the ' if by_weeks else ''}{_called(items.flow[0].begin, by_weeks)}"
    title = f"What is left open {how} {f'{before:,} to {now:,}' if now != before else f'at first: {now:,}'}"
    marks = [
        Mark(flow.begin, NAMES[kind], flow.left[kind], f"{_called(flow.begin, by_weeks)}: {flow.left[kind]:,}")
        for kind in KINDS
        for flow in items.flow
    ]
    unit = "week" if by_weeks else "month"
    table = Table(
        [unit, *(f"open {NAMES[kind]}" for kind in KINDS)],
        [[_called(flow.begin, by_weeks), *(f"{flow.left[kind]:,}" for kind in KINDS)] for flow in reversed(items.flow)],
    )
    return Plot(
        title,
        f"Open at the end of each {unit}, from {since} on. What was opened again counts as never closed.",
        areas(places([flow.begin for flow in items.flow]), list(OF_KIND.values()), marks, unit="open items"),
        table,
    )


def _lead(items: Items, scope: Scope, kind: str) -> Plot:
    found = items.lead[kind]
    if not found:
        return Plot(f"No {ONE[kind]} was {FINISHED[kind]} since {words.day(scope.since)}.")
    month, of = telling(found, scope)
    done = f"{FINISHED[kind]} in {words.month(month)} took {words.duration(of.half)}"
    title = f"Half of the {words.count(of.items, ONE[kind])} {done} or less, nine of ten "
    title += f"{words.duration(of.nearly_all)} or less"
    if of.items == 1:
        title = f"The one {ONE[kind]} {done}"
    note = f"From creation to the day when they were {FINISHED[kind]}, by the month of that day. "
    note += not_whole(scope, "month")
    return spreads(title, note, "month", by_month(found, scope))


def _ages(items: Items) -> Plot:
    total = sum(items.open.values())
    if not total:
        return Plot("Nothing is open.")
    names = [name for _, name in AGES]
    old = sum(items.ages[kind][at] for kind in KINDS for at in range(3, len(AGES)))
    share = f"{words.count(old, 'item has', 'items have')} been open for more than 3 months, of {total:,}"
    marks = [
        Mark(name, NAMES[kind], items.ages[kind][at], f"{name}: {words.count(items.ages[kind][at], ONE[kind])}")
        for at, name in enumerate(names)
        for kind in KINDS
    ]
    table = Table(
        ["open for", *(NAMES[kind] for kind in KINDS)],
        [[name, *(f"{items.ages[kind][at]:,}" for kind in KINDS)] for at, name in enumerate(names)],
    )
    title = share if old else f"None of the {total:,} open items is older than 3 months"
    return Plot(
        title, "Open items by the time since they were opened.", rows(names, list(OF_KIND.values()), marks), table
    )


def _waiting(waiting: Sequence[Waiting], scope: Scope) -> Plot:
    if not waiting:
        return Plot("No open pull request waits, drafts aside.")
    knows_reviewers = any(each.reviewers for each in waiting)
    heads = ["pull request", "open for", "by", *(["waits for"] if knows_reviewers else [])]
    listed: list[list[str | Link]] = [
        [
            Link(f"{words.title(each.repo, 60)}#{each.number}", each.html_url, words.title(each.title)),
            words.age(each.created_at, scope.now),
            words.title(each.author or "ghost", 40),
            *([_people(each.reviewers)] if knows_reviewers else []),
        ]
        for each in waiting
    ]
    first = waiting[0]
    title = f"The pull request that waits longest has been open for {words.age(first.created_at, scope.now)}"
    return Plot(title, f"The {len(waiting)} that were opened first, without drafts.", None, Table(heads, listed))


def _people(names: Sequence[str]) -> str:
    return words.listed([words.title(name, 40) for name in names]) if names else NONE


def _repos(items: Items) -> Plot:
    if not items.repos:
        return Plot("No item of any repository is known.")
    first = items.repos[0]
    open_there = sum(first.open.values())
    shown = [repo for repo in items.repos if sum(repo.open.values())][:REPOS_DRAWN]
    names = {repo.repo: words.title(repo.repo, 60) for repo in items.repos[:REPOS_LISTED]}
    drawn = _in_short(shown)
    marks = [
        Mark(name, NAMES[kind], repo.open[kind], f"{name}: {words.count(repo.open[kind], ONE[kind])}")
        for repo, name in zip(shown, drawn)
        for kind in KINDS
    ]
    heads = ["repository", "open issues", "open pull requests", "opened", "closed", "issues: half within",
             "pull requests: half within"]  # fmt: skip
    table = Table(heads, [_row_of_repo(repo, names[repo.repo]) for repo in items.repos[:REPOS_LISTED]])
    left = len(items.repos) - REPOS_LISTED
    note = "Open items of each repository" + (
        f", the {REPOS_DRAWN} with most of them." if len(items.repos) > REPOS_DRAWN else "."
    )
    note += f" The table has {REPOS_LISTED} of {len(items.repos):,}." if left > 0 else ""
    if not shown:
        return Plot(
            f"Nothing is open in {words.count(len(items.repos), 'repository', 'repositories')}.", "", None, table
        )
    title = f"{names[first.repo]} has {words.count(open_there, 'open item')}"
    if len(items.repos) > 1 and open_there == sum(items.repos[1].open.values()):
        title = f"No repository has more than {words.count(open_there, 'open item')}"
    elif len(items.repos) > 1:
        title += f", the most of {len(items.repos):,} repositories"
    drawing = rows(drawn, list(OF_KIND.values()), marks)
    return Plot(title, note, drawing, table)


def _in_short(repos: Sequence[OfRepo]) -> list[str]:
    """Without the owner, where all have the same: it would fill the room on a telephone. As long as GitHub lets them
    be: two that were cut to the same name would share a bar."""
    owners = {repo.repo.split("/")[0] for repo in repos}
    return [
        words.title(repo.repo.split("/")[-1] if len(owners) == 1 < len(repos) else repo.repo, 140) for repo in repos
    ]


def _row_of_repo(repo: OfRepo, name: str) -> list[str]:
    halves = [_or_dash(repo.half[kind]) for kind in KINDS]
    return [name, *(f"{repo.open[kind]:,}" for kind in KINDS), f"{repo.opened:,}", f"{repo.closed:,}", *halves]


def _or_dash(hours: float | None) -> str:
    return NONE if hours is None else words.duration(hours)
