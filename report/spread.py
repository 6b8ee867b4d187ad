"""How long something took, of many: percentiles, since a few that took a year say nothing of the rest. Pure."""

from __future__ import annotations

from array import array
from typing import Iterable, Mapping, NamedTuple, Sequence


class Spread(NamedTuple):
    """Of hours: half were done within `half`, three of four within `most`, nine of ten within `nearly_all`."""

    items: int
    half: float
    most: float
    nearly_all: float
    mean: float


def of(hours: array[float]) -> Spread:
    """Of at least one."""
    ordered = sorted(hours)
    return Spread(
        len(ordered),
        percentile(ordered, 0.5),
        percentile(ordered, 0.75),
        percentile(ordered, 0.9),
        sum(ordered) / len(ordered),
    )


def hours() -> array[float]:
    """None yet."""
    return array("d")


def by_kind(of_months: Mapping[tuple[str, str], array[float]], kinds: Iterable[str]) -> dict[str, dict[str, Spread]]:
    """Of what is by kind and month: the months of each kind, in their order."""
    return {
        kind: {month: of(of_months[kind, month]) for its, month in sorted(of_months) if its == kind} for kind in kinds
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Between two values, as far as the share lies between them: PostgreSQL's percentile_cont, numpy's default."""
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
