import pytest

from report import words


def plain(text):
    return text.replace(words.HELD, " ")


@pytest.mark.parametrize(
    "hours, said",
    [
        (0, "less than a minute"), (0.5, "30 minutes"), (1 / 60, "1 minute"), (1, "1 hour"), (1.26, "1.3 hours"),
        (26.4, "26 hours"), (47.9, "48 hours"), (48, "2 days"), (75, "3.1 days"), (24 * 400, "400 days"),
        (24 * 1461, "4 years"), (24 * 365.25 * 12.5, "12 years"),
    ],
)  # fmt: skip
def test_a_duration_is_said_in_the_unit_that_fits(hours, said):
    assert plain(words.duration(hours)) == said


@pytest.mark.parametrize(
    "text, shown",
    [
        (" two\nlines\t", "two lines"), ("\u202egnp.exe\u2066", "gnp.exe"),
        ("\u05e9\u05dc\u05d5", "\u05e9\u05dc\u05d5"),
        ("nul\0 \ud800 escape\x1b[31m", "nul escape [31m"), (None, ""), ("a\u200d\U0001f4bb", "a\u200d\U0001f4bb"),
    ],
)  # fmt: skip
def test_a_title_is_one_line_that_steers_nothing(text, shown):
    assert words.title(text) == shown


def test_a_long_title_is_cut():
    assert words.title("x" * 10_000) == "x" * 109 + "\u2026"
    assert words.title("y" * 110) == "y" * 110


def test_names_are_listed_as_in_a_sentence():
    assert words.listed(["a"]) == "a"
    assert words.listed(list("abc")) == "a, b and c"
    assert words.listed(list("abcd")) == "a, b, c and d"
    assert words.listed(list("abcdef")) == "a, b, c and 3 more"


def test_times_are_said_as_people_say_them():
    assert plain(words.moment("2026-11-04T09:05:00Z")) == "4 November 2026, 09:05 UTC"
    assert plain(words.short_day("2026-11-04") + words.short_month("2026-01")) == "4 Nov 2026Jan 2026"
    assert words.age("2026-11-04T09:05:00Z", "2026-11-04T09:00:00Z") == "less than a minute"
