"""The servers that the contestants talk to, each in a process of its own, on loopback."""

import asyncio
import contextlib
import multiprocessing
from typing import NamedTuple

from benchmarks.data import fill_repo
from tests.github_server import GitHubServer

_SPAWN = multiprocessing.get_context("spawn")


class Counts(NamedTuple):
    requests: int
    points: int


class GitHub:
    """The tests' GitHub with `repos` repositories of `items` issues and pull requests each; a context manager."""

    def __init__(self, *, repos, items, latency_seconds):
        self.names = [f"acme/r{number}" for number in range(repos)]
        self._pipe, end = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve_github, args=(end, self.names, items, latency_seconds))
        self._process.start()
        self.url = self._pipe.recv()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._pipe.send(("close",))
        self._process.join()

    def counts(self):
        """Requests and points since the last call."""
        self._pipe.send(("counts",))
        return self._pipe.recv()

    def touch(self, count):
        """Change so many items of the first repository."""
        self._pipe.send(("touch", count))
        self._pipe.recv()


def _serve_github(pipe, names, items, latency_seconds):
    # The real one refuses page 101 of the issues list (422); the rivals count pages, and are not to end there.
    with GitHubServer(latency_seconds=latency_seconds, max_page=10**6, rate_limit=10**6) as server:
        server.keeps_served = False
        repos = [server.add_repo(name) for name in names]
        for repo in repos:
            fill_repo(repo, items)
        pipe.send(server.url)
        while True:
            order, *arguments = pipe.recv()
            if order == "close":
                return
            if order == "touch":
                for number in range(1, arguments[0] + 1):
                    repos[0].touch(repos[0].stream_of(number), number)
                pipe.send(None)
            else:
                pipe.send(Counts(len(server.journal), server.points_used))
                server.journal, server.points_used = [], 0


@contextlib.contextmanager
def delayed(upstream, seconds):
    """The URL of a proxy that passes everything on, what clients send `seconds` later: a server that is far away."""
    if not seconds:
        yield upstream
        return
    pipe, end = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve_delayed, args=(end, upstream, seconds))
    process.start()
    try:
        yield pipe.recv()
    finally:
        process.terminate()
        process.join()


def _serve_delayed(pipe, upstream, seconds):
    host, port = upstream.rsplit("/", 1)[-1].split(":")

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(loop, host, int(port), seconds), "127.0.0.1", 0, backlog=512)
        pipe.send("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


class _Client(asyncio.Protocol):
    """A client's connection; its bytes go on late, the answers at once."""

    def __init__(self, loop, host, port, seconds):
        self._loop, self._host, self._port, self._seconds = loop, host, port, seconds
        self._upstream = self._opening = None

    def connection_made(self, transport):
        self.transport = transport
        self._opening = self._loop.create_task(self._open())

    async def _open(self):
        self._upstream, _ = await self._loop.create_connection(
            lambda: _Upstream(self.transport), self._host, self._port
        )

    def data_received(self, data):
        self._loop.call_later(self._seconds, self._pass_on, data)

    def _pass_on(self, data):
        if self._upstream is None:  # not open yet
            self._opening.add_done_callback(lambda task: self._upstream and self._upstream.write(data))
        else:
            self._upstream.write(data)

    def connection_lost(self, error):
        if self._upstream is not None:
            self._upstream.close()


class _Upstream(asyncio.Protocol):
    def __init__(self, client):
        self._client = client

    def data_received(self, data):
        self._client.write(data)

    def connection_lost(self, error):
        self._client.close()
