import pytest

from report import periods, pieces, words
from report.periods import Scope
from report.plots import Place
from report.spread import Spread


def labels(since, now, of):
    scope = Scope((), f"{since}T00:00:00Z", f"{now}T00:00:00Z")
    return [place.label.replace(words.HELD, " ") for place in pieces.places(of(scope)) if place.label]


def test_months_are_named_where_they_begin_and_years_where_they_do():
    assert labels("2025-11-24", "2026-02-20", periods.weeks) == ["Dec 2025", "Jan 2026", "Feb"]
    assert labels("2025-11-03", "2026-01-20", periods.weeks) == ["Nov 2025", "Dec", "Jan 2026"]
    assert labels("2025-11-24", "2026-02-20", periods.months) == ["Nov 2025", "Dec", "Jan 2026", "Feb"]


def test_in_a_long_time_each_label_has_its_year_since_most_are_left_out():
    shown = labels("2020-03-01", "2022-06-01", periods.months)
    assert (len(shown), shown[0], shown[5]) == (28, "Mar 2020", "Aug 2020")


def test_a_part_of_a_week_or_month_is_called_one():
    monday = Scope((), "2026-11-02T00:00:00Z", "2026-11-27T00:00:00Z")
    assert pieces.not_whole(monday, "week") == "The last week is not over yet."
    assert pieces.not_whole(monday, "month") == "The first and the last month are not whole."
    assert pieces.not_whole(monday._replace(since="2026-11-01T00:00:00Z"), "month") == "The last month is not over yet."


@pytest.mark.parametrize("hours, unit", [(100, "days"), (48, "days"), (47, "hours"), (2, "hours"), (0.4, "minutes")])
def test_how_long_something_took_is_drawn_in_a_unit_that_fits(hours, unit):
    of = Spread(3, hours / 4, hours / 2, hours, hours / 2)
    plot = pieces.spreads("title", "note", "month", {Place("2026-11", "Nov 2026"): of})
    assert f">{unit}</text>" in plot.drawing.wide
