"""Only when it is named: ten turnovers of a hundred thousand rows. A quarter of an hour.

Each is enqueued, worked off and pruned; what stays behind of it must not slow the next claim.
"""

import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.engines import POSTGRES, SQLITE, Place
from benchmarks.measure import at_most, main_py, run, script, summed_up

TURNOVERS, TURNED = 10, 100_000
COMPARED = 3  # of the first and of the last: one alone may meet a checkpoint


def cases(rounds):
    with Place(0) as place, tempfile.TemporaryDirectory(prefix="bench-") as name:
        return [_turned(who, place.address(who), Path(name)) for who in (SQLITE, POSTGRES)]


def _turned(who, address, folder):
    medians = []
    for number in range(1, TURNOVERS + 1):
        took = run(script("side_by_side", "pipeline", "turnover", address, str(TURNED)), folder)
        found = json.loads(took.output)
        run(main_py("prune", "--older-than", "1", "-q", "--db", address), folder)
        medians.append(found["median_ms"])
        case = f"turnover {number} of {TURNED:,} rows"
        notes = {"ms a claim": round(found["median_ms"], 2), "ms, 99 of 100": round(found["slow_ms"], 2)}
        summed_up(case, who, [took._replace(seconds=found["seconds"])], items=TURNED, notes=notes, against=None)
    first, last = statistics.median(medians[:COMPARED]), statistics.median(medians[-COMPARED:])
    return at_most(f"{who}: a claim in the last {COMPARED} turnovers against the first {COMPARED}", last / first, 1.3)
