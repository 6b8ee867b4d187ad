"""Uploads and downloads as AWS itself takes and gives them."""

import contextlib
import hashlib
import os

import pytest

from lake.objects import BATCH_TYPE, JSON_TYPE, Fetched, Object, ObjectOptions
from s3_writer import S3Archive
from tests.aws import Aws

NOW = "2026-01-01T00:00:00.000000001Z"
PLAIN = ObjectOptions()


def plain(key, body):
    return Object(key, body, hashlib.sha256(body).hexdigest(), JSON_TYPE, NOW)


@pytest.fixture
def aws():
    with contextlib.closing(Aws()) as made:
        yield made


@pytest.fixture
def opened(aws, s3_way, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    for name, value in aws.env.items():
        monkeypatch.setenv(name, value)
    environ = {**aws.env, "PIPELINE_S3_FAST": os.environ["PIPELINE_S3_FAST"]}
    return lambda options=PLAIN: S3Archive(
        bucket="lake", threads=2, environ=environ, user_agent="test/1", options=options
    )


@pytest.mark.parametrize("options", [PLAIN, ObjectOptions(encryption="aws:kms")], ids=["plain", "kms"])
@pytest.mark.parametrize(
    "made",
    [
        plain("raw/é 1.json", b'{"id": 1}'),
        plain("raw/empty.json", b""),
        plain("raw/large.json", b"x" * 200_000),
        Object("raw/batch.jsonl.gz", bytes(range(256)), "ab" * 32, BATCH_TYPE, NOW),
    ],
    ids=lambda made: made.key,
)
def test_aws_takes_and_gives_back_what_is_sent(aws, opened, s3_way, made, options):
    store = opened(options)
    store.put(made)
    ((_, path),) = aws.objects
    assert [body for body, _ in aws.objects.values()] == [made.body]
    assert store.get(made.key) == Fetched(made.body, made.fetched_order, made.sha256)
    assert [command for command, _, _ in aws.asked] == ["PUT", "GET"]
    by_sdk = ["amz-sdk-request" in headers for _, _, headers in aws.asked]
    is_small = len(made.body) < 65536
    assert by_sdk == ([not is_small, made.key.endswith(".gz")] if s3_way == "direct" else [True, True])


def test_neither_learns_what_is_the_others(aws, opened):
    opened().put(plain("k.json", b"{}"))
    ((_, host, headers),) = aws.asked
    assert host == "lake.s3.amazonaws.com"
    assert "proxy-authorization" not in headers


def test_the_proxy_is_chosen_by_the_endpoint_whatever_the_host_of_the_bucket(aws, opened, s3_way, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "lake.s3.amazonaws.com")  # what the SDK asks about is s3.amazonaws.com
    opened().put(plain("k.json", b"{}"))
    assert ["amz-sdk-request" in headers for _, _, headers in aws.asked] == [s3_way == "sdk"]
