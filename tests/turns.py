"""Which of many like cases the ordinary tests take; the others are long, so that `.ci/run` takes each of them."""

import pytest

PARTS = 7  # a prime: what comes back every few statements is met at each of them


def in_parts(*cases):
    """A case (engine, ...) with every seventh N from the first, second, ... on. One of SQLite's is ordinary."""
    return [
        pytest.param(*case, first, marks=() if case[0] == "sqlite" and first == number else pytest.mark.long)
        for number, case in enumerate(cases, start=1)
        for first in range(1, 1 + PARTS)
    ]


def with_layouts(faults):
    """Each fault with either layout; one of them is ordinary, by turns."""
    return [
        pytest.param(fault, layout, marks=() if number % 2 == place else pytest.mark.long)
        for number, fault in enumerate(faults)
        for place, layout in enumerate(("object", "batch"))
    ]
