"""A GitHub payload -> one row of `issues`. Pure: no database, no network, no clock.

Reads API version 2022-11-28 and the older and newer shapes around it: fields come and go, people get deleted.
"""

from __future__ import annotations

import json
from typing import Any, Mapping

from foundation import timestamps

_to_json = json.JSONEncoder(ensure_ascii=False).encode
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


def issues_row(item_type: str, repo: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `issues` that come from the payload. Raises ExtractionError when one that must be there is not."""
    created_at = _required_time(payload, "created_at")
    closed_at = _optional_time(payload, "closed_at")
    merged_at = _optional_time(payload, "merged_at")
    return {
        "id": _required_integer(payload, "id"),
        "item_type": item_type,
        "repo": repo,
        "number": _required_integer(payload, "number"),
        "title": _required_text(payload, "title"),
        "state": _required_text(payload, "state"),
        "state_reason": _text(payload.get("state_reason")),
        "draft": _flag(payload.get("draft")),
        "author": _field(payload.get("user"), "login"),
        "author_association": _text(payload.get("author_association")),
        "assignees": _names(_assignees(payload), "login"),
        "labels": _names(payload.get("labels"), "name"),
        "milestone": _field(payload.get("milestone"), "title"),
        "comments": _count(payload.get("comments")),
        "created_at": created_at,
        "updated_at": _required_time(payload, "updated_at"),
        "closed_at": closed_at,
        "merged_at": merged_at,
        "lead_time_hours": lead_time_hours(created_at, merged_at or closed_at),
        "base_ref": _field(payload.get("base"), "ref"),
        "head_ref": _field(payload.get("head"), "ref"),
        "html_url": _text(payload.get("html_url")),
    }


def lead_time_hours(created_at: str, finished_at: str | None) -> float | None:
    """Hours from creation to merge or close; None while open, and None where the clocks disagree."""
    if finished_at is None or finished_at < created_at:
        return None
    return timestamps.hours_between(created_at, finished_at)


def is_integer(value: Any) -> bool:
    """A JSON integer that fits a 64-bit column (`True` is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and -MAX_INTEGER - 1 <= value <= MAX_INTEGER


def _required_integer(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if not is_integer(value):
        raise ExtractionError(f"field {name!r} is no 64-bit integer")
    return int(value)  # type: ignore[arg-type]


def _required_text(payload: Mapping[str, Any], name: str) -> str:
    text = _text(payload.get(name))
    if text is None:
        raise ExtractionError(f"field {name!r} is no text")
    return text


def _required_time(payload: Mapping[str, Any], name: str) -> str:
    moment = timestamps.normalise(payload.get(name))
    if moment is None:
        raise ExtractionError(f"field {name!r} is no time such as 2026-11-23T03:50:00Z")
    return moment


def _optional_time(payload: Mapping[str, Any], name: str) -> str | None:
    return None if payload.get(name) is None else _required_time(payload, name)


def _text(value: Any) -> str | None:
    """Text that every database can hold: no lone surrogates (not UTF-8), no NUL (PostgreSQL refuses it)."""
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    return value.replace("\0", "\ufffd")


def _field(container: Any, name: str) -> str | None:
    """`container[name]` as text; None for a deleted user, a missing milestone, an old payload."""
    return _text(container.get(name)) if isinstance(container, dict) else None


def _flag(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if is_integer(value) else None


def _assignees(payload: Mapping[str, Any]) -> Any:
    """`assignees`, or the single `assignee` that payloads had before 2016."""
    if "assignees" in payload:
        return payload["assignees"]
    return [payload.get("assignee")]


def _names(entries: Any, name: str) -> str:
    """A JSON array of the entries' names; GitHub allows labels that are plain strings, and null names."""
    found = [_text(entry) or _field(entry, name) for entry in entries] if isinstance(entries, list) else []
    return _to_json([text for text in found if text is not None])
