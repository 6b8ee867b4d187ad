"""Times as this project writes them: UTC text such as 2026-11-23T03:50:00Z, which sorts as it reads.

Owns parsing, formatting and arithmetic on that text; never reads a clock.
"""

from __future__ import annotations

import email.utils
import functools
import re
from datetime import datetime, timedelta, timezone
from typing import Any

# Where no readable time is known. Sorts before every real one.
EPOCH = "1970-01-01T00:00:00Z"

_ISO_8601 = re.compile(
    r"(?P<seconds>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)


def normalise(value: Any) -> str | None:
    """UTC text for an ISO 8601 time with a zone; None for anything else, an impossible date included."""
    return _normalised(value) if isinstance(value, str) else None


@functools.lru_cache(maxsize=1024)  # a scan asks for each item's time again and again
def _normalised(text: str) -> str | None:
    match = _ISO_8601.match(text)
    if match is None:
        return None
    try:
        if match["zone"] == "Z":
            return datetime.fromisoformat(match["seconds"]).isoformat() + "Z"
        moment = datetime.fromisoformat(match["seconds"] + match["zone"]).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return _as_text(moment)


def from_epoch(seconds: float) -> str:
    """UTC text for seconds since 1970; a number that no calendar holds becomes the nearest that it does."""
    bounded = min(max(seconds, 0), 253402300799)
    return _as_text(datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=int(bounded)))


def to_epoch(text: str) -> float:
    """Seconds since 1970. Raises ValueError for text that `normalise` would not have made."""
    if not text.endswith("Z"):
        raise ValueError(f"no UTC text: {text!r}")
    return datetime.fromisoformat(text[:-1] + "+00:00").timestamp()


def with_order(text: str, order: int) -> str:
    """The time with a fraction that orders what happened within its second: nine digits of a number that rises."""
    return f"{text[:-1]}.{order % 10**9:09d}Z"


def to_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of a time as `with_order` makes it."""
    whole, _, fraction = text[:-1].partition(".")
    return int(to_epoch(whole + "Z")) * 10**9 + int(fraction or 0)


def from_nanoseconds(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, 10**9)
    return with_order(from_epoch(seconds), fraction)


def from_http_date(text: str | None) -> float | None:
    """Seconds since 1970 of a `Date` header; None where there is none that can be read."""
    parsed = email.utils.parsedate_tz(text) if text else None
    try:
        return float(email.utils.mktime_tz(parsed)) if parsed else None
    except (ValueError, OverflowError):
        return None


def shift(text: str, *, seconds: float) -> str:
    """The time so many seconds later (earlier, when negative)."""
    return from_epoch(to_epoch(text) + seconds)


def hours_between(start: str, end: str) -> float:
    return (to_epoch(end) - to_epoch(start)) / 3600


def _as_text(moment: datetime) -> str:
    # strftime("%Y") does not pad years before 1000 on every platform; isoformat does.
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"
