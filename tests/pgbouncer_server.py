"""A real pgbouncer for the tests, before the tests' PostgreSQL: its connections are shared by transactions."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.postgres_server import NOBODY, PASSWORD, SUPERUSER, _become_nobody, _free_port

START_TRIES = 200
POOL = 3  # fewer than the pipeline's processes have connections


def program():
    """Debian's, or one on the PATH; None where there is none."""
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Pgbouncer:
    """`url(database)` leads to that database of the server, over one of POOL connections."""

    def __init__(self, server):
        self._server = server
        self._directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.port = _free_port()
        (self._directory / "users").write_text(f'"{SUPERUSER}" "{PASSWORD}"\n')
        (self._directory / "ini").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={server.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {self._directory}/users
            pool_mode = transaction
            default_pool_size = {POOL}
            """.replace("\n            ", "\n")
        )
        if os.geteuid() == 0:
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        self._process = subprocess.Popen(
            [program(), "-q", str(self._directory / "ini")], cwd=str(self._directory), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_become_nobody,
        )  # fmt: skip
        for _ in range(START_TRIES):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        self._process.kill()
        raise RuntimeError("pgbouncer did not start: " + self._process.communicate()[0].decode(errors="replace"))

    def url(self, database):
        return self._server.url(database).replace(f":{self._server.port}/", f":{self.port}/")

    def close(self):
        self._process.terminate()
        self._process.communicate()
        shutil.rmtree(self._directory, ignore_errors=True)
