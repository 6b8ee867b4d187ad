"""Measures `ingest` against the tests' GitHub on loopback: parallel streams, and memory as the data grows.

`python -m benchmarks.ingest jobs` and `python -m benchmarks.ingest memory`, in the environment of tests/run.sh.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.github_server import GitHubServer

ROOT = Path(__file__).resolve().parent.parent
LATENCY_SECONDS = 0.1
REPOSITORIES = 20
# Runs a command and says its peak resident memory, in KiB on Linux (getrusage(2)).
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def ingest(url, *arguments):
    """Seconds and peak memory (MB) of one run on a new database."""
    env = {**os.environ, "GITHUB_API_URL": url, "GITHUB_TOKEN": "t"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "main.py"), "ingest", "--all", *arguments]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], env=env, cwd=folder, stdout=subprocess.PIPE, check=True
        )
        return time.monotonic() - started, int(done.stdout) / 1024


def jobs():
    with GitHubServer(latency_seconds=LATENCY_SECONDS) as server:
        names = [f"acme/r{number}" for number in range(REPOSITORIES)]
        for name in names:
            server.add_repo(name).make(300)
        arguments = [part for name in names for part in ("--repo", name)]
        times = {count: ingest(server.url, *arguments, "--jobs", str(count))[0] for count in (1, 8)}
    for count, seconds in times.items():
        print(
            f"{REPOSITORIES} repositories, {LATENCY_SECONDS * 1000:.0f} ms a request, --jobs {count}: {seconds:.1f} s"
        )
    print(f"ratio {times[8] / times[1]:.2f}")


def memory():
    peaks = {}
    for items in (5_000, 250_000):
        with GitHubServer() as server:
            server.add_repo("acme/widgets").make(items, step_seconds=2, body_bytes=2000)
            seconds, peaks[items] = ingest(server.url, "--repo", "acme/widgets")
        print(f"{items} items: peak {peaks[items]:.0f} MB, {seconds:.1f} s")
    print(f"difference {peaks[250_000] - peaks[5_000]:.1f} MB")


if __name__ == "__main__":
    {"jobs": jobs, "memory": memory}[sys.argv[1]]()
