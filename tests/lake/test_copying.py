"""One archive to another: directories and buckets in each direction."""

import gzip
import json
import os

import pytest

import db
import queue_manager
from commands import archive_choice
from lake import notes
from lake.local import DirectoryArchive
from tests.fault_proxy import FaultProxy
from tests.lake.test_rebuild import item
from tests.reconcile import problems, read_directory

PREFIX = "raw/github/"
SIX = range(6)


@pytest.fixture
def archived(conn, run_main, bucket):
    """Puts some items into an archive: returns a function of the worker's options."""

    def put(*options, numbers=SIX, layout="object"):
        with db.transaction(conn):
            items = [item(number, body="é\u2028") for number in numbers]
            queue_manager.enqueue(conn, repo="acme/widgets", items=items, now="2026-11-23T10:00:00Z")
        code, _, err = run_main("worker", "--layout", layout, *options, env=bucket.env)
        assert code == 0, err
        return err

    return put


@pytest.fixture
def copy(run_main, bucket):
    def run(*options, env=None):
        code, out, err = run_main("copy", "--json", *options, env={**bucket.env, **(env or {})})
        return code, json.loads(out) if out else None, err

    return run


def stored(bucket):
    """What a bucket holds, with all that a copy has to keep."""
    found = {}
    for key, body in bucket.objects().items():
        head = bucket.client.head_object(Bucket=bucket.name, Key=key)
        found[key] = (body, head["ContentType"], head["Metadata"])
    return found


def emptied(bucket):
    for key in bucket.objects():
        bucket.client.delete_object(Bucket=bucket.name, Key=key)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["object", "batch"])
def test_from_bucket_to_directory_and_back_nothing_is_lost_or_changed(archived, copy, bucket, tmp_path, layout):
    archived("--bucket", bucket.name, layout=layout)
    before = stored(bucket)
    (tmp_path / "b").mkdir()
    for options in (
        ["--bucket", bucket.name, "--to-archive-dir", "a"],
        ["--archive-dir", "a", "--to-archive-dir", "b"],
    ):
        code, result, err = copy(*options)
        assert (code, result["copied"], result["failed"]) == (0, len(before), 0), err
        assert result["bytes"] == sum(len(body) for body, _, _ in before.values())
    assert read_directory(tmp_path / "b") == bucket.objects()
    emptied(bucket)
    assert copy("--archive-dir", "b", "--to-bucket", f"s3://{bucket.name}")[0] == 0
    assert stored(bucket) == before
    assert problems(str(tmp_path / "pipeline.db"), bucket.objects()) == []


@pytest.mark.slow
def test_from_bucket_to_bucket_what_is_there_is_passed_over(archived, copy, bucket, s3):
    from tests.conftest import Bucket

    archived("--bucket", bucket.name)
    another = Bucket(s3)
    options = ["--bucket", bucket.name, "--to-bucket", another.name, "--threads", "2"]
    code, result, err = copy(*options)
    assert (code, result["copied"], result["skipped"]) == (0, 6, 0), err
    assert stored(another) == stored(bucket)
    lost, spoilt, younger = another.keys()[:3]
    another.client.delete_object(Bucket=another.name, Key=lost)
    another.client.put_object(Bucket=another.name, Key=spoilt, Body=b"{}")
    body, content_type, metadata = stored(bucket)[younger]
    bucket.client.put_object(
        Bucket=bucket.name, Key=younger, Body=body, ContentType=content_type,
        Metadata={**metadata, "fetched-at": "2026-12-01T00:00:00.000000007Z"},
    )  # fmt: skip
    code, result, err = copy(*options)
    assert (code, result["objects"], result["copied"], result["skipped"]) == (0, 6, 3, 3), err
    assert stored(another) == stored(bucket)
    another.client.close()


def test_what_is_not_whole_in_the_source_is_not_copied_and_ends_with_1(archived, copy, bucket, tmp_path):
    archived("--archive-dir", "a")
    for first in (10, 20):
        archived("--archive-dir", "a", layout="batch", numbers=range(first, first + 6))
    files = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    batch, empty, single = files[-1], files[-2], files[0]
    empty.write_bytes(b"")
    assert batch.name.startswith("batch-")
    spoilt = gzip.compress(gzip.decompress(batch.read_bytes()))[:-4]
    batch.write_bytes(spoilt)
    single.write_bytes(single.read_bytes().replace(b"A title", b"A tittle"))
    code, result, err = copy("--archive-dir", "a", "--to-bucket", bucket.name)
    assert (code, result["objects"], result["copied"], result["failed"]) == (1, 8, 5, 3)
    for path in (batch, empty, single):
        assert path.name in err
    assert not [key for key in bucket.objects() if key.endswith((batch.name, empty.name, single.name))]


def test_only_what_this_project_made_is_copied(archived, copy, tmp_path):
    archived("--archive-dir", "a")
    for other in ("raw/github/issues/notes.txt", "raw/github/x.json", "other/y.json"):
        path = tmp_path / "a" / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
    assert copy("--archive-dir", "a", "--to-archive-dir", "b")[1]["objects"] == 6
    assert len(read_directory(tmp_path / "b")) == 6


def test_an_outage_ends_a_copy_and_the_next_one_goes_on(archived, copy, bucket, tmp_path):
    archived("--archive-dir", "a", numbers=range(30))
    puts = []

    def fault(method, path):
        puts.append(path) if method == "PUT" else None
        return (403, "AccessDenied") if method == "PUT" and len(puts) > 10 else None

    with FaultProxy(bucket.endpoint, fault) as proxy:
        env = {"AWS_ENDPOINT_URL_S3": proxy.url}
        options = ["--archive-dir", "a", "--to-bucket", bucket.name, "--threads", "2"]
        code, result, err = copy(*options, env=env)
        assert (code, result, "s3:PutObject" in err.splitlines()[-1]) == (2, None, True)
        proxy.fault = lambda method, path: None
        code, result, err = copy(*options, env=env)
    assert (code, result["copied"], result["skipped"]) == (0, 20, 10), err
    assert bucket.objects() == read_directory(tmp_path / "a")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--archive-dir", "typo", "--to-archive-dir", "b"], "'typo'"),
        (["--archive-dir", "a", "--to-archive-dir", "./a/"], "both"),
        (["--archive-dir", "a", "--bucket", "x", "--to-archive-dir", "b"], "exclude each other"),
        (["--archive-dir", "a"], "--to-bucket"),
        (["--archive-dir", "a", "--to-bucket", "x", "--to-archive-dir", "b"], "not allowed with"),
    ],
)
def test_a_copy_that_makes_no_sense_is_a_usage_error_and_makes_nothing(copy, tmp_path, options, said):
    (tmp_path / "a").mkdir()
    code, result, err = copy(*options)
    assert (code, result, said in err, os.listdir(tmp_path)) == (2, None, True, ["a"])


@pytest.mark.slow
def test_a_worker_that_starts_with_another_place_says_what_lies_elsewhere_until_it_is_copied(
    archived, copy, bucket, tmp_path
):
    assert "lie in" not in archived("--archive-dir", "a")
    said = [line for line in archived("--bucket", bucket.name, numbers=[7]).splitlines() if "lie in" in line]
    (line,) = said
    assert "WARNING 6 items lie in directory" in line
    command = line.split("python main.py ")[1].split()
    assert command == ["copy", "--archive-dir", str(tmp_path / "a"), "--to-bucket", bucket.name]
    assert "INFO 6 items lie in" in archived("--bucket", bucket.name, numbers=[8])
    assert copy(*command[1:])[0] == 0
    for numbers, options in ([9], ["--bucket", bucket.name]), ([10], ["--bucket", bucket.name]):
        assert "lie in" not in archived(*options, numbers=numbers)
    assert len(bucket.keys()) == 10


def test_a_copy_needs_no_database_and_makes_none(archived, copy, conn, tmp_path):
    archived("--archive-dir", "a")
    conn.close()
    (tmp_path / "pipeline.db").unlink()
    assert copy("--archive-dir", "a", "--to-archive-dir", "b")[0] == 0
    assert not (tmp_path / "pipeline.db").exists()


@pytest.mark.parametrize(
    "there, here, said",
    [
        (("a", "", None, PREFIX), ("b", "", None, PREFIX), "copy --bucket a --to-bucket b"),
        (
            (None, "", "/x y", "p/"),
            ("b", "http://h", None, "p/"),
            "copy --archive-dir '/x y' --to-bucket b --prefix p/",
        ),
        ((None, "", "/x", "it's/"), (None, "", "/x", PREFIX), """to go on there: --prefix 'it'"'"'s/'"""),
        ((None, "", "/x", PREFIX), ("b", "", None, "p/"), "to go on there: --prefix raw/github/"),
        (("a", "http://h", None, PREFIX), (None, "", "/x", PREFIX), "copy --bucket a --to-archive-dir /x"),
        (("a", "http://h", None, PREFIX), ("b", "", None, PREFIX), "copy it to a directory first"),
    ],
)
def test_what_is_to_be_typed_to_bring_items_is_said(there, here, said):
    assert said in archive_choice.how_to_bring(archive_choice.Place(*there), archive_choice.Place(*here))


def test_what_was_copied_from_one_place_to_two_is_missed_in_none(conn):
    def elsewhere(here):
        return notes.archived_elsewhere(conn, here=here)

    notes.count_archived(conn, place="a", items=5)
    notes.note_copied(conn, source="a", target="b")
    notes.note_copied(conn, source="a", target="c")
    assert [elsewhere(here) for here in "abcd"] == [{}, {}, {}, {"b": 5}]
    notes.count_archived(conn, place="c", items=2)
    assert [elsewhere(here) for here in "abcd"] == [{"c": 2}, {"c": 2}, {}, {"b": 5, "c": 2}]
    notes.note_copied(conn, source="c", target="b")
    assert [elsewhere(here) for here in "abcd"] == [{"b": 2}, {}, {}, {"b": 7}]


def test_what_was_copied_on_from_a_copy_is_not_missed_where_it_came_from(conn):
    notes.count_archived(conn, place="a", items=5)
    notes.note_copied(conn, source="a", target="b")
    notes.note_copied(conn, source="b", target="c")
    notes.count_archived(conn, place="b", items=1)
    assert [notes.archived_elsewhere(conn, here=here) for here in "abc"] == [{"b": 1}, {}, {"b": 1}]


def test_a_place_comes_back_from_its_text():
    place = archive_choice.Place("a", "http://h", None, "é/")
    assert archive_choice.Place.of_text(place.text) == place


@pytest.mark.slow
def test_an_object_whose_time_was_given_by_another_program_is_copied_all_the_same(archived, copy, bucket, tmp_path):
    archived("--bucket", bucket.name)
    key, (body, content_type, _) = sorted(stored(bucket).items())[0]
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body, ContentType=content_type)
    assert copy("--bucket", bucket.name, "--to-archive-dir", "a")[0] == 0
    assert DirectoryArchive(str(tmp_path / "a")).get(key).fetched_order == "1970-01-01T00:00:00.000000000Z"
