"""One HTTP/1.1 exchange at a time over connections that are kept open, for the plainest of answers.

A library that knows all of HTTP takes three times the CPU (python -m benchmarks steps). This knows next to nothing of
it, and need not: whatever is not a whole 200 of known length is Odd, ends its connection, and is asked for again in
another way. Connecting (TLS, tunnels through proxies) is left to http.client.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import re
import ssl
import urllib.parse
import weakref
from typing import Any, Mapping, NamedTuple

from urllib3.util import wait_for_read

RECEIVED_BYTES = 256 * 1024  # at a time
MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 16 * 1024 * 1024  # it is in memory twice, for a moment
# Headers of which there may be several: what nobody reads. MinIO sends two `Vary`.
_READ = re.compile(r"content-(?:length|encoding)\Z|transfer-encoding\Z|connection\Z|etag\Z|date\Z|x-amz-")
_END_OF_HEAD = b"\r\n\r\n"


class Odd(Exception):
    """The answer is not as plain as this module knows them; the message says why. `status` is empty for a 200."""

    def __init__(self, reason: str, status: str = "") -> None:
        super().__init__(reason)
        self.status = status


class Answer(NamedTuple):
    """Of status 200, and whole. `headers`: names in lower case."""

    headers: dict[str, str]
    body: bytes


class Proxy(NamedTuple):
    """`headers`: what lets us through (Proxy-Authorization)."""

    host: str
    port: int
    headers: Mapping[str, str]


class Wire:
    """Connections to one server; safe to use from several threads, each with one of its own while it asks."""

    def __init__(
        self,
        origin: str,
        *,
        connect_seconds: float,
        read_seconds: float,
        context: ssl.SSLContext | None,
        proxy: Proxy | None = None,
    ) -> None:
        """`origin`: scheme, host and port. `context`: of TLS, where the scheme is https."""
        parts = urllib.parse.urlsplit(origin)
        self._host, self._port = parts.hostname or "", parts.port
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._context = context
        self._proxy = proxy
        # A proxy for what is not encrypted is told the whole address with each request.
        self._before_path, self._added = (origin, proxy.headers) if proxy and context is None else ("", {})
        self._idle: collections.deque[http.client.HTTPConnection] = collections.deque()
        weakref.finalize(self, _close, self._idle)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Raises Odd; OSError, TLS and time-outs among it; http.client.HTTPException; ValueError for what no header
        takes."""
        head = _head(method, self._before_path + path, {**headers, **self._added}, body)
        connection = self._connection()
        try:
            # In one call: two would be two packets, and the second might wait until the first is acknowledged.
            connection.sock.sendall(head + body if body else head)
            answer = _read(connection.sock)
        except BaseException:
            connection.close()
            raise
        if answer.headers.get("connection", "keep-alive").lower() == "keep-alive":
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close_idle(self) -> None:
        """Those that nobody uses now; others are made when they are needed."""
        _close(self._idle)

    def _connection(self) -> http.client.HTTPConnection:
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not _has_something_to_read(kept.sock):
                return kept
            kept.close()  # the server closed it, or said something that nobody asked for
        made = self._new()
        try:
            made.connect()
            made.sock.settimeout(self._read_seconds)
        except BaseException:
            made.close()
            raise
        return made

    def _new(self) -> http.client.HTTPConnection:
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=self._connect_seconds)
        made = http.client.HTTPSConnection(host, port, timeout=self._connect_seconds, context=self._context)
        if self._proxy:
            made.set_tunnel(self._host, self._port or http.client.HTTPS_PORT, dict(self._proxy.headers))
        return made


def _close(connections: collections.deque[http.client.HTTPConnection]) -> None:
    with contextlib.suppress(IndexError):  # another thread may take one, too
        while connections:
            connections.pop().close()


def _has_something_to_read(sock: Any) -> bool:
    return wait_for_read(sock, timeout=0) or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)


def _head(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) - 1:
        raise ValueError("a line break in a header")
    return text.encode("ascii") + _END_OF_HEAD


def _read(sock: Any) -> Answer:
    received = sock.recv(RECEIVED_BYTES)
    while _END_OF_HEAD not in received:
        more = sock.recv(RECEIVED_BYTES)
        if not more or len(received) > MOST_HEAD_BYTES:
            raise Odd("no whole head")
        received += more
    head, _, body = received.partition(_END_OF_HEAD)
    status, *lines = head.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.1 200 "):
        raise Odd(f"status {status[9:12]}", status[9:12])
    headers = _headers(lines)
    length = headers.get("content-length", "")
    if not re.match(r"\d{1,9}\Z", length, re.ASCII) or "transfer-encoding" in headers:
        raise Odd("a body of unknown length")
    if "content-encoding" in headers or int(length) > MOST_BODY_BYTES:
        raise Odd("a body that is packed, or too large")
    return Answer(headers, _body(sock, body, int(length)))


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name != name.strip() or (name in found and _READ.match(name)):
            raise Odd("a header that is cut off, folded or twice there")
        found[name] = value.strip(" \t")
    return found


def _body(sock: Any, begin: bytes, length: int) -> bytes:
    parts, missing = [begin], length - len(begin)
    while missing > 0:
        more = sock.recv(min(missing, RECEIVED_BYTES))
        if not more:
            raise Odd("a body that is cut off")
        parts.append(more)
        missing -= len(more)
    if missing < 0:
        raise Odd("more than the body")
    return b"".join(parts)
