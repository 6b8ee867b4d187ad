"""What issues and pull requests have in common: a row of the table `issues`. Pure."""

from __future__ import annotations

from typing import Any, Mapping

from foundation import timestamps
from foundation.records import Row
from github.fields import (
    as_count,
    as_flag,
    as_text,
    names_in,
    optional_time,
    required_integer,
    required_text,
    required_time,
    text_in,
)


def rows(item_type: str, repo: str, payload: Mapping[str, Any]) -> list[Row]:
    return [Row("issues", row(item_type, repo, payload))]


def row(item_type: str, repo: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `issues` that come from the payload. Raises ExtractionError when one that must be there is not."""
    created_at = required_time(payload, "created_at")
    closed_at = optional_time(payload, "closed_at")
    merged_at = optional_time(payload, "merged_at")
    return {
        "id": required_integer(payload, "id"),
        "item_type": item_type,
        "repo": repo,
        "number": required_integer(payload, "number"),
        "title": required_text(payload, "title"),
        "state": required_text(payload, "state"),
        "state_reason": as_text(payload.get("state_reason")),
        "draft": as_flag(payload.get("draft")),
        "author": text_in(payload.get("user"), "login"),
        "author_association": as_text(payload.get("author_association")),
        "assignees": names_in(_assignees(payload), "login"),
        "labels": names_in(payload.get("labels"), "name"),
        "milestone": text_in(payload.get("milestone"), "title"),
        "comments": as_count(payload.get("comments")),
        "created_at": created_at,
        "updated_at": required_time(payload, "updated_at"),
        "closed_at": closed_at,
        "merged_at": merged_at,
        "lead_time_hours": _lead_time_hours(created_at, merged_at or closed_at),
        "base_ref": text_in(payload.get("base"), "ref"),
        "head_ref": text_in(payload.get("head"), "ref"),
        "html_url": as_text(payload.get("html_url")),
    }


def _lead_time_hours(created_at: str, finished_at: str | None) -> float | None:
    """Hours from creation to merge or close; None while open, and None where the clocks disagree."""
    if finished_at is None or finished_at < created_at:
        return None
    return timestamps.hours_between(created_at, finished_at)


def _assignees(payload: Mapping[str, Any]) -> Any:
    """`assignees`, or the single `assignee` that payloads had before 2016."""
    if "assignees" in payload:
        return payload["assignees"]
    return [payload.get("assignee")]
