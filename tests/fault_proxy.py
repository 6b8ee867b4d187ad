"""Stands between an S3 client and a real S3 server, on a real socket, and spoils requests on demand."""

import contextlib
import http.client
import random
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What may go wrong with a request; a tuple is (status, S3's error code).
BEFORE = [
    "reset", "hang", "cut", (403, "AccessDenied"), (404, "NoSuchBucket"), (429, "TooManyRequests"),
    (500, "InternalError"), (503, "SlowDown"), (503, ""),
]  # fmt: skip
DAMAGE = "damage"  # what arrives is not what was sent
AFTER = ["reset_after", "hang_after", "cut_after"]  # the store accepted it; the client does not learn that


class FaultProxy:
    """`fault(method, path)` is asked for each request and returns one of the above, or None to let it through."""

    def __init__(self, upstream, fault=lambda method, path: None):
        self.fault, self.closing = fault, threading.Event()
        self.requests = 0
        self.put_headers = []  # of each upload, names in lower case
        self._upstream = urlsplit(upstream).netloc
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forward(self, method, path, headers, body):
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:  # as they came: the signature covers `Host`
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


def some_of(rate, kinds, rng=None):
    """A fault function: this share of the requests fails, each by one of `kinds`."""
    rng, lock = rng or random.Random(1), threading.Lock()

    def choose(method, path):
        with lock:
            return rng.choice(kinds) if rng.random() < rate else None

    return choose


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of more connections at once than this the kernel drops some


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_PUT(self):
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.requests += 1
        if self.command == "PUT":
            proxy.put_headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = proxy.fault(self.command, self.path)
        if isinstance(fault, tuple):
            status, code = fault
            return self._answer(status, [], b"<Error><Code>%s</Code></Error>" % code.encode() if code else b"")
        if fault in ("reset", "hang", "cut"):
            return self._break(fault)
        if fault == DAMAGE and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        answer = proxy.forward(self.command, self.path, self.headers.items(), body)
        if fault in AFTER:
            return self._break(fault.split("_")[0])
        return self._answer(*answer)

    do_GET = do_HEAD = do_DELETE = do_POST = do_PUT

    def _answer(self, status, headers, body):
        length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break(self, how):
        self.close_connection = True
        if how == "cut":  # and then closed as after any whole answer: clients take such a thing for success
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            return
        if how == "hang":
            self.server.proxy.closing.wait(60)
        # A reset, not a clean end: no time to linger.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
