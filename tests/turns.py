"""Which of many like cases the ordinary tests take; the others are long, so that `.ci/run` takes each of them."""

import pytest

PARTS = 7  # a prime: what comes back every few statements is met at each of them
ON_POSTGRES = 1  # so many of them: its statements are SQLite's, and each takes longer


def in_parts(*cases):
    """A case (engine, ...) with every seventh N from the first, second, ... on. One is ordinary: the first case's."""
    return [
        pytest.param(*case, first, marks=() if number == first == 1 else pytest.mark.long)
        for number, case in enumerate(cases, start=1)
        for first in range(1, 1 + PARTS)
        if case[0] == "sqlite" or (first + number) % PARTS < ON_POSTGRES
    ]


def with_others(cases, *others):
    """Each case with each of the others; one of them is ordinary, by turns."""
    return [
        pytest.param(case, *other, marks=() if number % len(others) == place else pytest.mark.long)
        for number, case in enumerate(cases)
        for place, other in enumerate(others)
    ]


def one_in(count, cases):
    """Of so many cases the first is ordinary."""
    return [pytest.param(case, marks=pytest.mark.long if place % count else ()) for place, case in enumerate(cases)]
