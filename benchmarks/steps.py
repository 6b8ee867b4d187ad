"""Where a worker's time goes: what each step costs an item, one thread, nothing beside it."""

import contextlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

import db
import queue_manager
from benchmarks.data import LONG_AGO, payloads
from benchmarks.measure import at_most
from benchmarks.worker import with_s3
from github import fields
from github.pages import cut, to_item
from github.streams import items
from lake import objects
from queue_manager import Lease
from s3 import signing, wire
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
    milliseconds = statistics.median(cpu for cpu, _ in steps["an upload"]) * 1000
    return [at_most("CPU of an upload in ms", milliseconds, 0.45)]


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
    """Of small objects: by the SDK, and by requests of our own."""
    with with_s3() as bucket, mock.patch.dict(os.environ, bucket.env):
        by_sdk, by_urllib3, direct = (_archive(bucket, way) for way in ("0", "1", "1"))
        by_urllib3._direct._wire = _Urllib3(bucket.env["AWS_ENDPOINT_URL_S3"])
        sign, credentials = _signer(), ReadOnlyCredentials("a", "s", None)
        by_botocore = S3SigV4Auth(credentials, "s3", "us-east-1")
        steps = {
            "a signature by the SDK": lambda one: by_botocore.add_auth(_request(one)),
            "a signature": sign,
            "an upload by the SDK, asking first": by_sdk.put,
            "an upload by the SDK": by_sdk.put,
            "an upload by urllib3": by_urllib3.put,
            "an upload": direct.put,
            "a download by the SDK": lambda one: by_sdk.get(one.key),
            "a download": lambda one: direct.get(one.key),
        }
        spent = {step: Spent() for step in steps}
        for item in items:
            sha256 = item.payload_sha256
            one = objects.Object(f"{item.item_id}.json", item.payload, sha256, objects.JSON_TYPE, LONG_AGO)
            for step, work in steps.items():
                asks = mock.patch("s3_writer.UNASKED_BYTES", -1) if "asking" in step else contextlib.nullcontext()
                with asks, spent[step]:
                    work(one)
    return [(step, found.each(len(items))) for step, found in spent.items()]


def _archive(bucket, way):
    environ = {**bucket.env, "PIPELINE_S3_FAST": way}
    return S3Archive(bucket=bucket.name, threads=1, environ=environ, user_agent="steps")


class _Urllib3:
    """In place of wire.Wire: the same exchange by a library that knows all of HTTP."""

    def __init__(self, origin):
        self._pool = urllib3.connectionpool.connection_from_url(origin)

    def ask(self, method, path, headers, body=None):
        found = self._pool.urlopen(method, path, body, headers, retries=False)
        return wire.Answer({name.lower(): value for name, value in found.headers.items()}, found.data)


def _request(one):
    request = AWSRequest("PUT", "http://127.0.0.1/b/" + one.key, headers=_headers(one), data=one.body)
    request.context["timestamp"] = ""
    return request


def _headers(one):
    return {"Content-Type": one.content_type, "x-amz-meta-sha256": one.sha256, "x-amz-meta-fetched-at": LONG_AGO}


def _signer():
    signer = signing.Signer("a", "s", "us-east-1")

    def sign(one):
        headers = {name.lower(): value for name, value in _headers(one).items()}
        headers.update({"host": "127.0.0.1", "x-amz-content-sha256": one.sha256})
        headers["x-amz-date"] = signing.moment(0)
        signer.authorization("PUT", "/b/" + one.key, headers)

    return sign


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
                queue_manager.complete(conn, s3_keys=dict.fromkeys(ids, claimed.batch_key), token=TOKEN, now=LONG_AGO)
            with fill, db.transaction(conn):
                db.upsert(conn, "issues", rows)


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
