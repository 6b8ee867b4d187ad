"""A server that answers each request as S3 would refuse it, or with the next of its pages, and keeps what was asked."""

import contextlib
import hashlib
import os
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import s3_writer

MD5 = hashlib.md5  # before a test takes it away
KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1"}
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


@contextlib.contextmanager
def answering_s3(monkeypatch, s3_way):
    monkeypatch.setattr(s3_writer, "SDK_ATTEMPTS", 1)  # the SDK's own backoff really sleeps
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.uploads, server.asked, server.authorizations, server.headers_asked = [], [], [], []
    server.refusal, server.headers, server.page, server.pages = (200, ""), {}, b"", []
    url = "http://127.0.0.1:%d" % server.server_address[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    server.environ = {**KEYS, "AWS_ENDPOINT_URL_S3": url, "PIPELINE_S3_FAST": os.environ["PIPELINE_S3_FAST"]}
    server.before_the_sdk = 1 if s3_way == "direct" else 0  # requests that come to nothing, before its own
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_PUT(self):
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.command == "PUT":
            self.server.uploads.append(dict(self.headers))
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.command, path, dict(urllib.parse.parse_qsl(query))))
        self.server.authorizations.append(self.headers["Authorization"])
        self.server.headers_asked.append({name.lower() for name in self.headers})
        status, code = self.server.refusal
        body = self.server.pages.pop(0) if self.server.pages else self.server.page
        if code:
            body = b"<Error><Code>%s</Code><Message>no</Message></Error>" % code.encode()
        self.send_response_only(status)
        usual = {"ETag": '"%s"' % MD5(sent).hexdigest(), "Date": DATE, "Content-Length": str(len(body))}
        for name, value in {**usual, **self.server.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = "Content-Length" in self.server.headers

    do_GET = do_HEAD = do_DELETE = do_CONNECT = do_PUT
