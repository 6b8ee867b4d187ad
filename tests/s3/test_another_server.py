"""What SeaweedFS takes another make of server takes too, in clear and over TLS."""

import contextlib
import hashlib
import logging
import os

import pytest

from foundation.errors import Outage
from lake.objects import BATCH_TYPE, JSON_TYPE, Object
from s3_writer import S3Archive
from tests.conftest import ROOT
from tests.s3_server import RcloneServer

NOW = "2026-01-01T00:00:00.000000001Z"
CERTIFICATE = str(ROOT / "tests" / "localhost.pem")


def plain(key, body):
    return Object(key, body, hashlib.sha256(body).hexdigest(), JSON_TYPE, NOW)


OBJECTS = [
    plain("raw/é ~+%41&=/1.json", "naïve \U0001f600".encode()),
    plain("raw/empty.json", b""),
    plain("raw/large.json", b"x" * 200_000),
    Object("raw/batch.jsonl.gz", bytes(range(256)) * 8, "ab" * 32, BATCH_TYPE, NOW),
]


@pytest.fixture(params=[None, CERTIFICATE], ids=["http", "https"])
def server(request, tmp_path):
    (tmp_path / "lake").mkdir()
    made = RcloneServer(tmp_path, certificate=request.param)
    with contextlib.closing(made):
        yield made


@pytest.fixture
def opened(server, s3_way, monkeypatch):
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    environ = {**server.env, "PIPELINE_S3_FAST": os.environ["PIPELINE_S3_FAST"]}
    return lambda: S3Archive(bucket="lake", threads=2, environ={**os.environ, **environ}, user_agent="test/1")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_every_object_is_taken_and_given_back(opened, tmp_path, server, s3_way, monkeypatch, caplog, variable):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    if "AWS_CA_BUNDLE" in server.env:
        monkeypatch.setenv(variable, server.env["AWS_CA_BUNDLE"])
    caplog.set_level(logging.DEBUG, "pipeline.s3")
    store = opened()
    for made in OBJECTS:
        store.put(made)
        assert (tmp_path / "lake" / made.key).read_bytes() == made.body
        # Metadata it forgets, whoever asks.
        assert (store.get(made.key).body, store.describe(made.key).size) == (made.body, len(made.body))
    assert sorted(store.keys("raw/")) == sorted(made.key for made in OBJECTS)
    assert s3_way == "sdk" or caplog.messages == []  # nothing was left to the SDK


@pytest.mark.parametrize("server", [CERTIFICATE], indirect=True)
def test_a_server_whose_certificate_is_not_trusted_gets_nothing(server, opened, monkeypatch, tmp_path):
    monkeypatch.setattr("s3_writer.SDK_ATTEMPTS", 1)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(Outage, match="can't be reached: SSL validation failed"):
        opened().put(OBJECTS[0])
    assert list((tmp_path / "lake").iterdir()) == []
