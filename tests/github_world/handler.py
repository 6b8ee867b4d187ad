"""HTTP around the answers."""

import email.utils
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from tests.github_world.answers import Request, etag, token_of
from tests.github_world.faults import faulty


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "github.com"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._serve(b"", self.server.answer)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve(body, lambda path, query, headers: self.server.answer_post(path, headers, body))

    def _serve(self, body, answer_to):
        server = self.server
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = f"{self.path} {body.decode(errors='replace')}" if body else self.path
        server.closing.wait(server.latency_seconds)
        if server.on_request:
            server.on_request(target)
        fault = server.fault_for(target)
        asked = lambda: answer_to(parts.path, query, headers)  # noqa: E731 - for as long as this request lasts
        answer = faulty(self, *fault, asked) if fault else asked()
        resource = server.resource_of(parts.path)
        request = Request(parts.path, query, headers, 0, 0, body, resource)
        if answer is None:
            server.note(request)
            return
        if self.command == "GET":
            answer = etag(answer, headers)
        token = token_of(headers)
        # https://docs.github.com/rest/rate-limit/rate-limit: to ask for the limit costs nothing.
        is_free = parts.path == "/rate_limit" or (answer.status == 304 and token)
        server.note(request._replace(status=answer.status, points=0 if is_free else answer.points))
        self._send(answer, server.limit_headers(token, resource), cut=bool(fault) and fault[0] == "truncate")

    def _send(self, answer, limits, *, cut):
        self.send_response_only(answer.status)
        headers = {
            "Date": email.utils.formatdate(self.server.clock(), usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            **limits,
            **answer.headers,
        }
        if answer.status != 304:
            headers["Content-Length"] = str(len(answer.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.close_connection = self.close_connection or cut
