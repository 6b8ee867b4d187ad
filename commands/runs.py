"""The record of a run: what runs since when, what it alone may do, what it waits for, how it ended."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any, Iterable, Iterator, Mapping

import db
import queue_manager
from engines import presence
from foundation import settings
from foundation.clock import Clock
from foundation.errors import EXIT_FAILED, EXIT_OK, AnotherRun, ConfigurationError, Interrupted, PipelineError

log = logging.getLogger("pipeline")

# In `locks`: who moves the database elsewhere, and that a move into it has not ended, whether anybody is at it or not.
MOVE, UNFINISHED_MOVE = "move", "move into this database"
_TAKE_LOCK = """
    INSERT INTO locks (name, owner, since) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, since = excluded.since
"""
# Runs that are remembered, for `status`, and beyond these the last of each command.
RUNS_KEPT = 1000


class Run:
    """A run under way; `token` is its own."""

    def __init__(
        self,
        conn: db.Connection,
        run_id: int,
        token: str,
        *,
        db_path: str,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._conn = conn
        self._id = run_id
        self._db_path = db_path
        self._clock = clock
        self._environ = environ
        self.token = token
        self.exit_code = EXIT_OK
        self.note: str | None = None

    def hold(self, names: Iterable[str]) -> None:
        """Be the only run that does what is called so, until this one ends: all of it, or AnotherRun.

        A lock is a row that names its owner. It counts for as long as that one lives (owners.py), so that nothing has
        to be cleaned up after a death, and a thousand locks need no more open files than one.
        """
        database = settings.masked(self._db_path)
        with db.transaction(self._conn):
            db.alone(self._conn, db.LOCKING)
            taken = {row["name"]: (row["owner"], row["since"]) for row in self._conn.execute("SELECT * FROM locks")}
            alive: dict[str, bool] = {self.token: False}  # by owner, who may have thousands
            wanted = list(names)
            for name in wanted:
                owner, since = taken.get(name, (self.token, ""))
                if owner not in alive:
                    alive[owner] = presence.is_alive(self._conn, self._db_path, owner)
                if alive[owner]:
                    who = f"{presence.process(self._conn, self._db_path, owner)} since {since}"
                    raise AnotherRun(f"{name} runs already on {database!r}: {who}; let it end, or run this later")
            now = db.now(self._conn, self._clock)
            self._conn.executemany(_TAKE_LOCK, [(name, self.token, now) for name in wanted])

    @contextlib.contextmanager
    def while_held(self, name: str) -> Iterator[None]:
        """Hold it for the block alone. Where it can't be let go, that ends with the run."""
        self.hold([name])
        try:
            yield
        finally:
            with contextlib.suppress(*db.Error), db.transaction(self._conn):
                self._conn.execute("DELETE FROM locks WHERE name = ? AND owner = ?", (name, self.token))

    def check_held(self, conn: db.Connection, name: str) -> None:
        """AnotherRun where another has taken that over; else nobody does before the transaction of `conn` ends.

        A process that lives keeps it in SQLite. In PostgreSQL it may be stopped, or cut off, for longer than its lease.
        """
        if conn.words.is_postgres and not is_held(conn, name, owner=self.token):
            raise AnotherRun(f"{name} was taken over by another run: nothing was heard of this one for its whole lease")

    def ended(self, exit_code: int, note: str | None) -> None:
        """What the command is going to return and, where that is no success, why."""
        self.exit_code = exit_code
        self.note = note and settings.one_line(note, self._environ)

    def close(self) -> None:
        """Write the end down. Raises ConfigurationError where the database is gone: all that the run did is."""
        with contextlib.suppress(*db.Error), db.transaction(self._conn, afresh=True):  # the exit code tells it, too
            drop_locks(self._conn, owner=self.token)
            now = db.now(self._conn, self._clock)
            end_run(self._conn, run_id=self._id, now=now, exit_code=self.exit_code, note=self.note)

    def wait_for(self, reason: str | None) -> None:
        """Note what the run waits for; None when it goes on."""
        note = reason and settings.one_line(reason, self._environ)
        with contextlib.suppress(*db.Error), db.transaction(self._conn, afresh=True):  # it may wait for the database
            note_run(self._conn, run_id=self._id, note=note)


@contextlib.contextmanager
def recorded(
    conn: db.Connection, *, db_path: str, command: str, what: str, clock: Clock, environ: Mapping[str, str]
) -> Iterator[Run]:
    """Record and log the block as a run of `command`, which does `what`.

    A run that is killed has no end; its token tells that it is dead.
    """
    refuse_while_moved(conn, db_path)  # first: who moves keeps everybody waiting who writes
    presence.tidy(conn, db_path, in_use=lambda: queue_manager.claim_tokens(conn))
    started = clock.monotonic()
    log.info("%s begins: %s", command, what)
    lease_seconds = settings.lease_seconds(environ)
    with presence.fresh_token(conn, db_path, lease_seconds=lease_seconds) as token:
        with db.transaction(conn):
            refuse_while_moved(conn, db_path)
            run_id = start_run(conn, command=command, owner=token, now=db.now(conn, clock))
        run = Run(conn, run_id, token, db_path=db_path, clock=clock, environ=environ)
        try:
            yield run
            run.close()
        except BaseException as error:
            said = db.explain(error, db_path) if isinstance(error, db.Error) else error
            run.ended(said.exit_code if isinstance(said, (PipelineError, Interrupted)) else EXIT_FAILED, str(said))
            with contextlib.suppress(PipelineError):  # the error that ends it says more
                run.close()
            raise
        finally:
            log.info("%s ended with %d after %.1f s", command, run.exit_code, clock.monotonic() - started)


def refuse_while_moved(conn: db.Connection, db_path: str) -> None:
    """Raises AnotherRun while the database is moved elsewhere, ConfigurationError where it is not whole yet."""
    shown = settings.masked(db_path)
    owner, since = lock_owner(conn, MOVE) or ("", "")
    if owner and presence.is_alive(conn, db_path, owner):
        who = f"{presence.process(conn, db_path, owner)} since {since}"
        raise AnotherRun(f"database {shown!r} is being moved by {who}; let it end, then go on in the new one")
    if lock_owner(conn, UNFINISHED_MOVE):
        raise ConfigurationError(f"a move into database {shown!r} has not ended; run main.py move once more")


def refuse_live_runs(conn: db.Connection, db_path: str, *, but: str) -> None:
    """Raises AnotherRun where a process works on the database, other than the one of this token."""
    for token in presence.known(conn, db_path):
        if token != but and presence.is_alive(conn, db_path, token):
            row = conn.execute("SELECT command FROM runs WHERE owner = ? ORDER BY id DESC", (token,)).fetchone()
            what = row["command"] if row else "a run"
            raise AnotherRun(
                f"{what} works on database {settings.masked(db_path)!r}: {presence.process(conn, db_path, token)}; "
                "stop all workers and ingests first"
            )


def start_run(conn: db.Connection, *, command: str, owner: str, now: str) -> int:
    """Note that a command runs; returns the id for `end_run`. `owner` (owners.py) tells later whether it still does."""
    conn.execute(
        """
        DELETE FROM runs
        WHERE id <= (SELECT max(id) FROM runs) - ? AND id NOT IN (SELECT max(id) FROM runs GROUP BY command)
        """,
        (RUNS_KEPT,),
    )
    conn.execute(
        "INSERT INTO runs (command, owner, started_at, host) VALUES (?, ?, ?, ?)",
        (command, owner, now, socket.gethostname()),
    )
    # lastrowid is SQLite's, and RETURNING only newer ones'.
    return int(conn.execute("SELECT max(id) FROM runs WHERE owner = ?", (owner,)).fetchone()[0])


def note_run(conn: db.Connection, *, run_id: int, note: str | None) -> None:
    """What the run waits for; None: it works."""
    conn.execute("UPDATE runs SET note = ? WHERE id = ?", (note, run_id))


def end_run(conn: db.Connection, *, run_id: int, now: str, exit_code: int, note: str | None) -> None:
    conn.execute("UPDATE runs SET ended_at = ?, exit_code = ?, note = ? WHERE id = ?", (now, exit_code, note, run_id))


def runs(conn: db.Connection) -> list[dict[str, Any]]:
    """The last run of each command and, before it, those that have no end: they work still, or died."""
    rows = conn.execute(
        """
        SELECT command, owner, started_at, ended_at, exit_code, note, host FROM runs
        WHERE id IN (SELECT max(id) FROM runs GROUP BY command) OR ended_at IS NULL
        ORDER BY command, id
        """
    )
    return [dict(row) for row in rows]


def lock_owner(conn: db.Connection, name: str) -> tuple[str, str] | None:
    """The token of the run that does what is called `name`, dead or alive, and since when; None: nobody does."""
    row = conn.execute("SELECT owner, since FROM locks WHERE name = ?", (name,)).fetchone()
    return None if row is None else (row["owner"], row["since"])


def take_lock(conn: db.Connection, name: str, *, owner: str, now: str) -> None:
    conn.execute(_TAKE_LOCK, (name, owner, now))


def is_held(conn: db.Connection, name: str, *, owner: str) -> bool:
    """Nobody else takes it from here on to the end of the transaction, where the answer is True."""
    statement = f"SELECT 1 FROM locks WHERE name = ? AND owner = ? {conn.words.lock_rows}"
    return conn.execute(statement, (name, owner)).fetchone() is not None


def drop_locks(conn: db.Connection, *, owner: str) -> None:
    conn.execute("DELETE FROM locks WHERE owner = ?", (owner,))
