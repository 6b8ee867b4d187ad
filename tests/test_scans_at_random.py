"""Random lives of a repository under random faults: whenever a run ends well, nothing that was there is missing."""

import random

import pytest

import ingest
from fetcher import ALL_HISTORY
from foundation.errors import EXIT_OK
from tests.ingesting import Killed, github, missing, run, time, versions  # noqa: F401 - fixtures

# A 304 to a conditional request is not among them: nobody can tell that it is wrong (the next run finds the change).
FAULTS = ["no_items", "no_link", 502, "truncate", 404, 401, "secondary_403", "html", "reset"]
SEEDS = 60


class Life:
    """After each page some items are changed, added or taken away, and now and then the next answer is spoilt."""

    def __init__(self, github, repo, time, rng):
        self._github, self._repo, self._time, self._rng = github, repo, time, rng
        self.gone = set()

    def goes_on(self, repo, stream, served):
        rng = self._rng
        self._time.seconds += rng.choice([0, 1, 5])
        for _ in range(rng.choice([0, 0, 1, 3])):
            self._happens(rng.choice(["issues", "pulls"]), rng.random())
        if rng.random() < 0.1:
            self._github.fail_next(rng.choice(FAULTS))

    def _happens(self, stream, chance):
        if chance < 0.15:
            (self._repo.add_issue if stream == "issues" else self._repo.add_pull)()
            return
        there = [n for kind, n in self._repo._fields if kind == stream and n not in self.gone]
        if there and chance < 0.75:
            self._repo.touch(stream, self._rng.choice(there))
        elif there:
            self._take_away(self._rng.choice(there))

    def _take_away(self, number):
        self.gone.add(number)
        for items in self._repo.streams.values():
            for item_id in [item_id for item_id, item in items.items.items() if item[1] == number]:
                items.remove(item_id)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_run_that_ends_well_has_missed_nothing(run, github, time, tmp_path, seed):
    rng = random.Random(seed)
    repo = github.add_repo("acme/widgets", cursors=rng.random() < 0.5)
    repo.make(
        rng.choice([5, 99, 100, 101, 250, 420]),
        pulls=rng.choice([0, 0.4, 1]),
        same_second=rng.random() < 0.3,
        seed=seed,
    )
    life = Life(github, repo, time, rng)
    ended_well = 0
    for attempt in range(30):
        github.after_page = life.goes_on if attempt < 20 and len(github.journal) < 300 else None
        if github.after_page is None:
            github._faults.clear()
        before = versions(repo)
        since = ALL_HISTORY if attempt == 0 or rng.random() < 0.2 else None
        try:
            results = run(
                since=since, jobs=rng.choice([1, 2]), pages=rng.choice([None, None, 1, 2, 3]), max_wait_seconds=10**6
            )
        except Killed:
            continue
        if ingest.exit_code(results) == EXIT_OK:
            assert [item for item in missing(tmp_path, repo, before) if item[1] not in life.gone] == []
            ended_well += 1
        if ended_well > 5:
            break
    assert ended_well > 0
