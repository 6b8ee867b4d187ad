"""A GitHub REST API of the tests' own, on a real loopback socket: pages, filters, limits, redirects, faults.

Behaves as https://docs.github.com/rest describes; what it holds is in github_data.py. By hand:
`python -m tests.github_server --items 500`, then set GITHUB_API_URL to what it prints.
"""

import argparse
import base64
import contextlib
import email.utils
import hashlib
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.github_data import Repo, load, populate
from tests.github_world import orders
from tests.github_world.basics import compact_json

TOO_FAR = "In order to keep the API fast for everyone, pagination is limited for this resource."
WINDOW_SECONDS = 3600
ANONYMOUS_LIMIT = 60
BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
TOO_DEEP = "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination"


class Request(NamedTuple):
    path: str
    query: dict
    headers: dict  # names in lower case
    status: int  # 0: never answered
    points: int


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict = {}


class GitHubServer(ThreadingHTTPServer):
    """Serves until `close`. `tokens` None takes any token; `rate_limit` None sends no limit headers, 0 says 0 of 0.

    `after_page(repo, stream, items)` is called after each page of a list, for instance to change an item while a scan
    goes on; `after_selection(repo, stream, numbers)` before a page's items are written. `journal` has every request,
    `served` every version of every item that a list ever showed.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, clock=time.time, tokens=None, rate_limit=5000, latency_seconds=0.0, max_page=100, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.clock, self.tokens, self.rate_limit = clock, tokens, rate_limit
        self.latency_seconds, self.max_page = latency_seconds, max_page
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        self.deepest = {"issue-comments": 40_000, "review-comments": 40_000}  # a list is served up to this item
        self.event_pages = 300  # and that of events up to this page, which links to no further one
        self.after_page = self.after_selection = None
        self.journal, self.served = [], set()
        self.keeps_served = True  # False saves a hash of each item
        self.points_used = 0
        self._used = {}  # (token, hour) -> points: each token has its own, and so has who has none
        self.hanging = 0  # how many requests have been left without an answer
        self.repos = {}
        self._repos_made = 0
        self.users = set()  # owners that are no organisations
        self.login = "ada"  # whose token it is
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
        pass  # a client that went away is no news

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
        """The next `times` requests whose path and query contain `match` fail; `kind` is a status or a name below."""
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
            self.points_used += request.points
            window = self._window(_token(request.headers))
            self._used[window] = self._used.get(window, 0) + request.points

    # Answers.

    def answer(self, path, query, headers):
        if not headers.get("user-agent"):
            return _error(403, "Request forbidden by administrative rules. Please set a User-Agent.")
        token = _token(headers)
        if token and self.tokens is not None and token not in self.tokens:
            return _error(401, "Bad credentials")
        if self.rate_limit and not self._left(token) and path != "/rate_limit":
            whose = "user ID 1." if token else "127.0.0.1. (But here's the good news: Authenticated requests get more.)"
            return _error(403, "API rate limit exceeded for " + whose, **self.limit_headers(token))
        return self._route(path.strip("/").split("/"), query, token)

    def _limit(self, token):
        return self.rate_limit if token else min(self.rate_limit, ANONYMOUS_LIMIT)

    def _window(self, token):
        return token, int(self.clock()) // WINDOW_SECONDS

    def _left(self, token):
        return max(0, self._limit(token) - self._used.get(self._window(token), 0))

    def limit_headers(self, token):
        if self.rate_limit is None:
            return {}
        limit, left = self._limit(token), self._left(token)
        reset = (int(self.clock()) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
        return {
            "x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(reset),
            "x-ratelimit-used": str(limit - left), "x-ratelimit-resource": "core",
        }  # fmt: skip

    def _route(self, parts, query, token):
        if parts[:2] == ["api", "v3"]:  # where GitHub Enterprise Server has it
            parts = parts[2:]
        if parts == ["rate_limit"] and self.rate_limit is not None:
            reset = (int(self.clock()) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
            core = {"limit": self._limit(token), "remaining": self._left(token), "reset": reset}
            return Answer(200, compact_json({"resources": {"core": core}}).encode())
        if parts == ["user"] and token:
            return Answer(200, compact_json({"login": self.login, "id": 1}).encode())
        if parts == ["user", "repos"] and token:
            return self._owned("user/repos", self.login.lower(), query, private=True)
        if parts[0] in ("orgs", "users") and parts[2:] == ["repos"]:
            return self._owned("/".join(parts), parts[1].lower(), query, private=parts[0] == "orgs")
        if parts[0] == "repos" and 3 <= len(parts) <= 6:
            name = "/".join(parts[1:3]).lower()
            if name in self._moved and name not in self.repos:
                return self._redirect(self._moved[name], parts[3:], query)
            return self._repo(self.repos.get(name), parts[3:], query)
        if parts[0] == "repositories" and len(parts) >= 3:
            return self._repo(self._by_id(parts[1]), parts[2:], query)
        return _error(404, "Not Found")

    def _owned(self, path, owner, query, *, private):
        """`/users/x/repos` never shows private ones, whosever token asks."""
        of_owner = [repo for name, repo in self.repos.items() if name.startswith(owner + "/")]
        if (path.startswith("orgs") and owner in self.users) or not of_owner:
            return _error(404, "Not Found")
        found = [repo.payload() for repo in of_owner if private or not repo.private]
        size, page = int(query["per_page"]), int(query.get("page", 1))
        link = '<%s/%s?%s>; rel="next"' % (self.url, path, urlencode({**query, "page": page + 1}))
        headers = {"Link": link} if page * size < len(found) else {}
        return Answer(200, compact_json(found[(page - 1) * size : page * size]).encode(), headers)

    def _by_id(self, text):
        return next((repo for repo in self.repos.values() if str(repo.id) == text), None)

    def _redirect(self, repo, rest, query):
        location = "%s/repositories/%d/%s?%s" % (self.url, repo.id, "/".join(rest), urlencode(query))
        return Answer(
            301, compact_json({"message": "Moved Permanently", "url": location}).encode(), {"Location": location}
        )

    def _repo(self, repo, rest, query):
        if repo is None:
            return _error(404, "Not Found")
        if not rest:
            return Answer(200, compact_json(repo.payload()).encode())
        if rest == ["issues"] and not repo.issues_enabled:
            return _error(410, "Issues has been disabled in this repository.")
        if rest[0] == "pulls" and not repo.pulls_enabled:
            return _error(404, "Not Found")
        if "/".join(rest) in orders.NAMES:
            return self._list(repo, orders.NAMES["/".join(rest)], query)
        if rest[0] == "pulls":
            return self._pull(repo, *rest[1:])
        return _error(404, "Not Found")

    def _pull(self, repo, number, part=None):
        pull = repo.pull(int(number)) if number.isdecimal() else None
        if pull is None or part not in (None, "reviews"):
            return _error(404, "Not Found")
        return Answer(200, compact_json([] if part else pull).encode())

    def _list(self, repo, stream, query):
        size = min(int(query.get("per_page", 30)), 100)
        page = int(query.get("page", 1))
        if stream == "issues" and page > self.max_page and "after" not in query:
            return _error(422, TOO_DEEP)
        if page * size > self.deepest.get(stream, page * size) or (stream == "events" and page > self.event_pages):
            return _error(422, TOO_FAR)
        with repo.lock:
            items = repo.streams[stream]
            if "after" in query and stream == "issues":
                ids, more = items.after(_from_cursor(query["after"]), size, query.get("direction") != "asc")
                total = None
            else:
                ids, total = orders.select(stream, items, query, (page - 1) * size, size)
                total = min(total, self.event_pages * size) if stream == "events" else total
                more = page * size < total
            if repo.broken & {(stream, known) for item_id in ids for known in (items.items[item_id][1], item_id)}:
                return Answer(502, BAD_GATEWAY, {"Content-Type": "text/html"})
            if self.after_selection:
                self.after_selection(repo, stream, [items.items[item_id][1] for item_id in ids])
            texts = [items.items[item_id][3]() for item_id in ids]
            served = [repo.served(stream, item_id, text) for item_id, text in zip(ids, texts) if self.keeps_served]
            last = (items.items[ids[-1]][0], ids[-1]) if ids else None
        with self._lock:
            self.served.update(served)
        headers = {"Link": self._link(repo, stream, query, page, last, total)} if more else {}
        if self.after_page:
            self.after_page(repo, stream, served)
        return Answer(200, ("[" + ",".join(texts) + "]").encode(), headers)

    def _link(self, repo, stream, query, page, last, total):
        """Issues: a cursor, beside a page number that means nothing, and no last page. Pull requests: numbers."""
        address = "%s/repositories/%d/%s?" % (self.url, repo.id, orders.ADDRESSES[stream])
        query = {**query, "page": str(page + 1)}
        if repo.cursors and stream == "issues":
            query["after"] = base64.urlsafe_b64encode(json.dumps(last).encode()).decode()
            return '<%s>; rel="next"' % (address + urlencode(query))
        last_page = -(-total // min(int(query.get("per_page", 30)), 100))
        return '<%s>; rel="next", <%s>; rel="last"' % (
            address + urlencode(query), address + urlencode({**query, "page": str(last_page)}),
        )  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "github.com"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.closing.wait(server.latency_seconds)
        fault = server.fault_for(self.path)
        answer = (
            self._faulty(*fault, parts.path, query, headers) if fault else server.answer(parts.path, query, headers)
        )
        if answer is None:
            server.note(Request(parts.path, query, headers, 0, 0))
            return
        answer = self._conditional(answer, headers)
        token = _token(headers)
        # https://docs.github.com/rest/rate-limit/rate-limit: to ask for the limit costs nothing.
        points = 0 if parts.path == "/rate_limit" or (answer.status == 304 and token) else 1
        server.note(Request(parts.path, query, headers, answer.status, points))
        self._send(answer, token, cut=bool(fault) and fault[0] == "truncate")

    def _conditional(self, answer, headers):
        if answer.status != 200:
            return answer
        key = answer.body + headers.get("authorization", "").encode()
        etag = f'W/"{hashlib.sha256(key).hexdigest()}"'
        if headers.get("if-none-match") == etag:
            return Answer(304, b"", {"ETag": etag})
        return answer._replace(headers={"ETag": etag, **answer.headers})

    def _send(self, answer, token, *, cut):
        self.send_response_only(answer.status)
        headers = {
            "Date": email.utils.formatdate(self.server.clock(), usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            **self.server.limit_headers(token),
            **answer.headers,
        }
        if answer.status != 304:
            headers["Content-Length"] = str(len(answer.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.close_connection = self.close_connection or cut

    def _send_slowly(self, body, *, dripping, status=200):
        """Half of the body, and then nothing, or now and then a byte, until the client has enough of it."""
        self.close_connection = True
        self.send_response_only(status)
        if status != 200:
            self.send_header("Location", self.path)
        self.send_header("Content-Length", str(2 * len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        with contextlib.suppress(OSError):
            while not self.server.closing.wait(0.02):
                if dripping:
                    self.wfile.write(b" ")
                elif self.connection.recv(1) == b"":
                    return

    def _faulty(self, kind, details, path, query, headers):
        """The answer for a fault; None where there is none."""
        if kind == "hang":
            self.server.hanging += 1
            self.server.closing.wait(details.get("seconds", 60))
        if kind in ("reset", "close", "hang"):
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return None
        whole = self.server.answer(path, query, headers)
        if kind in ("drip", "stall"):
            self._send_slowly(whole.body, dripping=kind == "drip", status=details.get("status", 200))
            return None
        if kind == "truncate":
            return whole
        if kind == "no_items":
            return whole._replace(body=b"[]", headers={})
        if kind == "no_link":
            return whole._replace(headers={})
        if kind == "link":
            return whole._replace(headers={**whole.headers, "Link": '<{}>; rel="next"'.format(details["url"])})
        return _fault_answer(kind, details, whole)


def _token(headers):
    return headers.get("authorization", "").split(" ")[-1] or None


def _fault_answer(kind, details, whole):
    retry_after = {"retry-after": str(details["retry_after"])} if "retry_after" in details else {}
    if kind == "invalid_json":
        return Answer(200, whole.body[: len(whole.body) // 2])
    if kind in ("empty", "not_modified"):
        return Answer(200 if kind == "empty" else 304)
    if kind == "too_many":  # as GitHub Enterprise Server refuses long pages: renovatebot/renovate #43750
        return _error(404, "Not Found", **whole.headers)
    if kind == "html":
        return Answer(200, BAD_GATEWAY, {"Content-Type": "text/html"})
    if kind in ("secondary_403", "secondary_429"):
        return _error(int(kind[-3:]), SECONDARY, **retry_after)
    if kind == "redirect":
        return Answer(302, b"{}", {"Location": details["url"]})
    if kind == "blocked":
        body = {"message": "Repository access blocked", "block": {"reason": "tos"}}
        return Answer(403, compact_json(body).encode())
    if kind >= 500:
        return Answer(kind, BAD_GATEWAY, {"Content-Type": "text/html"})
    return _error(kind, details.get("message", "Not Found"), **details.get("headers", {}))


def _error(status, message, **headers):
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return Answer(status, compact_json(body).encode(), headers)


def _from_cursor(text):
    return tuple(json.loads(base64.urlsafe_b64decode(text)))


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
