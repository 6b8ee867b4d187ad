"""The state of a stream of a repository: its cursor, an unfinished scan, gaps; and how its last run ended."""

from __future__ import annotations

import json
from typing import Any, Sequence

import db
from foundation.records import Gap, StreamState

_STATE_COLUMNS = ", ".join(("repo", *StreamState._fields))


def load(conn: db.Connection, *, repo: str, stream: str, repo_id: int | None = None) -> tuple[str, StreamState]:
    """The name under which the repository is kept, and its stream's state (an empty one for a new stream).

    By the id, where it is known. Names are compared without regard to case, as GitHub does; one that a repository had
    before it was renamed finds it too, which is but a hint: the name may be another repository's by now.
    """
    if repo_id is not None:
        row = _row(conn, "repo_id = ?", (repo_id, stream))
        row = row or _row(conn, "lower(repo) = lower(?) AND repo_id IS NULL", (repo, stream))
        return (repo, _state(row)._replace(repo_id=repo_id)) if row else (repo, StreamState(repo_id=repo_id))
    row = _row(conn, "lower(repo) = lower(?)", (repo, stream))
    if row is None:
        alias = conn.execute("SELECT repo FROM repo_aliases WHERE alias = lower(?)", (repo,)).fetchone()
        if alias is None:
            return repo, StreamState()
        repo = alias["repo"]
        row = _row(conn, "lower(repo) = lower(?)", (repo, stream))
    return (row["repo"], _state(row)) if row else (repo, StreamState())


def known(conn: db.Connection, *, stream: str) -> dict[int, StreamState]:
    """The states of the stream of all repositories whose id is known, by that."""
    rows = conn.execute(
        f"SELECT {_STATE_COLUMNS} FROM ingest_state WHERE repo_id IS NOT NULL AND stream = ?", (stream,)
    )
    return {row["repo_id"]: _state(row) for row in rows}


def _row(conn: db.Connection, which: str, parameters: Sequence[Any]) -> Any:
    statement = f"SELECT {_STATE_COLUMNS} FROM ingest_state WHERE {which} AND stream = ?"
    return conn.execute(statement, parameters).fetchone()


def _state(row: Any) -> StreamState:
    fields = {name: row[name] for name in StreamState._fields}
    gaps = tuple(Gap(*gap) for gap in json.loads(row["gaps"] or "[]"))
    return StreamState(**{**fields, "scan": json.loads(row["scan"]) if row["scan"] else None, "gaps": gaps})


def save(conn: db.Connection, *, repo: str, stream: str, state: StreamState) -> None:
    names = StreamState._fields
    values = state._replace(
        scan=json.dumps(state.scan) if state.scan else None,  # type: ignore[arg-type]
        gaps=json.dumps(state.gaps) if state.gaps else None,  # type: ignore[arg-type]
    )
    conn.execute(
        f"""
        INSERT INTO ingest_state (repo, stream, {", ".join(names)}) VALUES {db.places(len(names) + 2)}
        ON CONFLICT (repo, stream) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in names)}
        """,
        (repo, stream, *values),
    )


def record_run(conn: db.Connection, *, repo: str, stream: str, now: str, error: str | None) -> None:
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
