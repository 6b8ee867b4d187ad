"""docs/LAKE.md: every statement for DuckDB runs, against a directory and a real S3 server, on both layouts."""

import contextlib
import json
import re
from pathlib import Path

import pytest

import db
import queue_manager
from tests import odd_payloads
from tests.conftest import ROOT, Bucket
from tests.s3_server import ACCESS_KEY, SECRET_KEY

duckdb = pytest.importorskip("duckdb", reason="DuckDB wants Python 3.10")

NOW = "2026-11-23T10:00:00Z"
BLOCK = re.compile(r"^```(?:sql|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = "Not run by a test"
FOLDERS = {"issue": "issues", "pull_request": "pulls"}


def blocks(name="docs/LAKE.md"):
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


def statements(block):
    return [one for one in re.sub(r"--.*", "", block).split(";") if one.strip()]


DUCKDB = [block for block in blocks() if block.startswith("-- DuckDB") and NOT_RUN not in block]


def test_each_block_is_run_by_a_test_or_says_why_not():
    for block in blocks():
        assert NOT_RUN in block.splitlines()[0] or block in DUCKDB or block.startswith("# Polars"), block
    assert len(DUCKDB) == 5


def test_the_readme_has_no_statement_for_an_engine_that_nothing_runs():
    assert not [block for block in blocks("README.md") if re.search("read_json|read_parquet|s3:|s3a:", block)]


@pytest.fixture(params=["both", *(pytest.param(layout, marks=pytest.mark.long) for layout in ("object", "batch"))])
def archived(request, run_main, tmp_path):
    """Archives the odd payloads in that layout; takes where to, as `worker` has it."""

    def archive(*place, env=None):
        items = odd_payloads.items()
        parts = {"both": [("object", items[::2]), ("batch", items[1::2])]}
        for layout, part in parts.get(request.param, [(request.param, items)]):
            with contextlib.closing(db.connect(str(tmp_path / "pipeline.db"))) as conn, db.transaction(conn):
                queue_manager.enqueue(conn, repo="acme/widgets", items=part, now=NOW)
            code, _, err = run_main("worker", "--layout", layout, *place, env=env)
            assert code == 0, err

    return archive


@pytest.fixture
def duck():
    with contextlib.closing(duckdb.connect(config={"autoinstall_known_extensions": "false"})) as conn:
        yield conn


@pytest.fixture(params=["directory", "S3"])
def lake(request, archived, duck, tmp_path):
    """What stands in the document's place: [(text of the document, text here), ...]."""
    if request.param == "directory":
        archived("--archive-dir", "archive")
        return [("s3://my-lake", str(tmp_path / "archive"))]
    httpfs = pytest.importorskip("duckdb_extension_httpfs")
    bucket = Bucket(request.getfixturevalue("s3"))
    archived(env=bucket.env)
    extension = Path(httpfs.__file__).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    duck.execute(f"LOAD '{extension}'")
    here = [("my-lake", bucket.name), ("localhost:8333", re.sub("^http://", "", bucket.endpoint))]
    return [*here, ("my-key", ACCESS_KEY), ("my-secret", SECRET_KEY)]


def run(duck, lake, item_type="issue"):
    """Every statement of the document; the secret first, which stands below for those who need one."""
    results = []
    for block in sorted(DUCKDB, key=lambda block: "SECRET" not in block):
        if "SECRET" in block and lake[0][0].startswith("s3:"):
            continue
        for statement in statements(block):
            for there, here in [*lake, ("github/issues", f"github/{FOLDERS[item_type]}")]:
                statement = statement.replace(there, here)
            results.append(duck.execute(statement).fetchall())
    return results


def as_in_sqlite(value):
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(value, "strftime") else value


@pytest.mark.parametrize("item_type", list(FOLDERS))
def test_the_newest_version_of_each_item_is_what_the_table_says(duck, lake, item_type, tmp_path):
    run(duck, lake, item_type)
    columns = "number, id, title, state, author, labels, created_at, updated_at, closed_at, merged_at"
    rows = duck.execute(f"SELECT {columns} FROM issues_now").fetchall()
    found = [[as_in_sqlite(value) for value in row] for row in rows]
    with contextlib.closing(db.connect(str(tmp_path / "pipeline.db"))) as conn:
        rows = [list(row) for row in conn.execute(f"SELECT {columns} FROM issues WHERE item_type = ?", (item_type,))]
    unreadable = {odd_payloads.number(name) for name in odd_payloads.UNREADABLE}
    expected = [[*row[:5], json.loads(row[5]), *row[6:]] for row in rows if row[0] not in unreadable]
    for row in found:
        row[2] = row[2].replace("\0", "\ufffd")  # which PostgreSQL does not hold
    assert sorted(found) == sorted(expected)
    assert len(found) == len(odd_payloads.FIELDS) - len(odd_payloads.UNREADABLE)


def test_every_version_is_counted_and_compacted(duck, lake):
    *_, by_day, by_state, _, compacted = run(duck, lake)
    readable = len(odd_payloads.FIELDS) + 2 - len(odd_payloads.UNREADABLE)
    assert sum(versions for _, versions in by_day) == readable
    assert {state for state, *_ in by_state} == {"open", "closed"}
    assert compacted == [(readable,)]
