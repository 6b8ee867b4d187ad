"""Rows of a queue that tests put there themselves."""

import queue_manager
from foundation.records import Item

NOW = "2026-11-23T10:00:00Z"
LATER = "2026-11-23T11:00:00Z"


def item(number=1, **changes):
    fields = {
        "item_type": "issue", "item_id": number, "number": number, "updated_at": "2026-11-20T00:00:00Z",
        "payload": b'{"title": "x"}', "payload_sha256": f"{number:064x}",
    }  # fmt: skip
    return Item(**{**fields, **changes})


def enqueue(conn, *items, now=NOW):
    return queue_manager.enqueue(conn, repo="a/b", items=items, now=now)
