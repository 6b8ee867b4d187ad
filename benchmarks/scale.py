"""A day of an organisation with 10,000 repositories: what ingest asks of GitHub, and how late an update is queued.

The scans, their database and their HTTP are the real ones; the time is simulated. A sample of the repositories lives
through the day, and each of its requests counts, and takes time, for all repositories that it stands for.
"""

import contextlib
import functools
import heapq
import math
import random
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

import db
import ingest
from benchmarks import servers
from benchmarks.data import fill_queue, payloads
from benchmarks.measure import at_most, main_py, run, summed_up
from foundation import timestamps
from foundation.clock import Clock
from github.api import GitHub
from github.clients import Clients
from github.login import logins
from github.rate_limit import RateLimits
from github.streams import DEFAULT
from tests.github_server import GitHubServer

HOUR, DAY = 3600, 86400
START = timestamps.to_epoch("2026-11-23T00:00:00Z")
END = START + DAY
LIMIT = 5000  # points an hour and token, https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
REQUEST_SECONDS = 0.1  # as the far servers of the other groups
BUSY_HOURS = [1] * 8 + [4] * 10 + [1] * 6  # an hour of the working day has four times the updates of one of the night
SHOWN_IN = {"issues": 1.0, "pulls": 0.4}  # of the updates: pull requests stand in the list of issues, too
ITEMS = 120  # of a repository at least: more than a page, whose ETag then has to speak for the others
STEP_SECONDS = 3 * HOUR  # between their updates before the day: the seven days of a first run are one page
MEASURED_ROWS, MEASURED_REPOS = 2_000, 1_000


class Organisation(NamedTuple):
    """Changes by Zipf's law: the repository of rank r is changed 1/r times as often as the first.

    The `alone` busiest are simulated one by one; of the others one stands for `share`, as busy as their mean.
    """

    repos: int
    updates: int  # a day
    alone: int
    share: int


# Five updates a repository and day: 5,108 of the busiest, one of the median one, a guess at a large company. The 100
# busiest have half of all updates; the other half is spread over repositories that are much alike.
LARGE = Organisation(repos=10_000, updates=50_000, alone=100, share=100)


class Sampled(NamedTuple):
    """A repository that stands for the ranks from `first` to `last`."""

    first: int
    last: int
    updates: int

    @property
    def weight(self) -> int:
        return self.last - self.first + 1

    @property
    def name(self) -> str:
        return f"acme/r{self.first}"


class Update(NamedTuple):
    at: float
    repo: str
    number: int


class Group(NamedTuple):
    """Ranks that are read every so many minutes, by an ingest and with a token of their own."""

    first: int
    last: int
    minutes: int


PLANS = {
    "all every 60 min, 1 token": [Group(1, 10_000, 60)],
    "the 1,000 busiest every 15 min, 9,000 every 60, 2 tokens": [Group(1, 1_000, 15), Group(1_001, 10_000, 60)],
}


class Lived(NamedTuple):
    """What a group's day came to. But for `lost` and `asked`, all is of all repositories, not of the sample alone."""

    group: Group
    requests: Counter  # by hour
    points: Counter
    lags: List[Tuple[float, int]]  # seconds from an update to its row in the queue, and how many updates had that
    rows: int
    longest_run_seconds: float
    lost: int  # simulated updates that are not in the queue
    asked: int  # simulated requests


def cases(rounds):
    """Once, however many `rounds`: nothing of the day depends on the machine."""
    _run_without_changes()
    row_bytes, goals = _bytes_of_a_row(), []
    for name, groups in PLANS.items():
        started = time.monotonic()
        lived = [live(LARGE, group) for group in groups]
        asked = sum(one.asked for one in lived)
        _show(name, "simulated", f"{len(sampled(LARGE))} repositories, {asked:,} requests in {_since(started)} s")
        goals += _summed_up(name, lived, row_bytes)
    return goals


@contextlib.contextmanager
def _folder():
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def _since(started):
    return round(time.monotonic() - started)


def _run_without_changes():
    """What of this machine a real run takes: most of a day's requests find nothing new."""
    with servers.GitHub(repos=MEASURED_REPOS, items=3, latency_seconds=0) as server, _folder() as folder:
        env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": "t"}
        (folder / "repos.txt").write_text("\n".join(server.names))
        command = main_py("ingest", "-q", "--repos-file", "repos.txt")
        run(command, folder, env)
        server.counts()
        took, streams = run(command, folder, env), MEASURED_REPOS * len(DEFAULT)
        case, notes = f"ingest again, no changes in {MEASURED_REPOS:,} repositories", server.counts()._asdict()
        summed_up(case, "pipeline, streams/s", [took], items=streams, notes=notes, against=None)


def _bytes_of_a_row():
    with _folder() as folder:
        path = folder / "pipeline.db"
        fill_queue(path, payloads(MEASURED_ROWS))
        return db.size_bytes(str(path)) / MEASURED_ROWS


def _summed_up(name, lived, row_bytes):
    requests, points = (sum((getattr(one, what) for one in lived), Counter()) for what in ("requests", "points"))
    peak = max(max(one.points.values()) for one in lived)
    lags = [lag for one in lived for lag in one.lags]
    median, most, longest = (share_within(lags, share) / 60 for share in (0.5, 0.95, 1))
    rows = sum(one.rows for one in lived)
    reckoned = sum(reckoned_points(LARGE, one.group) for one in lived)
    for what, figures in (
        ("requests", f"{sum(requests.values()):,} a day, {max(requests.values()):,} in the busiest hour"),
        ("points", f"{sum(points.values()):,} a day, {peak:,} in the busiest hour of a token, of {LIMIT:,}"),
        ("points", f"{reckoned:,.0f} a day as reckoned, without walks"),
        ("longest run", ", ".join(f"{one.longest_run_seconds / 60:.0f} of {one.group.minutes} min" for one in lived)),
        ("lag", f"median {median:.0f} min, 95 of 100 within {most:.0f} min, longest {longest:.0f} min"),
        ("queue", f"{rows:,} rows a day, {rows * row_bytes / 1e6:.0f} MB of {row_bytes:,.0f} bytes each"),
    ):
        _show(name, what, figures)
    return [
        at_most(f"points in the busiest hour of a token, {name}", peak, LIMIT),
        at_most(f"updates that are not in the queue, {name}", sum(one.lost for one in lived), 0),
    ]


def _show(case, what, figures):
    print(f"| {case} | {what} | | | | | | {figures} |", flush=True)


def share_within(lags, share):
    """The seconds within which this share of the updates was queued."""
    left = share * sum(weight for _, weight in lags)
    for seconds, weight in sorted(lags):
        left -= weight
        if left <= 0:
            return seconds
    return max(lags)[0]


def reckoned_points(org: Organisation, group: Group) -> float:
    """A run takes a point for each list with an update since the last one; by Poisson's law, of every repository."""
    turns = 60 / group.minutes  # an hour
    of_the_first = org.updates / sum(1 / rank for rank in range(1, org.repos + 1))
    return sum(
        turns * -math.expm1(-share * of_the_first / rank * busy / sum(BUSY_HOURS) / turns)
        for rank in range(group.first, group.last + 1)
        for busy in BUSY_HOURS
        for share in SHOWN_IN.values()
    )


@functools.lru_cache(maxsize=None)
def sampled(org: Organisation) -> List[Sampled]:
    """In all they have the organisation's updates: what rounding leaves is carried to the next one."""
    of_the_first = org.updates / sum(1 / rank for rank in range(1, org.repos + 1))
    found, first, due = [], 1, 0.0
    while first <= org.repos:
        last = first if first <= org.alone else min(first + org.share - 1, org.repos)
        due += sum(of_the_first / rank for rank in range(first, last + 1))
        found.append(Sampled(first, last, max(0, round(due / (last - first + 1)))))
        due -= found[-1].updates * found[-1].weight
        first = last + 1
    return found


def updates(repos: Sequence[Sampled]) -> List[Update]:
    """Over the hours as BUSY_HOURS says, two of five of pull requests; which repository is changed when is random.

    Were the rest random, too, the few that stand for many would make hours of their own.
    """
    rng, found = random.Random(1), []
    slots = [hour for hour, busy in enumerate(BUSY_HOURS) for _ in range(busy)]
    for alike in ([one for one in repos if one.weight == 1], [one for one in repos if one.weight > 1]):
        changed = [one for one in alike for _ in range(one.updates)]
        rng.shuffle(changed)
        for at, one in enumerate(changed):
            moment = START + slots[at * len(slots) // len(changed)] * HOUR + rng.randrange(HOUR)
            number = 1 + 5 * rng.randrange(_items(one) // 5) + at % 5
            found.append(Update(moment, one.name, number))
    return found


def _items(one: Sampled) -> int:
    """A multiple of five: each fifth number is of one kind, issue or pull request."""
    return max(ITEMS, one.updates + -one.updates % 5)


class _Day(GitHubServer):
    """GitHub with a group's repositories, and the time, which goes on with each request and where someone waits."""

    def __init__(self, repos: Sequence[Sampled], due: Sequence[Update]) -> None:
        super().__init__(clock=lambda: self.seconds)
        self.keeps_served = False
        self.seconds: float = START
        self.has_begun = False
        self.requests, self.points = Counter(), Counter()
        self._due = list(due)
        heapq.heapify(self._due)
        self._touched, self._weights = set(), {}
        for one in repos:
            repo = self.add_repo(one.name)
            for age in range(_items(one), 0, -1):
                add = repo.add_pull if age % 5 in (1, 3) else repo.add_issue
                add(updated_at=timestamps.from_epoch(START - age * STEP_SECONDS))
            repo.render_all()
            self._weights[one.name] = self._weights[str(repo.id)] = one.weight

    def note(self, request):
        super().note(request)
        if self.has_begun:
            parts = request.path.split("/")  # /repos/OWNER/NAME/..., or /repositories/ID/...
            weight = self._weights["/".join(parts[2:4]) if parts[1] == "repos" else parts[2]]
            hour = int(self.seconds - START) // HOUR
            self.requests[hour] += weight
            self.points[hour] += weight * request.points
            self.sleep(weight * REQUEST_SECONDS)

    def sleep(self, seconds):
        self.seconds += seconds
        while self._due and self._due[0].at <= self.seconds:
            update = heapq.heappop(self._due)
            repo = self.repos[update.repo]
            repo.touch(repo.stream_of(update.number), update.number, updated_at=timestamps.from_epoch(update.at))
            self._touched.add(repo)

    def render(self):
        """Write out, once, what changed since: not for each request that shows it."""
        while self._touched:
            self._touched.pop().render_all()


def live(org: Organisation, group: Group) -> Lived:
    """A day of the group's part of the sample. Groups share nothing: each lives through the day by itself."""
    repos = [one for one in sampled(org) if group.first <= one.first <= group.last]
    names = {one.name for one in repos}
    due = [update for update in updates(sampled(org)) if update.repo in names]
    with _folder() as folder, _Day(repos, due) as day:
        path = str(folder / "pipeline.db")
        _ingest(day, path)  # the day before: each stream has its cursor and its ETag
        day.journal.clear()
        day.has_begun = True
        turn, every, longest = START, group.minutes * 60, 0.0
        while turn < END:
            turn = START + ((day.seconds - START) // every + 1) * every  # as by cron: who runs late misses one
            day.sleep(turn - day.seconds)
            _ingest(day, path)
            longest = max(longest, day.seconds - turn)
        weights = {one.name: one.weight for one in repos}
        lags, rows = _queued(path, due, weights)
        return Lived(group, day.requests, day.points, lags, rows, longest, len(due) - len(lags), len(day.journal))


def _ingest(day: _Day, path: str) -> None:
    """One run, as `main.py ingest` makes it, one request at a time. One that ends badly ends the benchmark."""
    day.render()
    clock = Clock(now=day.clock, monotonic=day.clock, sleep=day.sleep)
    limits = RateLimits(now=clock.now, monotonic=clock.monotonic, max_wait_seconds=900)
    api = GitHub(
        base_url=day.url, login=logins.of("t"), user_agent="b/1", limits=limits, clock=clock, rng=random.Random(1)
    )
    week_ago = timestamps.from_epoch(day.seconds - 7 * DAY)
    clients = Clients(api, [api.login], lambda: limits)
    job = ingest.Ingest(clients=clients, db_path=path, clock=clock, since=None, default_since=week_ago)
    for result in job.run([(name, stream) for name in day.repos for stream in DEFAULT], jobs=1):
        if result.error:
            raise SystemExit(result.error)


def _queued(path, due, weights):
    """Of each update its lag, and how many rows came that day. A later version of an item shows an update as well."""
    versions, rows = defaultdict(list), 0
    with contextlib.closing(sqlite3.connect(path)) as conn:
        for repo, number, updated_at, fetched_at in conn.execute(
            "SELECT repo, number, updated_at, fetched_at FROM queue_items WHERE fetched_at > ?",
            (timestamps.from_epoch(START),),
        ):
            versions[repo, number].append((updated_at, timestamps.to_epoch(fetched_at)))
            rows += weights[repo]
    lags = []
    for update in due:
        moment = timestamps.from_epoch(update.at)
        shown = [fetched for updated_at, fetched in versions[update.repo, update.number] if updated_at >= moment]
        if shown:
            lags.append((min(shown) - update.at, weights[update.repo]))
    return lags, rows
