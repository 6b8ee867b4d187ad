"""What the database keeps of archives: where items lie, and which objects an unfinished `rebuild` has read.

Every function joins the caller's transaction and never commits.
"""

from __future__ import annotations

from typing import Sequence

import db

# The engines have different names for the larger of two.
_THE_LARGER = "CASE WHEN copies.items < excluded.items THEN excluded.items ELSE copies.items END"


def count_archived(conn: db.Connection, *, place: str, items: int) -> None:
    """So many items more lie in this archive."""
    conn.execute(
        """
        INSERT INTO archives (place, items) VALUES (?, ?)
        ON CONFLICT (place) DO UPDATE SET items = archives.items + excluded.items
        """,
        (place, items),
    )


def archived_elsewhere(conn: db.Connection, *, here: str) -> dict[str, int]:
    """About how many items lie in other archives than this one, and not in it."""
    rows = conn.execute(
        """
        SELECT archives.place, archives.items - coalesce(copies.items, 0) AS items
        FROM archives LEFT JOIN copies ON copies.target = archives.place AND copies.source = :here
        WHERE archives.place <> :here ORDER BY archives.place
        """,
        {"here": here},
    )
    return {row["place"]: row["items"] for row in rows if row["items"] > 0}


def archives(conn: db.Connection) -> list[str]:
    """All places where items of this database were ever archived."""
    return [str(row["place"]) for row in conn.execute("SELECT place FROM archives ORDER BY place")]


def is_known_archive(conn: db.Connection, place: str) -> bool:
    return conn.execute("SELECT 1 FROM archives WHERE place = ?", (place,)).fetchone() is not None


def note_copied(conn: db.Connection, *, source: str, target: str) -> None:
    """All that lies in the one archive lies in the other, too, and is counted there from now on."""
    row = conn.execute("SELECT items FROM archives WHERE place = ?", (source,)).fetchone()
    items = row["items"] if row else 0
    count_archived(conn, place=source, items=-items)
    count_archived(conn, place=target, items=items)
    for holder, held in [(source, items), *_copies(conn, "source", of="target", place=source)]:
        if holder != target:
            _note_held(conn, "copies.items + excluded.items", holder=holder, place=target, items=held)
    conn.execute("DELETE FROM copies WHERE target = ?", (source,))
    # What is counted in a third archive, and lies in the source as well, lies in the target now.
    for place, held in _copies(conn, "target", of="source", place=source):
        if place != target:
            _note_held(conn, _THE_LARGER, holder=target, place=place, items=held)


def _copies(conn: db.Connection, end: str, *, of: str, place: str) -> list[tuple[str, int]]:
    rows = conn.execute(f"SELECT {end} AS place, items FROM copies WHERE {of} = ?", (place,))
    return [(row["place"], row["items"]) for row in rows]


def _note_held(conn: db.Connection, figure: str, *, holder: str, place: str, items: int) -> None:
    """So many of the items that are counted in `place` lie in `holder` as well."""
    conn.execute(
        f"""
        INSERT INTO copies (source, target, items) VALUES (?, ?, ?)
        ON CONFLICT (source, target) DO UPDATE SET items = {figure}
        """,
        (holder, place, items),
    )


def unread(conn: db.Connection, scope: str, keys: Sequence[str]) -> list[str]:
    """Those of the keys that an unfinished `rebuild` of this scope has not read yet."""
    read: set[str] = set()
    for some in db.in_statements(keys, besides=1):
        rows = conn.execute(
            f"SELECT key FROM rebuild_read WHERE scope = ? AND key IN {db.places(len(some))}", (scope, *some)
        )
        read.update(row["key"] for row in rows)
    return [key for key in keys if key not in read]


def note_read(conn: db.Connection, scope: str, keys: Sequence[str]) -> None:
    statement = "INSERT INTO rebuild_read (scope, key) VALUES (?, ?) ON CONFLICT DO NOTHING"
    conn.executemany(statement, [(scope, key) for key in keys])


def read_count(conn: db.Connection, scope: str) -> int:
    return int(conn.execute("SELECT count(*) FROM rebuild_read WHERE scope = ?", (scope,)).fetchone()[0])


def forget_read(conn: db.Connection, scope: str) -> None:
    conn.execute("DELETE FROM rebuild_read WHERE scope = ?", (scope,))
