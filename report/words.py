"""Numbers, times and names as people read them. Pure."""

from __future__ import annotations

import unicodedata
from datetime import date

from foundation import timestamps

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
TITLE_CHARACTERS = 110
HELD = "\u00a0"  # a space at which no line ends: a number stays with its unit


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,}{HELD}{one if number == 1 else many or one + 's'}"


def duration(hours: float) -> str:
    """In the unit that fits: two digits tell more than anyone acts on."""
    if hours * 60 < 1:
        return "less than a minute"
    if hours < 1:
        return count(round(hours * 60), "minute")
    days = hours / 24
    if days < 2:
        return _rounded(hours, "hour")
    return _rounded(days, "day") if days < 730 else _rounded(days / 365.25, "year")


def _rounded(amount: float, unit: str) -> str:
    shown = f"{amount:.1f}" if amount < 10 else f"{amount:,.0f}"
    shown = shown[:-2] if shown.endswith(".0") else shown
    return f"{shown}{HELD}{unit}" if shown == "1" else f"{shown}{HELD}{unit}s"


def day(text: str) -> str:
    """24 November 2026, of a UTC text or its day."""
    found = date.fromisoformat(text[:10])
    return f"{found.day}{HELD}{MONTHS[found.month - 1]}{HELD}{found.year}"


def short_day(text: str) -> str:
    found = date.fromisoformat(text[:10])
    return f"{found.day}{HELD}{MONTHS[found.month - 1][:3]}{HELD}{found.year}"


def month(text: str) -> str:
    """November 2026, of 2026-11."""
    return f"{MONTHS[int(text[5:7]) - 1]}{HELD}{text[:4]}"


def short_month(text: str) -> str:
    return f"{MONTHS[int(text[5:7]) - 1][:3]}{HELD}{text[:4]}"


def moment(text: str) -> str:
    """24 November 2026, 10:05 UTC."""
    return f"{day(text)}, {text[11:16]} UTC"


def age(since: str, now: str) -> str:
    return duration(max(0.0, timestamps.hours_between(since, now)))


def title(text: str | None, characters: int = TITLE_CHARACTERS) -> str:
    """One line of it, cut where it is long; what steers a terminal or the direction of other text is left out."""
    shown = " ".join("".join(" " if _steers(character) else character for character in (text or "")[:4096]).split())
    return shown if len(shown) <= characters else shown[: characters - 1].rstrip() + "\u2026"


def _steers(character: str) -> bool:
    # Format characters (Cf) but for those that join: emoji and several scripts are made with them.
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or (
        unicodedata.category(character) == "Cf" and character not in "\u200c\u200d"
    )


def listed(names: list[str], most: int = 3) -> str:
    """a, b and c; or a, b, c and 4 more."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most:,} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
