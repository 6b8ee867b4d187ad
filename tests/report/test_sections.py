"""What is said of the figures: the sentences that stand in for titles, and what is left out of long lists."""

import pytest

from report import conversations, sections, words
from report.items import KINDS, Flow, Items, OfRepo
from report.periods import Scope
from report.spread import Spread
from report.streams import Streams, WaitsFor

SCOPE = Scope((), "2026-10-05T00:00:00Z", "2026-11-27T10:00:00Z")
NOTHING = dict.fromkeys(KINDS, 0)
ITEMS = Items(
    total=1, open=NOTHING, open_before=NOTHING, drafts=0, flow=[Flow("2026-11-23", NOTHING, NOTHING, NOTHING)],
    lead={kind: {} for kind in KINDS}, recent=dict.fromkeys(KINDS), ages={kind: [0] * 7 for kind in KINDS}, repos=[],
    gone=0,
)  # fmt: skip
ALL = frozenset({"issue-comments", "pull-details", "events"})
STREAMS = Streams(ALL, {kind: {} for kind in KINDS}, {}, {}, {}, {}, [], [])


def plain(text):
    return text.replace(words.HELD, " ")


def plots(found):
    return {plain(plot.title): plot for section in found for plot in section.plots}


def repo(at, issues):
    return OfRepo(f"acme/r{at}", {**NOTHING, "issue": issues}, 1, 1, dict.fromkeys(KINDS))


def test_no_plot_is_drawn_of_nothing():
    found = plots(sections.all_of(ITEMS, [], SCOPE))
    assert list(found) == [
        "Nothing was opened or closed since 5 October 2026.",
        "Nothing was left open at the end of any week.",
        "No pull request was merged or closed since 5 October 2026.",
        "No issue was closed since 5 October 2026.",
        "Nothing is open.",
        "No open pull request waits, drafts aside.",
        "No item of any repository is known.",
    ]
    more = plots(conversations.all_of(STREAMS, SCOPE))
    assert len(more) == 6 and all(title.startswith(("No ", "Of no ")) for title in more)
    assert "Of no item opened since 5 October 2026 is it known whether it was reopened." in more
    assert all(plot.drawing is None and plot.table is None for plot in (*found.values(), *more.values()))


@pytest.mark.parametrize(
    "counts, title",
    [
        ([3], "acme/r0 has 3 open items"),
        ([3, 1], "acme/r0 has 3 open items, the most of 2 repositories"),
        ([3, 3, 1], "No repository has more than 3 open items"),
    ],
)
def test_the_repository_with_most_is_named_where_there_is_one(counts, title):
    items = ITEMS._replace(repos=[repo(at, issues) for at, issues in enumerate(counts)])
    assert title in plots(sections.all_of(items, [], SCOPE))


def test_of_many_repositories_some_are_drawn_and_listed_and_that_is_said():
    items = ITEMS._replace(repos=[repo(at, 500 - at) for at in range(250)])
    plot = plots(sections.all_of(items, [], SCOPE))["acme/r0 has 500 open items, the most of 250 repositories"]
    assert plot.note == "Open items of each repository, the 12 with most of them. The table has 100 of 250."
    assert (len(plot.table.rows), plot.drawing.wide.count("<title>")) == (100, 2 * 12)
    assert ">r11<" in plot.drawing.wide and "acme" not in plot.drawing.wide


def test_repositories_whose_long_names_differ_at_the_end_have_a_bar_each():
    repos = [repo(1, 3)._replace(repo=f"{'o' * 39}/{'n' * 97}-{at}") for at in range(2)]
    (plot,) = sections.all_of(ITEMS._replace(repos=repos), [], SCOPE)[-1].plots
    assert plot.drawing.wide.count(">3</text>") == 2


@pytest.mark.parametrize(
    "pulls, title",
    [
        ([2], "p0 is waited for: 2 open pull requests"),
        ([2, 1], "p0 is waited for most: 2 open pull requests"),
        ([2, 2, 1], "p0 and p1 are waited for most: 2 open pull requests each"),
        ([1] * 150, "p0, p1, p2 and 147 more are waited for most: 1 open pull request each"),
    ],
)
def test_who_is_waited_for_most_is_named(pulls, title):
    waits = [WaitsFor(f"p{at}", number, SCOPE.since, ["ada"]) for at, number in enumerate(pulls)]
    plot = plots(conversations.all_of(STREAMS._replace(waits=waits), SCOPE))[title]
    assert len(plot.table.rows) == min(len(pulls), 100)
    assert ("The table has 100 of 150 people." in plot.note) == (len(pulls) > 100)


@pytest.mark.parametrize(
    "sizes, title",
    [
        ({"11 to 50": 1}, "The one merged pull request of 11 to 50 lines took 24 hours"),
        ({"up to 10 lines": 2, "51 to 200": 4, "501 to 1,000": 3},
         "Half of the 2 merged pull requests of up to 10 lines took 24 hours or less, "
         "half of the 3 merged pull requests of 501 to 1,000 lines took 24 hours or less"),
        ({"201 to 500": 1, "over 1,000": 1},
         "The one merged pull request of 201 to 500 lines took 24 hours, "
         "the one merged pull request over 1,000 lines took 24 hours"),
    ],
)  # fmt: skip
def test_the_smallest_and_the_largest_pull_requests_are_set_against_each_other(sizes, title):
    found = {name: Spread(items, 24.0, 48.0, 96.0, 40.0) for name, items in sizes.items()}
    assert title in plots(conversations.all_of(STREAMS._replace(sizes=found), SCOPE))


def test_the_month_that_is_over_is_told_of_and_the_present_one_only_alone():
    hours = Spread(9, 24.0, 48.0, 96.0, 40.0)
    lead = {"issue": {"2026-10": hours, "2026-11": hours._replace(half=1.0)}, "pull_request": {"2026-11": hours}}
    found = plots(sections.all_of(ITEMS._replace(lead=lead), [], SCOPE))
    assert "Half of the 9 issues closed in October 2026 took 24 hours or less, nine of ten 4 days or less" in found
    title = "Half of the 9 pull requests merged or closed in November 2026 took 24 hours or less, "
    title += "nine of ten 4 days or less"
    rows = found[title].table.rows
    assert [list(map(plain, row)) for row in rows] == [
        ["November 2026", "9", "24 hours", "2 days", "4 days", "40 hours"]
    ]


def test_a_time_below_a_minute_has_a_number_too():
    items = ITEMS._replace(recent={**ITEMS.recent, "issue": Spread(1, 0.001, 0.001, 0.001, 0.001)})
    assert sections.numbers(items)[2][:2] == ("< 1", "minute")


def test_a_time_of_few_items_says_of_how_many():
    lately = {"issue": Spread(1, 5, 5, 5, 5), "pull_request": Spread(3, 5, 5, 7, 5)}
    said = [(plain(each.what), plain(each.note)) for each in sections.numbers(ITEMS._replace(recent=lately))[2:]]
    assert said == [
        ("1 issue closed in the last 90 days took so long", ""),
        (
            "half of the 3 pull requests merged or closed in the last 90 days took no longer",
            "nine of ten within 7 hours",
        ),
    ]
