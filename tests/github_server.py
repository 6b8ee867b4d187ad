"""A GitHub REST API of the tests' own, on a real loopback socket: pages, filters, limits, redirects, faults.

Behaves as https://docs.github.com/rest describes; what it holds is in github_data.py. By hand:
`python -m tests.github_server --items 500`, then set GITHUB_API_URL to what it prints.
"""

import argparse
import contextlib
import importlib.util
import os
import random
import signal
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from tests.github_data import Repo, load, populate
from tests.github_world import orders
from tests.github_world.answers import Answer, Request, as_json, error, token_of
from tests.github_world.handler import Handler
from tests.github_world.items import Items
from tests.github_world.limits import Limits
from tests.github_world.lists import Lists
from tests.github_world.pulls import Pulls

__all__ = ["Answer", "GitHubServer", "Request"]


class GitHubServer(Lists, Items, Pulls, Limits, ThreadingHTTPServer):
    """Serves until `close`. `tokens` None takes any token; `rate_limit` None sends no limit headers, 0 says 0 of 0.

    `after_page(repo, stream, items)` is called after each page of a list, for instance to change an item while a scan
    goes on; `after_selection(repo, stream, numbers)` before a page's items are written; `on_request(target)` before a
    request is answered, target and fault_for's being path and query, and of a POST the body behind them. `journal` has
    every request, `served` every version of every item that a list ever showed; of pull requests by themselves those
    of "pull-details", each by its own characters in the answer, and of "reviews".
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, clock=time.time, tokens=None, rate_limit=5000, latency_seconds=0.0, max_page=100, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.clock, self.tokens, self.latency_seconds = clock, tokens, latency_seconds
        self._begin_limits(rate_limit)
        self._begin_lists(max_page)
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        self.after_page = self.after_selection = self.on_request = None
        self.journal, self.served = [], set()
        self.keeps_served = True  # False saves a hash of each item
        self.hanging = 0  # how many requests have been left without an answer
        self.repos = {}
        self._repos_made = 0
        self.users = set()  # owners that are no organisations
        self.login = "ada"  # whose token it is
        self.app = None  # a GitHub App (github_world/apps.py), beside whose logins there are none
        # False: an old Enterprise Server, or the demo's environment.
        self.graphql_enabled = importlib.util.find_spec("graphql") is not None
        self.graphql_heaviest = 5_000  # queries that may show more nodes than this take too long
        self.graphql_anonymous = 401  # or 403: what who has no token gets
        self._moved = {}
        self._faults = []
        self._random = (0.0, [], random.Random(0))
        self._lock = threading.RLock()
        self.closing = threading.Event()
        self._thread = None

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.closing.set()
        if self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def add_repo(self, full_name, **options):
        self._repos_made += 1
        repo = Repo(full_name, 999 + self._repos_made, self.clock, **options)
        self.repos[full_name.lower()] = repo
        return repo

    def rename(self, old, new):
        repo = self.repos.pop(old.lower())
        repo.full_name = new
        self.repos[new.lower()] = repo
        self._moved[old.lower()] = repo

    def fail_next(self, kind, *, times=1, match="", **details):
        """The next `times` requests whose target contains `match` fail; `kind`: a status, or a name in faults.py."""
        with self._lock:
            self._faults.append([times, match, kind, details])

    def fail_randomly(self, rate, kinds, rng):
        """From now on this share of the requests fails, each by one of `kinds`."""
        self._random = (rate, kinds, rng)

    def fault_for(self, target):
        with self._lock:
            rate, kinds, rng = self._random
            if rng.random() < rate:
                return rng.choice(kinds), {"seconds": 5}
            for fault in self._faults:
                if fault[0] > 0 and fault[1] in target:
                    fault[0] -= 1
                    return fault[2], fault[3]
        return None

    def note(self, request):
        with self._lock:
            self.journal.append(request)
            self.spend(token_of(request.headers), request.resource, request.points)

    def record(self, repo, stream, served):
        """A page was shown."""
        with self._lock:
            self.served.update(served if self.keeps_served else ())
        if self.after_page:
            self.after_page(repo, stream, served)

    # Answers.

    def answer(self, path, query, headers):
        token = token_of(headers)
        refused = self._refused(token, headers)
        if refused:
            return refused
        if self.rate_limit and not self.left(token) and path != "/rate_limit":
            return self._exceeded(token, "core")
        return self._route(_parts(path), query, token)

    def answer_post(self, path, headers, body):
        token = token_of(headers)
        refused = self._refused(token, headers)
        if self.app and not refused and not path.endswith("/graphql"):
            return self.app.answer(_parts(path), {}, token, body)
        if refused or path not in ("/graphql", "/api/graphql") or not self.graphql_enabled:
            return refused or error(404, "Not Found")
        if not token:
            needed = "This endpoint requires you to be authenticated."
            return error(401, needed) if self.graphql_anonymous == 401 else self._exceeded(None, "graphql")
        if self.graphql_limit is not None and not self.left(token, "graphql"):
            said = {"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}
            return as_json({"errors": [said]})._replace(points=0)
        from tests.github_world import graphql  # not at the top: the demo's environment has no graphql-core

        return graphql.answer(self, body, token)

    def _refused(self, token, headers):
        if not headers.get("user-agent"):
            return error(403, "Request forbidden by administrative rules. Please set a User-Agent.")
        if token and self.tokens is not None and token not in self.tokens:
            return error(401, "Bad credentials")
        return None

    def _exceeded(self, token, resource):
        whose = "user ID 1." if token else "127.0.0.1. (But here's the good news: Authenticated requests get more.)"
        return error(403, "API rate limit exceeded for " + whose, **self.limit_headers(token, resource))

    def find(self, full_name, *, follows=True):
        """The repository of a name, or of one that it had; None where there is none."""
        name = full_name.lower()
        return self.repos.get(name) or (self._moved.get(name) if follows else None)

    def find_by_id(self, repo_id):
        return self._by_id(str(repo_id))

    def _route(self, parts, query, token):
        of_app = self.app.answer(parts, query, token) if self.app else None
        if of_app is not None:
            return of_app
        if parts == ["rate_limit"] and self.rate_limit is not None:
            return self._limits(token)
        if parts == ["user"] and token:
            return as_json({"login": self.login, "id": 1})
        if parts == ["user", "repos"] and token:
            return self._owned("user/repos", self.login.lower(), query, private=True)
        if parts[0] in ("orgs", "users") and parts[2:] == ["repos"]:
            return self._owned("/".join(parts), parts[1].lower(), query, private=parts[0] == "orgs")
        if parts[0] == "repos" and 3 <= len(parts) <= 6:
            name = "/".join(parts[1:3]).lower()
            if name in self._moved and name not in self.repos:
                return self._redirect(self._moved[name], parts[3:], query)
            return self._repo(self.repos.get(name), parts[3:], query)
        if parts[0] == "repositories" and len(parts) >= 2:
            return self._repo(self._by_id(parts[1]), parts[2:], query)
        return error(404, "Not Found")

    def _owned(self, path, owner, query, *, private):
        """`/users/x/repos` never shows private ones, whosever token asks."""
        of_owner = [repo for name, repo in self.repos.items() if name.startswith(owner + "/")]
        if (path.startswith("orgs") and owner in self.users) or not of_owner:
            return error(404, "Not Found")
        found = [repo.payload() for repo in of_owner if private or not repo.private]
        size, page = int(query["per_page"]), int(query.get("page", 1))
        link = '<%s/%s?%s>; rel="next"' % (self.url, path, urlencode({**query, "page": page + 1}))
        headers = {"Link": link} if page * size < len(found) else {}
        return as_json(found[(page - 1) * size : page * size], **headers)

    def _by_id(self, text):
        return next((repo for repo in self.repos.values() if str(repo.id) == text), None)

    def _redirect(self, repo, rest, query):
        location = "%s/repositories/%d/%s?%s" % (self.url, repo.id, "/".join(rest), urlencode(query))
        return as_json({"message": "Moved Permanently", "url": location}, 301, Location=location)

    def _repo(self, repo, rest, query):
        if repo is None:
            return error(404, "Not Found")
        if not rest:
            return as_json(repo.payload())
        if rest == ["issues"] and not repo.issues_enabled:
            return error(410, "Issues has been disabled in this repository.")
        if rest[0] == "pulls" and not repo.pulls_enabled:
            return error(404, "Not Found")
        if "/".join(rest) in orders.NAMES:
            return self._list(repo, orders.NAMES["/".join(rest)], query)
        if rest[0] in ("issues", "pulls") and (said := self._alone_of(repo, rest, query)) is not None:
            return said
        if rest[0] == "pulls" and rest[1].isdecimal():
            return self._pull(repo, int(rest[1]), "/".join(rest[2:]), query)
        return error(404, "Not Found")


def _parts(path):
    parts = path.strip("/").split("/")
    return parts[2:] if parts[:2] == ["api", "v3"] else parts  # where GitHub Enterprise Server has it


def main():
    parser = argparse.ArgumentParser(description="A GitHub REST API for trials and tests, on loopback.")
    parser.add_argument("--items", type=int, default=500, help="items made in each repository (default 500)")
    parser.add_argument(
        "--repo", action="append", help="a repository to serve (default acme/widgets, octocat/Hello-World)"
    )
    parser.add_argument("--from-file", type=Path, help="serve the payloads of this JSON lines file instead")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--port-file", type=Path, help="write the URL there once it can be asked")
    parser.add_argument("--latency-ms", type=float, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda signum, frame: os.kill(os.getpid(), signal.SIGINT))
    try:
        made = GitHubServer(port=options.port, latency_seconds=options.latency_ms / 1000)
    except OSError as error:
        parser.exit(2, f"error: port {options.port}: {error.strerror}; give another --port, or none for a free one\n")
    with made as server:
        for name in options.repo or ["acme/widgets", "octocat/Hello-World"]:
            repo = server.add_repo(name)
            if options.from_file:
                with options.from_file.open(encoding="utf-8") as lines:
                    load(repo, lines)
            else:
                populate(repo, options.items, server.clock())
        print("GITHUB_API_URL=" + server.url, flush=True)
        if options.port_file:
            temporary = options.port_file.with_name(options.port_file.name + ".tmp")
            temporary.write_text(server.url)
            temporary.replace(options.port_file)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
