"""Runs commands side by side, several times in turn, and makes a table of what they took."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
# A small process between: what a process was forked from counts in its peak memory (getrusage(2)).
_TIMED = """
import json, os, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[2:], stdout=open("output", "wb"))
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], file)
sys.exit(code)
"""


class Took(NamedTuple):
    """One run of a command. `output`: what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


class Contestant(NamedTuple):
    """`prepare(folder)` makes what the command needs in an empty folder, outside the measured time.

    `note(took, folder)` gives further columns of the table: what the run asked for, stored or printed.
    """

    name: str
    command: Sequence[str]
    env: Dict[str, str] = {}
    prepare: Callable[[Path], object] = lambda folder: None
    note: Callable[[Took, Path], Dict[str, Any]] = lambda took, folder: {}
    items: Optional[int] = None  # where it is given fewer than the others
    times_itself: bool = False  # it prints the seconds of what is to be measured
    turns: int = 1  # in each round; more for one that takes about a second, whose noise is large


class Row(NamedTuple):
    """What one contestant took in one case: medians, with the lowest and the highest rate."""

    case: str
    name: str
    rate: float
    lowest: float
    highest: float
    ratio: float  # of its rate to that of the case's first contestant
    seconds: float
    cpu_seconds: float
    peak_mb: float
    notes: Dict[str, Any]


class Goal(NamedTuple):
    text: str
    figure: float
    reached: bool


def at_least(text: str, figure: float, bound: float) -> Goal:
    return Goal(f"{text}: at least {bound:g}", figure, figure >= bound)


def at_most(text: str, figure: float, bound: float) -> Goal:
    return Goal(f"{text}: at most {bound:g}", figure, figure <= bound)


def memory(rows: Sequence[Row]) -> Goal:
    """Of the pipeline's largest process in this case."""
    return at_most(f"peak MB, {rows[0].case}", max(row.peak_mb for row in rows if row.name.startswith("pipeline")), 100)


def main_py(*arguments: str) -> List[str]:
    return [sys.executable, str(ROOT / "main.py"), *arguments]


def script(name: str, *arguments: str) -> List[str]:
    """One of rivals/."""
    return [sys.executable, str(ROOT / "benchmarks" / "rivals" / (name + ".py")), *arguments]


def run(command: Sequence[str], folder: Path, env: Optional[Dict[str, str]] = None) -> Took:
    """Run it in `folder`. Exits where it fails."""
    figures = folder / "figures.json"
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **(env or {})}
    done = subprocess.run([sys.executable, "-c", _TIMED, str(figures), *command], cwd=folder, env=environment)
    output = (folder / "output").read_text(errors="replace")
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {output[-500:]}")
    return Took(*json.loads(figures.read_text()), output)


def compare(
    case: str, contestants: Sequence[Contestant], *, items: int, rounds: int, where: Optional[str] = None
) -> List[Row]:
    """All contestants in turn, in each round, each time in a new folder (in `where`). Prints the rows."""
    took: Dict[str, List[Took]] = {contestant.name: [] for contestant in contestants}
    notes: Dict[str, Dict[str, Any]] = {}
    turns = range(max(contestant.turns for contestant in contestants))
    for _, turn in itertools.product(range(rounds), turns):
        for contestant in (one for one in contestants if turn < one.turns):
            with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as name:
                folder = Path(name)
                contestant.prepare(folder)
                found = run(contestant.command, folder, contestant.env)
                if contestant.times_itself:
                    found = found._replace(seconds=float(found.output))
                took[contestant.name].append(found)
                notes[contestant.name] = contestant.note(found, folder)
    rows: List[Row] = []
    for contestant in contestants:
        name = contestant.name
        rows.append(
            summed_up(
                case, name, took[name], items=contestant.items or items, notes=notes[name], against=(rows or [None])[0]
            )
        )
    return rows


def summed_up(
    case: str, name: str, runs: Sequence[Took], *, items: int, notes: Dict[str, Any], against: Optional[Row]
) -> Row:
    """The row of these runs, each of so many items. Prints it."""
    rates = [items / one.seconds for one in runs]
    rate = statistics.median(rates)
    row = Row(
        case=case,
        name=name,
        rate=rate,
        lowest=min(rates),
        highest=max(rates),
        ratio=rate / (against.rate if against else rate),
        seconds=statistics.median(one.seconds for one in runs),
        cpu_seconds=statistics.median(one.cpu_seconds for one in runs),
        peak_mb=max(one.peak_mb for one in runs),
        notes=notes,
    )
    print(_shown(row), flush=True)
    return row


HEAD = """\
| case | who | items/s (lowest to highest) | ratio | seconds | CPU s | peak MB | |
|---|---|---|---|---|---|---|---|"""


def _shown(row: Row) -> str:
    notes = ", ".join(f"{value:,} {name}" for name, value in row.notes.items())
    rates = [f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}" for rate in (row.rate, row.lowest, row.highest)]
    return (
        f"| {row.case} | {row.name} | {rates[0]} ({rates[1]} to {rates[2]}) | {row.ratio:.2f} "
        f"| {row.seconds:.2f} | {row.cpu_seconds:.2f} | {row.peak_mb:.0f} | {notes} |"
    )
