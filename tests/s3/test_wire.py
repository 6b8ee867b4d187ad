"""One exchange against a server that says, byte for byte, what the test wants it to say."""

import contextlib
import gc
import socket
import threading

import pytest

from s3.wire import MOST_HEAD_BYTES, Odd, Proxy, Wire

WHOLE = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 4\r\n\r\nbody'
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """`answers`: what each connection gets, one text for each request. `heard`: the requests of each, as they came."""

    def __init__(self):
        self.answers, self.heard, self.ended = [[WHOLE]], [], threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.connections, self._threads = [], [threading.Thread(target=self._accept)]
        self.origin = "http://127.0.0.1:%d" % self._listening.getsockname()[1]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.heard.append([])
            answers = self.answers.pop(0) if self.answers else []
            self._threads.append(threading.Thread(target=self._talk, args=(connection, answers, self.heard[-1])))
            self._threads[-1].start()

    def _talk(self, connection, answers, heard):
        with contextlib.suppress(OSError):  # the other end closes what it found odd
            for answer in answers:
                heard.append(connection.recv(1 << 20))
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1 << 20) == b"":
                self.ended.set()

    def close(self):
        for each in (self._listening, *self.connections):
            with contextlib.suppress(OSError):  # the other end may have closed it
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listening, *self.connections):
            each.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def wire(server):
    return Wire(server.origin, connect_seconds=5, read_seconds=5, context=None)


def test_what_is_asked_goes_out_in_one_piece_and_the_answer_comes_back_whole(server, wire):
    answer = wire.ask("PUT", "/b/k", {"Host": "h", "X-A": "1"}, b"x" * 6000)
    assert (answer.headers["etag"], answer.body) == ('"e"', b"body")
    wanted = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nContent-Length: 6000\r\n\r\n" + b"x" * 6000
    assert server.heard == [[wanted]]


def test_a_body_of_nothing_has_a_length_and_no_body_has_none(server, wire):
    server.answers = [[WHOLE, EMPTY]]
    wire.ask("PUT", "/k", {}, b"")
    assert wire.ask("GET", "/k", {}).body == b""
    assert server.heard == [[b"PUT /k HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"GET /k HTTP/1.1\r\n\r\n"]]


OK = b"HTTP/1.1 200 OK\r\n"
ODD = {
    "nothing": b"",
    "cut off in its head": OK + b"Content-Le",
    "no length": OK + b"ETag: 1\r\n\r\n",
    "cut off in its body": OK + b"Content-Length: 8\r\n\r\nbody",
    "more than its body": OK + b"Content-Length: 2\r\n\r\nbody",
    "a length below zero": OK + b"Content-Length: -2\r\n\r\nbody",
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    "a length and chunks": OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two of a header": OK + b"Content-Length: 4\r\nETag: 1\r\nETag: 2\r\n\r\nbody",
    "a folded header": OK + b"Content-Length: 4\r\nX-Folded: 1\r\n 2: 3\r\n\r\nbody",
    "no colon": OK + b"Content-Length: 4\r\nno colon\r\n\r\nbody",
    "a packed body": OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody",
    "a body too large": OK + b"Content-Length: 16777217\r\n\r\nbody",
    "a length of another script": OK + b"Content-Length: " + b"\xb2\r\n\r\nbo",
    "another answer first": b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
    "204": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "206": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\nbody",
    "307": b"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
    "an older HTTP": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "a page": b"<html>\r\n\r\n",
    "no end of its head": OK + b"X: " + b"x" * (MOST_HEAD_BYTES + 300_000),
}


@pytest.mark.parametrize("answer", ODD)
def test_whatever_is_not_a_whole_200_of_known_length_is_odd_and_ends_its_connection(server, wire, answer):
    server.answers = [[ODD[answer]], [WHOLE]]
    with pytest.raises((Odd, ConnectionError)):
        wire.ask("GET", "/k", {})
    assert wire.ask("GET", "/k", {}).body == b"body"
    assert len(server.heard) == 2


def test_headers_that_nobody_reads_may_be_there_twice(server, wire):
    server.answers = [[OK + b"Vary: Origin\r\nVary: Accept-Encoding\r\nX-A: \xa0b \r\nContent-Length: 0\r\n\r\n"]]
    assert wire.ask("PUT", "/k", {}, b"x").headers["x-a"] == "\xa0b"


def test_an_answer_in_pieces_is_put_together(server, wire):
    big = bytes(range(256)) * 4000
    server.answers = [[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big) + big, WHOLE]]
    assert wire.ask("GET", "/k", {}).body == big
    assert wire.ask("GET", "/k", {}).body == b"body"
    assert len(server.heard) == 1


def test_a_connection_that_the_server_closed_or_spoke_on_unasked_is_used_no_more(server, wire):
    server.answers = [[WHOLE], [WHOLE, WHOLE], [WHOLE]]
    for path in ("/1", "/2"):
        wire.ask("GET", path, {})
        if path == "/2":
            server.connections[1].sendall(WHOLE)
        (kept,) = wire._idle
        kept.sock.recv(1, socket.MSG_PEEK)  # what the server did behind its answer has arrived
    wire.ask("GET", "/3", {})
    assert [len(heard) for heard in server.heard] == [1, 1, 1]


def test_where_the_server_says_that_it_closes_nothing_is_kept(server, wire):
    server.answers = [[WHOLE.replace(b"ETag", b"Connection: close\r\nETag")], [WHOLE]]
    wire.ask("GET", "/1", {})
    assert server.ended.wait(5)
    wire.ask("GET", "/2", {})
    assert len(server.heard) == 2


def testconnections_end_with_the_wire(server):
    wire = Wire(server.origin, connect_seconds=5, read_seconds=5, context=None)
    wire.ask("GET", "/k", {})
    assert not server.ended.is_set()
    del wire
    gc.collect()
    assert server.ended.wait(5)


@pytest.mark.parametrize("headers", [{"a": "1\r\nb: 2"}, {"a": "1\nb: 2"}, {"a\rb": "1"}, {"a": "é"}])
def test_a_header_that_is_none_is_not_sent(server, wire, headers):
    with pytest.raises(ValueError, match="line break|ascii"):
        wire.ask("GET", "/k", headers)
    assert server.heard == []


def test_no_answer_is_waited_for_for_ever(server):
    server.answers = [[b"HTTP/1.1 200 OK\r\n"]]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wire = Wire("http://127.0.0.1:%d" % silent.getsockname()[1], connect_seconds=5, read_seconds=0.05, context=None)
        with pytest.raises(OSError, match="timed out"):
            wire.ask("GET", "/k", {})


def test_once_it_is_connected_the_time_is_that_of_an_answer(server):
    wire = Wire(server.origin, connect_seconds=7, read_seconds=5, context=None)
    wire.ask("GET", "/k", {})
    (kept,) = wire._idle
    assert kept.sock.gettimeout() == 5


def test_a_proxy_is_told_the_whole_address_and_who_asks(server):
    port = int(server.origin.rsplit(":", 1)[1])
    proxy = Proxy("127.0.0.1", port, {"Proxy-Authorization": "Basic abc"})
    wire = Wire("http://lake.example:9000", connect_seconds=5, read_seconds=5, context=None, proxy=proxy)
    wire.ask("GET", "/k", {"Host": "lake.example:9000"})
    wanted = "GET http://lake.example:9000/k HTTP/1.1", "Host: lake.example:9000", "Proxy-Authorization: Basic abc"
    assert server.heard == [["\r\n".join((*wanted, "", "")).encode()]]
