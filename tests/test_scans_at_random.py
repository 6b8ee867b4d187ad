"""Random lives of a repository under random faults: whenever a run ends well, nothing that was there is missing."""

import os
import random

import pytest

import ingest
from fetcher import ALL_HISTORY
from foundation import timestamps
from foundation.errors import EXIT_OK
from tests.ingesting import Killed, github, missing, run, time, versions  # noqa: F401 - fixtures
from tests.turns import one_in

# A 304 to a conditional request is not among them: nobody can tell that it is wrong (the next run finds the change).
FAULTS = ["no_items", "no_link", 502, "truncate", 404, 401, "secondary_403", "html", "reset"]
SEEDS = int(os.environ.get("SCANS_EXAMPLES", "60"))
LATEST_SECONDS = 55  # replicas show an item up to a minute late


class Life:
    """After each page some items are changed, added or taken away, and now and then the next answers are spoilt.

    A change may be shown late, or come between the selection of a page and its answer.
    """

    def __init__(self, github, repos, time, rng):
        self._github, self._repos, self._time, self._rng = github, repos, time, rng
        self._fault_for, self._heavy = github.fault_for, 0
        self.gone, self.swaps = set(), 0
        github.after_page, github.after_selection, github.fault_for = self.goes_on, self.comes_between, self.spoils

    def ends(self):
        self._github.after_page = self._github.after_selection = None
        self._github.fault_for = self._fault_for
        self._github._faults.clear()

    def goes_on(self, repo, stream, served):
        rng = self._rng
        self._time.seconds += rng.choice([0, 1, 5])
        for _ in range(rng.choice([0, 0, 1, 3])):
            self._happens(rng.choice(self._repos), rng.choice(["issues", "pulls"]), rng.random())
        if rng.random() < 0.1:
            # An odd empty answer has the ETag of a list that was empty before, and is a 304 then.
            was_empty = any(len(repo.streams[name].order) < 10 for repo in self._repos for name in ("issues", "pulls"))
            self._github.fail_next(rng.choice(FAULTS[was_empty:]))
        if rng.random() < 0.03:
            self._heavy = rng.choice([8, 20, 40])
        if self.swaps and rng.random() < 0.1:
            self.swaps -= 1
            self._swap_names(*self._repos)

    def comes_between(self, repo, stream, numbers):
        if numbers and self._rng.random() < 0.1:
            self._time.seconds += self._rng.choice([0, 1])
            for number in numbers[-self._rng.choice([1, 1, 2, 5]) :]:
                self._touch(repo, number)

    def spoils(self, target):
        """For a while only single items can be had."""
        if self._heavy and "per_page=" in target and "per_page=1&" not in target + "&":
            self._heavy -= 1
            return 502, {}
        return self._fault_for(target)

    def _happens(self, repo, stream, chance):
        if chance < 0.15:
            (repo.add_issue if stream == "issues" else repo.add_pull)()
            return
        there = [n for kind, n in repo._fields if kind == stream and n not in self.gone]
        if there and chance < 0.75:
            self._touch(repo, self._rng.choice(there))
        elif there:
            self._take_away(repo, self._rng.choice(there))

    def _touch(self, repo, number):
        stream = repo.stream_of(number)
        late = self._rng.choice([0, 0, 1, self._rng.randrange(LATEST_SECONDS)])
        updated_at = timestamps.from_epoch(self._time.seconds - late)
        if updated_at >= repo._fields[stream, number]["updated_at"]:
            repo.touch(stream, number, updated_at=updated_at)

    def _take_away(self, repo, number):
        self.gone.add(number)
        for items in repo.streams.values():
            for item_id in [item_id for item_id, item in items.items.items() if item[1] == number]:
                items.remove(item_id)

    def _swap_names(self, first, second):
        first.full_name, second.full_name = second.full_name, first.full_name
        self._github.repos.update({repo.full_name: repo for repo in self._repos})


@pytest.mark.parametrize("seed", one_in(5, range(SEEDS)))
def test_a_run_that_ends_well_has_missed_nothing(run, github, time, tmp_path, seed):
    rng = random.Random(seed)
    repo = github.add_repo("acme/widgets", cursors=rng.random() < 0.5)
    repo.make(
        rng.choice([5, 99, 100, 101, 250, 420]),
        pulls=rng.choice([0, 0.4, 1]),
        same_second=rng.random() < 0.3,
        seed=seed,
        step_seconds=rng.choice([60.0, 0.3]),
    )
    ended_well = live(run, github, time, tmp_path, rng, [repo])
    assert ended_well > 0


@pytest.mark.parametrize("seed", one_in(7, range(SEEDS // 3)))
def test_a_run_that_ends_well_has_missed_nothing_although_names_are_swapped(run, github, time, tmp_path, seed):
    rng = random.Random(seed)
    repos = [github.add_repo(name, cursors=rng.random() < 0.5) for name in ("acme/widgets", "acme/gadgets")]
    repos[1]._next_number = 10**5
    for repo in repos:
        repo.make(rng.choice([180, 350]), seed=seed)
    assert live(run, github, time, tmp_path, rng, repos, swaps=1) > 0


def live(run, github, time, tmp_path, rng, repos, swaps=0):
    """How many runs ended well."""
    life = Life(github, repos, time, rng)
    names, ended_well = [repo.full_name for repo in repos], 0
    for attempt in range(30):
        if attempt >= 20 or len(github.journal) >= 300 * len(repos):
            life.ends()
        life.swaps = swaps if rng.random() < 0.3 else 0
        before = {item: updated for repo in repos for item, updated in versions(repo).items()}
        since = ALL_HISTORY if attempt == 0 or rng.random() < 0.2 else None
        try:
            results = run(
                repo=names, since=since, jobs=rng.choice([1, 2]), pages=rng.choice([None, None, 1, 2, 3]),
                max_wait_seconds=10**6,
            )  # fmt: skip
        except Killed:
            continue
        if ingest.exit_code(results) == EXIT_OK:
            assert [item for item in missing(tmp_path, repos[0], before) if item[1] not in life.gone] == []
            ended_well += 1
        if ended_well > 5:
            break
    return ended_well
