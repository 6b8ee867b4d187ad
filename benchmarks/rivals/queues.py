"""One queue, one step: `fill` ROWS outside the measured time, `enqueue` ROWS, or `work` (claim and complete) ROWS.

Prints the seconds that the step took. Each queue is used as its documentation shows.
"""

import hashlib
import sqlite3
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

PAYLOAD = '{"title": "%s", "at": %d}'
TITLE = "x" * 1000
PAGE = 100  # rows of a page of GitHub's
CLAIM = 64  # rows that `worker` claims at a time, with its 8 threads
NOW = "2026-01-01T00:00:00Z"


def payload_texts(rows):
    start = time.time_ns()
    return [PAYLOAD % (TITLE, start + number) for number in range(rows)]


def in_pages(rows):
    return [rows[first : first + PAGE] for first in range(0, len(rows), PAGE)]


class Pipeline:
    def __init__(self, path, *, synchronous):
        import db
        import queue_manager

        self.db, self.queue = db, queue_manager
        self.conn = db.connect(path, synchronous=synchronous)

    def prepared(self, texts):
        start = time.time_ns()
        return [
            self.queue.Item("issue", start + at, at, NOW, text.encode(), hashlib.sha256(text.encode()).hexdigest())
            for at, text in enumerate(texts)
        ]

    def enqueue(self, items):
        for page in in_pages(items):
            with self.db.transaction(self.conn):
                self.queue.enqueue(self.conn, repo="acme/widgets", items=page, now=NOW)

    def work(self, rows):
        lease = self.queue.Lease("benchmark", NOW, 300)
        while rows > 0:
            with self.db.transaction(self.conn):
                claim = self.queue.claim_single(self.conn, lease, limit=min(CLAIM, rows))
            with self.db.transaction(self.conn):
                for item in claim.items:
                    self.queue.complete(self.conn, s3_keys=dict.fromkeys([item.id], "k"), token="benchmark", now=NOW)
            rows -= len(claim.items)


class LiteQueue:
    def __init__(self, path, **options):
        import litequeue

        self.queue = litequeue.LiteQueue(path)

    def prepared(self, texts):
        return texts

    def enqueue(self, texts):
        for page in in_pages(texts):
            with self.queue.transaction():
                for text in page:
                    self.queue.put(text)

    def work(self, rows):
        for _ in range(rows):
            self.queue.done(self.queue.pop().message_id)


class PersistQueue:
    def __init__(self, path, **options):
        import persistqueue

        self.path = path
        self.queue = persistqueue.SQLiteAckQueue(path, auto_commit=True)

    def prepared(self, texts):
        return texts

    def enqueue(self, texts):
        for text in texts:
            self.queue.put(text)

    def fill(self, texts):
        """Its own statement in one transaction: it commits each `put`, which a million times would take an hour."""
        rows = ((self.queue._serializer.dumps(text), time.time()) for text in texts)
        with sqlite3.connect(str(Path(self.path) / "data.db")) as conn:
            conn.executemany(self.queue._sql_insert, rows)

    def work(self, rows):
        for _ in range(rows):
            self.queue.ack(self.queue.get())


QUEUES = {"pipeline": Pipeline, "litequeue": LiteQueue, "persist-queue": PersistQueue}


def main():
    name, step, path, rows = *sys.argv[1:4], int(sys.argv[4])
    queue = QUEUES[name](path, synchronous="NORMAL" if step == "work" else "FULL")
    if step == "fill" and name == "persist-queue":
        queue.fill(payload_texts(rows))
        return
    made = queue.prepared(payload_texts(rows)) if step != "work" else rows
    started = time.perf_counter()
    (queue.work if step == "work" else queue.enqueue)(made)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
