"""Every stream under all at once: changes on every page while it is read, a third of the requests failing, kills."""

import contextlib
import random

import pytest

import db
from fetcher import ALL_HISTORY
from github.streams import STREAMS
from github.streams.stream import EVENTS, KEYSET, PAGES, WHOLE
from tests.github_world import life
from tests.ingesting import Killed, github, run, time  # noqa: F401 - fixtures

FAULTS = [500, 502, "reset", "close", "truncate", "invalid_json", "html", "secondary_403"]
LISTS = {"meta": ["labels", "milestones", "releases"]}  # the others have the one of their name
SMALL = {"items": 260, "comments": 420, "review_comments": 420, "events": 450}
LARGE = {"items": 5000, "comments": 12_000, "review_comments": 3_000, "events": 9_000}
ALL = {**LARGE, "comments": 9_000, "reviews": 3_000}  # 12,000 comments of both kinds
REST = [name for name, stream in STREAMS.items() if stream.scan in (KEYSET, PAGES, EVENTS, WHOLE)]


def grown(github, *, items, **talk):
    repo = github.add_repo("acme/widgets").make(items, **talk)
    for at in range(160):
        repo.add_label(f"area: {at:03d}")
        repo.add_release(f"v{at}")
    repo.add_milestone("1.0")
    return repo


def there(repo, stream):
    """(type, id) -> the time of its version, of what the stream's lists show."""
    kinds = STREAMS[stream].kinds
    versions = repo.versions()
    if stream == "pull-details":
        return {(kinds[0].item_type, item_id): time for item_id, time in versions["pulls"].items()}
    found = {}
    for kind, name in zip(kinds, LISTS.get(stream, [stream])):
        found.update({(kind.item_type, item_id): time for item_id, time in versions[name].items()})
    if stream == "issues":  # their list shows pull requests, too, which the other stream reads
        pulls = {repo.issue_id(number) for name, number in repo.known() if name == "pulls"}
        return {key: time for key, time in found.items() if key[1] not in pulls}
    return found


def missing(tmp_path, before, now):
    """Of what was there before, and still is, that of which neither that version nor a newer one is in the queue."""
    with contextlib.closing(db.connect(str(tmp_path / "p.db"))) as conn:
        rows = conn.execute("SELECT item_type, item_id, max(updated_at) AS at FROM queue_items GROUP BY 1, 2")
        newest = {(row["item_type"], row["item_id"]): row["at"] for row in rows}
    return [key for key, time in before.items() if key in now and newest.get(key, "") < (time or "1970")]


def rages(github, time, stream, seed):
    """From now on something changes whenever a page was read, and three requests of ten fail."""
    rng = random.Random(seed)
    # What moves up when something goes is easily missed, so that more of it goes than in most repositories' lives.
    kinds = (*life.KINDS, *["delete"] * (len(life.KINDS) if stream == "events" else 0))

    def change(repo, name, served):
        time.seconds += rng.choice([0, 1, 5])
        if stream == "meta":
            life.happen(repo, rng, ["meta"])
            of = rng.choice(["labels", "releases"])
            repo.delete(of, min(repo.streams[of].items) if of == "labels" else max(repo.streams[of].items))
        else:
            life.happen(repo, rng, kinds)

    github.after_page = change
    github.fail_randomly(0.3, FAULTS, random.Random(seed))


def to_its_end(run, stream, kills):
    """Runs that are killed after so many pages, then runs until one ends well."""
    killed = 0
    for pages in [*kills, *[None] * 30]:
        try:
            (result,) = run(only=stream, since=ALL_HISTORY, pages=pages, max_wait_seconds=10**6)
        except Killed:
            killed += 1
            continue
        if result.error is None:
            return killed
    raise AssertionError(result.error)


def costs_nothing(run, github, time, stream):
    """Nothing changes any more: the last of these runs is that of an ordinary day."""
    github.after_page = None
    github.fail_randomly(0, [None], random.Random(0))
    for _ in range(2):
        time.seconds += 600
        run(only=stream)
    time.seconds += 600
    points = github.points_used
    (result,) = run(only=stream)
    pages = 5 if stream == "meta" else 1  # two of labels, two of releases, one of milestones
    assert (result.requests, result.not_modified, result.error) == (pages, pages, None)
    assert github.points_used == points


@pytest.mark.parametrize("stream", REST)
@pytest.mark.parametrize("kill", [1, 3, *(pytest.param(kill, marks=pytest.mark.long) for kill in (2, 6))])
def test_whatever_happens_every_version_or_a_newer_one_is_in_the_queue(run, github, time, tmp_path, stream, kill):
    repo = grown(github, **SMALL)
    before = there(repo, stream)
    rages(github, time, stream, seed=kill)
    to_its_end(run, stream, [kill])
    assert (len(before) > 100, missing(tmp_path, before, there(repo, stream))) == (True, [])
    costs_nothing(run, github, time, stream)


@pytest.mark.long
@pytest.mark.parametrize("stream", REST)
def test_so_it_is_in_a_large_repository_whose_scan_is_killed_again_and_again(run, github, time, tmp_path, stream):
    repo = grown(github, **LARGE)
    before = there(repo, stream)
    rages(github, time, stream, seed=5)
    killed = to_its_end(run, stream, range(1, 20))
    assert (killed > 2, missing(tmp_path, before, there(repo, stream))) == (True, [])
    costs_nothing(run, github, time, stream)


@pytest.mark.long
def test_a_large_repository_is_complete_in_all_streams_whose_runs_are_killed_at_each_request_in_turn(
    run, github, time, tmp_path
):
    repo = grown(github, **ALL)
    before = {stream: there(repo, stream) for stream in STREAMS}
    rages(github, time, "all", seed=7)
    for requests in range(200):
        try:
            results = run(streams=STREAMS, since=ALL_HISTORY, requests=requests, max_wait_seconds=10**6)
        except Killed:
            continue
        if not any(result.error for result in results):
            break
    assert (requests > 20, [str(result.error) for result in results if result.error]) == (True, [])
    assert [key for stream in STREAMS for key in missing(tmp_path, before[stream], there(repo, stream))] == []
