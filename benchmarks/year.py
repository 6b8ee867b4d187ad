"""What a year's data does: every command on 10,000 and on 1,000,000 rows, prune beside a worker, rebuild."""

import contextlib
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import db
import queue_manager
from benchmarks.data import fill_queue, fill_with_years, payloads
from benchmarks.measure import at_most, main_py, run, summed_up
from benchmarks.servers import GitHub
from benchmarks.worker import with_s3
from engines import sqlite
from foundation.clock import SYSTEM_CLOCK
from queue_manager import Lease

SIZES = (10_000, 1_000_000)
WORKER = ("worker", "-q", "--layout", "batch", "--archive-dir", "archive")
REBUILD = ("rebuild", "-q", "--archive-dir", "archive", "--db", "new.db")
ROWS_BESIDE_PRUNE, PRUNED = 130_000, 100_000


@contextlib.contextmanager
def _folder():
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def cases(rounds):
    goals = _every_command(rounds)
    _prune_beside_a_worker()
    _rebuilds()
    return goals


def _every_command(rounds):
    first, rows = {}, []
    for count in SIZES:
        with _folder() as folder, GitHub(repos=1, items=100, latency_seconds=0) as github:
            fill_with_years(folder / "pipeline.db", count)
            env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
            # What of the rows a command goes through; None: no row by itself, or only a few.
            for command, share, runs in (
                (["status"], None, rounds * 5),
                (["ingest", "-q", "--all", "--repo", github.names[0]], None, 1),
                (["check", "--archive-dir", "archive"], None, 1),
                (WORKER, 0.94, 1),
                (["retry", "-q", "--all"], 0.01, 1),
                (["prune", "-q", "--older-than", "30"], 0.05, 1),
                (REBUILD, 0.94, 1),
            ):
                took = [run(main_py(*command), folder, env) for _ in range(runs)]
                case = f"a queue of {count:,}"
                items = round(count * share) if share else 1
                rows.append(summed_up(case, command[0], took, items=items, notes={}, against=first.get(command[0])))
                first.setdefault(command[0], rows[-1])
    status = next(row for row in rows if row.name == "status" and row is not first["status"])
    return [
        at_most(f"seconds of status at {SIZES[-1]:,} rows", status.seconds, 0.3),
        at_most(f"peak MB of any command at {SIZES[-1]:,} rows", max(row.peak_mb for row in rows), 150),
    ]


def _prune_beside_a_worker():
    """A worker's claims and completions, one row at a time, while rows are deleted."""
    with _folder() as folder:
        path = folder / "pipeline.db"
        fill_with_years(path, ROWS_BESIDE_PRUNE)
        conn = db.connect(str(path), synchronous="NORMAL")
        with db.transaction(conn):
            conn.execute(
                "UPDATE queue_items SET status = 'done', s3_key = 'k', finished_at = fetched_at WHERE id <= ?",
                (PRUNED,),
            )
        before = sqlite.size_bytes(str(path))
        alone_until = time.monotonic() + 3
        waits = {"alone": _work(conn, lambda: time.monotonic() < alone_until)}
        command = main_py("prune", "--older-than", "30", "--json", "-q")
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
            waits["beside prune"] = _work(conn, lambda: process.poll() is None)
            result = json.loads(process.stdout.read())
        conn.close()
        for when, found in waits.items():
            figures = f"median {statistics.median(found) * 1000:.1f} ms, longest {max(found) * 1000:.0f} ms"
            print(f"| a worker's transactions | {when} | | | | | | {figures} |", flush=True)
        megabytes = [f"{size / 1e6:.0f}" for size in (before, sqlite.size_bytes(str(path)))]
        figures = f"{result['deleted']:,} rows in {result['seconds']:.0f} s, file {megabytes[0]} -> {megabytes[1]} MB"
        print(f"| prune | beside a worker | | | | | | {figures} |", flush=True)


def _work(conn, goes_on):
    """Seconds of each transaction."""
    found = []
    while goes_on():
        now = SYSTEM_CLOCK.utc()
        started = time.monotonic()
        with db.transaction(conn):
            claim = queue_manager.claim_single(conn, Lease("bench", now, 300), limit=1)
        with db.transaction(conn):
            ids = [item.id for item in claim.items]
            queue_manager.complete(conn, s3_keys=dict.fromkeys(ids, "k"), token="bench", now=now)
        found.append(time.monotonic() - started)
        time.sleep(0.002)
    return found


def _rebuilds():
    """From 10,000 versions, in both layouts, on disk and in a real S3 server: is the table the same, and how long?"""
    texts = payloads(SIZES[0])
    for layout in ("object", "batch"):
        for place in ("disk", "S3"):
            with _folder() as folder, with_s3() as bucket:
                where = ["--archive-dir", "archive"] if place == "disk" else []
                fill_queue(folder / "pipeline.db", texts)
                run(main_py("worker", "-q", "--layout", layout, *where), folder, bucket.env)
                took = run(main_py("rebuild", "-q", "--db", "new.db", *where), folder, bucket.env)
                if _table(folder / "new.db") != _table(folder / "pipeline.db"):
                    raise SystemExit(f"rebuild of {layout}s on {place} gave another table")
            summed_up(
                f"rebuild, {SIZES[0]:,} items",
                f"{layout} layout, {place}",
                [took],
                items=SIZES[0],
                notes={},
                against=None,
            )


def _table(path):
    names = ", ".join(name for name in db.FILLED["issues"].columns if name != "processed_at")
    with contextlib.closing(sqlite3.connect(str(path))) as conn:
        return conn.execute(f"SELECT {names} FROM issues ORDER BY item_type, id").fetchall()
