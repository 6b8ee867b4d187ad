"""The names of a repository: the one that its state is kept under, and those that it had before."""

from __future__ import annotations

from typing import Any, Callable, Collection, Mapping

import db
from cursors import work_list

_KEPT_AS = (  # what stands later counts
    "SELECT alias, repo FROM repo_aliases WHERE alias IN {}",
    "SELECT lower(repo), repo FROM ingest_state WHERE lower(repo) IN {}",
)


def kept_as(conn: db.Connection, repos: Collection[str]) -> dict[str, str]:
    """By each name: the one under which its repository's state is kept; the same where nothing is known of it."""
    kept: dict[str, str] = {}
    for some in db.in_statements(sorted({repo.lower() for repo in repos}), parameters=1):
        for statement in _KEPT_AS:
            kept.update(tuple(row) for row in conn.execute(statement.format(db.places(len(some))), some))
    return {repo: kept.get(repo.lower(), repo) for repo in repos}


def settle(conn: db.Connection, *, repo: str, repo_id: int | None, was: str, asked_for: str) -> None:
    """A repository goes by the name `repo`, as GitHub spells it; its state was kept as `was`.

    What another one has under that name goes on under its id (as GitHub's own path `repositories/ID`), until it is met
    under a new name. So do the rows of its tables; items in the queue keep the name that they were fetched under, which
    is in their keys.
    """
    names = {"repo": repo, "id": repo_id, "was": was}
    displaced = "lower(repo) = lower(:repo) AND repo_id <> :id"
    _rename(conn, displaced, names, new=lambda its_id: f"repositories/{its_id}")
    same = "repo <> :repo AND (repo_id = :id OR (lower(repo) = lower(:was) AND repo_id IS NULL))"
    _rename(conn, same, names, new=lambda its_id: repo)
    conn.execute("DELETE FROM repo_aliases WHERE alias = lower(?)", (repo,))
    for old in {asked_for.lower(), was.lower()} - {repo.lower()}:
        conn.execute("UPDATE repo_aliases SET repo = ? WHERE lower(repo) = ?", (repo, old))
        conn.execute(
            """
            INSERT INTO repo_aliases (alias, repo) VALUES (?, ?)
            ON CONFLICT (alias) DO UPDATE SET repo = excluded.repo
            """,
            (old, repo),
        )


def _rename(conn: db.Connection, which: str, names: Mapping[str, Any], *, new: Callable[[int], str]) -> None:
    """Give these states another name, in place of what has it; of two the one whose id is known comes last."""
    found = conn.execute(
        f"SELECT repo, stream, repo_id FROM ingest_state WHERE {which} ORDER BY repo_id IS NOT NULL, repo", names
    )
    for repo, stream, repo_id in found.fetchall():
        name = new(repo_id)
        if name != repo:
            conn.execute("DELETE FROM ingest_state WHERE repo = ? AND stream = ?", (name, stream))
            conn.execute("UPDATE ingest_state SET repo = ? WHERE repo = ? AND stream = ?", (name, repo, stream))
            work_list.move(conn, was=repo, repo=name)
            db.rename_rows(conn, was=repo, repo=name)


def forget(conn: db.Connection, *, repo: str) -> int:
    """Delete the state of the repository that is kept under this name, or was before; returns how many streams."""
    name = kept_as(conn, [repo])[repo]
    conn.execute("DELETE FROM repo_aliases WHERE lower(repo) = lower(?)", (name,))
    conn.execute("DELETE FROM pull_work WHERE lower(repo) = lower(?)", (name,))
    return conn.execute("DELETE FROM ingest_state WHERE lower(repo) = lower(?)", (name,)).rowcount
