"""Only when it is named: what workers that follow an idle queue cost a PostgreSQL, which they ask twice a second each.

The workers are real ones, each with its connection and its heartbeat's, several to a process, because a hundred
interpreters more would be measured instead.
"""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time

import db
import worker
from benchmarks.engines import DURABLE
from benchmarks.measure import ROOT
from engines import presence, session
from foundation import settings
from foundation.clock import SYSTEM_CLOCK
from tests import postgres_server
from tests.postgres_server import PostgresServer

COUNTS = (1, 10, 100)
A_PROCESS = 25
SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


def cases(rounds):
    if postgres_server.programs() is None:
        print("| workers that follow | NOT MEASURED: there is no PostgreSQL | | | | | | |")
        return []
    with contextlib.closing(PostgresServer(**{**DURABLE, "max_connections": "300"})) as server:
        for count in COUNTS:
            address = server.url(server.migrated())
            looks, requests, server_cpu, own_cpu = _measured(server, address, count)
            cost = f"{100 * server_cpu:.1f} % of a core for the server, {100 * own_cpu:.1f} % for the workers"
            found = f"{looks:,.0f} looks/s | | | | | {requests:,.0f} requests/s, {cost}"
            print(f"| workers that follow an idle queue | {count} | {found} |", flush=True)
    return []


def _measured(server, address, count):
    """A second: looks at the queue, requests to the server, and CPU seconds of the server and of the workers."""
    shares = [min(A_PROCESS, count - first) for first in range(0, count, A_PROCESS)]
    command = [sys.executable, "-m", "benchmarks.followers", address]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(share)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for share in shares
        ]
        for process in processes:
            process.stdout.readline()  # all of its workers have looked once
        server_pids = [server._process.pid, *postgres_server._children(server._process.pid)]
        before = [_cpu_seconds(server_pids), _cpu_seconds(process.pid for process in processes), _asked(processes)]
        began = time.perf_counter()
        time.sleep(SECONDS)
        passed = time.perf_counter() - began
        after = [_cpu_seconds(server_pids), _cpu_seconds(process.pid for process in processes), _asked(processes)]
        for process in processes:
            process.stdin.close()
    server_cpu, own_cpu = after[0] - before[0], after[1] - before[1]
    looks, requests = (now - then for now, then in zip(after[2], before[2]))
    return looks / passed, requests / passed, server_cpu / passed, own_cpu / passed


def _asked(processes):
    for process in processes:
        process.stdin.write("how many?\n")
        process.stdin.flush()
    found = [map(int, process.stdout.readline().split()) for process in processes]
    return [sum(each) for each in zip(*found)]


def _cpu_seconds(pids):
    """See proc(5), stat: fields 14 and 15."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def main(address, count):
    """Prints a line once all have looked; then, for each that it is sent, how many looks and requests there were."""
    looks, requests, stopping = [], [], threading.Event()
    wait = session.Session.wait

    def counted(self, *arguments, **options):
        requests.append(1)
        return wait(self, *arguments, **options)

    def idle(seconds):
        looks.append(1)
        time.sleep(seconds)
        if stopping.is_set():
            raise SystemExit

    def follow():
        with contextlib.closing(db.connect(address, synchronous="NORMAL")) as conn, presence.fresh_token(
            conn, address, lease_seconds=settings.DEFAULT_LEASE_SECONDS
        ) as token, contextlib.suppress(SystemExit):
            worker.Worker(
                conn=conn, db_path=address, token=token, open_archive=lambda: None, clock=SYSTEM_CLOCK,
                settings=worker.Settings("raw/github/", False, 64, 5, follow=True), rng=random.Random(1), idle=idle,
            ).run()  # fmt: skip

    session.Session.wait = counted
    threads = [threading.Thread(target=follow) for _ in range(count)]
    for thread in threads:
        thread.start()
        time.sleep(worker.POLL_OTHERS_SECONDS / count)  # as hosts do, they don't look all at one moment
    while len(looks) < count:
        time.sleep(0.1)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(len(looks), len(requests), flush=True)
    stopping.set()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
