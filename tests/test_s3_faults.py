"""The worker against a real S3 server through a proxy that spoils requests."""

import concurrent.futures
import json
import random

import pytest

import main
import s3_writer
from foundation.errors import Outage
from lake.objects import Object
from tests.fault_proxy import AFTER, BEFORE, DAMAGE, FaultProxy, some_of
from tests.reconcile import problems
from tests.test_worker import enqueue
from tests.turns import with_others

pytestmark = pytest.mark.slow

LASTING = [
    *BEFORE, *AFTER, (403, "RequestTimeTooSkewed"), (400, "ExpiredToken"), (403, "InvalidAccessKeyId"),
    (400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect"), (307, "TemporaryRedirect"), DAMAGE,
]  # fmt: skip


@pytest.fixture
def proxy(bucket, monkeypatch):
    # The SDK's own backoff really sleeps.
    monkeypatch.setattr(s3_writer, "SDK_ATTEMPTS", 1)
    with FaultProxy(bucket.endpoint) as made:
        for name, value in {**bucket.env, "AWS_ENDPOINT_URL_S3": made.url}.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def work(tmp_path, capsys):
    """Runs `worker` in this process; returns (exit code, result, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        code = main.main(["worker", "--json", "--db", str(tmp_path / "pipeline.db"), *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return run


@pytest.mark.parametrize("fault, layout", with_others(LASTING, ("object",), ("batch",)), ids=str)
def test_a_lasting_outage_loses_nothing_and_says_what_to_do(
    proxy, bucket, conn, work, tmp_path, monkeypatch, fault, layout
):
    enqueue(conn, 12)
    monkeypatch.setattr(s3_writer, "READ_TIMEOUT_SECONDS", 1)
    is_configuration = isinstance(fault, tuple) and fault[0] < 429
    proxy.fault = lambda method, path: fault
    code, result, err = work("--layout", layout, "--threads", "2")
    assert (code, result["stopped_by"]) == (2 if is_configuration else 3, "outage"), err
    assert err.splitlines()[-1].startswith("error: S3 ")
    assert "Traceback" not in err
    found = conn.execute("SELECT status, max(attempts), count(*) FROM queue_items GROUP BY status").fetchall()
    assert [tuple(row) for row in found] == [("pending", 0, 12)]
    proxy.fault = lambda method, path: None
    monkeypatch.setattr(s3_writer, "READ_TIMEOUT_SECONDS", 30)  # a new bucket's first uploads take this server long
    code, _, err = work("--layout", layout)
    assert code == 0, err
    assert problems(str(tmp_path / "pipeline.db"), bucket.objects(), bucket.get) == []


def test_a_redirect_without_a_region_is_not_followed_down_to_the_end_of_the_stack(proxy, bucket, conn, work):
    """The SDK asks the bucket for its region, and would ask again where that is redirected."""
    enqueue(conn, 1)
    asked = []

    def redirect(method, path):
        asked.append(method)
        return 301, "PermanentRedirect"

    proxy.fault = redirect
    code, _, err = work()
    assert (code, "set AWS_REGION" in err) == (2, True)
    assert len(asked) < 10


@pytest.mark.parametrize("layout", ["object", pytest.param("batch", marks=pytest.mark.long)])
def test_under_faults_of_every_kind_everything_comes_home_and_nothing_fails(
    proxy, bucket, conn, work, tmp_path, layout, s3_way
):
    enqueue(conn, 150)
    kinds = [fault for fault in BEFORE + AFTER if "hang" not in fault]
    # What is asked for in two ways has to go wrong in both.
    proxy.fault = some_of(0.3 if s3_way == "direct" else 0.1, kinds, random.Random(3))
    codes = set()
    while conn.execute("SELECT count(*) FROM queue_items WHERE status <> 'done'").fetchone()[0]:
        limit = ("--limit", "9") if layout == "batch" else ()
        codes.add(work("--layout", layout, "--threads", "3", *limit)[0])
        assert proxy.requests < 2000
    assert codes <= {0, 2, 3}
    assert len(codes) > 1
    assert problems(str(tmp_path / "pipeline.db"), bucket.objects(), bucket.get) == []


def test_the_sdk_outlasts_a_passing_fault_by_itself(proxy, conn, work, monkeypatch):
    monkeypatch.setattr(s3_writer, "SDK_ATTEMPTS", 2)
    enqueue(conn, 1)
    faults = [(503, "SlowDown")]
    proxy.fault = lambda method, path: faults.pop() if faults else None
    code, result, _ = work()
    assert (code, result["done"], proxy.requests) == (0, 1, 2)


@pytest.mark.parametrize("fault", ["cut", "cut_after"])
def test_an_archive_whose_answers_are_cut_off_is_no_empty_one(proxy, bucket, fault):
    store = s3_writer.S3Archive(bucket=bucket.name, threads=1, environ=bucket.env, user_agent="test/1")
    store.put(Object("raw/k.json", b"{}", "0" * 64, "application/json", "2026-01-01T00:00:00.000000001Z"))
    proxy.fault = lambda method, path: fault
    with pytest.raises(Outage, match="run again later"):
        list(store.keys("raw/"))
    with pytest.raises(Outage, match="run again later"):
        store.get("raw/k.json")


def test_a_listing_shows_every_key_of_several_pages(bucket, monkeypatch):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    store = s3_writer.S3Archive(bucket=bucket.name, threads=8, environ=bucket.env, user_agent="test/1")
    names = [f"raw/{number:04d}.json" for number in range(1100)]  # S3 shows a thousand at a time
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(Object(key, b"{}", "0" * 64, "application/json", "")), names))
    assert list(store.keys("raw/")) == names
