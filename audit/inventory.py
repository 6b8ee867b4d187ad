"""What the tables know of a repository's items, for `sweep`: which ones, in which version, and what is said to be gone.

Reads only; tombstones that wait in the queue count as if they were written. No HTTP, no printing.
"""

from __future__ import annotations

import json
from typing import Iterable, Mapping, NamedTuple, Sequence

import db
from tables.columns import MARKED


class Known(NamedTuple):
    """An item, or what is said on one, of which there is a row; `number` is the item's. `newest_at`: the latest time
    of the row, that of a tombstone included."""

    kind: str
    id: int
    number: int
    updated_at: str
    newest_at: str
    is_gone: bool


def spellings(conn: db.Connection) -> dict[str, list[str]]:
    """Every name, letter for letter, under which items were fetched, by itself in lower case."""
    found: dict[str, list[str]] = {}
    for (name,) in conn.execute("SELECT DISTINCT repo FROM issues ORDER BY repo"):
        found.setdefault(name.lower(), []).append(name)
    return found


def former_names(conn: db.Connection, repo: str) -> list[str]:
    """In lower case: items keep the name that they were fetched under."""
    rows = conn.execute("SELECT alias FROM repo_aliases WHERE lower(repo) = lower(?) ORDER BY alias", (repo,))
    return [row["alias"] for row in rows]


def repositories(conn: db.Connection) -> list[str]:
    """All of which a stream was read to its end."""
    rows = conn.execute("SELECT DISTINCT repo FROM ingest_state WHERE cursor IS NOT NULL ORDER BY repo")
    return [row["repo"] for row in rows]


def streams(conn: db.Connection, repo: str) -> set[str]:
    """Those that were read to their end at least once."""
    rows = conn.execute("SELECT stream FROM ingest_state WHERE lower(repo) = lower(?) AND cursor IS NOT NULL", (repo,))
    return {row["stream"] for row in rows}


def counts(conn: db.Connection, names: Sequence[str]) -> dict[str, int]:
    """Items that are not gone, by kind."""
    rows = conn.execute(
        f"""
        SELECT item_type, count(*) AS items FROM issues
        WHERE repo IN {db.places(len(names))} AND gone_at IS NULL GROUP BY item_type
        """,
        tuple(names),
    )
    return {row["item_type"]: row["items"] for row in rows} if names else {}


def is_known(conn: db.Connection, names: Sequence[str], kind: str, number: int) -> bool:
    """Is there such an item, and not gone?"""
    found = conn.execute(
        f"""
        SELECT 1 FROM issues
        WHERE repo IN {db.places(len(names))} AND item_type = ? AND number = ? AND gone_at IS NULL
        """,
        (*names, kind, number),
    )
    return found.fetchone() is not None


def items(conn: db.Connection, names: Sequence[str]) -> list[Known]:
    """Issues and pull requests."""
    return _known(conn, ("issue", "pull_request"), names)


def said(conn: db.Connection, kind: str, names: Sequence[str]) -> list[Known]:
    """Comments of this kind, or reviews."""
    return _known(conn, (kind,), names)


def _known(conn: db.Connection, kinds: Sequence[str], names: Sequence[str]) -> list[Known]:
    waiting = waiting_tombstones(conn, names)
    found = []
    for kind in kinds:
        table, told_by, _ = MARKED[kind]
        column, value = told_by or ("''", "")
        # Ordered, or chosen, by what leads the primary key, the rows of all repositories would be read.
        rows = conn.execute(
            f"""
            SELECT id, number, updated_at, gone_at, {column} AS told FROM {table} WHERE repo IN {db.places(len(names))}
            """,
            tuple(names),
        ) if names else ()  # fmt: skip
        for row in rows:
            if row["told"] == value:
                is_gone = waiting.get((kind, row["id"]), row["gone_at"] is not None)
                newest_at = max(row["updated_at"], row["gone_at"] or "")
                found.append(Known(kind, row["id"], row["number"], row["updated_at"], newest_at, is_gone))
    found.sort()
    return found


def waiting_tombstones(conn: db.Connection, names: Sequence[str]) -> dict[tuple[str, int], bool]:
    """What those say that the tables have not been told yet: (kind, id) -> is it gone?"""
    rows = conn.execute(
        f"""
        SELECT {conn.words.bytes_of_payload} AS payload FROM queue_items
        WHERE item_type = 'gone' AND status <> 'done' AND repo IN {db.places(len(names))} ORDER BY updated_at, id
        """,
        tuple(names),
    ) if names else ()  # fmt: skip
    found: dict[tuple[str, int], bool] = {}
    for row in rows:
        tombstone = json.loads(bytes(row["payload"]).decode("utf-8"))
        found[tombstone["kind"], tombstone["id"]] = tombstone["gone"]
    return found


def newest_queued(conn: db.Connection, item_type: str, ids: Iterable[int]) -> Mapping[int, str]:
    """The newest version of each that the queue has."""
    found: dict[int, str] = {}
    for some in db.in_statements(sorted(ids), besides=1):
        rows = conn.execute(
            f"""
            SELECT item_id, max(updated_at) AS updated_at FROM queue_items
            WHERE item_type = ? AND item_id IN {db.places(len(some))} GROUP BY item_id
            """,
            (item_type, *some),
        )
        found.update((row["item_id"], row["updated_at"]) for row in rows)
    return found
