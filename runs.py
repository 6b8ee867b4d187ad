"""The record of a run: what runs since when, what it waits for, how it ended; `status` shows it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import Iterator, Mapping

import db
import owners
import queue_manager
import settings
from clock import Clock
from errors import EXIT_FAILED, EXIT_OK, Interrupted, PipelineError

log = logging.getLogger("pipeline")


class Run:
    """A run under way; `token` is its own."""

    def __init__(self, conn: sqlite3.Connection, run_id: int, token: str, environ: Mapping[str, str]) -> None:
        self._conn = conn
        self._id = run_id
        self._environ = environ
        self.token = token
        self.exit_code = EXIT_OK
        self.note: str | None = None

    def ended(self, exit_code: int, note: str | None) -> None:
        """What the command is going to return and, where that is no success, why."""
        self.exit_code = exit_code
        self.note = note and settings.one_line(note, self._environ)

    def wait_for(self, reason: str | None) -> None:
        """Note what the run waits for; None when it goes on."""
        note = reason and settings.one_line(reason, self._environ)
        with contextlib.suppress(sqlite3.Error), db.transaction(self._conn):  # what it waits for may be the database
            queue_manager.note_run(self._conn, run_id=self._id, note=note)


@contextlib.contextmanager
def recorded(
    conn: sqlite3.Connection, *, db_path: str, command: str, what: str, clock: Clock, environ: Mapping[str, str]
) -> Iterator[Run]:
    """Record and log the block as a run of `command`, which does `what`.

    A run that is killed has no end; its token tells that it is dead.
    """
    owners.tidy(db_path)
    started = clock.monotonic()
    log.info("%s begins: %s", command, what)
    with owners.fresh_token(db_path) as token:
        with db.transaction(conn):
            run_id = queue_manager.start_run(conn, command=command, owner=token, now=clock.utc())
        run = Run(conn, run_id, token, environ)
        try:
            yield run
        except BaseException as error:
            run.ended(error.exit_code if isinstance(error, (PipelineError, Interrupted)) else EXIT_FAILED, str(error))
            raise
        finally:
            log.info("%s ended with %d after %.1f s", command, run.exit_code, clock.monotonic() - started)
            with contextlib.suppress(sqlite3.Error), db.transaction(conn):  # the error that ends it says more
                queue_manager.end_run(conn, run_id=run_id, now=clock.utc(), exit_code=run.exit_code, note=run.note)
