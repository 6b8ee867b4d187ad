"""Which of several logins asks for what."""

import random

import pytest

from github.api import GitHub
from github.clients import Clients
from github.login.logins import Token
from github.rate_limit import RateLimits
from tests.ingesting import Time

REPOS = [f"acme/r{number}" for number in range(200)]


def clients(*tokens):
    clock = Time().clock

    def limits():
        return RateLimits(now=clock.now, monotonic=clock.monotonic, max_wait_seconds=0)

    logins = [Token(token) for token in tokens]
    first = GitHub(
        base_url="http://127.0.0.1:1", login=logins[0], user_agent="t", limits=limits(), clock=clock,
        rng=random.Random(1),
    )  # fmt: skip
    return Clients(first, logins, limits)


def chosen(*tokens):
    of = clients(*tokens)
    return {repo: of.of_repo(repo).login.header() for repo in REPOS}


def test_a_repository_keeps_its_token_whatever_the_order_and_the_spelling():
    assert chosen("token-a", "token-b", "token-c") == chosen("token-c", "token-a", "token-b")
    of = clients("token-a", "token-b")
    assert {of.of_repo(repo) is of.of_repo(repo.upper()) for repo in REPOS} == {True}


def test_another_token_takes_only_what_becomes_its_own():
    before, after = chosen("token-a", "token-b"), chosen("token-a", "token-b", "token-c")
    moved = {after[repo] for repo in REPOS if before[repo] != after[repo]}
    assert moved == {"Bearer token-c"}
    assert 30 < sum(token == "Bearer token-c" for token in after.values()) < 110


def test_each_login_has_limits_of_its_own_and_the_points_are_theirs_together():
    of = clients("token-a", "token-b")
    first, second = of.all()
    assert of.points_left is None
    first.limits.remaining, second.limits.remaining = 3, 4
    assert of.points_left == 7
    assert len({id(limits) for api in of.all() for limits in (api.limits, api.graphql_limits)}) == 4
    assert len({of.lane(repo) for repo in REPOS}) == 2


@pytest.mark.parametrize("number", [1, 3])
def test_repositories_of_one_lane_share_their_login(number):
    of = clients(*(f"token-{at}" for at in range(number)))
    by_lane = {of.lane(repo): of.of_repo(repo) for repo in REPOS}
    assert len(set(map(id, by_lane.values()))) == len(by_lane) == number
    assert all(by_lane[of.lane(repo)] is of.of_repo(repo) for repo in REPOS)
