"""The queue in SQLite, in PostgreSQL, and procrastinate's: pages of 100 in, then claimed and completed side by side."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import Contestant, at_least, compare, run, script
from tests import postgres_server
from tests.postgres_server import PostgresServer

LENGTH = 10_000
ENQUEUED = 2_000
WORKERS = (1, 2, 4, 8)
RIVAL_ROWS = 800  # it fetches and finishes them one by one
SQLITE, POSTGRES, RIVAL = "pipeline, SQLite", "pipeline, PostgreSQL", "procrastinate"
# The tests' server forgets everything in a power cut; a real one does not.
DURABLE = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB", "autovacuum_naptime": "60s"}


def cases(rounds):
    if postgres_server.programs() is None:
        print("| the queue in PostgreSQL | NOT MEASURED: there is no PostgreSQL | | | | | | |")
        return []
    with Place(LENGTH, rival=True) as place:
        contestants = [
            place.contestant(RIVAL, "enqueue", ENQUEUED),
            place.contestant(SQLITE, "enqueue", ENQUEUED),
            place.contestant(POSTGRES, "enqueue", ENQUEUED),
        ]
        compare("enqueue pages of 100, 6 KB each", contestants, items=ENQUEUED, rounds=rounds)
        rates = {}
        for workers in WORKERS:
            contestants = [
                place.contestant(RIVAL, "work", RIVAL_ROWS, workers),
                place.contestant(SQLITE, "work", LENGTH, workers),
                place.contestant(POSTGRES, "work", LENGTH, workers),
            ]
            case = f"claim and complete {LENGTH:,} rows, {workers} workers"
            for row in compare(case, contestants, items=LENGTH, rounds=rounds):
                rates[row.name, workers] = row.rate
    one = rates[POSTGRES, 1]
    return [
        at_least("claim and complete in PostgreSQL, one worker, rows/s", one, 5_000),
        at_least("eight workers in sum against one, PostgreSQL", rates[POSTGRES, WORKERS[-1]] / one, 1),
        at_least("claim and complete in PostgreSQL against procrastinate", one / rates[RIVAL, 1], 5),
    ]


class Place:
    """Queues of one length, made once; each contestant gets a copy of its own."""

    def __init__(self, length, *, rival=False):
        self._length = length
        self._names = [SQLITE, POSTGRES, *([RIVAL] if rival else [])]
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.server = self._stack.enter_context(contextlib.closing(PostgresServer(**DURABLE)))
        self._filled = {
            name: str(self._folder / "queue.db") if name == SQLITE else self.server.make_database()
            for name in self._names
        }
        for name, filled in self._filled.items():
            run(
                script("side_by_side", _queue(name), "fill", self._address(name, filled), str(self._length)),
                self._folder,
            )
            if name != SQLITE:
                with self.server.connect(filled) as conn:
                    conn.execute("VACUUM (ANALYZE)")
                    conn.execute("CHECKPOINT")
        os.sync()  # or the first that is measured waits until what filled it has reached the disk
        return self

    def __exit__(self, *error):
        self._stack.close()

    def address(self, name):
        """Of the queue itself, which what is done to it changes."""
        return self._address(name, self._filled[name])

    def contestant(self, name, step, rows, workers=1, *, copied=True):
        """`copied` False: works on the queue itself."""
        used = self._filled[name]
        if copied:
            used = "queue.db" if name == SQLITE else "used"
        command = script("side_by_side", _queue(name), step, self._address(name, used), str(rows), str(workers))
        prepare = (lambda folder: self._copy(name, folder)) if copied else (lambda folder: None)
        return Contestant(name, command, prepare=prepare, items=rows, times_itself=True)

    def _copy(self, name, folder):
        if name == SQLITE:
            shutil.copy(self._filled[name], folder / "queue.db")
            return
        with self.server.connect() as conn:
            conn.execute("DROP DATABASE IF EXISTS used WITH (FORCE)")
            conn.execute(f"CREATE DATABASE used TEMPLATE {self._filled[name]}")
            conn.execute("CHECKPOINT")

    def _address(self, name, used):
        return used if name == SQLITE else self.server.url(used)


def _queue(name):
    return "procrastinate" if name == RIVAL else "pipeline"
