"""The page of `report` from a million rows of `issues`, in either engine: of all of them, and of the last year."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from benchmarks.engines import DURABLE
from benchmarks.measure import Contestant, at_most, compare, main_py
from benchmarks.publish import ROWS, fill
from tests import postgres_server
from tests.postgres_server import PostgresServer

SECONDS, PEAK_MB, PAGE_MB = 20, 300, 2
SINCE = {"all": "2020-01-01", "the last year": "2024-06-01"}


def cases(rounds):
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        filled = Path(name) / "filled.db"
        fill(filled, ROWS)
        contestants = [_contestant("SQLite", which, "pipeline.db", _copied(filled)) for which in SINCE]
        if postgres_server.programs() is None:
            print("| report in PostgreSQL | NOT MEASURED: there is no PostgreSQL | | | | | | |")
        else:
            server = stack.enter_context(contextlib.closing(PostgresServer(**DURABLE)))
            address = server.url(server.migrated())
            fill(address, ROWS)
            contestants += [_contestant("PostgreSQL", which, address) for which in SINCE]
        rows = compare("report, a million rows", contestants, items=ROWS, rounds=rounds)
    return [
        goal
        for row in rows
        for goal in (
            at_most(f"seconds, {row.case}, {row.name}", row.seconds, SECONDS),
            at_most(f"peak MB, {row.case}, {row.name}", row.peak_mb, PEAK_MB),
            at_most(f"MB of the page, {row.case}, {row.name}", row.notes["MB"], PAGE_MB),
        )
    ]


def _contestant(engine, which, address, prepare=lambda folder: None):
    command = main_py("report", "--db", address, "--since", SINCE[which], "--out", "report.html", "-q")
    return Contestant(f"{engine}, {which}", command, prepare=prepare, note=_size)


def _copied(filled):
    return lambda folder: shutil.copy(filled, folder / "pipeline.db")


def _size(took, folder):
    return {"MB": round((folder / "report.html").stat().st_size / 1e6, 2)}
