"""One queue, one step, in processes side by side: `NAME STEP ADDRESS ROWS [PROCESSES]`; prints the seconds it took.

`fill` and `enqueue` put ROWS in, in pages; `work` claims and completes as many, each process its share. `turnover`
does all three, and prints as JSON how long claims took.
"""

import asyncio
import atexit
import json
import logging
import multiprocessing
import random
import statistics
import string
import sys
import time
import uuid
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from queues import CLAIM, NOW, Pipeline, in_pages  # noqa: E402 - its neighbour

# As long as an issue of GitHub's, and of letters that no database can compress to nothing.
BODY = "".join(random.Random(1).choices(string.ascii_letters, k=6000))


def payload_texts(rows):
    start = time.time_ns()
    return ['{"body": "%s", "at": %d}' % (BODY, start + number) for number in range(rows)]


class Ours(Pipeline):
    """As `worker` has it with --layout object: an object for each row, and one commit for those in hand."""

    def work(self, rows):
        token = uuid.uuid4().hex
        lease = self.queue.Lease(token, NOW, 300)
        took = []
        while rows > 0:
            started = time.perf_counter()
            with self.db.transaction(self.conn, survives_server=True):
                claim = self.queue.claim_next(
                    self.conn, lease, place="here", prefix="k", limit=min(CLAIM, rows), new_batch=None
                )
            took.append(time.perf_counter() - started)
            keys = {item.id: f"k{item.id}" for item in claim.items}
            with self.db.transaction(self.conn):
                done = self.queue.complete(self.conn, s3_keys=keys, token=token, now=NOW)
            if len(done) != len(keys) or not keys:
                raise SystemExit(f"{len(keys)} rows were claimed, {len(done)} completed")
            rows -= len(keys)
        return took


class Procrastinate:
    """Its fetch and finish, without the task and its thread: https://procrastinate.readthedocs.io"""

    def __init__(self, address, **options):
        import procrastinate

        logging.getLogger("procrastinate").setLevel(logging.ERROR)  # of an App in the main module
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=address, min_size=1, max_size=1))
        self.task = self.app.task(name="store")(print)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.app.open_async())
        atexit.register(lambda: self.loop.run_until_complete(self.app.close_async()))

    def make_tables(self):
        self.loop.run_until_complete(self.app.schema_manager.apply_schema_async())

    def prepared(self, texts):
        return [{"payload": text} for text in texts]

    def enqueue(self, rows):
        async def put():
            for page in in_pages(rows):
                await self.task.batch_defer_async(*page)

        self.loop.run_until_complete(put())

    def work(self, rows):
        from procrastinate.jobs import Status

        async def fetch_and_finish():
            jobs = self.app.job_manager
            worker_id = await jobs.register_worker()
            for _ in range(rows):
                job = await jobs.fetch_job(queues=None, worker_id=worker_id)
                await jobs.finish_job(job, status=Status.SUCCEEDED, delete_job=False)

        self.loop.run_until_complete(fetch_and_finish())


QUEUES = {"pipeline": Ours, "procrastinate": Procrastinate}


def side_by_side(name, address, rows, processes):
    """Seconds from when all have a connection until the last one has done its share."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(processes + 1)

    def work(share):
        queue = QUEUES[name](address, synchronous="NORMAL")
        ready.wait()
        queue.work(share)

    workers = [context.Process(target=work, args=(rows // processes,)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker failed")
    return time.perf_counter() - started


def turnover(address, rows):
    queue = Ours(address, synchronous="FULL")
    for first in range(0, rows, 10_000):
        queue.enqueue(queue.prepared(payload_texts(min(10_000, rows - first))))
    started = time.perf_counter()
    took = Ours(address, synchronous="NORMAL").work(rows)
    seconds = time.perf_counter() - started
    ordered = sorted(took)
    slow = ordered[int(len(ordered) * 0.99)]
    return {"seconds": seconds, "median_ms": statistics.median(took) * 1000, "slow_ms": slow * 1000}


def main():
    name, step, address, rows = *sys.argv[1:4], int(sys.argv[4])
    if step == "work":
        print(side_by_side(name, address, rows, int(sys.argv[5])))
        return
    if step == "turnover":
        print(json.dumps(turnover(address, rows)))
        return
    queue = QUEUES[name](address, synchronous="FULL")
    if step == "fill":
        if name == "procrastinate":
            queue.make_tables()
        for first in range(0, rows, 10_000):
            queue.enqueue(queue.prepared(payload_texts(min(10_000, rows - first))))
        return
    made = queue.prepared(payload_texts(rows))
    started = time.perf_counter()
    queue.enqueue(made)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
