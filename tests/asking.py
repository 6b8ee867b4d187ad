"""The tests' GitHub, asked as any client would, without a line of the pipeline's."""

import contextlib
import json
import re
import urllib.error
import urllib.request

import pytest

from tests.github_server import GitHubServer

NOW = 1_790_000_000
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def now():
    return [NOW]


@pytest.fixture
def server(now):
    with GitHubServer(clock=lambda: now[0]) as made:
        yield made


def ask(server, path, token=None, body=None, **more):
    """(status, headers, what the body holds); `body`: to be posted as JSON; a 304 or HTML has None."""
    headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more}
    url = path if path.startswith("http") else server.url + path
    posted = None if body is None else json.dumps(body).encode()
    try:
        answer = OPENER.open(urllib.request.Request(url, data=posted, headers=headers))
    except urllib.error.HTTPError as error:
        answer = error
    with contextlib.closing(answer):
        is_json = "json" in (answer.headers["Content-Type"] or "")
        text = answer.read()
        return answer.status, answer.headers, json.loads(text) if is_json and text else None


def links(headers):
    """{rel: address} of a Link header."""
    return {rel: address for address, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', headers["Link"] or "")}


def walk(server, path, token="t"):
    """Every element that the list has, page after page by its own links."""
    found, address = [], path
    while address:
        status, headers, page = ask(server, address, token)
        assert status == 200, page
        found += page
        address = links(headers).get("next")
    return found
