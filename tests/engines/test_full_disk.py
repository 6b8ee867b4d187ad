"""A disk that is really full, on either engine: a run ends with 3 and a line, and goes on once there is room.

PostgreSQL: a disk of the tables that fills is an error of one statement, one of the write-ahead log ends the server
(https://www.postgresql.org/docs/current/disk-full.html).
"""

import contextlib

import pytest

import db
import queue_manager
from tests.conftest import started_main
from tests.engines.test_postgres import wait_until
from tests.postgres_server import PostgresServer
from tests.reconcile import problems, read_directory
from tests.small_disk import NOT_POSSIBLE, SmallDisk, is_possible

ITEMS = 400
INGEST = ["ingest", "--repo", "acme/widgets", "--all", "-q"]


class FullServer(PostgresServer):
    """Its tables, or its write-ahead log, lie on a small disk."""

    def __init__(self, *, holds, megabytes):
        self._holds, self._megabytes, self.disk = holds, megabytes, None
        super().__init__(max_wal_size="1GB")  # nothing of the log is used again

    def _make_cluster(self):
        small, wal = self._directory / self._holds, self._directory / "wal"
        small.mkdir()
        self.disk = SmallDisk(small, megabytes=self._megabytes)
        try:
            self._initdb("--wal-segsize=1", "-X", wal)
        except BaseException:
            self.disk.close()
            raise

    def _command(self, program, *arguments):
        return self.disk.within(*super()._command(program, *arguments), as_nobody=True)

    def _become_user(self):
        pass  # who enters a namespace of root's has to be root

    def start_again(self):
        """Where it ended, which it does only when it can't come up by itself."""
        if not wait_until(self.is_up, tries=40):
            self.stop()
            self.start()

    def is_up(self):
        try:
            with self.connect():
                return True
        except ConnectionError:
            return False

    def close(self):
        super().close()
        if self.disk is not None:
            self.disk.close()


@pytest.fixture
def full_server(request, postgres):
    skip_where_not_possible()
    holds, megabytes = request.param
    with contextlib.closing(FullServer(holds=holds, megabytes=megabytes)) as server:
        yield server


def skip_where_not_possible():
    if not is_possible():
        pytest.skip(NOT_POSSIBLE)


@pytest.mark.long
@pytest.mark.parametrize(
    "full_server, leave, said",
    [(("data", 80), 1_500_000, "disk is full"), (("wal", 12), 0, "run again")],
    indirect=["full_server"],
    ids=["tables", "write-ahead log"],
)
def test_a_run_whose_server_has_no_room_left_ends_with_3_and_the_next_one_has_all(
    full_server, leave, said, github, run_main, tmp_path
):
    github.add_repo("acme/widgets").make(ITEMS, body_bytes=5_000)
    address = full_server.url(full_server.migrated())
    env = {"PIPELINE_DB": address, "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t", "PIPELINE_LEASE_SECONDS": "5"}
    worker = ["worker", "--archive-dir", "archive"]
    full_server.disk.fill(leave=leave)
    code, _, err = run_main(*INGEST, env=env)
    assert (code, err.count("\n"), said in err) == (3, 1, True), err
    full_server.disk.fill()
    code, _, err = run_main(*worker, "-q", env=env)
    assert (code, err.count("\n"), said in err) == (3, 1, True), err
    with started_main(*worker, "--follow", env=env, cwd=tmp_path) as process:
        assert "outage" in next(line for line in process.stderr if "WARNING" in line)
        full_server.disk.make_room()
        full_server.start_again()
        assert run_main(*INGEST, env=env)[0] == 0
        with contextlib.closing(db.connect(address)) as conn:
            assert wait_until(lambda: queue_manager.counts(conn) == (0, 0, ITEMS, 0)), queue_manager.counts(conn)
        process.terminate()
        assert process.wait() == 143
    assert problems(address, read_directory(tmp_path / "archive")) == []


@pytest.mark.parametrize(
    "leave", [pytest.param(0), *(pytest.param(each, marks=pytest.mark.long) for each in (40_000, 150_000, 400_000))]
)
def test_a_run_whose_file_has_no_room_left_ends_with_3_and_the_next_one_has_all(github, tmp_path, leave):
    skip_where_not_possible()
    repo = github.add_repo("acme/widgets").make(20, start=0)
    folder, archive = tmp_path / "disk", tmp_path / "archive"
    folder.mkdir()
    env = {"PIPELINE_DB": str(folder / "pipeline.db"), "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    with contextlib.closing(SmallDisk(folder, megabytes=24)) as disk:

        def run(*arguments):
            with started_main(*arguments, "-q", env=env, cwd=tmp_path, by=disk.within()) as process:
                _, err = process.communicate(timeout=60)
            return process.returncode, err

        assert run(*INGEST) == (0, "")
        disk.fill(leave=leave)
        repo.make(ITEMS - 20, body_bytes=5_000)
        for command in (INGEST, ["worker", "--archive-dir", archive], ["prune", "--older-than", "1"]):
            code, err = run(*command)
            if code != 0 or leave == 0 or command is INGEST:
                assert (code, err.count("\n"), "make room" in err) == (3, 1, True), (command, err)
        disk.make_room()
        assert [run(*INGEST), run("worker", "--archive-dir", archive)] == [(0, "")] * 2
        copy = tmp_path / "copy.db"
        copy.write_bytes((disk.root / "pipeline.db").read_bytes())
    assert problems(str(copy), read_directory(archive)) == []
    with contextlib.closing(db.connect(str(copy))) as conn:
        assert queue_manager.counts(conn) == (0, 0, ITEMS, 0)
