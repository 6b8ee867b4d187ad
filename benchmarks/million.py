"""Only when it is named: a million rows against ten thousand, and ten turnovers of a hundred thousand. Half an hour."""

import json
import tempfile
from pathlib import Path

from benchmarks.engines import LENGTH, POSTGRES, SQLITE, Place
from benchmarks.measure import at_most, compare, main_py, run, script, summed_up

MILLION = 1_000_000
TURNOVERS, TURNED = 10, 100_000


def cases(rounds):
    return [*_million(rounds), *_turnovers()]


def _million(rounds):
    seconds = {}
    for length in (LENGTH, MILLION):
        with Place(length) as place:
            # A copy of a million takes minutes, and lacks little of them afterwards.
            contestants = [
                place.contestant(name, "work", LENGTH // 2, copied=length == LENGTH) for name in (SQLITE, POSTGRES)
            ]
            case = f"queue of {length:,} rows, claim and complete"
            for row in compare(case, contestants, items=LENGTH // 2, rounds=rounds):
                seconds[row.name, length] = row.seconds
    return [
        at_most(f"{name}: {MILLION:,} rows against {LENGTH:,}", seconds[name, MILLION] / seconds[name, LENGTH], 1.3)
        for name in (SQLITE, POSTGRES)
    ]


def _turnovers():
    """Enqueued, worked off and pruned, again and again: what stays behind of it must not slow the next claim."""
    goals = []
    with Place(0) as place, tempfile.TemporaryDirectory(prefix="bench-") as name:
        for who in (SQLITE, POSTGRES):
            median = []
            for number in range(1, TURNOVERS + 1):
                took = run(script("side_by_side", "pipeline", "turnover", place.address(who), str(TURNED)), Path(name))
                found = json.loads(took.output)
                run(main_py("prune", "--older-than", "1", "-q", "--db", place.address(who)), Path(name))
                median.append(found["median_ms"])
                if number in (1, TURNOVERS):
                    notes = {"ms a claim": round(found["median_ms"], 2), "ms, 99 of 100": round(found["slow_ms"], 2)}
                    summed_up(
                        f"turnover {number} of {TURNED:,} rows", who, [took._replace(seconds=found["seconds"])],
                        items=TURNED, notes=notes, against=None,
                    )  # fmt: skip
            goals.append(at_most(f"{who}: a claim in the last turnover against the first", median[-1] / median[0], 1.3))
    return goals
