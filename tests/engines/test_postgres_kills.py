"""Workers, sessions and the server itself are killed or stopped at random; in the end everything is there, once."""

import contextlib
import os
import random
import signal

import pytest

import db
import queue_manager
from tests.conftest import REAL_SLEEP, started_main
from tests.postgres_server import PostgresServer
from tests.test_crashes import enqueue

EVENTS = 30
ROWS_AT_A_TIME = 60
TRIES = 1200


class Chaos:
    """Two workers on each of two 'hosts' (homes of their own), and what befalls them."""

    def __init__(self, server, folder, layout, seed):
        self.server, self.folder, self.layout, self.rng = server, folder, layout, random.Random(seed)
        self.address = server.url(server.migrated())
        self.running, self.rows = contextlib.ExitStack(), 0
        self.workers = [self.started(number) for number in range(4)]

    def started(self, number):
        env = {"PIPELINE_DB": self.address, "PIPELINE_LEASE_SECONDS": "3", "HOME": str(self.folder / f"{number % 2}")}
        options = ["--follow", "-q", "--archive-dir", "archive", "--layout", self.layout]
        return self.running.enter_context(started_main("worker", *options, env=env, cwd=self.folder))

    def more_rows(self):
        with contextlib.closing(db.connect(self.address)) as conn:
            enqueue(conn, ROWS_AT_A_TIME, first=self.rows + 1)
        self.rows += ROWS_AT_A_TIME

    def kill_a_worker(self):
        number = self.rng.randrange(4)
        self.workers[number].kill()
        self.workers[number].wait()
        self.workers[number] = self.started(number)

    def stop_a_worker_for_longer_than_its_lease(self):
        worker = self.rng.choice(self.workers)
        os.kill(worker.pid, signal.SIGSTOP)
        REAL_SLEEP(4)
        os.kill(worker.pid, signal.SIGCONT)

    def end_sessions(self):
        with self.server.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 't%' AND random() < 0.5"
            )

    def kill_the_server(self):
        self.server.kill()
        self.server.start()

    def stop_the_server(self):
        self.server.stop()
        self.server.start()

    def drained(self):
        with contextlib.closing(db.connect(self.address)) as conn:
            counts = queue_manager.counts(conn)
        return counts.pending == counts.processing == 0


@pytest.mark.long
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_whatever_is_killed_nothing_is_lost_doubled_stale_or_blamed(tmp_path, layout):
    # Durable, as a server of one's own is: what it said was committed is there after each kill.
    with contextlib.closing(PostgresServer(fsync="on")) as server:
        chaos = Chaos(server, tmp_path, layout, seed=layout)
        often = [chaos.more_rows] * 6 + [chaos.kill_a_worker] * 3 + [chaos.end_sessions] * 3
        seldom = [chaos.stop_a_worker_for_longer_than_its_lease, chaos.kill_the_server, chaos.stop_the_server]
        with chaos.running:
            for _ in range(EVENTS):
                chaos.rng.choice(often + seldom)()
                REAL_SLEEP(chaos.rng.random() / 2)
            for _ in range(TRIES):
                if chaos.drained():
                    break
                REAL_SLEEP(0.2)
            for worker in chaos.workers:
                worker.terminate()
            assert [worker.wait() for worker in chaos.workers] == [143] * 4
        with contextlib.closing(db.connect(chaos.address)) as conn:
            found = conn.execute("SELECT status, attempts, s3_key, claim_token FROM queue_items").fetchall()
            newest = conn.execute(
                """
                SELECT count(*) FROM issues JOIN (
                    SELECT item_type, item_id, max(updated_at) AS updated_at FROM queue_items
                    GROUP BY item_type, item_id
                ) last ON last.item_type = issues.item_type AND last.item_id = issues.id
                    AND last.updated_at = issues.updated_at
                """
            ).fetchone()[0]
    assert len(found) >= chaos.rows > 0
    assert {(status, attempts, token) for status, attempts, _, token in found} == {("done", 0, None)}
    assert newest == chaos.rows
    archive = tmp_path / "archive"
    files = {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith(".")} == {key for _, _, key, _ in found}
