"""What GitHub shows no more, or shows again: tombstones, which `sweep` writes. Their JSON is ours, as docs/REFERENCE.md
has it. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping, NamedTuple

from foundation.records import Item, Row
from github.fields import ExtractionError, as_count, as_text, required_integer, required_text, required_time
from github.streams.stream import Kind

ITEM_TYPE = "gone"
KINDS_OF_ITEMS = ("issue", "pull_request", "issue_comment", "review_comment", "review")


class Tombstone(NamedTuple):
    """What became of an item. `reason`: what GitHub answered (`deleted`, `transferred`, `missing`, `converted`); None
    where it is there again. `seen_at`: GitHub's time when its list was read, or the item's own, if that is later.
    `url`: where it was asked for by itself."""

    kind: str
    id: int
    number: int
    reason: str | None
    moved_to: str | None
    seen_at: str
    url: str


def to_item(tombstone: Tombstone) -> Item:
    """As the queue takes it: the same tombstone is the same bytes, and so the same key."""
    payload = json.dumps({**tombstone._asdict(), "gone": tombstone.reason is not None}, sort_keys=True).encode("ascii")
    return Item(
        item_type=ITEM_TYPE,
        item_id=tombstone.id,
        number=tombstone.number,
        updated_at=tombstone.seen_at,
        payload=payload,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )


def rows(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    kind, seen_at = required_text(payload, "kind"), required_time(payload, "seen_at")
    if kind not in KINDS_OF_ITEMS:
        raise ExtractionError("field 'kind' names no kind of items")
    is_gone = payload.get("gone") is True
    columns = {
        "kind": kind,
        "id": required_integer(payload, "id"),
        "repo": repo,
        "number": as_count(payload.get("number")) or 0,
        "gone_at": seen_at if is_gone else None,
        "gone_reason": as_text(payload.get("reason")) if is_gone else None,
        "moved_to": as_text(payload.get("moved_to")) if is_gone else None,
        "updated_at": seen_at,
    }
    return [Row("gone", columns)]


KIND = Kind(ITEM_TYPE, "gone", rows)
