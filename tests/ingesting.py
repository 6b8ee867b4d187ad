"""What tests of whole ingests share: a clock that the GitHub server follows, one run, and what it left behind."""

import contextlib
import functools
import random

import pytest

import db
import ingest
from foundation import timestamps
from foundation.clock import Clock
from github.api import GitHub
from github.clients import Clients
from github.login import logins
from github.rate_limit import RateLimits
from tests.github_server import GitHubServer

START = timestamps.to_epoch("2026-11-23T03:00:00Z")


class Time:
    """A clock that moves only when someone sleeps or asks it to; the server shares it."""

    def __init__(self):
        self.seconds = START
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds

    @property
    def clock(self):
        return Clock(now=lambda: self.seconds, monotonic=lambda: self.seconds, sleep=self.sleep)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def github(time):
    with GitHubServer(clock=lambda: time.seconds) as server:
        yield server


@pytest.fixture
def run(github, time, tmp_path):
    """One ingest over `streams` (or `only` one) of acme/widgets; returns its results.

    It is killed after `pages` commits, or when it is about to send one request more than `requests`.
    """

    def ingest_once(
        *, since=None, only=None, streams=("issues", "pulls"), repo="acme/widgets", jobs=1, token="t",
        max_wait_seconds=900, pages=None, requests=None,
    ):  # fmt: skip
        limits = RateLimits(now=time.clock.now, monotonic=time.clock.monotonic, max_wait_seconds=max_wait_seconds)
        login = logins.of(token) if requests is None else Dying(token, requests)
        api = GitHub(
            base_url=github.url, login=login, user_agent="test/1", limits=limits, clock=time.clock, rng=random.Random(1)
        )
        seen = []

        def on_progress(result):
            seen.append(result)
            if pages is not None and len(seen) >= pages:
                raise Killed

        job = ingest.Ingest(
            clients=Clients(api, [login], lambda: limits),
            db_path=str(tmp_path / "p.db"),
            clock=time.clock,
            since=since,
            default_since=timestamps.from_epoch(time.seconds - 7 * 86400),
            on_progress=on_progress,
        )
        repos = [repo] if isinstance(repo, str) else repo
        return job.run([(name, stream) for name in repos for stream in ([only] if only else streams)], jobs=jobs)

    return ingest_once


class Killed(BaseException):
    """Ends the run where it stands, as a kill there would: nothing of it is caught or concluded."""


class Dying(logins.Token):
    """Its run is killed when it is about to send one request more than so many."""

    def __init__(self, token, requests):
        super().__init__(token)
        self._left = requests

    def header(self):
        self._left -= 1
        if self._left < 0:
            raise Killed
        return super().header()


def through_kills(run, *, most, pages=1, **options):
    """Run it until it ends, each time killed after `pages` commits; (its results, how often it was killed)."""
    for killed in range(most):
        try:
            return run(pages=pages, **options), killed
        except Killed:
            continue
    pytest.fail(f"it has not ended after {most} kills")


@pytest.fixture
def ask(tmp_path):
    """What the run's database answers."""
    return functools.partial(rows_of, str(tmp_path / "p.db"))


def rows_of(path, statement, *values):
    with contextlib.closing(db.connect(path)) as conn:
        return [tuple(row) for row in conn.execute(statement, values)]


def queued(tmp_path):
    conn = db.connect(str(tmp_path / "p.db"))
    found = {(r["item_type"], r["number"], r["payload_sha256"]) for r in conn.execute("SELECT * FROM queue_items")}
    conn.close()
    return found


def missing(tmp_path, repo, before):
    """Items of which neither the version that existed `before` the scan nor a newer one is in the queue."""
    conn = db.connect(str(tmp_path / "p.db"))
    newest = {}
    for row in conn.execute("SELECT item_type, number, updated_at FROM queue_items ORDER BY updated_at"):
        newest[row["item_type"], row["number"]] = row["updated_at"]
    conn.close()
    return [item for item, updated_at in before.items() if newest.get(item, "") < updated_at]


def versions(repo, only=None):
    """What the repository holds now: (item_type, number) -> updated_at."""
    pulls = {number: updated for updated, number, _, _ in repo.streams["pulls"].items.values()}
    issues = {number: updated for updated, number, _, _ in repo.streams["issues"].items.values() if number not in pulls}
    found = {("pull_request", number): updated for number, updated in pulls.items()}
    return {**found, **{("issue", number): updated for number, updated in issues.items()}}
