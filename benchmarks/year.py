"""Measures what a year's data does: `status` on a million rows, a worker's waits while `prune` runs, `rebuild`.

`python -m benchmarks.year status`, `prune` or `rebuild`, in the environment of tests/run.sh.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import db
import queue_manager
from benchmarks.worker import filled as queue
from benchmarks.worker import payloads
from clock import SYSTEM_CLOCK
from queue_manager import Item, Lease
from tests.conftest import Bucket
from tests.s3_server import S3Server

ROOT = Path(__file__).resolve().parent.parent
PAYLOAD = '{"title": "%s"}' % ("x" * 6000)
ROUNDS = 5


def filled(path, count, *, done):
    """`count` rows of 6 KB, the first `done` of them done and archived 90 days ago."""
    conn = db.connect(str(path), synchronous="OFF")
    for first in range(1, count + 1, 10_000):
        numbers = range(first, min(first + 10_000, count + 1))
        items = [Item("issue", n, n, "2026-01-01T00:00:00Z", PAYLOAD, f"{n:064x}") for n in numbers]
        with db.transaction(conn):
            queue_manager.enqueue(conn, repo="acme/widgets", items=items, now="2026-01-01T00:00:00Z")
            conn.execute(
                "UPDATE queue_items SET status = 'done', s3_key = 'k' || id, finished_at = '2026-01-01T00:00:00Z' "
                "WHERE id BETWEEN ? AND ? AND id <= ?",
                (first, first + 9_999, done),
            )
    conn.close()


def main_py(folder, *arguments, env=None):
    command = [sys.executable, str(ROOT / "main.py"), *arguments, "--json"]
    started = time.monotonic()
    environment = {**os.environ, **(env or {})}
    out = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return time.monotonic() - started, json.loads(out)


def status():
    with tempfile.TemporaryDirectory() as folder:
        for count in (10_000, 1_000_000):
            path = Path(folder) / f"{count}.db"
            filled(path, count, done=count // 2)
            times = [main_py(folder, "status", "--db", path.name)[0] for _ in range(ROUNDS)]
            print(f"status, {count} rows: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")


def prune():
    """A worker's claims and completions, one row at a time, while 100,000 rows are deleted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.db"
        filled(path, 130_000, done=100_000)
        before = db.size_bytes(str(path))
        conn = db.connect(str(path), synchronous="NORMAL")
        alone_until = time.monotonic() + 3
        waits = {"alone": worked(conn, lambda: time.monotonic() < alone_until)}
        command = [sys.executable, str(ROOT / "main.py"), "prune", "--older-than", "30", "--json", "-q"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
            waits["beside prune"] = worked(conn, lambda: process.poll() is None)
            result = json.loads(process.stdout.read())
        conn.close()
        for when, found in waits.items():
            longest = sorted(found)
            print(
                f"{when}: {len(found)} transactions, median {statistics.median(found) * 1000:.1f} ms, "
                f"99 % {longest[int(len(found) * 0.99)] * 1000:.0f} ms, longest {longest[-1] * 1000:.0f} ms"
            )
        print(f"deleted {result['deleted']} rows in {result['seconds']:.1f} s")
        print(f"file {before / 1e6:.0f} MB -> {db.size_bytes(str(path)) / 1e6:.0f} MB")


def worked(conn, goes_on):
    """Seconds of each transaction."""
    found = []
    while goes_on():
        now = SYSTEM_CLOCK.utc()
        started = time.monotonic()
        with db.transaction(conn):
            claim = queue_manager.claim_single(conn, Lease("bench", now, 300), limit=1)
        with db.transaction(conn):
            for item in claim.items:
                queue_manager.complete(conn, item_id=item.id, token="bench", s3_key="k", now=now)
        found.append(time.monotonic() - started)
        time.sleep(0.002)
    return found


def rebuild():
    """From 10,000 versions, in both layouts, on disk and in a real S3 server: is the table the same, and how long?"""
    texts = payloads(10_000)
    server = S3Server()
    try:
        for layout in ("object", "batch"):
            for where in ("disk", "S3"):
                with tempfile.TemporaryDirectory() as folder:
                    archive, env = ["--archive-dir", "archive"], {}
                    if where == "S3":
                        archive, env = ["--prefix", f"{layout}/"], {**server.env, "BUCKET_NAME": Bucket(server).name}
                    queue(Path(folder) / "pipeline.db", texts)
                    main_py(folder, "worker", "-q", "--layout", layout, *archive, env=env)
                    seconds, result = main_py(folder, "rebuild", "-q", "--db", "new.db", *archive, env=env)
                    same = table(Path(folder) / "pipeline.db") == table(Path(folder) / "new.db")
                print(
                    f"rebuild, {layout} layout on {where}: {result['objects']} objects, {result['issues']} rows, "
                    f"{seconds:.1f} s, {'equal' if same else 'DIFFERENT'}"
                )
    finally:
        server.close()


def table(path):
    conn = db.connect(str(path))
    names = ", ".join(name for name in db._ISSUES_COLUMNS if name != "processed_at")
    rows = [tuple(row) for row in conn.execute(f"SELECT {names} FROM issues ORDER BY item_type, id")]
    conn.close()
    return rows


CASES = {"status": status, "prune": prune, "rebuild": rebuild}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        raise SystemExit(f"usage: python -m benchmarks.year {'|'.join(CASES)}")
    CASES[sys.argv[1]]()
