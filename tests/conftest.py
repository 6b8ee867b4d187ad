"""Fixtures, and the guards that every test runs under: loopback only, no credentials, no real sleep in our code."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from foundation import secrets
from tests import failover, postgres_server, small_disk
from tests.github_server import GitHubServer
from tests.postgres_server import PostgresServer
from tests.s3_server import ADMIN_ACCESS_KEY, ADMIN_SECRET_KEY, SHARED, S3Server, SharedServer

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ("AWS_", "PIPELINE_", "GITHUB_", "GH_TOKEN", "BUCKET_NAME")
REAL_CONNECT = socket.socket.connect
REAL_SLEEP = time.sleep


def refuse_other_hosts(self, address):
    host = address[0] if isinstance(address, tuple) else "127.0.0.1"
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a test talks to {host!r}; only loopback is allowed")
    return REAL_CONNECT(self, address)


def refuse_to_sleep(seconds):
    caller = Path(sys._getframe(1).f_code.co_filename)
    ours = ROOT in caller.parents and not caller.relative_to(ROOT).parts[0].startswith((".venv", "tests"))
    if ours:
        raise AssertionError(f"{caller.name} sleeps for real; pass a clock")
    REAL_SLEEP(seconds)


@pytest.fixture(autouse=True)
def guards(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(socket.socket, "connect", refuse_other_hosts)
    monkeypatch.setattr(time, "sleep", refuse_to_sleep)
    for name in list(os.environ):
        if name.startswith(OUTSIDE):
            monkeypatch.delenv(name)
    monkeypatch.setattr(secrets, "_minted", set())
    nowhere = str(tmp_path_factory.getbasetemp() / "nowhere")
    for name in ("HOME", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "*")
    for attribute, fresh in {"handlers": [], "propagate": True, "level": logging.NOTSET}.items():
        monkeypatch.setattr(logging.getLogger("pipeline"), attribute, fresh)  # a test before may have set up the log


@pytest.fixture(scope="session", autouse=True)
def signals_count():
    """Under `nohup`, or in the background of a script, some are ignored; the processes that we start inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda signum, frame: None)  # other than SIG_IGN it ends with exec


@pytest.fixture(scope="session", autouse=True)
def models_of_the_sdk():
    """They never change: it reads them once, not for each of our clients, which takes a tenth of a second."""
    from botocore.loaders import JSONFileLoader

    load, loaded = JSONFileLoader.load_file, {}

    def load_once(self, path):
        if path not in loaded:
            loaded[path] = load(self, path)
        return loaded[path]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(JSONFileLoader, "load_file", load_once)
        yield


@pytest.fixture
def github():
    with GitHubServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3():
    server = SharedServer(os.environ[SHARED]) if SHARED in os.environ else S3Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres():
    if postgres_server.programs() is None:
        (pytest.fail if postgres_server.is_required() else pytest.skip)(NO_POSTGRES)
    server = PostgresServer()
    yield server
    server.close()


NO_POSTGRES = (
    "there is no PostgreSQL: install Debian's postgresql, or name the folder of its programs in TEST_POSTGRES_BIN"
)


NO_PGBOUNCER = "there is no pgbouncer: install Debian's pgbouncer, or name it in TEST_PGBOUNCER"

NO_BROWSER = "there is no browser: install Debian's chromium, or name its program in TEST_BROWSER_PROGRAM"

NOT_TESTED = {
    "the queue on PostgreSQL": NO_POSTGRES,
    "the queue on PostgreSQL behind a pool": NO_PGBOUNCER,
    "a disk that is really full": small_disk.NOT_POSSIBLE,
    "a standby that takes over": failover.NO_STANDBY,
    "the report in a browser": NO_BROWSER,
}


def pytest_terminal_summary(terminalreporter):
    for what, why in NOT_TESTED.items():
        if any(why in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
            terminalreporter.section(f"NOT TESTED: {what}", red=True)
            terminalreporter.line(why)


@pytest.fixture
def postgres_db(postgres):
    """The address of a database with tables, and nothing in them."""
    name = postgres.migrated()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def db_path(request, tmp_path):
    """A database of either engine, as --db has it."""
    return str(tmp_path / "pipeline.db") if request.param == "sqlite" else request.getfixturevalue("postgres_db")


@pytest.fixture
def path(tmp_path):
    """The test's database, a file; a module whose tests run on both engines puts `db_path` in its place."""
    return str(tmp_path / "pipeline.db")


@pytest.fixture
def conn(path):
    yield from _connected(path)


@pytest.fixture
def on_sqlite(tmp_path):
    """For what SQLite alone has, in such a module."""
    yield from _connected(str(tmp_path / "pipeline.db"))


def _connected(path):
    import db

    with contextlib.closing(db.connect(path)) as connection:
        yield connection


class Bucket:
    """A fresh bucket: its `name`, a client, and the variables that point the pipeline at it."""

    def __init__(self, server):
        import boto3
        from botocore.config import Config

        self.name = "b-" + uuid.uuid4().hex[:12]
        self.endpoint = server.endpoint
        self.env = {**server.env, "BUCKET_NAME": self.name}
        self.client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=ADMIN_ACCESS_KEY,
            aws_secret_access_key=ADMIN_SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
        self.client.create_bucket(Bucket=self.name)

    def keys(self, prefix=""):
        """All of them. Some SeaweedFS say too early that a listing has ended (seaweedfs/seaweedfs #10652)."""
        found, last = [], ""
        while True:
            page = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, StartAfter=last)
            if not page.get("Contents"):
                return found
            found += [entry["Key"] for entry in page["Contents"]]
            last = found[-1]

    def objects(self, prefix=""):
        return {key: self.get(key) for key in self.keys(prefix)}

    def get(self, key):
        """None where it is not there."""
        try:
            return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None


@pytest.fixture(params=["direct", "sdk"])
def s3_way(request, monkeypatch):
    """Every test of S3 runs twice: small objects by requests of our own, and all by the SDK."""
    monkeypatch.setenv("PIPELINE_S3_FAST", "1" if request.param == "direct" else "0")
    return request.param


def pytest_collection_modifyitems(items):
    """What takes long enough by itself takes its other turns with the long ones: by the SDK, and on PostgreSQL."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        is_slow = item.get_closest_marker("slow") is not None
        is_on_postgres = "postgres" in item.fixturenames or parameters.get("db_path") == "postgresql"
        runs_commands = is_slow or not {"run_main", "served"}.isdisjoint(item.fixturenames)
        if runs_commands and (parameters.get("s3_way") == "sdk" or is_on_postgres):
            item.add_marker(pytest.mark.long)


@pytest.fixture
def bucket(s3, s3_way):
    made = Bucket(s3)
    made.env["PIPELINE_S3_FAST"] = os.environ["PIPELINE_S3_FAST"]
    yield made
    made.client.close()


@pytest.fixture
def run_main(tmp_path):
    """Runs `python main.py ...` as a shell would, in an empty directory; returns (exit code, stdout, stderr)."""

    def run(*arguments, env=None, cwd=tmp_path, timeout=60):
        with started_main(*arguments, env=env, cwd=cwd) as process:
            out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    return run


@contextlib.contextmanager
def started_main(*arguments, env=None, cwd, by=()):
    """`by`: the command that starts it."""
    process = subprocess.Popen(
        [*by, sys.executable, str(ROOT / "main.py"), *map(str, arguments)],
        env={**os.environ, **(env or {})},
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
