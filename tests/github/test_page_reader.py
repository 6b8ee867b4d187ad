import random
from urllib.parse import urlencode

import pytest

from foundation.records import Gap
from github.api import Answer, GitHub
from github.login import logins
from github.page_reader import MOST_OVERLAP, PageReader, Read
from github.rate_limit import RateLimits
from github.refusals import HeavyAnswer
from github.spots import Spot
from tests.ingesting import github, time  # noqa: F401 - fixtures

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.fixture
def reader(github, time):
    limits = RateLimits(now=time.clock.now, monotonic=time.clock.monotonic, max_wait_seconds=0)
    api = GitHub(
        base_url=github.url, login=logins.of("t"), user_agent="t", limits=limits, clock=time.clock, rng=random.Random(1)
    )

    def url(*, newest_first, since, size, number):
        query = {"state": "all", "sort": "updated", "direction": "desc" if newest_first else "asc", "per_page": size}
        query.update({"since": since} if since else {}, page=number)
        return f"{api.base_url}/repos/acme/widgets/issues?{urlencode(query)}"

    return PageReader(api=api, url=url)


def asked(github):
    """(items a page, number of the page, status) of each request so far."""
    return [(int(r.query["per_page"]), int(r.query.get("page", 1)), r.status) for r in github.journal]


def numbers(read):
    return [element.number for element in read.elements]


def test_an_outage_is_told_by_single_items_that_can_not_be_had_either(reader, github):
    github.add_repo("acme/widgets").make(10, pulls=0)
    github.fail_next(502, times=10**6)
    with pytest.raises(HeavyAnswer):
        reader.head(etag=None)
    assert asked(github) == [(100, 1, 502)] * 5 + [(1, 1, 502)] * 2 + [(1, 2, 502), (1, 3, 502)]


@pytest.mark.parametrize("passing, tried", [(50, [50]), (25, [50, 25]), (5, [50, 25, 5])])
def test_a_page_that_is_too_heavy_is_read_in_smaller_ones_that_grow_again(reader, github, passing, tried):
    github.add_repo("acme/widgets").make(350, pulls=0)
    for size in {100, 50, 25} - {passing}:
        if size > passing:
            github.fail_next(502, times=5 if size == 100 else 1, match=f"per_page={size}&")
    read = reader.head(etag=None)
    assert (numbers(read), read.gap) == (list(range(350, 350 - passing, -1)), None)
    assert [size for size, _, _ in asked(github)] == [100] * 5 + [1] + tried
    github.journal.clear()
    for _ in range(6):
        reader.read(Spot(offset=300), newest_first=True)
    sizes = [size for size, _, _ in asked(github)]
    assert sizes == sorted(sizes)
    assert (sizes[0] <= passing, sizes[-1] > 90) == (True, True)


def test_a_small_page_is_tried_twice_before_a_smaller_one(reader, github):
    github.add_repo("acme/widgets").make(350, pulls=0)
    github.fail_next(502, times=5, match="per_page=100")
    reader.head(etag=None)
    github.journal.clear()
    github.fail_next(502)
    read = reader.read(Spot(offset=100), newest_first=True)
    assert asked(github) == [(read.end - read.start, 3, 502), (read.end - read.start, 3, 200)]


@pytest.mark.parametrize("newest_first", [True, False])
def test_an_item_that_can_not_be_had_is_stepped_over_and_named_by_its_neighbours(reader, github, newest_first):
    repo = github.add_repo("acme/widgets").make(20, pulls=0)
    repo.broken = {("issues", 8), ("issues", 7)}
    times = {number: updated for updated, number, _, _ in repo.streams["issues"].items.values()}
    before_it = 9 if newest_first else 6
    spot = Spot(since=times[1], offset=12 if newest_first else 6, last_time=times[before_it])
    read = reader.read(spot, newest_first=newest_first)
    assert read.gap == Gap(times[1], spot.offset, 2, times[6], times[9])
    assert numbers(read) == [6 if newest_first else 9]
    assert (read.start, read.end) == (spot.offset + 2, spot.offset + 3)
    github.journal.clear()
    behind = reader.read(spot._replace(offset=read.end, not_before=read.start), newest_first=newest_first)
    assert numbers(behind)[-1] == (1 if newest_first else 20) or len(behind.elements) > 1
    assert [status for _, _, status in asked(github)] == [200]


def test_a_broken_item_at_the_very_end_is_named_by_what_is_known(reader, github):
    repo = github.add_repo("acme/widgets").make(5, pulls=0)
    repo.broken = {("issues", 5)}
    times = [updated for updated, _ in repo.streams["issues"].order]
    read = reader.read(Spot(since=times[3], offset=1), newest_first=False)
    assert read.gap == Gap(times[3], 1, 1, times[3], None)
    assert (read.elements, read.is_last) == ([], True)
    assert reader.can_be_had(Spot(since=times[3]), newest_first=False)
    assert not reader.can_be_had(Spot(since=times[3], offset=1), newest_first=False)


def answer(body=(), next_url=None, last_url=None):
    return Answer(body=list(body), etag=None, next_url=next_url, last_url=last_url, url="", redirected=False, date=None)


def test_what_a_page_says_of_the_list(github):
    full = Read(answer(range(100)), 0, 100)
    assert not full.is_last  # its Link may be lost
    assert Read(answer(range(99)), 0, 100).is_last
    assert not Read(answer(range(99), next_url="x"), 0, 100).is_last
    assert Read(answer(last_url="http://h/r?page=4&per_page=100"), 0, 100).expected == 300
    assert Read(answer(last_url="http://h/r?page=x"), 0, 100).expected == 0
    assert Read(answer(next_url="http://h/repositories/17/issues?after=x&page=2"), 0, 100).repo_id == 17
    assert Read(answer(next_url="http://h/r?after=x&page=2"), 0, 100).opaque_next == "http://h/r?after=x&page=2"
    assert Read(answer(next_url="http://h/r?page=2"), 0, 100).opaque_next is None
    assert (full.is_whole_head, Read(answer(), 0, 50).is_whole_head, Read(answer(), 1, 100).is_whole_head) == (
        True, False, False,
    )  # fmt: skip
    assert MOST_OVERLAP < 100


def test_a_page_reaches_a_floor_only_with_something_older(github):
    github.add_repo("acme/widgets")

    def page(*times):
        from github import pages

        return Read(answer(pages.cut("[" + ",".join('{"updated_at": "%s"}' % t for t in times) + "]")), 0, 100)

    assert page(LATE, EARLY).reaches(LATE)
    assert not page(LATE, LATE).reaches(LATE)
    assert page(LATE, EARLY).times == [LATE, EARLY]
