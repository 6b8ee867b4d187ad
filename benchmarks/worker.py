"""Measures `worker`: workers side by side on one queue, and what the level of compression costs.

`python -m benchmarks.worker shared` and `python -m benchmarks.worker gzip`, in the environment of tests/run.sh.
"""

import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import db
import queue_manager
import timestamps
from pages import cut, to_item
from tests.github_data import Repo

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3


USER_LINKS = (
    "followers", "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "subscriptions", "orgs",
    "repos", "events{/privacy}", "received_events",
)  # fmt: skip


def user(login):
    """Every user in GitHub's payloads comes with all of these."""
    url = f"https://api.github.com/users/{login}"
    links = {name.split("{")[0] + "_url": f"{url}/{name}" for name in USER_LINKS}
    return {
        "login": login,
        "id": len(login) * 7919,
        "avatar_url": f"https://avatars.example/u/{login}",
        "url": url,
        **links,
    }


def payloads(count, *, body_bytes=2500):
    """The texts of issues as GitHub shows them, about 6 KB each: many links, and words as often as in prose."""
    rng = random.Random(1)
    words = ["".join(rng.choices("aeioubcdlmnprst", k=rng.randint(2, 9))) for _ in range(5000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    repo = Repo("acme/widgets", 1, time.time)
    for at in range(count):
        body = " ".join(rng.choices(words, weights, k=body_bytes // 6))
        people = [user(rng.choice(words)) for _ in range(3)]
        repo.add_issue(
            user=people[0], assignees=people[1:], body=body, updated_at=timestamps.from_epoch(1_790_000_000 + 20 * at)
        )
    return [render() for _, _, _, render in repo.streams["issues"].items.values()]


def filled(path, texts):
    conn = db.connect(str(path))
    items = [to_item(element, "issue") for element in cut("[" + ",".join(texts) + "]")]
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="acme/widgets", items=items, now="2026-01-01T00:00:00Z")
    conn.close()


def drain(folder, *, workers, options=(), env=None):
    """Seconds until so many workers, started together, have drained the queue in `folder`."""
    command = [sys.executable, str(ROOT / "main.py"), "worker", "--quiet", *options]
    started = time.monotonic()
    running = [subprocess.Popen(command, cwd=folder, env={**os.environ, **(env or {})}) for _ in range(workers)]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"a worker ended with {codes}")
    return time.monotonic() - started


def shared():
    """Eight workers on one database against one, into a directory in memory, so that the disk is not the limit."""
    texts = payloads(8000)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    rates = {1: [], 8: []}
    for _ in range(ROUNDS):
        for workers, found in rates.items():
            with tempfile.TemporaryDirectory(dir=memory) as folder:
                filled(Path(folder) / "pipeline.db", texts)
                seconds = drain(folder, workers=workers, options=["--archive-dir", "archive", "--threads", "2"])
                found.append(len(texts) / seconds)
    for workers, found in rates.items():
        print(f"{workers} workers: {statistics.median(found):.0f} items/s ({min(found):.0f} to {max(found):.0f})")
    print(f"ratio {statistics.median(rates[8]) / statistics.median(rates[1]):.2f}")


def compression():
    """What each level of gzip makes of a batch, and how long it takes."""
    lines = "\n".join(payloads(1000)).encode()
    for level in (1, 3, 6, 9):
        started = time.perf_counter()
        size = len(gzip.compress(lines, level, mtime=0))
        print(f"level {level}: {size / len(lines):.3f} of the bytes, {(time.perf_counter() - started) * 1000:.0f} ms")


CASES = {"shared": shared, "gzip": compression}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        raise SystemExit(f"usage: python -m benchmarks.worker {'|'.join(CASES)}")
    CASES[sys.argv[1]]()
