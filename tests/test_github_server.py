"""The tests' own GitHub, where it has to be like the real one."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request

from tests.conftest import ROOT
from tests.github_data import populate
from tests.github_server import GitHubServer

HOUR, DAY = 3600, 86400
NOW = 1_790_000_000


def ask(server, path, token=None):
    """(status, headers, what the body holds)"""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(server.url + path, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(request)
    except urllib.error.HTTPError as error:
        answer = error
    with contextlib.closing(answer):
        return answer.status, answer.headers, json.loads(answer.read())


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
