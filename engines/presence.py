"""Who is alive: by locked files beside an SQLite database (owners.py), by heartbeats in PostgreSQL (heartbeats.py)."""

from __future__ import annotations

from typing import Callable, ContextManager, Iterable

from engines import heartbeats, owners
from engines.connection import Connection
from engines.owners import State
from engines.postgres import Connection as Postgres

__all__ = ("State",)


def fresh_token(conn: Connection, db_path: str, *, lease_seconds: float) -> ContextManager[str]:
    """A token of this process; ALIVE until the block ends or the process does."""
    if isinstance(conn, Postgres):
        return heartbeats.fresh_token(conn, db_path, lease_seconds=lease_seconds)
    return owners.fresh_token(db_path)


def told_to_stop(conn: Connection, db_path: str, token: str) -> None:
    """Whatever ends the process from here on, what it has in hand is not to blame. Fit for a signal handler."""
    if isinstance(conn, Postgres):
        heartbeats.told_to_stop(token)
    else:
        owners.told_to_stop(db_path, token)


def state(conn: Connection, db_path: str, token: str) -> State:
    return heartbeats.state(conn, token) if isinstance(conn, Postgres) else owners.state(db_path, token)


def is_alive(conn: Connection, db_path: str, token: str) -> bool:
    return state(conn, db_path, token) is State.ALIVE


def known(conn: Connection, db_path: str) -> list[str]:
    """The tokens of all processes that work on the database, and of some that did."""
    return heartbeats.known(conn) if isinstance(conn, Postgres) else owners.known(db_path)


def process(conn: Connection, db_path: str, token: str) -> str:
    """The process that has the token, in words."""
    return heartbeats.process(conn, token) if isinstance(conn, Postgres) else owners.process(db_path, token)


def tidy(conn: Connection, db_path: str, *, in_use: Callable[[], Iterable[str]]) -> None:
    """Forget processes that died, but for the tokens `in_use()`: their State will be asked for."""
    if isinstance(conn, Postgres):
        heartbeats.tidy(conn, in_use=in_use)
    else:
        owners.tidy(db_path, in_use=in_use)
