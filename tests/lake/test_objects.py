import gzip
import hashlib
import json

import pytest

from foundation.records import ClaimedItem, Row
from github.streams.stream import Kind
from lake import objects
from lake.objects import ItemRefused

SHA256 = "0123456789ab" + "c" * 52


def version(**changes):
    fields = {
        "id": 1, "repo": "acme/widgets", "item_type": "issue", "item_id": 1, "number": 42, "payload": b"{}",
        "updated_at": "2026-11-20T23:59:59Z", "payload_sha256": SHA256, "attempts": 0, "s3_key": None,
        "group_failures": 0, "fetched_at": "2026-11-21T00:00:00Z",
    }  # fmt: skip
    return ClaimedItem(**{**fields, **changes})


def key(prefix="raw/github/", **changes):
    return objects.object_key(prefix, version(**changes))


def test_the_key_is_the_one_of_the_contract():
    assert key() == "raw/github/issues/dt=2026-11-20/acme/widgets/42-20261120T235959Z-0123456789ab.json"
    assert key(item_type="pull_request", prefix="").startswith("pulls/dt=2026-11-20/acme/widgets/42-")


def test_the_key_takes_its_day_in_utc():
    assert "/dt=2026-11-21/" in key(updated_at="2026-11-20T23:30:00-02:00")


@pytest.mark.parametrize(
    "changes", [{"repo": "../../etc"}, {"repo": "a/b/c"}, {"updated_at": "../x"}, {"payload_sha256": "/"}]
)
def test_parts_that_a_path_must_not_hold_are_refused(changes):
    with pytest.raises(ItemRefused):
        key(**changes)


def test_a_batch_has_the_key_of_its_members_and_of_nothing_else():
    one, two = version(item_id=1), version(item_id=2)
    made = objects.batch_key("raw/", [one, two])
    assert made.startswith("raw/issues/dt=2026-11-20/batch-")
    assert made.endswith(".jsonl.gz")
    assert objects.batch_key("raw/", [one._replace(id=9, attempts=3), two]) == made
    assert objects.batch_key("raw/", [one]) != made
    assert objects.batch_key("raw/", [one, version(item_id=2, payload_sha256="d" * 64)]) != made


def test_a_batch_holds_each_payload_on_one_line_and_the_same_bytes_each_time():
    pretty = '{\r\n  "title": "a\\nb ☃"\n}'.encode()
    made = objects.batch("k", [version(), version(payload=pretty)])
    lines = gzip.decompress(made.body)
    assert [json.loads(line) for line in lines.decode().splitlines()] == [{}, {"title": "a\nb ☃"}]
    assert (made.sha256, made.content_type) == (hashlib.sha256(lines).hexdigest(), "application/gzip")
    assert made.body[4:8] == bytes(4)  # no time in gzip's header (RFC 1952)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_batch_holds_each_line_once_wherever_it_is_cut_to_be_packed(over):
    payloads = [b'{"n": %d}' % n for n in range(2 * objects.PACKED_AT_A_TIME + over)]
    made = objects.batch("k", [version(payload=payload) for payload in payloads])
    lines = gzip.decompress(made.body)
    assert lines == b"".join(payload + b"\n" for payload in payloads)
    assert made.sha256 == hashlib.sha256(lines).hexdigest()


BATCH = objects.batch("batch.gz", [version(), version()])
CONTENT = b'{"a": 1}'
OWN_KEY = f"1-{hashlib.sha256(CONTENT).hexdigest()[:12]}.json"


@pytest.mark.parametrize(
    "key, body, sha256",
    [
        ("batch.gz", b"", ""),  # as a full disk or a cut-off copy leaves it; gzip takes it for whole
        ("batch.gz", gzip.compress(b"", mtime=0), ""),
        ("batch.gz", BATCH.body[:-1], ""),
        ("batch.gz", BATCH.body, "0" * 64),
        (OWN_KEY, b'{"a": 2}', ""),
        (OWN_KEY, b"", ""),
        (OWN_KEY, CONTENT, "0" * 64),
    ],
)
def test_an_object_whose_bytes_are_not_those_that_were_put_is_damaged_for_each_reader(key, body, sha256):
    fetched = objects.Fetched(body, "", sha256)
    for read in (lambda: list(objects.payloads(key, fetched)), lambda: objects.stored(key, fetched)):
        with pytest.raises(objects.Damaged):
            read()


def test_an_object_that_is_whole_gives_its_payloads_and_itself():
    fetched = objects.Fetched(BATCH.body, BATCH.fetched_order, BATCH.sha256)
    assert list(objects.payloads("batch.gz", fetched)) == [b"{}", b"{}"]
    assert objects.stored("batch.gz", fetched) == BATCH
    assert list(objects.payloads(OWN_KEY, objects.Fetched(CONTENT, ""))) == [CONTENT]


def test_a_later_line_of_a_batch_supersedes_one_of_the_same_item_and_second():
    def row(item_id, updated_at="t"):
        return Row("issues", {"item_type": "issue", "id": item_id, "updated_at": updated_at})

    rows = [[row(1)], [row(2)], [], [row(1)], [row(2, "later")], [row(1), row(3)]]
    assert objects.newest(rows) == [[], [row(2)], [], [], [row(2, "later")], [row(1), row(3)]]


@pytest.fixture
def event(monkeypatch):
    """A type of items that are known by their ids."""
    monkeypatch.setitem(objects.KINDS, "happening", Kind("happening", "happenings", lambda *_: [], is_known_by_id=True))
    return version(item_type="happening", item_id=987654321012, payload=b'{"id": 987654321012}')


def test_the_key_of_what_is_known_by_its_id_ends_with_that_and_not_with_a_hash(event):
    made = objects.single("raw/", event)
    assert made.key == "raw/happenings/dt=2026-11-20/acme/widgets/42-20261120T235959Z-987654321012.json"
    assert objects.object_key("raw/", event._replace(payload_sha256="d" * 64)) == made.key
    assert objects.parse_key("raw/", made.key) == objects.Stored("happening", "acme/widgets")


def test_only_keys_that_are_made_so_are_known(event):
    made = objects.object_key("raw/", event)
    assert objects.parse_key("raw/", made.replace("987654321012", "0123456789ab")) is None
    assert (
        objects.parse_key("raw/", made.replace("happenings", "issues").replace("987654321012", "9876543210123")) is None
    )
    assert objects.parse_key("raw/", made.replace("happenings", "issues")).item_type == "issue"  # a hash of digits


def test_an_object_that_is_known_by_its_id_is_read_by_that(event):
    key, other = objects.object_key("raw/", event), b'{"id": 987654321012, "issue": {}}'
    assert list(objects.payloads(key, objects.Fetched(other, ""))) == [other]
    assert objects.stored(key, objects.Fetched(other, "")).body == other
    for body in (b'{"id": 1}', b'{"id"', b""):
        for read in (lambda body=body: list(objects.payloads(key, objects.Fetched(body, ""))),
                     lambda body=body: objects.stored(key, objects.Fetched(body, ""))):  # fmt: skip
            with pytest.raises(objects.Damaged):
                read()


def test_what_has_no_number_is_called_by_its_id():
    assert "/77-20261120T235959Z-" in key(number=0, item_id=77)
