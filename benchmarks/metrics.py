"""Only when it is named: the view `item_metrics` over 100,000 items in SQLite and PostgreSQL, with JIT and without."""

import contextlib
import random
import statistics
import tempfile
import time
from pathlib import Path

import db
from benchmarks.measure import at_most
from benchmarks.publish import START, _row
from foundation import timestamps
from tests import postgres_server
from tests.postgres_server import PostgresServer

ITEMS = 100_000
CHUNK = 10_000
REPO = "acme/word9"
QUESTIONS = {
    "all of it": "SELECT count(*), sum(draft_hours), sum(first_response_hours), sum(rework_hours) FROM item_metrics",
    "one repository of a thousand": f"SELECT * FROM item_metrics WHERE repo = '{REPO}'",
}
PEOPLE = [f"user{number}" for number in range(300)]


def cases(rounds):
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = str(Path(name) / "pipeline.db")
        _fill(path)
        with contextlib.closing(db.connect(path)) as conn:
            for question, query in QUESTIONS.items():
                _show("SQLite", question, [_seconds(conn, query) for _ in range(rounds)])
    if postgres_server.programs() is None:
        print("| item_metrics in PostgreSQL | NOT MEASURED: there is no PostgreSQL | | | | | | |")
        return []
    took = {}
    with contextlib.closing(PostgresServer(shared_buffers="256MB", max_wal_size="4GB")) as server:
        name = server.migrated()
        _fill(server.url(name))
        with server.connect(name) as admin:
            admin.execute("VACUUM (ANALYZE)")
        for jit in ("on", "off"):
            with server.connect(name, options=f"-c jit={jit}") as conn:
                for question, query in QUESTIONS.items():
                    seconds = [_seconds(conn, query) for _ in range(rounds)]
                    took[question, jit] = statistics.median(seconds)
                    _show(
                        f"PostgreSQL, jit {jit}", question, seconds, f"{_compiling(conn, query):.2f} s of it compiling"
                    )
    ratio = took["all of it", "on"] / took["all of it", "off"]
    return [at_most("item_metrics with jit against without", ratio, 1.2)]


def _show(who, question, seconds, note=""):
    print(
        f"| item_metrics of {ITEMS:,} items, {question} | {who} | | | {statistics.median(seconds):.2f} | | | {note} |",
        flush=True,
    )


def _seconds(conn, query):
    began = time.perf_counter()
    conn.execute(query).fetchall()
    return time.perf_counter() - began


def _compiling(conn, query):
    """Seconds that went into it; https://www.postgresql.org/docs/current/jit-decision.html."""
    plan = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0][0]
    return plan.get("JIT", {}).get("Timing", {}).get("Total", 0) / 1000


def _fill(address):
    """Of an item three comments and four events; of two in five, the pull requests, two reviews and their details."""
    rng = random.Random(1)
    words = [f"word{number}" for number in range(5000)]
    with contextlib.closing(db.connect(address, synchronous="NORMAL")) as conn:
        for first in range(0, ITEMS, CHUNK):
            with db.transaction(conn):
                _add(conn, rng, [_row(rng, words, at) for at in range(first, first + CHUNK)])


def _add(conn, rng, items):
    tables = {"issues": items, "comments": [], "reviews": [], "item_events": [], "pull_details": []}
    for item in items:
        at, is_pull = item["number"], item["item_type"] == "pull_request"
        tables["comments"] += [
            _said(rng, item, "comments", 10 * at + n, kind="issue", created_at=_later(rng, at)) for n in range(3)
        ]
        tables["item_events"] += [
            _said(rng, item, "item_events", 10 * at + n, event=event, created_at=_later(rng, at))
            for n, event in enumerate(("labeled", "assigned", "closed", "ready_for_review" if is_pull else "reopened"))
        ]
        if is_pull:
            tables["reviews"] += [
                _said(rng, item, "reviews", 10 * at + n, state=state, submitted_at=_later(rng, at))
                for n, state in enumerate(("COMMENTED", "APPROVED"))
            ]
            tables["pull_details"].append(_said(rng, item, "pull_details", item["id"], additions=at % 500, commits=2))
    for table, rows in tables.items():
        db.upsert(conn, table, rows)


def _later(rng, at):
    return timestamps.from_epoch(START + 150 * at + rng.randrange(500_000))


def _said(rng, item, table, row_id, **values):
    kept = ("repo", "number", "s3_key", "payload_sha256", "processed_at", "fetched_order", "updated_at", "created_at")
    row = {**dict.fromkeys(db.FILLED[table].columns), **{name: item[name] for name in kept}}
    row.update(id=row_id, author=rng.choice(PEOPLE), author_type="User", **values)
    return {name: row.get(name) for name in db.FILLED[table].columns}
