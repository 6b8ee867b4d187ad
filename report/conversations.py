"""What only further streams tell: answers, reviews, what was reopened, sizes. Pure.

Where a stream was not read one line says so, and how to.
"""

from __future__ import annotations

from report import words
from report.items import ISSUE, PULL
from report.periods import Scope
from report.pieces import NAMES, ONE, Link, Plot, Section, Table, by_month, not_whole, spreads, telling
from report.plots import Mark, Place, Series, columns, rows
from report.spread import Spread
from report.streams import STAGES, Streams, WaitsFor

PEOPLE_DRAWN, PEOPLE_LISTED = 15, 100
ALONE = (Series("pull requests", "--first"),)
_IN_LINES = dict(zip(STAGES, ("to the\nfirst review", "review to\napproval", "approval\nto merge")))
REOPENED = (Series("reopened", "--second"),)


def all_of(streams: Streams, scope: Scope) -> list[Section]:
    if not streams.read:
        what = "First responses, reviews, who waits for whom, what was reopened, and how sizes matter"
        lacks = Plot(
            f"{what} are not known yet.", "This reads what they need: python main.py ingest --all --streams all"
        )
        return [Section("more", "More to know", [lacks])]
    return [
        Section("responses", "First response", [_response(streams, scope, kind) for kind in (PULL, ISSUE)]),
        Section("reviews", "Reviews", [_stages(streams, scope), _waits(streams, scope)]),
        Section("reopened", "Reopened", [_reopened(streams, scope)]),
        Section("size", "By size", [_sizes(streams, scope)]),
    ]


def _lacks(streams: Streams, what: str, *needed: str) -> Plot | None:
    """Why there is no figure, where the reason is that a stream was never read."""
    missing = [name for name in needed if name not in streams.read]
    if not missing:
        return None
    are = "was" if len(missing) == 1 else "were"
    reads = f"python main.py ingest --all --streams issues,pulls,{','.join(missing)}"
    return Plot(f"{what} are not known yet.", f"{words.listed(missing)} {are} never read; this reads them: {reads}")


def _response(streams: Streams, scope: Scope, kind: str) -> Plot:
    needed = ("issue-comments",) if kind == ISSUE else ("issue-comments", "pull-details", "events")
    lacks = _lacks(streams, f"First responses to {NAMES[kind]}", *needed)
    if lacks:
        return lacks
    found = streams.responses[kind]
    if not found:
        return Plot(f"No answer to {NAMES[kind]} opened since {words.day(scope.since)} is known yet.")
    month, of = telling(found, scope)
    opened, within = f"opened in {words.month(month)} that", f"answered had an answer within {words.duration(of.half)}"
    title = f"Half of the {words.count(of.items, ONE[kind])} {opened} were {within}, nine of ten within "
    title += words.duration(of.nearly_all)
    if of.items == 1:
        title = f"The one {ONE[kind]} {opened} was {within}"
    note = (
        "By the month in which they were opened, until somebody other than the author, and no bot, said something. "
        f"Those without an answer are not counted. {not_whole(scope, 'month')}"
    )
    return spreads(title, note, "month", by_month(found, scope))


def _stages(streams: Streams, scope: Scope) -> Plot:
    lacks = _lacks(streams, "Review times", "pull-details", "events")
    if lacks:
        return lacks
    if not streams.stages:
        return Plot(f"No pull request opened since {words.day(scope.since)} was reviewed yet.")
    slowest = max(streams.stages, key=lambda name: streams.stages[name].half)
    of = streams.stages[slowest]
    title = f"The longest step of a pull request is that {slowest}: for half of them {words.duration(of.half)} or less"
    note = f"Pull requests opened since {words.day(scope.since)}; each step by those that came to its end."
    return spreads(title, note, "step", {Place(name, _IN_LINES[name]): of for name, of in streams.stages.items()})


def _waits(streams: Streams, scope: Scope) -> Plot:
    lacks = _lacks(streams, "Whose review is waited for", "events", "pull-details")
    if lacks:
        return lacks
    if not streams.waits:
        return Plot("No open pull request waits for the review of a person.")
    most, more = streams.waits[0].pulls, len(streams.waits) - PEOPLE_LISTED
    first = [words.title(each.person, 40) for each in streams.waits if each.pulls == most]
    are = "is" if len(first) == 1 else "are"
    title = f"{words.listed(first)} {are} waited for{' most' if len(streams.waits) > 1 else ''}: "
    title += f"{words.count(most, 'open pull request')}{' each' if len(first) > 1 else ''}"
    names = [words.title(each.person, 40) for each in streams.waits[:PEOPLE_DRAWN]]
    marks = [
        Mark(name, ALONE[0].name, each.pulls, f"{name}: {words.count(each.pulls, 'open pull request')}")
        for name, each in zip(names, streams.waits)
    ]
    note = "Open pull requests that wait for the review of each person." + (
        f" The table has {PEOPLE_LISTED} of {len(streams.waits):,} people." if more > 0 else ""
    )
    listed = [_row_of_person(each, scope) for each in streams.waits[:PEOPLE_LISTED]]
    return Plot(title, note, rows(names, ALONE, marks), Table(["who", "pull requests", "the oldest for", "of"], listed))


def _row_of_person(each: WaitsFor, scope: Scope) -> list[str]:
    authors = words.listed([words.title(author, 40) for author in each.authors])
    return [words.title(each.person, 40), f"{each.pulls:,}", words.age(each.since, scope.now), authors]


def _reopened(streams: Streams, scope: Scope) -> Plot:
    lacks = _lacks(streams, "Reopened items", "events")
    if lacks:
        return lacks
    opened, reopened = sum(streams.opened.values()), sum(streams.reopened.values())
    if not opened:
        return Plot(f"Of no item opened since {words.day(scope.since)} is it known whether it was reopened.")
    if not reopened:
        return Plot(f"None of {words.count(opened, 'item')} opened since {words.day(scope.since)} was reopened.")
    title = f"{reopened:,} of {words.count(opened, 'item')} opened since {words.day(scope.since)} "
    title += f"{'was' if reopened == 1 else 'were'} closed and opened again ({reopened / opened:.1%})"
    found = by_month({}, scope)
    marks = [
        Mark(
            place.key,
            REOPENED[0].name,
            number,
            f"{words.month(place.key)}: {number:,} of {streams.opened[place.key]:,}",
        )
        for place in found
        if (number := streams.reopened.get(place.key, 0))
    ]
    listed: list[list[str | Link]] = [
        [Link(f"{words.title(each.repo, 60)}#{each.number}", each.html_url, words.title(each.title)), f"{each.times:,}"]
        for each in streams.reopened_most
    ]
    table = Table(["item", "times reopened"], listed)
    note = "By the month in which they were opened. The table has those that were reopened most often."
    return Plot(title, note, columns(list(found), REOPENED, marks, unit="items", stacked=True), table)


def _sizes(streams: Streams, scope: Scope) -> Plot:
    lacks = _lacks(streams, "Sizes of pull requests", "pull-details")
    if lacks:
        return lacks
    if not streams.sizes:
        return Plot(f"No pull request opened since {words.day(scope.since)} was merged yet.")
    sizes = list(streams.sizes.items())
    title = ", ".join(_took(*each) for each in (sizes[:1] if len(sizes) == 1 else (sizes[0], sizes[-1])))
    title = title[0].upper() + title[1:]
    note = f"Lead time by lines added and deleted; merged pull requests opened since {words.day(scope.since)}."
    return spreads(title, note, "lines", {Place(name, _in_lines(name)): of for name, of in streams.sizes.items()})


def _took(size: str, of: Spread) -> str:
    which = f"{'' if size.startswith('over') else 'of '}{size}{'' if size.endswith('lines') else ' lines'}"
    if of.items == 1:
        return f"the one merged pull request {which} took {words.duration(of.half)}"
    return f"half of the {words.count(of.items, 'merged pull request')} {which} took {words.duration(of.half)} or less"


def _in_lines(size: str) -> str:
    """Of `up to 10 lines`, in a column's width."""
    *before, last = size.replace(" lines", "").split()
    return f"{' '.join(before)}\n{last}"
