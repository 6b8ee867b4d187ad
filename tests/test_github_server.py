"""The tests' own GitHub, where it has to be like the real one."""

import collections
import json
import random
import subprocess
import sys

import pytest

from tests.asking import ask, links, walk
from tests.conftest import ROOT
from tests.github_data import populate
from tests.github_server import GitHubServer
from tests.github_world.life import KINDS, happen
from tests.github_world.orders import NAMES

HOUR, DAY = 3600, 86400
NOW = 1_790_000_000


def test_each_token_and_who_has_none_has_a_limit_of_its_own_that_the_hour_resets():
    now = [NOW]
    with GitHubServer(clock=lambda: now[0]) as server:
        server.add_repo("acme/widgets")
        for _ in range(60):
            assert ask(server, "/repos/acme/widgets")[0] == 200
        status, headers, body = ask(server, "/repos/acme/widgets")
        assert (status, headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (403, "60", "0")
        assert "rate limit exceeded" in body["message"]
        status, headers, _ = ask(server, "/repos/acme/widgets", token="one")
        assert (status, headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (200, "5000", "4999")
        for _ in range(2):  # to ask for it costs nothing
            core = ask(server, "/rate_limit", token="other")[2]["resources"]["core"]
        assert (core["limit"], core["remaining"]) == (5000, 5000)
        assert now[0] < core["reset"] <= now[0] + HOUR
        now[0] = core["reset"]
        assert ask(server, "/repos/acme/widgets")[0] == 200


def test_a_port_that_is_taken_is_said_in_one_line():
    with GitHubServer() as server:
        port = str(server.server_address[1])
        done = subprocess.run(
            [sys.executable, "-m", "tests.github_server", "--port", port],
            cwd=str(ROOT),
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode, len(done.stderr.splitlines()), port in done.stderr.decode()) == (2, 1, True)


def test_the_data_for_trials_are_a_year_of_a_project():
    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        populate(repo, 500, NOW)
        items = [json.loads(render()) for *_, render in repo.streams["issues"].items.values()]
        pulls = [json.loads(render()) for *_, render in repo.streams["pulls"].items.values()]
    assert len(items) == 500
    assert 100 < len(pulls) < 300
    assert len({item["created_at"][:7] for item in items}) >= 12
    assert len({item["user"]["login"] for item in items}) >= 5
    assert len({label["name"] for item in items for label in item["labels"]}) >= 5
    assert {item["state"] for item in items} == {"open", "closed"}
    assert {bool(pull["merged_at"]) for pull in pulls} == {True, False}
    assert all(item["created_at"] <= item["updated_at"] for item in items)
    assert all(item["closed_at"] in (None, item["updated_at"]) for item in items)


def test_the_data_for_trials_have_conversations_that_fit_their_items():
    with GitHubServer(clock=lambda: NOW) as server:
        populate(server.add_repo("acme/widgets"), 300, NOW)
        items = {item["number"]: item for item in walk(server, "/repos/acme/widgets/issues?state=all&per_page=100")}
        found = {
            name: walk(server, f"/repos/acme/widgets/{name}per_page=100")
            for name in ("issues/comments?", "pulls/comments?", "issues/events?", "labels?", "milestones?state=all&",
                         "releases?")
        }  # fmt: skip
        merged = next(number for number, item in items.items() if item.get("pull_request", {}).get("merged_at"))
        reviews = walk(server, f"/repos/acme/widgets/pulls/{merged}/reviews")
    counts = collections.Counter(int(comment["issue_url"].split("/")[-1]) for comment in found["issues/comments?"])
    assert {number: item["comments"] for number, item in items.items() if item["comments"]} == counts
    for comment in found["issues/comments?"]:
        item = items[int(comment["issue_url"].split("/")[-1])]
        assert item["created_at"] <= comment["created_at"] <= item["updated_at"]
    closed = collections.Counter(
        event["issue"]["number"] for event in found["issues/events?"] if event["event"] == "closed"
    )
    assert set(closed) == {number for number, item in items.items() if item["state"] == "closed"}
    assert reviews[-1]["state"] == "APPROVED"
    assert all(found.values())


def test_as_much_is_said_and_done_as_was_asked_for():
    with GitHubServer(clock=lambda: NOW) as server:
        repo = server.add_repo("acme/widgets").make(50, comments=70, review_comments=20, events=60, reviews=30)
        assert [len(repo.streams[name].order) for name in ("issue-comments", "review-comments", "events")] == [
            70,
            20,
            60,
        ]
        newest = max(item["updated_at"] for item in walk(server, "/repos/acme/widgets/issues?state=all"))
        assert len(repo.reviews) == 30
    assert newest <= "2026-09-21T14:13:20Z"


def test_a_page_in_the_middle_links_to_all_its_neighbours():
    with GitHubServer() as server:
        repo = server.add_repo("acme/widgets")
        for at in range(5):
            repo.add_label(str(at))
        pages = [links(ask(server, f"/repos/acme/widgets/labels?per_page=2&page={page}")[1]) for page in (1, 2, 3)]
    assert [sorted(page) for page in pages] == [["last", "next"], ["first", "last", "next", "prev"], ["first", "prev"]]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_everything_can_be_shown_and_what_can_be_seen_is_shown(seed):
    rng, now = random.Random(seed), [NOW]
    with GitHubServer(clock=lambda: now[0]) as server:
        repo = server.add_repo("acme/widgets").make(10, comments=10, events=10, reviews=5)
        kinds = set()
        for _ in range(200):
            now[0] += rng.choice([0, 0, 1, 30])
            kinds.add(happen(repo, rng, late=rng.choice([0, 0, 10])))
        assert kinds == set(KINDS)
        for address, stream in NAMES.items():
            shown = walk(server, f"/repos/acme/widgets/{address}?state=all&per_page=100")
            assert {item["id"] for item in shown} == repo.versions()[stream].keys()
        for number in [number for stream, number in repo.known() if stream == "pulls"]:
            pull = f"/repos/acme/widgets/pulls/{number}"
            walk(server, pull + "/reviews")
            assert ask(server, pull, "t")[0] == 200
        shown = {(one.stream, one.id, one.updated_at) for one in server.served}
    assert {(stream, *version) for stream, found in repo.versions().items() for version in found.items()} <= shown


def test_one_issue_by_itself_is_answered_by_what_became_of_it():
    with GitHubServer() as server:
        repo, other = server.add_repo("acme/widgets"), server.add_repo("acme/gadgets")
        shown, moved, deleted, hidden, pull = [repo.add_issue() for _ in range(4)] + [repo.add_pull()]
        new = repo.transfer(moved, other)
        repo.delete_issue(deleted)
        repo.hide(hidden)

        for number in (shown, pull, moved, deleted, hidden, 99):
            ask(server, f"/repos/acme/widgets/issues/{number}")
        assert [one.status for one in server.journal] == [200, 200, 301, 200, 410, 404, 404]  # one was followed
        assert server.journal[3].path == f"/repositories/{other.id}/issues/{new}"
        server.repos.pop("acme/gadgets")  # not for this token
        assert ask(server, f"/repos/acme/widgets/issues/{moved}")[0] == 404
        repo.show(hidden)
        assert ask(server, f"/repos/acme/widgets/issues/{hidden}")[0] == 200
