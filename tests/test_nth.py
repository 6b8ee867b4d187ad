"""Every statement, HTTP request and upload of a whole run fails once, for each N in turn; a rerun makes it good.

As SQLite does it for every I/O operation (https://www.sqlite.org/testing.html#i_o_error_testing). Of the statements the
ordinary tests take every seventh; the long ones take the others (on PostgreSQL one of seven).
"""

import contextlib
import errno
import gc
import os
import signal
import socket
import sqlite3

import psycopg
import pytest

import main
import s3_writer
from engines import session
from foundation.clock import SYSTEM_CLOCK
from lake import local
from tests.crashes import Zygote
from tests.fault_proxy import FaultProxy
from tests.reconcile import problems, questions, read_directory
from tests.turns import PARTS, in_parts, with_others

REAL_CONNECT = sqlite3.connect
CLOCK = SYSTEM_CLOCK._replace(sleep=lambda seconds: None)


class Counter:
    """Counts calls; at the `at`-th it does `what`: raises it, where it is an exception, else calls it."""

    def __init__(self, at=0, what=None):
        self.at, self.what, self.count = at, what, 0

    def __call__(self):
        self.count += 1
        if self.count == self.at:
            if isinstance(self.what, BaseException):
                raise self.what
            return self.what
        return None


FULL = sqlite3.OperationalError("database or disk is full")
LOCKED = sqlite3.OperationalError("database is locked")
FULL_SERVER = psycopg.errors.DiskFull("could not extend file")
LOST, ANSWER_LOST = "connection lost", "answer lost"
STATEMENT_FAULTS = in_parts(
    ("sqlite", FULL), ("sqlite", LOCKED),
    ("postgresql", FULL_SERVER), ("postgresql", LOST), ("postgresql", ANSWER_LOST),
)  # fmt: skip
# Further streams meet a seventh of the statements: theirs are the same but for a few.
WITH_STREAMS = [pytest.param(*each.values, "issues,pulls", marks=each.marks) for each in STATEMENT_FAULTS] + [
    pytest.param(engine, fault, 1, streams, marks=pytest.mark.long)
    for engine, fault in (("sqlite", FULL), ("postgresql", LOST))
    for streams in ("pulls,pull-details", "events,meta")
]


def counting_connect(counter):
    """In the place of sqlite3.connect."""

    def connect(*arguments, factory=sqlite3.Connection, **options):
        class Connection(factory):
            def execute(self, statement, *arguments):
                if statement != "ROLLBACK":
                    counter()
                return super().execute(statement, *arguments)

            def executemany(self, *arguments):
                counter()
                return super().executemany(*arguments)

        return REAL_CONNECT(*arguments, **options, factory=Connection)

    return connect


def counting_connect_to_server(counter):
    """In the place of Session.connect. A statement finds its connection cut, or is done and its answer never comes."""

    class Cursor(psycopg.Cursor):
        def execute(self, statement, *arguments, **options):
            with self.under_fault(None if statement == "ROLLBACK" else counter()):
                return super().execute(statement, *arguments, **options)

        def executemany(self, *arguments, **options):
            with self.under_fault(counter()):
                super().executemany(*arguments, **options)

        @contextlib.contextmanager
        def under_fault(self, fault):
            if fault == LOST:
                cut(self.connection)
            yield
            if fault == ANSWER_LOST:
                self.connection.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

    connect = session.Session.connect
    return lambda *arguments, **options: connect(*arguments, **options, cursor_factory=Cursor)


def cut(conn):
    with socket.socket(fileno=os.dup(conn.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def served(github):
    repo = github.add_repo("acme/widgets").make(8, step_seconds=5, events=6)
    repo.add_label("bug")
    repo.add_milestone("1.0")
    return github


@pytest.fixture
def engine():
    return "sqlite"  # unless a test is parametrised by it


@pytest.fixture
def streams():
    return "issues,pulls"  # unless a test is parametrised by them


@pytest.fixture
def path_of(engine, request, tmp_path):
    """The database of a name, without tables until it is worked on."""
    if engine == "sqlite":
        yield lambda name: str(tmp_path / f"{name}.db")
        return
    # Schemas of one database: a hundred databases take minutes to be made and dropped.
    server = request.getfixturevalue("postgres")
    database = server.make_database()

    def address(name):
        with server.connect(database) as admin:
            admin.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
        return server.url(database, options=f"-csearch_path={name}")

    yield address
    server.drop_database(database)


@pytest.fixture
def run(served, path_of, streams, tmp_path, capfd):
    """`run(name)`: ingest and worker on a database and an archive of that name; returns their exit codes.

    `counter` is called before each of their statements.
    """

    def both(name, *archive, environ=None, counter=None):
        usual = {"GITHUB_API_URL": served.url, "GITHUB_TOKEN": "t", "HOME": str(tmp_path), "PIPELINE_STREAMS": streams}
        environ = {**usual, **(environ or {})}
        path, archive = path_of(name), archive or ("--archive-dir", str(tmp_path / name))
        with pytest.MonkeyPatch.context() as patched:
            if counter is not None:
                patched.setattr(sqlite3, "connect", counting_connect(counter))
                patched.setattr(session.Session, "connect", counting_connect_to_server(counter))
            return [
                main.main([command, "-q", "--db", path, *options], environ, CLOCK)
                for command, options in (("ingest", ["--repo", "acme/widgets", "--all"]), ("worker", archive))
            ]

    return both


CURSOR = "CASE stream WHEN 'meta' THEN '' ELSE cursor END AS cursor"  # that of `meta` is when a change was seen


def state(path):
    """What a run leaves, but for times."""
    with questions(path) as ask:
        return [
            [tuple(row.values()) for row in ask(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")]
            for table, columns in (
                ("queue_items", "item_type, item_id, payload_sha256, status, s3_key, attempts"),
                ("issues", "item_type, id, payload_sha256, title, state, lead_time_hours, s3_key"),
                ("pull_details", "id, payload_sha256, reviews"),
                ("pull_work", "repo, number, updated_at"),
                ("item_events", "id, number, event"),
                ("labels", "id, payload_sha256, s3_key"),
                ("ingest_state", f"repo, stream, {CURSOR}, covered_since, scan, last_error"),
            )
        ]


@pytest.fixture
def whole(run, path_of, tmp_path):
    """The end state of a run without faults."""
    assert run("whole") == [0, 0]
    return state(path_of("whole")), read_directory(tmp_path / "whole")


@pytest.fixture
def check(run, whole, path_of, tmp_path):
    """`check(name)`: another run of that name ends as if nothing had failed before."""

    def again(name):
        assert run(name) == [0, 0]
        assert state(path_of(name)) == whole[0], name
        assert read_directory(tmp_path / name) == whole[1], name
        assert problems(path_of(name), read_directory(tmp_path / name)) == []

    return again


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:<engines.session:ResourceWarning")  # the end of a failed command's is the process's
@pytest.mark.parametrize("engine, fault, first, streams", WITH_STREAMS, ids=str)
def test_after_any_statement_failed_once_a_rerun_ends_as_if_it_had_not(run, check, capfd, fault, first):
    at, counter = first - PARTS, Counter()
    while counter.count >= at:
        at += PARTS
        counter = Counter(at, fault)
        codes = run(f"n{at}", counter=counter)
        said = capfd.readouterr().err
        assert set(codes) <= {0, 2, 3}, said
        assert "Traceback" not in said
        check(f"n{at}")
    gc.collect()  # what was left open is not to be found during another test
    assert at > 60, "too few statements: the counter counts something else"


@pytest.mark.slow
@pytest.mark.parametrize("engine, first", in_parts(("sqlite",), ("postgresql",)))
def test_after_a_kill_at_any_statement_a_rerun_ends_as_if_there_had_been_none(check, served, path_of, tmp_path, first):
    zygote = Zygote({"GITHUB_API_URL": served.url, "GITHUB_TOKEN": "t"}, tmp_path / "log")
    try:
        for command in ("ingest", "worker"):
            at, end = first - PARTS, -signal.SIGKILL
            while end == -signal.SIGKILL:
                at += PARTS
                name = f"{command}{at}"
                path, archive = path_of(name), tmp_path / name
                options = {"ingest": ["--repo", "acme/widgets", "--all"], "worker": ["--archive-dir", archive]}
                if command == "worker":
                    assert zygote.wait(zygote.start("ingest", "-q", "--db", path, *options["ingest"])) == 0
                end = zygote.wait(
                    zygote.start(f"die at statement:{at}", command, "-q", "--db", path, *options[command])
                )
                check(name)
            assert at > 20
    finally:
        zygote.close()


REQUEST_FAULTS = [500, 404, 401, "reset", "truncate", "html", "invalid_json", "secondary_403"]


@pytest.mark.parametrize(
    "kind, streams", with_others(REQUEST_FAULTS, ("issues,pulls",), ("pulls,pull-details",), ("events,meta",))
)
def test_after_any_request_failed_once_a_rerun_ends_as_if_it_had_not(run, check, served, kind):
    for at in (1, 2, 3):
        requests = []

        def fault_for(target, at=at, requests=requests):
            requests.append(target)
            return (kind, {"retry_after": 1}) if len(requests) == at else None

        usual, served.fault_for = served.fault_for, fault_for
        run(f"{kind}{at}")
        served.fault_for = usual
        assert len(requests) >= min(at, 2)
        check(f"{kind}{at}")


@pytest.mark.parametrize(
    "call", ["replace", "utime", *(pytest.param(call, marks=pytest.mark.long) for call in ("fsync", "open"))]
)
def test_after_any_call_of_the_local_archive_failed_once_a_rerun_ends_as_if_it_had_not(run, check, monkeypatch, call):
    at, counter = 0, Counter()
    while counter.count >= at and at < 60:
        at += 1
        counter = Counter(at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        original = getattr(os, call)

        def failing(*arguments, original=original, counter=counter, **options):
            counter()
            return original(*arguments, **options)

        class Os:
            """The module as local_archive.py sees it, with one call that fails."""

            def __getattr__(self, name, failing=failing):
                return failing if name == call else getattr(os, name)

        with monkeypatch.context() as patched:
            patched.setattr(local, "os", Os())
            assert run(f"{call}{at}")[1] in (0, 2, 3)
        check(f"{call}{at}")
    assert at > 3


UPLOAD_FAULTS = [(500, "InternalError"), (403, "AccessDenied"), "reset", "reset_after"]


@pytest.mark.slow
@pytest.mark.parametrize("kind, layout", with_others(UPLOAD_FAULTS, ("object",), ("batch",)), ids=str)
def test_after_any_upload_failed_once_a_rerun_ends_with_every_payload_there_once(
    run, bucket, tmp_path, monkeypatch, layout, kind
):
    monkeypatch.setattr(s3_writer, "SDK_ATTEMPTS", 1)
    with FaultProxy(bucket.endpoint) as proxy:
        for name, value in {**bucket.env, "AWS_ENDPOINT_URL_S3": proxy.url}.items():
            monkeypatch.setenv(name, value)
        at, counter = 0, Counter()
        while counter.count >= at:
            at += 1
            counter = Counter(at, kind)
            proxy.fault = lambda method, path, counter=counter: counter()
            archive = ("--bucket", bucket.name, "--layout", layout, "--threads", "2", "--prefix", f"n{at}/")
            assert run(f"n{at}", *archive, environ=dict(os.environ))[1] in (0, 2, 3)
            assert run(f"n{at}", *archive, environ=dict(os.environ)) == [0, 0]
            assert problems(str(tmp_path / f"n{at}.db"), bucket.objects(f"n{at}/"), bucket.get) == []
        assert at > 1
