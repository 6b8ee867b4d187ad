"""What comments on items and comments on their code have in common: a row of the table `comments`. Pure."""

from __future__ import annotations

from typing import Any, Mapping

from foundation.records import Row
from github.fields import (
    ExtractionError,
    as_count,
    as_text,
    number_at_end,
    required_integer,
    required_time,
    text_in,
)


def rows(kind: str, item_url: str, repo: str, payload: Mapping[str, Any]) -> list[Row]:
    """`kind`: 'issue' or 'review'. `item_url`: the field that says on which item it is, which no other does."""
    number = number_at_end(payload.get(item_url))
    if number is None:
        raise ExtractionError(f"field {item_url!r} does not end with a number")
    columns = {
        "kind": kind,
        "id": required_integer(payload, "id"),
        "repo": repo,
        "number": number,
        "author": text_in(payload.get("user"), "login"),
        "author_type": text_in(payload.get("user"), "type"),
        "author_association": as_text(payload.get("author_association")),
        "created_at": required_time(payload, "created_at"),
        "updated_at": required_time(payload, "updated_at"),
        "review_id": as_count(payload.get("pull_request_review_id")),
        "in_reply_to_id": as_count(payload.get("in_reply_to_id")),
        "path": as_text(payload.get("path")),
        "html_url": as_text(payload.get("html_url")),
    }
    return [Row("comments", columns)]
