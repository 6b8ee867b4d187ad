"""Fields of GitHub's payloads, as a database can hold them. Pure: no database, no network, no clock.

Reads API version 2022-11-28 and the older and newer shapes around it: fields come and go, people get deleted.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping

from foundation import timestamps

MAX_INTEGER = 2**63 - 1  # what an SQLite or PostgreSQL 64-bit column holds


class ExtractionError(ValueError):
    """The payload lacks what a row needs; the message names the field."""


def parse_payload(payload: bytes) -> dict[str, Any]:
    """The payload as a dict. Raises ExtractionError where it is no JSON object."""
    try:
        parsed = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ExtractionError(f"payload can't be parsed: {error}") from error
    if not isinstance(parsed, dict):
        raise ExtractionError("payload is no JSON object")
    return parsed


def is_integer(value: Any) -> bool:
    """A JSON integer that fits a 64-bit column (`True` is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and -MAX_INTEGER - 1 <= value <= MAX_INTEGER


def required_integer(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if not is_integer(value):
        raise ExtractionError(f"field {name!r} is no 64-bit integer")
    return int(value)  # type: ignore[arg-type]


def required_text(payload: Mapping[str, Any], name: str) -> str:
    text = as_text(payload.get(name))
    if text is None:
        raise ExtractionError(f"field {name!r} is no text")
    return text


def required_time(payload: Mapping[str, Any], name: str) -> str:
    moment = timestamps.normalise(payload.get(name))
    if moment is None:
        raise ExtractionError(f"field {name!r} is no time such as 2026-11-23T03:50:00Z")
    return moment


def optional_time(payload: Mapping[str, Any], name: str) -> str | None:
    return None if payload.get(name) is None else required_time(payload, name)


def as_text(value: Any) -> str | None:
    """Text that every database can hold: no lone surrogates (not UTF-8), no NUL (PostgreSQL refuses it)."""
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    return value.replace("\0", "\ufffd")


def number_at_end(url: Any) -> int | None:
    """The number in `.../issues/42` or `.../pulls/42`, for what has none of its own."""
    found = re.search(r"/(?:issues|pulls)/([1-9][0-9]{0,17})\Z", url) if isinstance(url, str) else None
    return int(found[1]) if found else None


def text_in(container: Any, name: str) -> str | None:
    """`container[name]` as text; None for a deleted user, a missing milestone, an old payload."""
    return as_text(container.get(name)) if isinstance(container, dict) else None


def in_rests_spelling(actor: Any) -> dict[str, str | None]:
    """Of who is shown by GraphQL: a bot's login is "dependabot" there, and "dependabot[bot]" in all that REST shows."""
    login, kind = text_in(actor, "login"), text_in(actor, "__typename")
    if kind == "Bot" and login is not None and not login.endswith("[bot]"):
        login += "[bot]"
    return {"login": login, "type": kind}


def as_flag(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else None


def as_count(value: Any) -> int | None:
    return value if is_integer(value) else None


def names_in(entries: Any, name: str) -> str:
    """A JSON array of the entries' names; GitHub allows labels that are plain strings, and null names."""
    found = [as_text(entry) or text_in(entry, name) for entry in entries] if isinstance(entries, list) else []
    return "[" + ", ".join([json.encoder.encode_basestring(text) for text in found if text is not None]) + "]"
