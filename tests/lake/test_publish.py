"""The tables in the lake: what engines read there is what the database says, whatever becomes of a publish."""

import contextlib
import datetime
import decimal
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import db
import queue_manager
from commands import runs
from engines import presence
from foundation.clock import SYSTEM_CLOCK
from foundation.errors import AnotherRun, ConfigurationError, Interrupted, PipelineError
from lake.local import DirectoryArchive
from lake.tables import ISSUES, TABLES, Kind
from tables import columns
from tests import odd_payloads
from tests.conftest import ROOT, Bucket, started_main
from tests.fault_proxy import FaultProxy
from tests.github_data import populate
from tests.github_server import GitHubServer
from tests.s3_server import ACCESS_KEY, SECRET_KEY

deltalake = pytest.importorskip("deltalake", reason="deltalake wants Python 3.10")
pytest.importorskip("pyarrow")

from arro3.core import Array, DataType, RecordBatch  # noqa: E402

from lake import delta, refusals  # noqa: E402
from lake.publish import _bytes as as_bytes  # noqa: E402
from lake.publish import _mark as mark_of  # noqa: E402
from lake.publish import check_is_free, unfinished  # noqa: E402
from lake.publish import publish as publish_tables  # noqa: E402

NOW = "2026-11-23T10:00:00Z"
INTERNAL = {"schema_version", "owners"} | set(columns.TABLES) - set(columns.FILLED)


class Lake:
    """A directory or a bucket to publish into, and how engines read the tables there."""

    def __init__(self, arguments, env, root, options):
        self.arguments, self.env, self._root, self.options = arguments, env, root, options

    def uri(self, table="issues"):
        return f"{self._root}/curated/github/{table}"

    def place(self):
        return delta.Place(self.uri(), self.options)

    def table(self, name="issues"):
        return deltalake.DeltaTable(self.uri(name), storage_options=self.options)

    def ids(self):
        return sorted(row["id"] for row in self.table().to_pyarrow_table().to_pylist())


# What both have is tried in S3 with the long ones; what S3 alone has names it.
@pytest.fixture(params=["directory", pytest.param("S3", marks=pytest.mark.long)])
def lake(request, tmp_path):
    if request.param == "directory":
        return Lake(["--archive-dir", "lake"], {}, tmp_path / "lake", None)
    bucket = Bucket(request.getfixturevalue("s3"))
    options = {
        "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "aws_region": "us-east-1",
        "aws_endpoint_url": bucket.endpoint, "aws_allow_http": "true", "aws_conditional_put": "etag",
    }  # fmt: skip
    return Lake([], bucket.env, f"s3://{bucket.name}", options)


@pytest.fixture
def path(db_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_DB", db_path)
    return db_path


@pytest.fixture
def filled(path, run_main):
    """The odd payloads, archived, in a database of either engine."""
    with contextlib.closing(db.connect(path)) as conn, db.transaction(conn):
        queue_manager.enqueue(conn, repo="acme/widgets", items=odd_payloads.items(), now=NOW)
    code, _, err = run_main("worker", "--archive-dir", "archive")
    assert code == 0, err
    return path


def publish(run_main, lake, *arguments, tables="issues", **env):
    code, out, err = run_main(
        "publish", "--json", "--tables", tables, *lake.arguments, *arguments, env={**lake.env, **env}
    )
    return code, json.loads(out)["tables"] if out else None, err


def in_database(path, table=ISSUES):
    """The rows as engines are to see them."""
    with contextlib.closing(db.connect(path)) as conn:
        return [_typed(table, row) for row in conn.execute(table.query)]


def _typed(table, row):
    made = {}
    for column, value in zip(table.columns, row):
        if value is not None and column.kind is Kind.TIME:
            value = datetime.datetime.fromisoformat(value[:-1] + "+00:00")
        elif value is not None and column.kind is Kind.FLAG:
            value = bool(value)
        elif value is not None and column.kind is Kind.REAL:
            value = float(value)
        elif value is not None and column.kind is Kind.NAMES:
            value = json.loads(value)
        made[column.name] = value
    return made


def by_key(rows):
    return sorted(rows, key=lambda row: (row["item_type"], row["id"]))


def test_polars_reads_what_the_database_says(filled, lake, run_main):
    polars = pytest.importorskip("polars")
    code, (table,), err = publish(run_main, lake)
    assert (code, table["rows"], table["is_new"], table["version"]) == (0, 2 * len(odd_payloads.FIELDS), True, 0), err
    statement = re.search(r"^# Polars.*\n(.*)$", (ROOT / "docs" / "LAKE.md").read_text(encoding="utf-8"), re.MULTILINE)[
        1
    ]
    found = {"polars": polars, "options": lake.options}
    exec(statement.replace("s3://my-lake/curated/github/issues", lake.uri()), found)
    frame = found["frame"]
    assert by_key(frame.to_dicts()) == by_key(in_database(filled))
    types = dict(frame.schema)
    assert types["created_at"] == polars.Datetime("us", "UTC")
    assert (types["labels"], types["draft"]) == (polars.List(polars.String), polars.Boolean)


def test_duckdb_reads_what_the_database_says(filled, lake, run_main):
    duckdb = pytest.importorskip("duckdb")
    httpfs = pytest.importorskip("duckdb_extension_httpfs")
    assert publish(run_main, lake)[0] == 0
    with contextlib.closing(duckdb.connect(config={"autoinstall_known_extensions": "false"})) as conn:
        if lake.options:
            folder = Path(httpfs.__file__).parent / "extensions" / f"v{duckdb.__version__}"
            conn.execute(f"LOAD '{folder / 'httpfs.duckdb_extension'}'")
            conn.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{ACCESS_KEY}', SECRET '{SECRET_KEY}', REGION 'us-east-1', "
                f"ENDPOINT '{lake.options['aws_endpoint_url'][len('http://') :]}', URL_STYLE 'path', USE_SSL false)"
            )
        # Its extension `delta` is in no package index: the files of the version, as the table's log names them.
        columns = ", ".join(
            f"epoch_us({column.name}) AS {column.name}" if column.kind is Kind.TIME else column.name
            for column in ISSUES.columns
        )
        query = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = true)"
        found = conn.execute(query, [lake.table().file_uris()]).fetchall()
    rows = [dict(zip([column.name for column in ISSUES.columns], row)) for row in found]
    expected = in_database(filled)
    for row in expected:
        for column in ISSUES.columns:
            if column.kind is Kind.TIME and row[column.name] is not None:
                row[column.name] = int(row[column.name].timestamp()) * 10**6
    assert by_key(rows) == by_key(expected)


def test_every_table_and_view_of_the_database_is_published_or_the_pipelines_own(path):
    with contextlib.closing(db.connect(path)) as conn:
        if conn.words.is_postgres:
            query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        else:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'"
        assert {row[0] for row in conn.execute(query)} - INTERNAL == set(TABLES)
        for table in TABLES.values():
            columns = [column[0] for column in conn.execute(f"SELECT * FROM {table.name} LIMIT 1").description]
            assert sorted(columns) == sorted(column.name for column in table.columns)
            assert table.partition is None or table.partition in columns


def test_what_all_streams_bring_is_published_and_the_views_of_it(path, lake, run_main):
    with GitHubServer() as github:
        repo = github.add_repo("acme/widgets")
        populate(repo, 60, time.time())
        repo.add_event(repo.add_pull(), "review_requested", reviewer="bo")
        env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
        code, _, err = run_main("ingest", "--all", "--streams", "all", "--repo", "acme/widgets", env=env)
        assert code == 0, err
        assert run_main("worker", "--archive-dir", "archive")[0] == 0
        repo.delete_issue(min(number for stream, number in repo.known() if stream == "issues"))
        code, _, err = run_main("sweep", "--repo", "acme/widgets", env=env)
        assert code == 0, err
    code, _, err = run_main("worker", "--archive-dir", "archive")
    assert code == 0, err
    code, _, err = publish(run_main, lake, tables=",".join(TABLES))
    assert code == 0, err
    for name, table in TABLES.items():
        found = lake.table(name).to_pyarrow_table().to_pylist()
        assert found and sorted(map(_sorted, found)) == sorted(map(_sorted, in_database(path, table))), name


def _sorted(row):
    return repr(sorted((name, str(value)) for name, value in row.items()))


def test_engines_see_what_each_column_means(filled, lake, run_main):
    publish(run_main, lake)
    fields = {field.name: field for field in lake.table().schema().fields}
    assert {name: field.metadata["comment"] for name, field in fields.items()} == {
        column.name: column.comment for column in ISSUES.columns
    }
    assert lake.table().metadata().partition_columns == ["item_type"]
    assert lake.table().metadata().description == ISSUES.comment


def change(path, title):
    with contextlib.closing(db.connect(path)) as conn, db.transaction(conn):
        conn.execute("UPDATE issues SET title = ? WHERE number = 1", (title,))


def test_what_did_not_change_is_not_written_again(filled, lake, run_main):
    publish(run_main, lake)
    _, (table,), _ = publish(run_main, lake)
    assert (table["is_new"], table["version"], table["rows"]) == (False, 0, 2 * len(odd_payloads.FIELDS))
    change(filled, "another")
    _, (table,), _ = publish(run_main, lake)
    assert (table["is_new"], table["version"]) == (True, 1)


def test_a_mark_goes_by_values_alone(filled):
    """What was interned, or is one object in two places, makes no difference; nor does what marshal does not know."""
    marks = set()
    for _ in range(2):
        with contextlib.closing(db.connect(filled)) as conn, db.snapshot(conn):
            marks.add(mark_of(conn, ISSUES))
    assert len(marks) == 1
    text = "".join(["iss", "ue"])
    assert as_bytes([(text, text, 1, None, 0.5)]) == as_bytes([(sys.intern("issue"), text.lower(), 1, None, 0.5)])
    assert as_bytes([(decimal.Decimal("0.5"),)]) == as_bytes([(decimal.Decimal("0.5"),)]) != as_bytes([(0.5,)])


def test_an_empty_table_is_a_table_too(path, lake, run_main):
    db.connect(path).close()
    code, (table,), err = publish(run_main, lake)
    assert (code, table["rows"], lake.ids()) == (0, 0, []), err


def test_of_old_versions_so_many_can_be_read_and_the_others_files_are_gone(filled, lake, run_main):
    for title in "abcd":
        change(filled, title)
        code, (table,), err = publish(run_main, lake, "--keep", "2")
        assert code == 0, err
    assert table["deleted_files"] > 0
    writes = [commit["version"] for commit in lake.table().history() if commit["operation"] == "WRITE"]
    titles = {}
    for version in writes:
        with contextlib.suppress(Exception):
            old = deltalake.DeltaTable(lake.uri(), version=version, storage_options=lake.options)
            titles[version] = {row["title"] for row in old.to_pyarrow_table().to_pylist() if row["number"] == 1}
    assert titles == {writes[0]: {"d"}, writes[1]: {"c"}}


class Deleting:
    """Publishes row after row into a directory, and keeps 3 versions; `denied` is what a deletion raises."""

    def __init__(self, root):
        self.root, self.deleted, self.denied = root, [], None

    def publish(self, number, *, kept=3):
        place = delta.Place(str(self.root), delete=self._delete)
        there = place.look()
        result = place.keep(kept, there) if there else delta.Kept(0, 0, None)
        place.replace(ISSUES, [rows(number)], str(number), oldest=result.oldest)
        return result

    def _delete(self, path):
        if self.denied:
            raise self.denied
        (self.root / path).unlink()  # which raises where it is not there: nothing is deleted twice
        self.deleted.append(path)

    def files(self):
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("part-*.parquet")}


@pytest.fixture
def deleting(tmp_path):
    return Deleting(tmp_path / "table")


def test_each_old_file_is_deleted_once(deleting):
    for number in range(12):
        deleting.publish(number)
    assert (len(deleting.deleted), len(deleting.files())) == (9, 3)
    assert [path.name for path in deleting.root.rglob("*.parquet") if "checkpoint" in path.name] != []


def test_a_log_of_more_than_a_month_is_cleaned_and_no_old_file_is_forgotten(deleting):
    """Of a table that changes once a month."""
    for number in range(26):
        deleting.publish(number)
        for file in (deleting.root / "_delta_log").iterdir():
            os.utime(file, (number, number))
    assert (len(deleting.deleted), len(deleting.files())) == (23, 3)
    assert len(list((deleting.root / "_delta_log").glob("*.json"))) < 12


@pytest.mark.long
@pytest.mark.parametrize("lake", ["S3"], indirect=True)
@pytest.mark.parametrize("method, part", [("GET", ".json"), ("PUT", ".parquet"), ("PUT", ".json")])
def test_a_signal_is_heard_at_once_while_s3_hangs(filled, lake, run_main, tmp_path, method, part):
    assert publish(run_main, lake)[0] == 0
    change(filled, "another")
    hangs = threading.Event()

    def fault(asked, path):
        if asked == method and part in path:
            hangs.set()
            return "hang"
        return None

    with FaultProxy(lake.env["AWS_ENDPOINT_URL_S3"], fault) as proxy:
        env = {**lake.env, "AWS_ENDPOINT_URL_S3": proxy.url}
        with started_main("publish", "--tables", "issues", env=env, cwd=tmp_path) as process:
            assert hangs.wait(30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 128 + signal.SIGTERM


def test_what_may_not_be_deleted_is_when_it_may_and_holds_nothing_up(deleting):
    deleting.denied = ConfigurationError("no")
    for number in range(5):
        result = deleting.publish(number)
    assert (result.refused, result.oldest, len(deleting.files())) == (deleting.denied, 0, 5)
    deleting.denied = None
    assert deleting.publish(5) == delta.Kept(3, 3, None)
    assert len(deleting.files()) == 3


@pytest.mark.long
@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_a_key_that_may_not_delete_publishes_every_table_and_is_told(filled, lake, run_main):
    def fault(method, path):
        return (403, "AccessDenied") if method == "DELETE" else None

    with FaultProxy(lake.env["AWS_ENDPOINT_URL_S3"], fault) as proxy:
        for title in "abc":
            change(filled, title)
            code, out, err = run_main(
                "publish", "--json", "--tables", "issues,item_metrics", "--keep", "2",
                env={**lake.env, "AWS_ENDPOINT_URL_S3": proxy.url},
            )  # fmt: skip
    assert (code, "has s3:DeleteObject on it" in err.splitlines()[-1]) == (2, True), err
    assert [(table["version"], table["deleted_files"]) for table in json.loads(out)["tables"]] == [(2, 0), (2, 0)]


def test_files_that_another_programs_version_shares_are_not_deleted(deleting):
    uri = str(deleting.root)
    two = [tuple({**dict(zip([column.name for column in ISSUES.columns], row)), "item_type": kind}.values())
           for row in rows(1) for kind in ("issue", "pull_request")]  # fmt: skip
    place = delta.Place(uri)
    place.look()
    place.replace(ISSUES, [two], "0")
    deltalake.DeltaTable(uri).delete("item_type = 'issue'")  # the other partition's file goes on
    deleting.publish(1)
    deleting.publish(2)
    deleting.publish(3, kept=4)
    assert len(deltalake.DeltaTable(uri, version=1).to_pyarrow_table()) == 1
    deltalake.DeltaTable(uri).delete("id = 3")
    assert deleting.publish(5, kept=1) == delta.Kept(5, 4, None)  # all that this version lacks


def test_the_newest_versions_files_stay_also_where_it_shares_them_with_one_that_goes(deleting):
    deleting.publish(0)
    deltalake.DeltaTable(str(deleting.root)).alter.set_table_properties({"delta.checkpointInterval": "7"})
    place = delta.Place(str(deleting.root), delete=deleting._delete)
    assert place.keep(1, place.look()) == delta.Kept(1, 0, None)
    assert len(deltalake.DeltaTable(str(deleting.root)).to_pyarrow_table()) == 1


def test_versions_that_another_program_made_before_ours_are_left_alone(deleting):
    table = RecordBatch.from_pydict({"mine": Array([1], DataType.int64())})
    for _ in range(3):
        deltalake.write_deltalake(str(deleting.root), table, mode="overwrite", name=ISSUES.name)
    theirs = deleting.files()
    for number in range(4):
        deleting.publish(number, kept=2)
    assert (len(theirs), theirs - deleting.files()) == (3, set(deleting.deleted[:1]))


def test_what_another_programs_vacuum_left_as_it_was_is_not_written_again(deleting):
    deleting.publish(6)
    deleting.publish(7)
    before = delta.Place(str(deleting.root)).look()
    deltalake.DeltaTable(str(deleting.root)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    after = delta.Place(str(deleting.root)).look()
    assert (after.number > before.number, after.mark, after.oldest) == (True, "7", before.oldest)


def test_a_log_that_was_cleaned_is_in_nobodys_way(deleting):
    for version in range(7):
        if version == 6:
            deltalake.DeltaTable(str(deleting.root)).create_checkpoint()
            for old in range(4):
                (deleting.root / "_delta_log" / f"{old:020d}.json").unlink()
        assert deleting.publish(version, kept=6 if version < 6 else 3).refused is None
    assert len(deltalake.DeltaTable(str(deleting.root)).to_pyarrow_table()) == 1


def test_another_programs_version_is_replaced(filled, lake, run_main):
    publish(run_main, lake)
    lake.table().delete("number = 1")
    _, (table,), _ = publish(run_main, lake)
    assert table["is_new"]
    assert len(lake.ids()) == 2 * len(odd_payloads.FIELDS)


# What goes wrong in the middle


def rows(*ids):
    plain = {column.name: None for column in ISSUES.columns}
    return [tuple({**plain, "item_type": "issue", "id": number}.values()) for number in ids]


def test_of_two_at_once_one_wins_and_none_mixes(lake):
    first, second = lake.place(), lake.place()
    assert first.look() is None and second.look() is None
    assert second.replace(ISSUES, [rows(1, 2)], "second").version == 0
    with pytest.raises(AnotherRun, match="written by somebody else meanwhile"):
        first.replace(ISSUES, [rows(3)], "first")
    assert lake.ids() == [1, 2]
    first, second = lake.place(), lake.place()
    assert first.look() == second.look() == delta.Version(0, "second", 0, "issues")
    first.replace(ISSUES, [rows(4)], "first")
    with pytest.raises(AnotherRun):
        second.replace(ISSUES, [rows(5)], "second")
    assert lake.ids() == [4]


def test_who_reads_while_tables_are_replaced_sees_one_version_or_another(lake):
    place = lake.place()
    place.look()
    place.replace(ISSUES, [rows(*range(100))], "0")
    seen, ended = [], threading.Event()

    def read():
        while not ended.is_set() or len(seen) < 5:
            seen.append(lake.ids())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in range(1, 20):
            again = lake.place()
            again.look()
            again.replace(ISSUES, [rows(*range(100 * version, 100 * version + 100))], f"{version}")
    finally:
        ended.set()
        reader.join()
    assert all(ids == list(range(ids[0], ids[0] + 100)) and ids[0] % 100 == 0 for ids in seen)


def test_a_signal_in_the_middle_leaves_the_version_before(lake):
    place = lake.place()
    place.look()
    place.replace(ISSUES, [rows(1)], "before")

    def interrupted():
        yield rows(2)
        raise Interrupted(signal.SIGTERM)

    again = lake.place()
    again.look()
    with pytest.raises(Interrupted):
        again.replace(ISSUES, interrupted(), "after")
    assert (lake.ids(), lake.place().look()) == ([1], delta.Version(0, "before", 0, "issues"))


KILLED = """
import json, os, signal, sys
from lake import delta
from lake.tables import ISSUES
def chunks(rows):
    for _ in range(40):
        yield rows
    os.kill(os.getpid(), signal.SIGKILL)
place = delta.Place(sys.argv[1], json.loads(sys.argv[2]))
place.look()
place.replace(ISSUES, chunks([tuple(row) for row in json.loads(sys.argv[3])] * 500), "after")
"""


def test_a_kill_in_the_middle_leaves_the_version_before_and_the_next_goes_well(lake):
    place = lake.place()
    place.look()
    place.replace(ISSUES, [rows(1)], "before")
    words = [lake.uri(), json.dumps(lake.options), json.dumps(rows(2))]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=str(ROOT), capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (lake.ids(), lake.place().look()) == ([1], delta.Version(0, "before", 0, "issues"))
    again = lake.place()
    again.look()
    again.replace(ISSUES, [rows(3)], "after")
    assert lake.ids() == [3]


def test_all_tables_are_as_they_were_at_one_moment(filled, tmp_path):
    """What is written meanwhile is the next publish's."""
    with contextlib.closing(db.connect(filled)) as conn, contextlib.closing(db.connect(filled)) as other:
        places = iter(["one", "two"])

        def place_of(table):
            folder = next(places)
            if folder == "two":
                other.execute("DELETE FROM issues")
            return delta.Place(str(tmp_path / folder))

        one, two = publish_tables(
            conn, [ISSUES, ISSUES], place_of, keep=2, on_progress=lambda *_: None, on_refused=print
        )
    assert one.rows == two.rows == 2 * len(odd_payloads.FIELDS)
    assert len(deltalake.DeltaTable(str(tmp_path / "two")).to_pyarrow_table()) == two.rows


def test_a_publish_says_from_where_on_the_next_has_to_look(filled, deleting):
    place = delta.Place(str(deleting.root), delete=deleting._delete)
    with contextlib.closing(db.connect(filled)) as conn:
        for number in range(6):
            conn.execute("UPDATE issues SET title = ?", (str(number),))
            publish_tables(conn, [ISSUES], lambda table: place, keep=2, on_progress=lambda *_: None, on_refused=print)
    assert len(deleting.deleted) == len(set(deleting.deleted)) == 4 * 2  # of issues, and of pull requests


def test_only_one_publish_works_on_a_database(filled, lake, run_main):
    conn = db.connect(filled)
    with contextlib.closing(conn), presence.fresh_token(conn, filled, lease_seconds=60) as token:
        with db.transaction(conn):
            runs.take_lock(conn, "publish", owner=token, now=db.now(conn, SYSTEM_CLOCK))
        code, _, err = publish(run_main, lake)
    assert (code, "publish runs already on" in err) == (4, True), err


# What is refused, before anything is written


@pytest.mark.parametrize("lake", ["directory"], indirect=True)
def test_tables_are_not_put_where_the_archive_lies(filled, lake, run_main, tmp_path):
    db.connect(str(tmp_path / "another.db")).close()  # which does not know what lies there
    place = ["--db", "another.db", "--archive-dir", "archive", "--prefix", "raw/github/"]
    code, _, err = run_main("publish", *place, "--tables", "labels,issues")
    assert (code, "holds something else, such as raw/github/issues/dt=" in err) == (2, True), err
    assert not list(tmp_path.rglob("_delta_log"))


@pytest.mark.parametrize("lake", ["directory"], indirect=True)
def test_nothing_is_published_within_the_archive(filled, lake, run_main, tmp_path):
    """There is no folder of labels yet; once the stream is switched on there would be two in one."""
    code, _, err = run_main("publish", "--archive-dir", "archive", "--prefix", "raw/github/", "--tables", "labels")
    assert (code, "--prefix raw/github/: the archive lies below raw/github/; give another" in err) == (2, True), err
    assert not list(tmp_path.rglob("_delta_log"))


def test_another_programs_table_is_left_alone(tmp_path):
    uri = str(tmp_path / "table")
    deltalake.write_deltalake(uri, RecordBatch.from_pydict({"mine": Array([1, 2], DataType.int64())}))
    refused = pytest.raises(ConfigurationError, match="is a table of another program; give another --prefix")
    with contextlib.closing(db.connect(str(tmp_path / "pipeline.db"))) as conn, refused:
        publish_tables(conn, [ISSUES], lambda table: delta.Place(uri), keep=1, on_progress=print, on_refused=print)
    assert deltalake.DeltaTable(uri).to_pyarrow_table().to_pylist() == [{"mine": 1}, {"mine": 2}]


@pytest.mark.parametrize(
    "uri",
    ["/lake/a#b", "/lake/a?b", "/lake/a[b", "/lake/a%20b", "s3://my-lake/a#b/issues", "s3://my-lake/a:b/issues"],
)
def test_a_path_that_deltalake_mistakes_for_another_is_refused(uri):
    with pytest.raises(ConfigurationError, match="can't use a path with"):
        delta.Place(uri)
    assert delta.Place("/lake/50% of c: é") and delta.Place("s3://my-lake/50% of c/issues")


LEFT = "t/part-00000-886eab27-e7a1-4fe2-a3b2-fc68655cd84a-c000.zstd.parquet"


def test_what_a_first_publish_left_that_was_killed_is_in_nobodys_way():
    check_is_free([LEFT, LEFT + "#1", "t/_delta_log/x"], "t/")
    for key in ("t/part-0.parquet", "t/x.json", LEFT + "#a"):
        with pytest.raises(ConfigurationError, match="holds something else"):
            check_is_free([LEFT, key], "t/")


def test_what_is_half_of_a_file_goes_a_day_later(tmp_path, monkeypatch):
    archive = DirectoryArchive(str(tmp_path))
    keys = [LEFT, LEFT + "#1"]
    (tmp_path / "t").mkdir()
    for key in keys:
        (tmp_path / key).touch()
    archive.remove_stale(unfinished(archive.keys("t/")))
    assert list(archive.keys("t/")) == keys
    monkeypatch.setattr("lake.local.STALE_SECONDS", -60)
    archive.remove_stale(unfinished(archive.keys("t/")))
    assert list(archive.keys("t/")) == keys[:1]


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("table", "x", "can't be written; check its owner and permissions, and what lies there"),
        ("table/_delta_log/00000000000000000000.json", '{"commitInfo"', "its log is broken (Kernel error: Json"),
        ("table/_delta_log/00000000000000000000.json", "", "move the folder away, the next run makes it anew"),
    ],
)
def test_what_is_broken_on_the_disk_is_said_in_our_words(tmp_path, name, text, said):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        delta.Place(str(tmp_path / "table")).look()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "said, meant",
    [
        (
            "Error performing PUT http://s3/b in 2ms - Received redirect without LOCATION, this",
            (301, "PermanentRedirect"),
        ),
        ("The operation lacked the necessary privileges to complete for path a.json", (403, "AccessDenied")),
        (
            "Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code>",
            (400, "ExpiredToken"),
        ),
    ],
)
def test_what_s3_refuses_deltalake_is_known(said, meant):
    with pytest.raises(refusals.Refused) as raised, refusals.explained("s3://b/issues", "get_object"):
        raise OSError(said)
    assert (raised.value.status, raised.value.code, raised.value.operation) == (*meant, "get_object")


@pytest.mark.parametrize(
    "said, meant",
    [
        (
            "Error after 5 retries - Server returned error response: 501 Not Implemented: NotImplemented",
            "If-None-Match",
        ),
        ("error sending request client error (Connect) invalid peer certificate UnknownIssuer", "SSL_CERT_FILE has to"),
    ],
)
def test_what_does_not_pass_is_no_outage(said, meant):
    with pytest.raises(ConfigurationError, match=meant), refusals.explained("s3://b/issues"):
        raise OSError(said)


def test_what_kills_deltalake_is_said_in_our_words():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(PipelineError, match="/lake: Invalid object"), refusals.explained("/lake"):
        raise panic("Invalid object store url")


@pytest.mark.parametrize("lake", ["directory"], indirect=True)
def test_what_is_published_in_a_directory_is_its_owners_alone(filled, lake, run_main, tmp_path):
    publish(run_main, lake)
    made = [each for each in (tmp_path / "lake").rglob("*") if each.is_file()]
    assert made and {each.stat().st_mode & 0o77 for each in made} == {0}


@pytest.mark.parametrize(
    "env, code, said",
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 2, "403 SignatureDoesNotMatch; check AWS_SECRET_ACCESS_KEY"),
        ({"BUCKET_NAME": "no-such-bucket"}, 2, "404 NoSuchBucket; create the bucket or check BUCKET_NAME"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, 3, "S3 can't be reached"),
        ({"AWS_S3_ALLOW_UNSAFE_RENAME": "true"}, 2, "deltalake can't use AWS_S3_ALLOW_UNSAFE_RENAME; unset it"),
        ({"BUCKET_NAME": "things--use1-az5--x-s3"}, 2, "deltalake can't use"),
    ],
)
@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_what_is_wrong_with_s3_is_said_in_one_line(filled, lake, run_main, env, code, said):
    found, _, err = publish(run_main, lake, **env)
    assert (found, said in err.splitlines()[-1]) == (code, True), err


@pytest.mark.long
@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_variables_of_other_programs_reach_no_request(filled, lake, run_main):
    code, _, err = publish(run_main, lake, TOKEN="ghp_secret", TIMEOUT="30", PROXY_URL="http://127.0.0.1:9")
    assert code == 0, err


@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_a_key_that_may_only_read_is_told_what_it_lacks(filled, lake, run_main):
    reader = {"AWS_ACCESS_KEY_ID": "reader-access-key", "AWS_SECRET_ACCESS_KEY": "reader-secret-key"}
    code, _, err = publish(run_main, lake, **reader)
    assert (code, "has s3:PutObject on it" in err.splitlines()[-1]) == (2, True), err


@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_what_is_refused_in_mid_write_is_said_in_our_words(lake):
    """By the time that this is heard there may be batches to come."""
    place = delta.Place(lake.uri(), {**lake.options, "aws_secret_access_key": "wrong"})
    with pytest.raises(refusals.Refused, match="403 SignatureDoesNotMatch"):
        place.replace(ISSUES, (rows(number) for number in itertools.count()), "mark")


@pytest.mark.parametrize("lake", ["S3"], indirect=True)
def test_the_credentials_are_those_that_boto3_finds(filled, lake, run_main, tmp_path):
    (tmp_path / "config").write_text(
        f"[profile lake]\nregion = us-east-1\nendpoint_url = {lake.options['aws_endpoint_url']}\n"
        f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    env = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "lake", "BUCKET_NAME": lake.env["BUCKET_NAME"]}
    code, _, err = run_main("publish", env=env)
    assert code == 0, err
    assert len(lake.ids()) == 2 * len(odd_payloads.FIELDS)
