"""What rooms hand to each other: versions of items, into the queue and out of it, and where scans stand."""

from __future__ import annotations

from typing import Any, NamedTuple

from foundation import timestamps


class Item(NamedTuple):
    """One version of an item (an issue, a comment, ...), as fetched. `payload` is GitHub's own text of it, in UTF-8."""

    item_type: str
    item_id: int
    number: int
    updated_at: str
    payload: bytes
    payload_sha256: str


class ClaimedItem(NamedTuple):
    id: int
    repo: str
    item_type: str
    item_id: int
    number: int
    updated_at: str
    payload: bytes
    payload_sha256: str
    attempts: int
    s3_key: str | None
    group_failures: int
    fetched_at: str

    @property
    def fetched_order(self) -> str:
        """When it was fetched; of several in one second the later has the later time."""
        return timestamps.with_order(self.fetched_at, self.id)


class Row(NamedTuple):
    """What a table says of an item: one payload may give rows of several tables."""

    table: str
    columns: dict[str, Any]


OF_ITEM = "item"  # `Gap.since` of the events of one item, whose number is `offset`


class Gap(NamedTuple):
    """Items that GitHub does not give, not even alone: their place, and between which times they were updated last.

    `items` 0: all that stand there, beyond the last page that GitHub shows of a list; of a stream of several lists
    `since` tells which. Those may be had item by item: of the items 1 to `fill_to` (0: that has not begun) it was done
    up to `filled_to`, but for those of which there is `more` (JSON: by number, behind which cursor).
    """

    since: str | None
    offset: int
    items: int
    after: str | None
    before: str | None
    filled_to: int = 0
    fill_to: int = 0
    more: str = ""

    @property
    def is_truncation(self) -> bool:
        """Is there something beyond the end of a list that was not had in another way?"""
        return self.items == 0 and not self.is_filled

    @property
    def is_filled(self) -> bool:
        return 0 < self.fill_to <= self.filled_to and not self.more


class StreamState(NamedTuple):
    """One row of `ingest_state`: what is known of a repository's stream.

    Everything updated from `covered_since` to `cursor` is in the queue, but for the `gaps`. `scan` says where an
    unfinished scan goes on (its shape is the scan's own business); None when the last one ended. `repo_id` is GitHub's
    numeric id, None while it has not been seen; `newest_item_id` that of the newest item when the last scan ended.
    """

    cursor: str | None = None
    covered_since: str | None = None
    etag: str | None = None
    etag_url: str | None = None
    scan: dict[str, Any] | None = None
    repo_id: int | None = None
    newest_item_id: int | None = None
    gaps: tuple[Gap, ...] = ()
