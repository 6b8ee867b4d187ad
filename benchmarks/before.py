"""Only when it is named: this tree against an earlier commit (--before), the same commands in turn."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import ROOT, Contestant, at_least, compare, run
from benchmarks.servers import GitHub

ITEMS = 5_000
QUEUE_ROWS, WORKED = 10_000, 2_000
SHORT_TURNS = 3  # what takes a second or less is noisy
BOUND = 0.9  # of the rate before; the noise of a run is about as large


def cases(rounds, commit):
    with _checked_out(commit) as earlier, GitHub(repos=1, items=ITEMS, latency_seconds=0) as server:
        trees = {f"before ({commit})": earlier, "now": ROOT}
        env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": "t"}
        return [*_commands(trees, env, server, rounds), *_queue(trees, rounds)]


@contextlib.contextmanager
def _checked_out(commit):
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True)


def _commands(trees, env, server, rounds):
    ingest = ["ingest", "--all", "-q", "--repo", server.names[0]]
    worker = ["worker", "-q", "--archive-dir", "archive", "--layout"]
    steps = [
        ("ingest", [], ingest),
        ("ingest again, nothing changed", [ingest], ingest),
        ("worker, objects in a directory", [ingest], [*worker, "object"]),
        ("worker, batches in a directory", [ingest], [*worker, "batch"]),
        ("status", [ingest], ["status"]),
    ]
    goals = []
    for name, first, command in steps:
        contestants = [_command(who, tree, env, first, command) for who, tree in trees.items()]
        goals.append(_goal(name, compare(f"{name}, {ITEMS:,} items", contestants, items=ITEMS, rounds=rounds)))
    return goals


def _command(who, tree, env, first, command):
    main = [sys.executable, str(tree / "main.py")]

    def prepare(folder):
        for earlier in first:
            run([*main, *earlier], folder, env)

    return Contestant(who, [*main, *command], env, prepare, turns=SHORT_TURNS)


def _queue(trees, rounds):
    goals = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for step in ("enqueue", "work"):
            contestants = []
            for number, (who, tree) in enumerate(trees.items()):
                queue = [sys.executable, str(tree / "benchmarks" / "rivals" / "queues.py"), "pipeline"]
                path = str(Path(folder) / f"{step}-{number}.db")
                run([*queue, "fill", path, str(WORKED * rounds * SHORT_TURNS + QUEUE_ROWS)], Path(folder))
                command = [*queue, step, path, str(WORKED)]
                contestants.append(Contestant(who, command, times_itself=True, turns=SHORT_TURNS))
            rows = compare(f"queue in SQLite, {step}", contestants, items=WORKED, rounds=rounds)
            goals.append(_goal(f"queue in SQLite, {step}", rows))
    return goals


def _goal(name, rows):
    return at_least(f"{name}: speed against before", rows[1].ratio, BOUND)
