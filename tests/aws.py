"""S3 as AWS has it and no other server: over TLS, a host name for each bucket, bodies in chunks with a checksum behind.

It is reached through a proxy, which it is itself.
"""

import base64
import contextlib
import hashlib
import ssl
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"  # over TLS the SDK leaves that to the checksum behind the body
CERTIFICATE = str(Path(__file__).parent / "aws.pem")


class Aws:
    """`objects`: (host, path) -> (body, headers). `asked`: whom each request reached, and its headers in lower case."""

    def __init__(self):
        self.objects, self.asked = {}, []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
        self._server.daemon_threads = True
        self._server.aws = self
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.context.load_cert_chain(CERTIFICATE)
        self.env = {
            "HTTPS_PROXY": "http://ada:proxy-pass@127.0.0.1:%d" % self._server.server_address[1],
            "NO_PROXY": "",
            "AWS_CA_BUNDLE": CERTIFICATE,
            "AWS_ACCESS_KEY_ID": "aws-key",
            "AWS_SECRET_ACCESS_KEY": "aws-secret",
            "AWS_REGION": "us-east-1",
        }
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_CONNECT(self):
        self.send_response_only(200)
        self.end_headers()
        self.close_connection = True
        wrap = self.server.context.wrap_socket
        with contextlib.suppress(OSError), wrap(self.connection, server_side=True) as secure:
            _S3(secure, self.client_address, self.server)


class _S3(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def _place(self):
        aws = self.server.aws
        headers = {name.lower(): value for name, value in self.headers.items()}
        aws.asked.append((self.command, self.headers["Host"], headers))
        return aws, (self.headers["Host"], self.path), headers

    def do_PUT(self):
        aws, place, headers = self._place()
        body, crc32 = self._body()
        if crc32 != base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode():
            return self._answer(400, b"<Error><Code>BadDigest</Code></Error>")
        if headers["x-amz-content-sha256"] not in (hashlib.sha256(body).hexdigest(), UNSIGNED):
            return self._answer(400, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
        md5 = hashlib.md5(body)
        if base64.b64encode(md5.digest()).decode() != headers["content-md5"]:
            return self._answer(400, b"<Error><Code>BadDigest</Code></Error>")
        kept = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        etag = md5.hexdigest()
        if headers.get("x-amz-server-side-encryption") == "aws:kms":
            kept["x-amz-server-side-encryption"], etag = "aws:kms", hashlib.md5(etag.encode()).hexdigest()
        kept.update({"ETag": f'"{etag}"', "x-amz-checksum-crc32": crc32})
        aws.objects[place] = (body, kept)
        shown = {name: value for name, value in kept.items() if not name.startswith("x-amz-meta-")}
        return self._answer(200, b"", shown)

    def do_GET(self):
        aws, place, headers = self._place()
        body, kept = aws.objects[place]
        shows = headers.get("x-amz-checksum-mode") == "ENABLED"
        self._answer(200, body, {name: value for name, value in kept.items() if shows or "checksum" not in name})

    def _body(self):
        """With its CRC-32, before or behind it."""
        if self.headers["Transfer-Encoding"] != "chunked":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            return body, self.headers["x-amz-checksum-crc32"]
        # Chunks of HTTP's, and in them those of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
        packed = b""
        while True:
            size = int(self.rfile.readline(), 16)
            packed += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                break
        body = b""
        while True:
            size, _, packed = packed.partition(b"\r\n")
            if int(size, 16) == 0:
                trailer = dict(line.split(b":", 1) for line in packed.split(b"\r\n") if line)
                return body, trailer[b"x-amz-checksum-crc32"].strip().decode()
            body, packed = body + packed[: int(size, 16)], packed[int(size, 16) + 2 :]

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
