"""What the database tells those who only ask: `status`, above all. Changes nothing."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Sequence

import db
from foundation import timestamps
from foundation.records import Gap


def _of(repos: Sequence[str]) -> str:
    """Which rows of the queue are asked for; no repository: all."""
    return f"repo IN {db.places(len(repos))}" if repos else "1 = 1"


def unfinished(conn: db.Connection, repos: Sequence[str]) -> dict[str, int]:
    """The rows of these repositories that are not done, by status: what is done no index has by repository."""
    statement = f"SELECT count(*) FROM queue_items WHERE status = '{{}}' AND {_of(repos)}"
    states = ("pending", "processing", "failed")
    return {status: int(conn.execute(statement.format(status), repos).fetchone()[0]) for status in states}


def oldest_pending(conn: db.Connection, repos: Sequence[str] = ()) -> str | None:
    """When the pending row that has waited longest was fetched; None when nothing is pending."""
    # Ids rise with time, so the lowest pending id is the oldest row.
    row = conn.execute(
        f"""
        SELECT fetched_at FROM queue_items WHERE status = 'pending' AND {_of(repos)}
        ORDER BY {conn.words.queue_order} LIMIT 1
        """,
        repos,
    ).fetchone()
    return row["fetched_at"] if row else None


class Waiting(NamedTuple):
    """Pending rows that wait for their backoff: how many, and when the first and the last may be claimed."""

    rows: int
    first_at: str | None
    last_at: str | None


def waiting(conn: db.Connection, *, now: str) -> Waiting:
    row = conn.execute(
        f"""
        SELECT count(*), min(available_at), max(available_at) FROM queue_items
        WHERE status = 'pending' AND available_at > '{timestamps.EPOCH}' AND available_at > ?
        """,
        (now,),
    ).fetchone()
    return Waiting(*row)


def failed_reasons(conn: db.Connection, repos: Sequence[str] = (), *, limit: int) -> list[dict[str, Any]]:
    """Why rows failed, each reason with the number of its rows, the most frequent first."""
    rows = conn.execute(
        f"""
        SELECT last_error AS reason, count(*) AS rows FROM queue_items
        WHERE status = 'failed' AND {_of(repos)} GROUP BY last_error ORDER BY count(*) DESC, last_error LIMIT ?
        """,
        (*repos, limit),
    )
    return [dict(row) for row in rows]


def issues_count(conn: db.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM issues").fetchone()[0])


def failed_items(conn: db.Connection, repos: Sequence[str] = (), *, limit: int) -> list[dict[str, Any]]:
    rows = conn.execute(
        f"""
        SELECT id, repo, number, item_type, attempts, last_error FROM queue_items
        WHERE status = 'failed' AND {_of(repos)} ORDER BY id LIMIT ?
        """,
        (*repos, limit),
    )
    return [dict(row) for row in rows]


def streams(conn: db.Connection) -> list[dict[str, Any]]:
    """What `status` shows of each (repository, stream).

    `truncated_at`: GitHub's list shows nothing before that; of `items_to_fill` it was had by `items_filled`.
    `filled_before`: what its list does not show, before that, was had item by item.
    """
    rows = conn.execute(
        """
        SELECT repo, stream, cursor, covered_since, scan IS NOT NULL AS unfinished, last_run_at, last_success_at,
            last_error, gaps
        FROM ingest_state ORDER BY repo, stream
        """
    )
    found = []
    for row in rows:
        shown = {**dict(row), "unfinished": bool(row["unfinished"])}
        gaps = [Gap(*gap) for gap in json.loads(shown.pop("gaps") or "[]")]
        cut_off = max((gap for gap in gaps if gap.is_truncation), key=lambda gap: gap.before or "", default=None)
        shown["truncated_at"] = cut_off and (cut_off.before or "")
        shown["items_filled"] = cut_off.filled_to if cut_off and cut_off.fill_to else None
        shown["items_to_fill"] = (cut_off.fill_to or None) if cut_off else None
        shown["filled_before"] = max((gap.before or "" for gap in gaps if gap.is_filled), default=None)
        found.append(shown)
    return found
