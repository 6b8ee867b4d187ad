"""What sections are made of, and the plot that several of them have: how long something took. Pure."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from report import periods, words
from report.items import ISSUE, PULL
from report.periods import Scope
from report.plots import Drawing, Mark, Place, Series, columns
from report.spread import Spread

NAMES = {ISSUE: "issues", PULL: "pull requests"}
ONE = {ISSUE: "issue", PULL: "pull request"}
OF_KIND = {ISSUE: Series("issues", "--first"), PULL: Series("pull requests", "--second")}
# The widest bar first: the others are drawn over it.
SPREADS = (Series("nine of ten", "--light"), Series("three of four", "--middle"), Series("half", "--dark"))
UNITS = (("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60))  # and their hours
MONTHS_WITHOUT_YEAR = 18
SPREAD_HEADS = ("half within", "three of four", "nine of ten", "mean")


class Link(NamedTuple):
    """An item and, below it, its title. `address` as GitHub gave it, which the page has still to look at."""

    text: str
    address: str | None
    title: str


class Table(NamedTuple):
    heads: Sequence[str]
    rows: Sequence[Sequence[str | Link]]


class Plot(NamedTuple):
    """`title` says what is seen; without a drawing it says why there is none."""

    title: str
    note: str = ""
    drawing: Drawing | None = None
    table: Table | None = None


class Section(NamedTuple):
    """`anchor`: its name within the page."""

    anchor: str
    title: str
    plots: Sequence[Plot]


def places(begins: Sequence[str]) -> list[Place]:
    """A label where a month begins, with the year where that does, or, in a long time, with each."""
    are_many = len({begin[:7] for begin in begins}) > MONTHS_WITHOUT_YEAR
    found: list[Place] = []
    before = ""
    for begin in begins:
        label = "" if begin[:7] == before[:7] else words.short_month(begin)
        if label and begin[:4] == before[:4] and not are_many:
            label = label.split()[0]
        found.append(Place(begin, label))
        before = begin
    # The first week may lie in the last days of a month: its label would stand against the next one.
    if len(found) > 2 and found[0].label and found[1].label and found[2].label == "":
        found[:2] = [Place(begins[0], ""), Place(begins[1], words.short_month(begins[1]))]
    return found


def not_whole(scope: Scope, unit: str) -> str:
    begins = periods.week_of(scope.since[:10]) if unit == "week" else f"{scope.since[:7]}-01"
    if scope.since != f"{begins}T00:00:00Z":
        return f"The first and the last {unit} are not whole."
    return f"The last {unit} is not over yet."


def telling(found: Mapping[str, Spread], scope: Scope) -> tuple[str, Spread]:
    """The last month that is over, or the present one where there is no other."""
    over = [month for month in found if month < scope.now[:7]]
    month = over[-1] if over else list(found)[-1]
    return month, found[month]


def by_month(found: Mapping[str, Spread], scope: Scope) -> dict[Place, Spread | None]:
    return {place: found.get(place.key) for place in places(periods.months(scope))}


def spreads(title: str, note: str, head: str, found: Mapping[Place, Spread | None]) -> Plot:
    """A bar for each, in which half, three of four, and nine of ten end."""
    spreads = {place: spread for place, spread in found.items() if spread is not None}
    longest = max(spread.nearly_all for spread in spreads.values())
    unit, hours_of_it = next(each for each in UNITS if longest >= 2 * each[1] or each is UNITS[-1])
    marks = []
    for series, at in zip(SPREADS, ("nearly_all", "most", "half")):
        for place, spread in spreads.items():
            hours = getattr(spread, at)
            said = f"{_named(place, head)}: {series.name} of {spread.items:,} within {words.duration(hours)}"
            marks.append(Mark(place.key, series.name, hours / hours_of_it, said))
    table = Table(
        [head, "items", *SPREAD_HEADS],
        [[_named(place, head), f"{spread.items:,}", *_durations(spread)] for place, spread in reversed(spreads.items())]
        if head == "month"
        else [[_named(place, head), f"{spread.items:,}", *_durations(spread)] for place, spread in spreads.items()],
    )
    return Plot(title, note, columns(list(found), SPREADS, marks, unit=unit, stacked=False), table)


def _named(place: Place, head: str) -> str:
    return words.month(place.key) if head == "month" else place.key


def _durations(spread: Spread) -> list[str]:
    return [words.duration(hours) for hours in spread[1:]]
