"""Where a worker's time goes: what each step costs an item, one thread, nothing beside it."""

import contextlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from botocore.config import Config

import db
import queue_manager
from benchmarks.data import LONG_AGO, payloads
from benchmarks.worker import with_s3
from github import fields
from github.pages import cut, to_item
from github.streams import items
from lake import objects
from queue_manager import Lease
from s3_writer import S3Archive
from worker import BATCH_BYTES, BATCH_ROWS

UPLOADS = 1_000
BATCHED = 10 * BATCH_ROWS
NEEDED = ("id", "number", "title", "state", "created_at", "updated_at")
TOKEN = "steps"


def cases(rounds):
    items = [to_item(element, "issue") for element in cut("[" + ",".join(payloads(BATCHED)) + "]")]
    steps = {}
    for _ in range(rounds):
        for step, spent in (*_uploads(items[:UPLOADS]), *_batches(items)):
            steps.setdefault(step, []).append(spent)
    for step, spent in steps.items():
        cpu, wall = (statistics.median(each) * 1e6 for each in zip(*spent))
        print(f"| what an item costs | {step} | | | | | | {cpu:,.0f} us of CPU, {wall:,.0f} us in all |", flush=True)
    return []


class Spent:
    """CPU and other seconds of the blocks that it is entered for."""

    def __init__(self):
        self.cpu = self.wall = 0

    def __enter__(self):
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def __exit__(self, *exception):
        self.cpu += time.process_time() - self._cpu
        self.wall += time.perf_counter() - self._wall

    def each(self, count):
        return self.cpu / count, self.wall / count


def _uploads(items):
    with with_s3() as bucket, mock.patch.dict(os.environ, bucket.env):
        store = _archive(bucket)
        with mock.patch("s3_writer.Config", lambda **settings: Config(**{**settings, "user_agent": None})):
            naming_itself = _archive(bucket)
        made = [objects.Object(f"{item.item_id}.json", item.payload, "0" * 64, "", LONG_AGO) for item in items]
        spent = {"an upload, asking first": Spent(), "an upload, the SDK naming itself": Spent(), "an upload": Spent()}
        asking, naming, as_it_is = spent.values()
        for one in made:
            with asking, mock.patch("s3_writer.UNASKED_BYTES", -1):
                store.put(one)
            with naming:
                naming_itself.put(one)
            with as_it_is:
                store.put(one)
    return [(step, found.each(len(items))) for step, found in spent.items()]


def _archive(bucket):
    return S3Archive(bucket=bucket.name, threads=1, environ=bucket.env, user_agent="steps")


def _batches(items):
    """The steps of `--layout batch`; the queue's also on short payloads: each change of a row writes it all again."""
    short = [item._replace(payload=_shortened(item.payload)) for item in items]
    steps = [(f"batch: {step}", spent.each(len(items))) for step, spent in _drained(items).items()]
    return steps + [
        (f"batch: {step}, were payloads short", spent.each(len(items)))
        for step, spent in _drained(short).items()
        if step in ("claim", "complete")
    ]


def _drained(items):
    spent = {step: Spent() for step in ("claim", "hash and compress", "extract", "complete", "fill `issues`")}
    claim, compress, extract, complete, fill = spent.values()
    with _queue(items) as conn:
        while True:
            with claim, db.transaction(conn):
                claimed = queue_manager.claim_batch(
                    conn, Lease(TOKEN, LONG_AGO, 300), limit=BATCH_ROWS, max_bytes=BATCH_BYTES, fetched_before=None,
                    place="", key_of=lambda rows: objects.batch_key("", rows),
                )  # fmt: skip
            if not claimed.items:
                return spent
            with compress:
                objects.batch(claimed.batch_key, claimed.items)
            with extract:
                rows = [_row(item) for item in claimed.items]
            with complete, db.transaction(conn):
                ids = [item.id for item in claimed.items]
                queue_manager.complete(conn, item_ids=ids, token=TOKEN, s3_key=claimed.batch_key, now=LONG_AGO)
            with fill, db.transaction(conn):
                db.upsert_issues(conn, rows)


def _shortened(payload):
    fields = json.loads(payload)
    return json.dumps({name: fields[name] for name in NEEDED}).encode()


@contextlib.contextmanager
def _queue(items):
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        conn = db.connect(str(Path(folder) / "pipeline.db"))
        with db.transaction(conn):
            queue_manager.enqueue(conn, repo="acme/widgets", items=items, now=LONG_AGO)
        db.settle_space(conn)
        yield conn
        conn.close()


def _row(item):
    row = items.row(item.item_type, item.repo, fields.parse_payload(item.payload))
    extra = {"s3_key": "k", "payload_sha256": item.payload_sha256, "processed_at": LONG_AGO, "fetched_order": ""}
    return {**row, **extra}
