"""The queue alone: against litequeue and persist-queue, in a short queue and in a long one; in both engines."""

import tempfile
from pathlib import Path

from benchmarks import engines
from benchmarks.measure import Contestant, at_most, compare, run, script

SHORT, LONG = 10_000, 1_000_000
WORKED = 2_000  # rows enqueued, or claimed and completed, in each run
NAMES = ("litequeue", "persist-queue", "pipeline")
STEPS = {"enqueue": "enqueue", "work": "claim and complete"}


def cases(rounds):
    return [*_files(rounds), *engines.cases(rounds)]


def _files(rounds):
    seconds = {}
    for length in (SHORT, LONG):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            paths = {name: str(Path(folder) / name) for name in NAMES}
            for name, path in paths.items():
                run(script("queues", name, "fill", path, str(length)), Path(folder))
            for step, shown in STEPS.items():
                contestants = [_contestant(name, step, path, length) for name, path in paths.items()]
                rows = compare(f"queue of {length:,} rows, {shown}", contestants, items=WORKED, rounds=rounds)
                seconds[length, step] = rows[-1].seconds
    text = f"claim and complete at {LONG:,} rows against {SHORT:,}"
    return [at_most(text, seconds[LONG, "work"] / seconds[SHORT, "work"], 1.3)]


def _contestant(name, step, path, length):
    # Its claim sorts all that is ready: seconds for one row of a long queue.
    rows = 10 if (name, step, length) == ("litequeue", "work", LONG) else WORKED
    # Ours takes a twentieth of a second. More turns would empty the short queue.
    turns = 2 if (name, step) == ("pipeline", "work") else 1
    return Contestant(name, script("queues", name, step, path, str(rows)), items=rows, times_itself=True, turns=turns)
