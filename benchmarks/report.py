"""The page of `report` from a million rows of `issues`: of all of them, and of the last year."""

import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import Contestant, at_most, compare, main_py
from benchmarks.publish import ROWS, fill

SECONDS, PEAK_MB, PAGE_MB = 20, 300, 2
REPORT = main_py("report", "--db", "pipeline.db", "--out", "report.html", "-q")


def cases(rounds):
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        filled = Path(name) / "filled.db"
        fill(filled, ROWS)
        contestants = [
            Contestant(which, [*REPORT, "--since", since], prepare=_copied(filled), note=_size)
            for which, since in (("all rows", "2020-01-01"), ("the last year of them", "2024-06-01"))
        ]
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


def _copied(filled):
    return lambda folder: shutil.copy(filled, folder / "pipeline.db")


def _size(took, folder):
    return {"MB": round((folder / "report.html").stat().st_size / 1e6, 2)}
