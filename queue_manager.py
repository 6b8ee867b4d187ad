"""The queue: enqueue a page with its cursor, claim, complete, fail, release, retry, counts.

Every function joins the caller's transaction and never commits. No HTTP, no S3, no printing.

A claimed row carries its owner's token. Each later change checks id *and* token, so that a process that was stopped
past its lease changes nothing that another one has claimed since.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Iterable, NamedTuple, Sequence

import timestamps

# Backoff of an item that failed through its own fault: 30 s, doubled each time, an hour at most, plus up to half.
FIRST_BACKOFF_SECONDS = 30
LONGEST_BACKOFF_SECONDS = 3600


class Item(NamedTuple):
    """One version of an issue or pull request, as fetched. `payload` is GitHub's own text of it."""

    item_type: str
    item_id: int
    number: int
    updated_at: str
    payload: str
    payload_sha256: str


class ClaimedItem(NamedTuple):
    id: int
    repo: str
    item_type: str
    number: int
    updated_at: str
    payload: str
    payload_sha256: str
    attempts: int


class StreamState(NamedTuple):
    """One row of `ingest_state`: what is known of a repository's stream.

    Everything updated from `covered_since` to `cursor` is in the queue. `scan` says where an unfinished scan goes on
    (its shape is the scan's own business); None when the last one ended.
    """

    cursor: str | None = None
    covered_since: str | None = None
    etag: str | None = None
    etag_url: str | None = None
    scan: dict[str, Any] | None = None


class Counts(NamedTuple):
    pending: int
    processing: int
    done: int
    failed: int


def enqueue(conn: sqlite3.Connection, *, repo: str, items: Iterable[Item], now: str) -> int:
    """Store the items that are not there yet; returns how many were new."""
    before = conn.total_changes
    conn.executemany(
        """
        INSERT INTO queue_items (repo, item_type, item_id, number, updated_at, payload, payload_sha256, fetched_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (item_type, item_id, payload_sha256) DO NOTHING
        """,
        [(repo, *item, now) for item in items],
    )
    return conn.total_changes - before


def load_stream(conn: sqlite3.Connection, *, repo: str, stream: str) -> tuple[str, StreamState]:
    """The name under which the repository is kept, and its stream's state (an empty one for a new stream).

    Names are compared without regard to case, as GitHub does; an earlier name of a renamed repository finds it too.
    """
    alias = conn.execute("SELECT repo FROM repo_aliases WHERE alias = lower(?)", (repo,)).fetchone()
    name = alias["repo"] if alias else repo
    row = conn.execute(
        """
        SELECT repo, cursor, covered_since, etag, etag_url, scan FROM ingest_state
        WHERE lower(repo) = lower(?) AND stream = ?
        """,
        (name, stream),
    ).fetchone()
    if row is None:
        return name, StreamState()
    scan = json.loads(row["scan"]) if row["scan"] else None
    return row["repo"], StreamState(row["cursor"], row["covered_since"], row["etag"], row["etag_url"], scan)


def save_stream(conn: sqlite3.Connection, *, repo: str, stream: str, state: StreamState) -> None:
    conn.execute(
        """
        INSERT INTO ingest_state (repo, stream, cursor, covered_since, etag, etag_url, scan)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (repo, stream) DO UPDATE SET cursor = excluded.cursor, covered_since = excluded.covered_since,
            etag = excluded.etag, etag_url = excluded.etag_url, scan = excluded.scan
        """,
        (repo, stream, *state[:4], json.dumps(state.scan) if state.scan else None),
    )


def record_stream_run(conn: sqlite3.Connection, *, repo: str, stream: str, now: str, error: str | None) -> None:
    """Note when the stream was last run and how that ended; `error` None means that it reached its end."""
    conn.execute(
        """
        INSERT INTO ingest_state (repo, stream, last_run_at, last_success_at, last_error)
        VALUES (:repo, :stream, :now, :success, :error)
        ON CONFLICT (repo, stream) DO UPDATE SET last_run_at = excluded.last_run_at,
            last_success_at = coalesce(excluded.last_success_at, ingest_state.last_success_at),
            last_error = excluded.last_error
        """,
        {"repo": repo, "stream": stream, "now": now, "success": None if error else now, "error": error},
    )


def rename_repo(conn: sqlite3.Connection, *, old: str, new: str) -> None:
    """Keep the state under GitHub's present name; the old one stays known as an alias.

    Items that are in the queue or in `issues` keep the name that they were fetched under until they change.
    """
    if old.lower() != new.lower():
        conn.execute("UPDATE repo_aliases SET repo = ? WHERE lower(repo) = lower(?)", (new, old))
        conn.execute("INSERT OR REPLACE INTO repo_aliases (alias, repo) VALUES (lower(?), ?)", (old, new))
        conn.execute("DELETE FROM repo_aliases WHERE alias = lower(?)", (new,))
    conn.execute(
        """
        UPDATE ingest_state SET repo = :new WHERE lower(repo) = lower(:old) AND repo <> :new
        AND NOT EXISTS (SELECT 1 FROM ingest_state other WHERE other.repo = :new AND other.stream = ingest_state.stream)
        """,
        {"old": old, "new": new},
    )


def claim(conn: sqlite3.Connection, *, token: str, limit: int, now: str, lease_seconds: float) -> list[ClaimedItem]:
    """Up to `limit` available rows, oldest first, now `processing` and owned by `token` until the lease ends."""
    release_expired(conn, now=now)
    # A clock that once stood far ahead must not put rows off for as long: no backoff lasts beyond `latest`.
    latest = timestamps.shift(now, seconds=2 * LONGEST_BACKOFF_SECONDS)
    rows = conn.execute(
        """
        SELECT id, repo, item_type, number, updated_at, payload, payload_sha256, attempts FROM queue_items
        WHERE status = 'pending' AND (available_at <= ? OR available_at > ?) ORDER BY id LIMIT ?
        """,
        (now, latest, limit),
    ).fetchall()
    conn.executemany(
        """
        UPDATE queue_items SET status = 'processing', claim_token = ?, lease_until = ?
        WHERE id = ? AND status = 'pending'
        """,
        [(token, timestamps.shift(now, seconds=lease_seconds), row["id"]) for row in rows],
    )
    return [ClaimedItem(*row) for row in rows]


def release_expired(conn: sqlite3.Connection, *, now: str) -> int:
    """Rows whose owner let the lease run out become `pending` again; returns how many."""
    return conn.execute(
        """
        UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL
        WHERE status = 'processing' AND lease_until < ?
        """,
        (now,),
    ).rowcount


def claim_tokens(conn: sqlite3.Connection) -> list[str]:
    """The tokens that own a row at present."""
    rows = conn.execute("SELECT DISTINCT claim_token FROM queue_items WHERE status = 'processing'")
    return [row["claim_token"] for row in rows]


def extend_leases(conn: sqlite3.Connection, *, token: str, now: str, lease_seconds: float) -> int:
    return conn.execute(
        "UPDATE queue_items SET lease_until = ? WHERE status = 'processing' AND claim_token = ?",
        (timestamps.shift(now, seconds=lease_seconds), token),
    ).rowcount


def complete(conn: sqlite3.Connection, *, item_id: int, token: str, s3_key: str, now: str) -> bool:
    """`processing` -> `done`; False when the row is no longer ours."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'done', s3_key = ?, last_error = NULL, finished_at = ?,
            claim_token = NULL, lease_until = NULL
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (s3_key, now, item_id, token),
    ).rowcount
    return changed == 1


def fail(conn: sqlite3.Connection, *, item_id: int, token: str, s3_key: str | None, error: str, now: str) -> bool:
    """`processing` -> `failed`, the dead letter that only `retry` brings back; False when no longer ours."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'failed', attempts = attempts + 1, s3_key = ?, last_error = ?,
            finished_at = ?, claim_token = NULL, lease_until = NULL
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (s3_key, error, now, item_id, token),
    ).rowcount
    return changed == 1


def put_off(conn: sqlite3.Connection, *, item_id: int, token: str, error: str, available_at: str) -> bool:
    """`processing` -> `pending` after an attempt that failed; not claimed before `available_at`."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL,
            attempts = attempts + 1, last_error = ?, available_at = ?
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (error, available_at, item_id, token),
    ).rowcount
    return changed == 1


def release(conn: sqlite3.Connection, *, token: str) -> int:
    """Hand back every row that `token` still owns, attempts untouched; returns how many."""
    return conn.execute(
        """
        UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL
        WHERE status = 'processing' AND claim_token = ?
        """,
        (token,),
    ).rowcount


def retry(conn: sqlite3.Connection, *, item_ids: Sequence[int] | None) -> int:
    """`failed` -> `pending` with a fresh count of attempts: the rows named, or all (None). Returns how many."""
    statement = """
        UPDATE queue_items SET status = 'pending', attempts = 0, available_at = :epoch, finished_at = NULL
        WHERE status = 'failed'
    """
    if item_ids is None:
        return conn.execute(statement, {"epoch": timestamps.EPOCH}).rowcount
    return sum(
        conn.execute(statement + " AND id = :id", {"epoch": timestamps.EPOCH, "id": item_id}).rowcount
        for item_id in item_ids
    )


def backoff_seconds(*, attempts: int, jitter: float) -> float:
    """How long to put off an item that has failed `attempts` times; `jitter` from 0 to 1 spreads it by half."""
    doubled = FIRST_BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 20)
    return min(doubled, LONGEST_BACKOFF_SECONDS) * (1 + jitter / 2)


def counts(conn: sqlite3.Connection) -> Counts:
    """Rows by status, each counted in its own partial index."""
    statement = "SELECT count(*) FROM queue_items WHERE status = '{}'"
    return Counts(*(conn.execute(statement.format(status)).fetchone()[0] for status in Counts._fields))


def oldest_pending(conn: sqlite3.Connection) -> str | None:
    """When the pending row that has waited longest was fetched; None when nothing is pending."""
    # Ids rise with time, so the lowest pending id is the oldest row.
    row = conn.execute("SELECT fetched_at FROM queue_items WHERE status = 'pending' ORDER BY id LIMIT 1").fetchone()
    return row["fetched_at"] if row else None


def issues_count(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM issues").fetchone()[0])


def failed_items(conn: sqlite3.Connection, *, limit: int) -> list[dict[str, Any]]:
    rows = conn.execute(
        """
        SELECT id, repo, number, item_type, attempts, last_error FROM queue_items
        WHERE status = 'failed' ORDER BY id LIMIT ?
        """,
        (limit,),
    )
    return [dict(row) for row in rows]


def streams(conn: sqlite3.Connection) -> list[dict[str, Any]]:
    """What `status` shows of each (repository, stream)."""
    rows = conn.execute(
        """
        SELECT repo, stream, cursor, covered_since, scan IS NOT NULL AS unfinished, last_run_at, last_success_at,
            last_error
        FROM ingest_state ORDER BY repo, stream
        """
    )
    return [{**dict(row), "unfinished": bool(row["unfinished"])} for row in rows]
