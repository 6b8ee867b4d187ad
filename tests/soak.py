"""A long run of everything at once, under fire, and an independent look at what came of it.

`python -m tests.soak --minutes 20` in the environment of tests/run.sh: repositories whose conversations go on, an
ingest of all streams every few seconds, four workers of both layouts, kills, stops, faults on both servers, clocks that
jump, prune now and then.
With `--db postgresql` the queue lies in a PostgreSQL, whose sessions are ended and which itself is killed, too, and
the processes are of two hosts, whose clocks are hours off.
At the end the record of the GitHub server, the bucket and the database are compared. Ends with 1 when anything is
missing, doubled or stale, or when too little went through to say so.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import db
from tests.conftest import REAL_SLEEP, Bucket
from tests.crashes import Zygote
from tests.fault_proxy import FaultProxy, some_of
from tests.github_server import GitHubServer
from tests.github_world import life
from tests.postgres_server import PostgresServer
from tests.reconcile import contents
from tests.s3_server import S3Server

REPOSITORIES = ["acme/widgets", "acme/gadgets", "umbrella/tools"]
WORKERS = 4
TICK_SECONDS = 0.05
ITEMS_A_MINUTE = 300  # fewer than this, and the run proves nothing
GITHUB_FAULTS = [
    500, 502, 503, "reset", "close", "truncate", "html", "invalid_json", "graphql_wrong", "graphql_nulls",
    "graphql_partly",
]  # fmt: skip
# Nothing goes: a row of what was deleted stays.
LIFE = [kind for kind in life.KINDS if kind not in ("unsay", "delete")]
TALK = {"comments": 200, "review_comments": 100, "events": 200, "reviews": 60}
# What each of the tests' GitHub's lists is called in the queue, and where its newest versions are.
LISTS = {
    "issues": ("issue", "SELECT id, payload_sha256 FROM issues WHERE item_type = 'issue'"),
    "pulls": ("pull_request", "SELECT id, payload_sha256 FROM issues WHERE item_type = 'pull_request'"),
    "issue-comments": ("issue_comment", "SELECT id, payload_sha256 FROM comments WHERE kind = 'issue'"),
    "review-comments": ("review_comment", "SELECT id, payload_sha256 FROM comments WHERE kind = 'review'"),
    "labels": ("label", "SELECT id, payload_sha256 FROM labels"),
    "milestones": ("milestone", "SELECT id, payload_sha256 FROM milestones"),
    "releases": ("release", "SELECT id, payload_sha256 FROM releases"),
}
# An event is known by its id, whatever of its issue is shown with it; what is asked for by itself, by what it says.
OTHERS = {
    "event": "SELECT id, 'there' FROM item_events",
    "pull_detail": "SELECT id, updated_at FROM pull_details",
    "review": "SELECT id, state FROM reviews WHERE state <> 'PENDING'",
}
S3_FAULTS = [(500, "InternalError"), (503, "SlowDown"), "reset", "reset_after", "cut_after"]
S3_OUTAGES = [(403, "AccessDenied"), (404, "NoSuchBucket"), (503, "SlowDown"), "reset"]
DAY = 86400
# Rows that are younger may still be fetched again by an ingest that was killed and began anew.
PRUNE_AFTER_SECONDS = 600

# What the pipeline acknowledged, noted by the database in the same transaction; the pipeline knows nothing of it.
WITNESS = """
CREATE TABLE soak_queued (item_type TEXT, item_id INTEGER, payload_sha256 TEXT);
CREATE TABLE soak_done (id INTEGER);
CREATE TABLE soak_back (payload_sha256 TEXT);
CREATE TRIGGER soak_insert AFTER INSERT ON queue_items
    BEGIN INSERT INTO soak_queued VALUES (new.item_type, new.item_id, new.payload_sha256); END;
CREATE TRIGGER soak_update AFTER UPDATE OF status ON queue_items WHEN new.status = 'done'
    BEGIN INSERT INTO soak_done VALUES (new.id); END;
CREATE TRIGGER soak_back AFTER UPDATE OF id ON queue_items
    BEGIN INSERT INTO soak_back VALUES (new.payload_sha256); END;
"""


WITNESS_ON_POSTGRES = """
CREATE TABLE soak_queued (item_type TEXT, item_id BIGINT, payload_sha256 TEXT);
CREATE TABLE soak_done (id BIGINT);
CREATE TABLE soak_back (payload_sha256 TEXT);
CREATE FUNCTION soak_insert() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO soak_queued VALUES (new.item_type, new.item_id, new.payload_sha256); RETURN NULL; END $$;
CREATE FUNCTION soak_update() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO soak_done VALUES (new.id); RETURN NULL; END $$;
CREATE FUNCTION soak_back() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO soak_back VALUES (new.payload_sha256); RETURN NULL; END $$;
CREATE TRIGGER soak_insert AFTER INSERT ON queue_items FOR EACH ROW EXECUTE FUNCTION soak_insert();
CREATE TRIGGER soak_back AFTER UPDATE OF id ON queue_items FOR EACH ROW EXECUTE FUNCTION soak_back();
CREATE TRIGGER soak_update AFTER UPDATE OF status ON queue_items FOR EACH ROW
    WHEN (new.status = 'done') EXECUTE FUNCTION soak_update();
"""
# The time of a prune is the server's: what was done long enough ago for it counts as done two days ago.
AGE = f"""
UPDATE queue_items SET finished_at = '2020-01-01T00:00:00Z' WHERE status = 'done'
    AND CAST(finished_at AS timestamptz) < now() - interval '{PRUNE_AFTER_SECONDS} seconds'
"""
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.3
"""


EXPIRE = "UPDATE queue_items SET lease_until = '2020-01-01T00:00:00Z' WHERE status = 'processing'"


class File:
    """The database of a soak as SQLite."""

    kills_server = False
    hosts = ((socket.gethostname(), 0),)  # a file belongs to one

    def __init__(self, folder):
        self.path = str(Path(folder) / "pipeline.db")
        db.connect(self.path).close()
        self._conn = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self._conn.executescript(WITNESS)

    def ask(self, query):
        return self._conn.execute(query).fetchall()

    def change(self, statement):
        self._conn.execute(statement)

    def expire(self):
        """As if the leases had run out while their process stood still; where it stands amid a commit, not yet."""
        self._conn.execute("PRAGMA busy_timeout = 20")
        with contextlib.suppress(sqlite3.OperationalError):
            self._conn.execute(EXPIRE)
        self._conn.execute("PRAGMA busy_timeout = 60000")

    def wal_bytes(self):
        wal = Path(self.path + "-wal")
        return wal.stat().st_size if wal.exists() else 0

    def integrity(self):
        return self.ask("PRAGMA integrity_check")[0][0]

    def close(self):
        self._conn.close()


class Server:
    """The database of a soak in a PostgreSQL of its own, each question with a connection of its own."""

    kills_server = True
    hosts = (("north", 7 * 3600), ("south", -5 * 3600))  # with how far ahead their clocks are, in seconds

    def __init__(self, folder):
        self._server = PostgresServer()
        self._name = self._server.migrated()
        self.path = self._server.url(self._name)
        self.change(WITNESS_ON_POSTGRES)

    def ask(self, query):
        with self._server.connect(self._name) as conn:
            return conn.execute(query).fetchall()

    def change(self, statement):
        with self._server.connect(self._name) as conn:
            conn.execute(statement)

    def expire(self):
        import psycopg

        with contextlib.suppress(psycopg.errors.LockNotAvailable), self._server.connect(self._name) as conn:
            conn.execute("SET lock_timeout = '20ms'")
            conn.execute(EXPIRE)

    def end_sessions(self):
        return len(self.ask(END_SESSIONS))

    def die(self, rng):
        """As by a power cut or an immediate stop, for up to two seconds."""
        rng.choice([self._server.kill, self._server.stop])()
        REAL_SLEEP(rng.uniform(0, 2))
        self._server.start()

    def wal_bytes(self):
        return 0

    def integrity(self):
        return "ok"  # its pages have no check that every build brings along; what they hold is looked at below

    def close(self):
        self._server.close()


class Soak:
    def __init__(self, folder, *, seed, github, proxy, bucket, database):
        self.folder, self.rng = Path(folder), random.Random(seed)
        self.github, self.proxy, self.bucket = github, proxy, bucket
        self.database, self.path = database, database.path
        self.repos = [github.add_repo(name).make(200, step_seconds=600, **TALK) for name in REPOSITORIES]
        env = {
            **bucket.env,
            "PIPELINE_STREAMS": "all",
            "AWS_ENDPOINT_URL_S3": proxy.url,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": "t",
        }
        self.zygote = Zygote(env, self.folder / "log")
        self.workers, self.stopped, self.others = [], {}, []
        self.figures = collections.Counter()
        self.memory = []  # (seconds, MB)
        self.largest_wal = self.longest_stall = 0
        self.progress = (0, time.monotonic())

    def close(self):
        for pid in [*self.workers, *self.stopped, *self.others]:
            self.zygote.kill(pid)
        self.zygote.close()

    def run(self, seconds):
        started = time.monotonic()
        self._every = {
            self.change: 0.05, self.watch: 0.5, self.ingest: 2.0, self.harm: 0.7, self.prune: 20.0, self.outage: 45.0,
        }  # fmt: skip
        if self.database.kills_server:
            self._every.update({self.cut: 3.0, self.kill_server: 15.0})
        due = {action: started + every for action, every in self._every.items()}
        self.github.fail_randomly(0.03, GITHUB_FAULTS, self.rng)
        self.proxy.fault = some_of(0.01, S3_FAULTS, self.rng)
        while time.monotonic() - started < seconds:
            now = time.monotonic()
            self.keep_workers()
            for action, at in due.items():
                if now >= at:
                    action()
                    due[action] = now + self._every[action] * (0.5 + self.rng.random())
            REAL_SLEEP(TICK_SECONDS)

    # What happens.

    def change(self):
        for _ in range(3):
            life.happen(self.rng.choice(self.repos), self.rng, LIFE)
            self.figures["changes"] += 1

    def start(self, *arguments):
        """On one of the hosts, by the clock of that; one process in ten has one that is up to a day off."""
        host, ahead = self.rng.choice(self.database.hosts)
        ahead = self.rng.uniform(-DAY, DAY) if self.rng.random() < 0.1 else ahead
        return self.zygote.start(f"host:{host}", f"clock:{ahead:.0f}", *arguments, "--db", self.path)

    def keep_workers(self):
        self.workers = [pid for pid in self.workers if self.zygote.is_running(pid)]
        while len(self.workers) + len(self.stopped) < WORKERS:
            layout = self.rng.choice(["object", "batch"])
            self.workers.append(self.start("worker", "--follow", "--threads", "2", "--layout", layout))

    def ingest(self):
        self.others = [pid for pid in self.others if self.zygote.is_running(pid)]
        chosen = self.rng.sample(REPOSITORIES, self.rng.randint(1, len(REPOSITORIES)))
        arguments = [part for name in chosen for part in ("--repo", name)]
        self.others.append(self.start("ingest", "--all", "--jobs", self.rng.choice("12"), *arguments))
        self.figures["ingests"] += 1

    def harm(self):
        for pid, until in list(self.stopped.items()):
            if time.monotonic() > until:
                self.zygote.kill(pid, signal.SIGCONT)
                del self.stopped[pid]
                self.workers.append(pid)
        victims = self.workers + self.others
        if not victims:
            return
        pid, choice = self.rng.choice(victims), self.rng.random()
        if choice < 0.6:
            self.figures["kills"] += self.zygote.kill(pid)
        elif choice < 0.8:
            self.figures["terms"] += self.zygote.kill(pid, signal.SIGTERM)
        elif pid in self.workers:
            self.workers.remove(pid)
            self.stopped[pid] = time.monotonic() + self.rng.uniform(0.5, 4)
            self.figures["stops"] += self.zygote.kill(pid, signal.SIGSTOP)
            self.database.expire()

    def cut(self):
        self.figures["sessions ended"] += self.database.end_sessions()

    def kill_server(self):
        self.database.die(self.rng)
        self.figures["server deaths"] += 1

    def prune(self):
        if self.database.kills_server:
            self.database.change(AGE)
        ahead = DAY - PRUNE_AFTER_SECONDS
        self.others.append(self.zygote.start(f"clock:{ahead}", "prune", "--older-than", "1", "--db", self.path))
        self.figures["prunes"] += 1

    def outage(self):
        """All of S3 for a while; then as before."""
        before, fault = self.proxy.fault, self.rng.choice(S3_OUTAGES)
        until = time.monotonic() + self.rng.uniform(1, 5)
        self.proxy.fault = lambda method, path: fault if time.monotonic() < until else before(method, path)
        self.figures["outages"] += 1

    # What is measured on the way.

    def watch(self):
        self.largest_wal = max(self.largest_wal, self.database.wal_bytes())
        for pid in self.workers:
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                self.memory.append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
        done, last = self._one("SELECT count(*) FROM soak_done"), time.monotonic()
        if done != self.progress[0] or not self._one("SELECT count(*) FROM queue_items WHERE status = 'pending'"):
            self.progress = (done, last)
        self.longest_stall = max(self.longest_stall, last - self.progress[1])

    def _one(self, query):
        return self.database.ask(query)[0][0]

    # The end: no more faults, everything is brought home.

    def bring_home(self):
        self.github.fail_randomly(0, [None], self.rng)
        self.proxy.fault = lambda method, path: None
        for pid in self.stopped:
            self.zygote.kill(pid, signal.SIGCONT)
        for pid in [*self.workers, *self.stopped]:
            self.zygote.kill(pid, signal.SIGTERM)
        ends = [self.zygote.wait(pid) for pid in [*self.workers, *self.stopped, *self.others]]
        self.workers, self.stopped, self.others = [], {}, []
        arguments = [part for name in REPOSITORIES for part in ("--repo", name)]
        ends = [self.zygote.wait(self.zygote.start("ingest", *arguments, "--db", self.path))]
        while self._one("SELECT count(*) FROM queue_items WHERE status IN ('pending', 'processing')"):
            self.database.change(
                "UPDATE queue_items SET available_at = '1970-01-01T00:00:00Z' WHERE status = 'pending'"
            )
            ends.append(self.zygote.wait(self.zygote.start("worker", "--db", self.path)))
            if any(ends):
                raise SystemExit(f"without faults the commands ended with {ends}; see {self.folder}/log")

    # The independent look: nothing of the pipeline's own code.

    def report(self, seconds):
        found, events = collections.defaultdict(list), set()
        for key, payloads in contents(self.bucket.objects()).items():
            for payload in payloads:
                found[hashlib.sha256(payload.encode("utf-8")).hexdigest()].append(key)
                events.update([json.loads(payload)["id"]] if "/events/" in key else [])
        queued = self.database.ask("SELECT item_type, item_id, payload_sha256 FROM soak_queued")
        missing = {sha256 for item_type, _, sha256 in queued if item_type != "event"} - set(found)
        missing |= {item_id for item_type, item_id, _ in queued if item_type == "event"} - events
        newest = self._newest()
        missing |= {newest[item] for item in newest if item[0] not in OTHERS} - set(found)
        stored = {
            (item_type, item_id): value
            for item_type, query in [*LISTS.values(), *OTHERS.items()]
            for item_id, value in self.database.ask(query)
        }
        # Contents that GitHub showed once more with the time that they had, after others of that second: they are
        # archived again, which in a batch makes them twice.
        back = {sha256 for (sha256,) in self.database.ask("SELECT payload_sha256 FROM soak_back")}
        served = {version.sha256 for version in self.github.served}
        half = self.memory[len(self.memory) // 2][0] if self.memory else 0
        of_one_second = self._of_one_second(stored, newest)
        return {
            "seconds": round(seconds),
            "versions served": len(served),
            "versions queued": len({row[1:] for row in queued}),
            "versions archived": len(found),
            "missing": len(missing),
            "never served": len(set(found) - served),
            "doubled": [keys for sha256, keys in found.items() if len(keys) > 1 and sha256 not in back] or 0,
            "came back within their second": len(back),
            "rows of the tables": len(stored),
            "stale": sum(stored.get(item) != newest.get(item) for item in {*stored, *newest} - of_one_second),
            "other version of the same second": len(of_one_second),
            "failed rows": self._one("SELECT count(*) FROM queue_items WHERE status = 'failed'"),
            "integrity": self.database.integrity(),
            **self.figures,
            "largest WAL, MB": round(self.largest_wal / 1e6, 1),
            "worker memory, first half, MB": round(max((mb for at, mb in self.memory if at < half), default=0)),
            "worker memory, second half, MB": round(max((mb for at, mb in self.memory if at >= half), default=0)),
            "longest stall, s": round(self.longest_stall, 1),
        }

    def _of_one_second(self, stored, newest):
        """Items whose stored version has the newest `updated_at`, but is another one that GitHub showed with it.

        Which was shown later is known by the clock of the machine that fetched them, and here that clock jumps.
        """
        times = {version.sha256: version.updated_at for version in self.github.served}
        return {
            item
            for item, sha256 in newest.items()
            if stored.get(item) not in (None, sha256) and times[stored[item]] == times[sha256]
        }

    def _newest(self):
        """(item_type, id) -> what each item is now, asked of the server's own data: a hash, but for `OTHERS`."""
        newest = {}
        for repo in self.repos:
            pulls = {repo.issue_id(number) for name, number in repo.known() if name == "pulls"}  # as issues
            for stream, (item_type, _) in LISTS.items():
                for item_id, (_, _, _, render) in repo.streams[stream].items.items():
                    if stream != "issues" or item_id not in pulls:
                        newest[item_type, item_id] = hashlib.sha256(render().encode("utf-8")).hexdigest()
            newest.update({("event", item_id): "there" for item_id in repo.streams["events"].items})
            versions = repo.versions()
            newest.update({("pull_detail", item_id): at for item_id, at in versions["pull-details"].items()})
            newest.update({("review", item_id): repo.reviews[item_id]["state"] for item_id in versions["reviews"]})
        return newest


def soak(*, minutes, seed, folder, make_database=File):
    """The report, and what is wrong with it."""
    server = S3Server()
    try:
        bucket = Bucket(server)
        with contextlib.closing(make_database(folder)) as database, GitHubServer(rate_limit=None) as github, FaultProxy(
            server.endpoint
        ) as proxy:
            run = Soak(folder, seed=seed, github=github, proxy=proxy, bucket=bucket, database=database)
            try:
                started = time.monotonic()
                run.run(minutes * 60)
                run.bring_home()
                report = run.report(time.monotonic() - started)
            finally:
                run.close()
    finally:
        server.close()
    wrong = [name for name in ("missing", "never served", "doubled", "stale", "failed rows") if report[name]]
    wrong += [] if report["integrity"] == "ok" else ["integrity"]
    wrong += [] if report["versions archived"] >= minutes * ITEMS_A_MINUTE else ["too few items went through"]
    wrong += [] if report["kills"] and report["prunes"] >= minutes // 1 else ["too little harm was done"]
    if make_database is Server and not (report["server deaths"] and report["sessions ended"]):
        wrong.append("the server was left in peace")
    return report, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--db", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    folder = tempfile.mkdtemp(prefix="soak-")
    make_database = Server if options.db == "postgresql" else File
    report, wrong = soak(minutes=options.minutes, seed=options.seed, folder=folder, make_database=make_database)
    width = max(map(len, report))
    for name, value in report.items():
        print(f"{name:<{width}}  {value}")
    print(f"the database and the log are in {folder}", file=sys.stderr)
    print("FAILED: " + ", ".join(wrong) if wrong else "passed")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
