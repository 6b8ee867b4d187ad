"""How long commands take that find nothing to do, against the import of the library that they need."""

import sys

from benchmarks.data import fill_queue, payloads
from benchmarks.measure import Contestant, at_most, compare, main_py, run
from benchmarks.servers import GitHub
from benchmarks.worker import with_s3

RUNS_FOR_ONE_ROUND = 7  # a start is short, and its noise is large


def cases(rounds):
    with GitHub(repos=1, items=100, latency_seconds=0) as server, with_s3() as bucket:
        env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": "t", **bucket.env}
        ingest = main_py("ingest", "--repo", server.names[0], "--all", "-q")

        def ingested(folder):
            run(ingest, folder, env)

        def filled(folder):
            fill_queue(folder / "pipeline.db", payloads(100))

        contestants = [
            Contestant("import requests", [sys.executable, "-c", "import requests"]),
            Contestant("ingest, unchanged (304)", ingest, env, ingested),
            Contestant("import boto3", [sys.executable, "-c", "import boto3"]),
            Contestant("import boto3, make a client", [sys.executable, "-c", "import boto3; boto3.client('s3')"], env),
            Contestant("worker, nothing queued", main_py("worker", "-q"), env, ingested_and_drained(ingest, env)),
            Contestant("--help", main_py("--help"), env),
            Contestant("status", main_py("status"), env, filled),
        ]
        rows = compare("start", contestants, items=1, rounds=rounds * RUNS_FOR_ONE_ROUND)
    seconds = {row.name: row.seconds for row in rows}
    idle_ingest = seconds["ingest, unchanged (304)"] / seconds["import requests"]
    idle_worker = seconds["worker, nothing queued"] / seconds["import boto3"]
    return [
        at_most("idle ingest against `import requests`", idle_ingest, 2),
        at_most("idle worker against `import boto3`", idle_worker, 2),
    ]


def ingested_and_drained(ingest, env):
    def prepare(folder):
        run(ingest, folder, env)
        run(main_py("worker", "-q"), folder, env)

    return prepare
