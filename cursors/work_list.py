"""Which pull requests are to be asked for by themselves, each since which version of it."""

from __future__ import annotations

from typing import Iterable

import db


def note(conn: db.Connection, *, repo: str, versions: Iterable[tuple[int, str]]) -> None:
    """Put pull requests on the work list, as (number, updated_at); what was noted of a newer version stays."""
    conn.executemany(
        """
        INSERT INTO pull_work (repo, number, updated_at) VALUES (?, ?, ?)
        ON CONFLICT (repo, number) DO UPDATE SET updated_at = excluded.updated_at
        WHERE excluded.updated_at > pull_work.updated_at
        """,
        [(repo, number, updated_at) for number, updated_at in versions],
    )


def seed(conn: db.Connection, *, repo: str, since: str) -> None:
    """Put those pull requests on the work list that were read before anything was noted, and whose details are not
    there: neither queued nor in their table. `repo`: the present name; items keep the one that they were fetched under.
    """
    conn.execute(
        """
        INSERT INTO pull_work (repo, number, updated_at)
        SELECT CAST(:repo AS TEXT), number, max(updated_at)
        FROM (
            SELECT item_id, number, updated_at, repo FROM queue_items WHERE item_type = 'pull_request'
            UNION ALL SELECT id, number, updated_at, repo FROM issues WHERE item_type = 'pull_request'
        ) known
        WHERE updated_at >= :since AND number > 0
            AND (lower(repo) = lower(:repo)
                OR lower(repo) IN (SELECT alias FROM repo_aliases WHERE lower(repo_aliases.repo) = lower(:repo)))
            AND updated_at > coalesce((SELECT max(updated_at) FROM pull_details WHERE id = known.item_id), '')
            AND updated_at > coalesce((SELECT max(updated_at) FROM queue_items
                WHERE item_type = 'pull_detail' AND item_id = known.item_id), '')
        GROUP BY number
        ON CONFLICT (repo, number) DO UPDATE SET updated_at = excluded.updated_at
        WHERE excluded.updated_at > pull_work.updated_at
        """,
        {"repo": repo, "since": since},
    )


def settle(conn: db.Connection, *, repo: str, versions: Iterable[tuple[int, str]]) -> None:
    """Take off the work list what was noted of these versions, or of older ones."""
    conn.executemany(
        "DELETE FROM pull_work WHERE repo = ? AND number = ? AND updated_at <= ?",
        [(repo, number, updated_at) for number, updated_at in versions],
    )


def read(conn: db.Connection, *, repo: str) -> list[tuple[int, str]]:
    """The work list of a repository: (number, updated_at), the lowest number first."""
    found = conn.execute("SELECT number, updated_at FROM pull_work WHERE repo = ? ORDER BY number", (repo,))
    return [(number, updated_at) for number, updated_at in found]


def move(conn: db.Connection, *, was: str, repo: str) -> None:
    """What was noted under a former name goes by the present one."""
    found = read(conn, repo=was)
    conn.execute("DELETE FROM pull_work WHERE repo = ?", (was,))
    note(conn, repo=repo, versions=found)
