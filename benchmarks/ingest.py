"""ingest against a plain loop, github-to-sqlite and perceval, on the tests' GitHub."""

import sys
from pathlib import Path

from benchmarks.measure import Contestant, at_least, at_most, compare, main_py, memory, run, script
from benchmarks.servers import GitHub

FAR_SECONDS = 0.1
FAR_REPOS = 10
FAR_JOBS = 2 * FAR_REPOS
# Beyond this github-to-sqlite takes minutes; so does perceval far away, which asks twice for each pull request.
SLOW_RIVALS_ITEMS = 5_000


def cases(rounds):
    goals = []
    for items in (5_000, 50_000):
        goals += _near(items, rounds)
        goals += _far(items, 1 if items > SLOW_RIVALS_ITEMS else rounds)
    return goals + _again(rounds)


def _env(server):
    return {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": "t"}


def _pipeline(server, *options, name="pipeline"):
    repos = [part for repo in server.names for part in ("--repo", repo)]
    command = main_py("ingest", "--all", "-q", *repos, *options)
    return Contestant(name, command, _env(server), note=_counted(server))


def _plain(server):
    return Contestant("plain loop", script("plain_ingest", *server.names), _env(server), note=_counted(server))


def _github_to_sqlite(server):
    command = script("github_to_sqlite_local", *server.names)
    return Contestant("github-to-sqlite", command, _env(server), note=_counted(server))


def _perceval(server):
    perceval = Path(sys.executable).parent / "perceval"
    if not perceval.exists():  # it needs Python 3.10
        return []
    owner, name = server.names[0].split("/")
    one = f"{perceval} github --enterprise-url {server.url} -t t --no-archive"
    both = f"({one} -o issues {owner} {name} && {one} -o pulls --category pull_request {owner} {name}) 2>log"
    return [Contestant("perceval", ["sh", "-c", both], note=_counted(server))]


def _counted(server):
    return lambda took, folder: server.counts()._asdict()


def _near(items, rounds):
    with GitHub(repos=1, items=items, latency_seconds=0) as server:
        turns = 3 if items <= SLOW_RIVALS_ITEMS else 1
        contestants = [_plain(server)._replace(turns=turns), _pipeline(server)._replace(turns=turns)]
        if items <= SLOW_RIVALS_ITEMS:
            contestants += [_github_to_sqlite(server), *_perceval(server)]
        rows = compare(f"ingest, {items:,} items, 0 ms", contestants, items=items, rounds=rounds)
    return [at_least(f"ingest of {items:,} at 0 ms, against the plain loop", rows[1].ratio, 1.0), memory(rows)]


def _far(items, rounds):
    with GitHub(repos=FAR_REPOS, items=items // FAR_REPOS, latency_seconds=FAR_SECONDS) as server:
        contestants = [
            _plain(server),
            _pipeline(server),
            _pipeline(server, "--jobs", str(FAR_JOBS), name=f"pipeline --jobs {FAR_JOBS}"),
        ]
        if items <= SLOW_RIVALS_ITEMS:
            contestants.append(_github_to_sqlite(server))
        title = f"ingest, {items:,} items of {FAR_REPOS} repositories, {FAR_SECONDS * 1000:.0f} ms"
        rows = compare(title, contestants, items=items, rounds=rounds)
    return [at_least(f"ingest of {items:,} at 100 ms, against the plain loop", rows[2].ratio, 5.0), memory(rows)]


def _again(rounds):
    """A second run: nothing changed, then ten changes. None of the rivals has a cursor here: they read all again."""
    goals = []
    for changes in (0, 10):
        with GitHub(repos=1, items=SLOW_RIVALS_ITEMS, latency_seconds=0) as server:

            def first_run(folder, contestant, server=server, changes=changes):
                run(contestant.command, folder, contestant.env)
                server.touch(changes)
                server.counts()

            contestants = [
                one._replace(prepare=lambda folder, one=one: first_run(folder, one))
                for one in (_plain(server), _pipeline(server))
            ]
            title = f"ingest again, {changes or 'no'} changes in {SLOW_RIVALS_ITEMS:,} items"
            rows = compare(title, contestants, items=SLOW_RIVALS_ITEMS, rounds=rounds)
        counts = rows[1].notes
        goals.append(at_most(f"requests of the two streams after {changes} changes", counts["requests"], 2))
        if not changes:
            goals.append(at_most("points of a run without changes", counts["points"], 0))
    return goals
