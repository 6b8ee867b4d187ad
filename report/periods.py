"""Which weeks and months a page is about, in UTC. Pure; weeks begin on Monday, and go by that day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

DEFAULT_WEEKS = 52
GITHUB_BEGAN = "2008-01-01T00:00:00Z"
# Beyond that a week's bar is thinner than a pixel on a telephone.
MOST_WEEKS = 160


class Scope(NamedTuple):
    """What is asked for. `repos` empty: all; `since`, `now`: UTC texts."""

    repos: tuple[str, ...]
    since: str
    now: str


def default_since(now: str) -> str:
    """The Monday a year ago."""
    monday = date.fromisoformat(week_of(now[:10]))
    return f"{monday - timedelta(weeks=DEFAULT_WEEKS)}T00:00:00Z"


def week_of(day: str) -> str:
    """The Monday of the day's week."""
    found = date.fromisoformat(day)
    return str(found - timedelta(days=found.weekday()))


def weeks(scope: Scope) -> list[str]:
    """All weeks from the first to the present one, those without anything as well."""
    first, last = date.fromisoformat(week_of(scope.since[:10])), date.fromisoformat(week_of(scope.now[:10]))
    return [str(first + timedelta(weeks=at)) for at in range((last - first).days // 7 + 1)]


def months(scope: Scope) -> list[str]:
    """As 2026-11, from the first to the present one."""
    (year, month), last = map(int, scope.since[:7].split("-")), scope.now[:7]
    found = [f"{year:04d}-{month:02d}"]
    while found[-1] < last:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        found.append(f"{year:04d}-{month:02d}")
    return found


def goes_by_weeks(scope: Scope) -> bool:
    return len(weeks(scope)) <= MOST_WEEKS
