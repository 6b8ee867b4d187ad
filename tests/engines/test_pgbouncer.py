"""Behind pgbouncer with pool_mode = transaction: no statement may rely on the session of the one before."""

import contextlib
import json

import pytest

import db
import queue_manager
from commands import runs
from foundation.errors import AnotherRun
from tests.commands.test_move import contents, fill
from tests.conftest import NO_PGBOUNCER
from tests.engines.test_postgres import recorded
from tests.postgres_server import Pool, pool_program
from tests.reconcile import read_directory


@pytest.fixture
def pooled(postgres, postgres_db):
    """The address of a database with tables, by way of the pool."""
    if pool_program() is None:
        pytest.skip(NO_PGBOUNCER)
    with contextlib.closing(Pool(postgres)) as pool:
        yield pool.url(postgres_db.rpartition("/")[2])


@pytest.fixture
def backends(postgres, pooled):
    """How many connections the server has with the database at present."""

    def count():
        with postgres.connect() as admin:
            name = pooled.rpartition("/")[2]
            return admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()[0]

    return count


def test_ingest_workers_prune_and_rebuild_run_through_a_pool_that_is_smaller_than_their_number(
    pooled, backends, github, run_main, tmp_path
):
    repo = github.add_repo("acme/widgets")
    repo.make(60)
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t", "PIPELINE_DB": pooled}

    def run(*arguments):
        code, out, err = run_main(*arguments, "--json", env=env)
        assert (code, "prepared statement" in err) == (0, False), err
        return json.loads(out)

    assert run("ingest", "--repo", "acme/widgets", "--all", "--jobs", "2")["enqueued"] == 60
    for layout in ("object", "batch"):
        repo.touch(*next(iter(repo._fields)))
        run("ingest", "--repo", "acme/widgets")
        worked = run("worker", "--archive-dir", "archive", "--processes", "4", "--layout", layout)
        assert (worked["pending"], worked["failed"]) == (0, 0)
        assert 0 < backends() <= Pool.CONNECTIONS
    assert run("rebuild", "--archive-dir", "archive")["issues"] == 60
    assert len(read_directory(tmp_path / "archive")) >= 60
    with contextlib.closing(db.connect(pooled)) as conn:
        conn.execute("UPDATE queue_items SET finished_at = '2020-01-01T00:00:00Z', updated_at = '2020-01-01T00:00:00Z'")
    assert run("prune", "--older-than", "30")["deleted"] >= 60
    assert run("status")["issues"] == 60


def test_what_only_one_may_do_is_refused_to_another_behind_the_same_pool(pooled):
    with contextlib.closing(db.connect(pooled)) as one, contextlib.closing(db.connect(pooled)) as other:
        with recorded(one, pooled) as run, recorded(other, pooled) as late:
            run.hold(["prune"])
            with pytest.raises(AnotherRun):
                late.hold(["prune"])
        assert runs.lock_owner(one, "prune") is None


def test_a_database_is_moved_through_a_pool(pooled, tmp_path, run_main):
    path = str(tmp_path / "pipeline.db")
    fill(path, rows=600)
    code, _, err = run_main("move", "--from", path, "--to", pooled)
    assert code == 0, err
    assert contents(pooled) == contents(path)
    code, _, err = run_main("move", "--from", pooled, "--to", str(tmp_path / "back.db"))
    assert code == 0, err
    with contextlib.closing(db.connect(str(tmp_path / "back.db"))) as conn:
        assert sum(queue_manager.counts(conn)) == 600
