"""The table `issues` as a Delta table: a million rows into a directory and into S3, and once more without a change."""

import contextlib
import hashlib
import random
import shutil
import tempfile
from pathlib import Path

import db
from benchmarks.measure import Contestant, at_most, compare, main_py, run
from benchmarks.worker import with_s3
from foundation import timestamps

ROWS = 1_000_000
REPOS = 200
START = 1_600_000_000
PEAK_MB = 300
PUBLISH = main_py("publish", "--db", "pipeline.db", "--tables", "issues", "-q", "--json")
INTO_DIRECTORY = [*PUBLISH, "--archive-dir", "lake"]


def cases(rounds):
    with tempfile.TemporaryDirectory(prefix="bench-") as name, with_s3() as bucket:
        filled = Path(name) / "filled.db"
        fill(filled, ROWS)
        rows = compare("publish, first", _first(filled, bucket), items=ROWS, rounds=rounds)
        rows += compare("publish, nothing changed", [_again(filled)], items=ROWS, rounds=rounds)
    return [at_most(f"peak MB, {row.case}, {row.name}", row.peak_mb, PEAK_MB) for row in rows]


def _first(filled, bucket):
    def copied(folder):
        shutil.copy(filled, folder / "pipeline.db")

    def renamed(folder):  # what lies there of an earlier round is the same: it would not be written again
        copied(folder)
        with contextlib.closing(db.connect(str(folder / "pipeline.db"), synchronous="OFF")) as conn:
            conn.execute("UPDATE issues SET title = ? WHERE number = 1", (folder.name,))

    return [
        Contestant(
            "pipeline, directory", INTO_DIRECTORY, prepare=copied,
            note=lambda took, folder: {"MB": _size(folder / "lake")},
        ),
        Contestant("pipeline, S3", PUBLISH, env=bucket.env, prepare=renamed),
    ]  # fmt: skip


def _again(filled):
    def published(folder):
        shutil.copy(filled, folder / "pipeline.db")
        run(INTO_DIRECTORY, folder)

    return Contestant("pipeline, directory", INTO_DIRECTORY, prepare=published)


def _size(folder):
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def fill(path, count):
    """Rows as varied as those of an organisation: `title` and hashes are most of the bytes."""
    rng = random.Random(1)
    words = ["".join(rng.choices("aeioubcdlmnprst", k=rng.randint(2, 9))) for _ in range(5000)]
    conn = db.connect(str(path), synchronous="OFF")
    for first in range(0, count, 10_000):
        rows = [_row(rng, words, at) for at in range(first, min(first + 10_000, count))]
        with db.transaction(conn):
            db.upsert(conn, "issues", rows)
    conn.close()


def _row(rng, words, at):
    created = START + 150 * at + rng.randrange(100)
    hours = rng.expovariate(1 / 200) if rng.random() < 0.8 else None
    closed = None if hours is None else timestamps.from_epoch(created + 3600 * hours)
    is_pull = at % 5 in (1, 3)
    repo = f"acme/{words[int(rng.paretovariate(0.8)) % REPOS]}"
    sha256 = hashlib.sha256(str(at).encode()).hexdigest()
    updated = timestamps.from_epoch(created + 3600 * (hours or 1))
    folder = "pulls" if is_pull else "issues"
    return {
        "id": 10**9 + at, "item_type": "pull_request" if is_pull else "issue", "repo": repo, "number": at,
        "title": " ".join(rng.choices(words, k=8)), "state": "open" if hours is None else "closed",
        "state_reason": None if is_pull or hours is None else "completed", "draft": 0 if is_pull else None,
        "author": words[int(rng.paretovariate(0.5)) % 3000], "author_association": "MEMBER",
        "assignees": "[]" if at % 3 else f'["{rng.choice(words)}"]',
        "labels": '["bug", "needs triage"]' if at % 2 else "[]", "milestone": None, "comments": at % 17,
        "created_at": timestamps.from_epoch(created), "updated_at": updated, "closed_at": closed,
        "merged_at": closed if is_pull else None, "lead_time_hours": hours, "base_ref": "main" if is_pull else None,
        "head_ref": rng.choice(words) if is_pull else None, "html_url": f"https://github.com/{repo}/{folder}/{at}",
        "s3_key": f"raw/github/{folder}/dt={updated[:10]}/{repo}/{at}-{updated}-{sha256[:12]}.json",
        "payload_sha256": sha256, "processed_at": "2026-11-26T10:00:00Z", "fetched_order": updated,
    }  # fmt: skip
