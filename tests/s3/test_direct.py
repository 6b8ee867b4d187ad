"""Small objects by requests of our own: asked for as the SDK asks, and left to it wherever anything is not plain."""

import concurrent.futures
import hashlib
import logging
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials

from foundation.clock import SYSTEM_CLOCK
from foundation.errors import ConfigurationError, Outage, PipelineError
from lake.objects import JSON_TYPE, Object, ObjectOptions
from s3 import plan
from s3.direct import LONGEST_PAUSE, _Pause
from s3.plan import NotPlain
from s3_writer import S3Archive
from tests.answering_s3 import KEYS, MD5, answering_s3

NOW = "2026-01-01T00:00:00Z"
BODY = b'{"id": 1}'
MADE = Object("raw/é ~1.json", BODY, hashlib.sha256(BODY).hexdigest(), JSON_TYPE, NOW)
PLAIN = ObjectOptions()
# Of no two requests the same, or of the SDK's own kind.
EACH_ITS_OWN = {
    "authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-content-sha256",
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def s3_way(monkeypatch):
    """Here both ways are named where they are meant."""
    monkeypatch.setenv("PIPELINE_S3_FAST", "1")
    return "direct"


@pytest.fixture
def store(monkeypatch, s3_way):
    with answering_s3(monkeypatch, s3_way) as server:
        yield server


def opened(store, *, way="1", bucket="lake", options=PLAIN, clock=SYSTEM_CLOCK, **environ):
    environ = {**store.environ, "PIPELINE_S3_FAST": way, **environ}
    return S3Archive(bucket=bucket, threads=8, environ=environ, user_agent="t/1", options=options, clock=clock)


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        ObjectOptions("STANDARD_IA", "aws:kms", "key-1", (("team", "data & lake"), ("env", "prod"))),
        ObjectOptions(encryption="AES256"),
    ],
)
@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize("is_aws", [False, True])
def test_an_upload_is_that_of_the_sdk(store, monkeypatch, options, token, is_aws):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    if is_aws:  # reached through a proxy, which is the test's server
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTP_PROXY", store.environ["AWS_ENDPOINT_URL_S3"].replace("//", "//ada:pw@"))
        store.environ["AWS_ENDPOINT_URL_S3"] = "http://s3.us-east-1.amazonaws.com"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.environ["AWS_ENDPOINT_URL_S3"])
    for way in ("1", "0"):
        opened(store, way=way, options=options).put(MADE)
    ours, sdks = ({name.lower(): value for name, value in headers.items()} for headers in store.uploads)
    assert "amz-sdk-request" not in ours
    assert ours["x-amz-content-sha256"] == MADE.sha256
    assert {name: value for name, value in ours.items() if name not in EACH_ITS_OWN} == {
        name: value for name, value in sdks.items() if name not in EACH_ITS_OWN
    }
    assert ours["authorization"].split("Signature=")[0] == sdks["authorization"].split("Signature=")[0]
    assert store.asked[0] == store.asked[1]
    assert ("x-amz-checksum-crc32" in ours, "proxy-authorization" in ours) == (is_aws, is_aws)


REASONS = {
    "PIPELINE_S3_FAST is off": {"PIPELINE_S3_FAST": " Off"},
    "BOTOCORE_EXPERIMENTAL__PLUGINS": {"BOTOCORE_EXPERIMENTAL__PLUGINS": "mine=tests.s3.test_direct"},
    "endpoint lake.s3.dualstack.us-east-1.amazonaws.com": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "endpoint lake.s3-fips.us-east-1.amazonaws.com": {"AWS_USE_FIPS_ENDPOINT": "true"},
    "endpoint lake.s3-accelerate.amazonaws.com": {"AWS_CONFIG_FILE": "  use_accelerate_endpoint = true\n"},
    "a proxy of another kind": {"HTTPS_PROXY": "https://ada:pw@127.0.0.1:9", "NO_PROXY": ""},
}  # fmt: skip


def initialize_client_plugin(client):
    """The SDK's plugin of the test above: nothing is to be known of what it does."""


@pytest.mark.parametrize("reason", REASONS)
def test_where_the_sdk_does_something_particular_it_does_all_and_that_is_said(
    store, monkeypatch, caplog, tmp_path, reason
):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    environ = {**KEYS}
    for name, value in REASONS[reason].items():
        if name == "AWS_CONFIG_FILE":
            (tmp_path / "config").write_text("[default]\ns3 =\n" + value)
            value = str(tmp_path / "config")
        monkeypatch.setenv(name, value)
        environ[name] = value
    with caplog.at_level(logging.DEBUG, "pipeline.s3"):
        S3Archive(bucket="lake", threads=1, environ=environ, user_agent="t/1")
    assert caplog.messages == [f"each request to S3 goes through the SDK, which is slower: {reason}"]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"X-Amz-New": "1"}, "header x-amz-new"),
        ({"X-Amz-Trailer": "x-amz-checksum-crc64nvme"}, "checksum x-amz-checksum-crc64nvme"),
        ({"Authorization": "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/s3/aws4_request, "}, "another signature"),
        ({"Authorization": "AWS a:b"}, "another signature"),
        ({"Content-Type": "text/plain"}, "a signature of its own making"),
        ({"Host": "lake.example"}, "header host"),
    ],
)
def test_a_request_of_which_not_all_is_understood_is_no_model(store, change, reason):
    archive = opened(store)
    request = plan.prepared(archive._client, {"Bucket": "lake", **archive._upload(MADE)})
    for name, value in change.items():
        if name in request.headers:
            del request.headers[name]
        request.headers[name] = value
    frozen = ReadOnlyCredentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], None)
    with pytest.raises(NotPlain, match=reason):
        plan.understood(request, "lake", urllib.parse.quote(MADE.key, safe="/~"), frozen)


@pytest.mark.parametrize(
    "bucket", ["arn:aws:s3:us-east-1:123456789012:accesspoint/mine", "lake--use1-az4--x-s3", "lake-123-s3alias"]
)
def test_a_bucket_of_another_kind_is_left_to_the_sdk_before_anything_is_asked(store, caplog, bucket):
    with caplog.at_level(logging.DEBUG, "pipeline.s3"):
        opened(store, bucket=bucket)
    assert caplog.messages == ["each request to S3 goes through the SDK, which is slower: another kind of bucket"]
    assert store.asked == []


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_REGION": "eu-west-3"},
        {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy"},
        {"AWS_REGION": "cn-north-1"},
        {"AWS_ENDPOINT_URL_S3": "http://[::1]:9000"},
        {"AWS_ENDPOINT_URL_S3": "https://HOST:443/base/"},
        {"AWS_ENDPOINT_URL_S3": "http://ada:pw@127.0.0.1:9000"},
    ],
    ids=str,
)
@pytest.mark.parametrize("bucket", ["lake", "my.lake"])
def test_at_whatever_usual_address_the_bucket_lies_the_sdk_is_not_needed(store, monkeypatch, caplog, variables, bucket):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG, "pipeline.s3"):
        S3Archive(bucket=bucket, threads=1, environ={**KEYS, **variables}, user_agent="t/1")
    has_password = "@" in variables.get("AWS_ENDPOINT_URL_S3", "")
    assert caplog.messages == (
        ["each request to S3 goes through the SDK, which is slower: endpoint 127.0.0.1"] if has_password else []
    )


class Elsewhere(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.server.asked.append(dict(self.headers))

    do_GET = do_HEAD = do_PUT


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_signature_to_another_host(store, status):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    store.refusal = (status, "TemporaryRedirect")
    store.headers = {"Location": "http://127.0.0.1:%d/lake/k" % server.server_address[1]}
    archive = opened(store)
    for ask in (lambda: archive.put(MADE), lambda: archive.get("k")):
        with pytest.raises(PipelineError, match="redirects|answers 30|can't be reached"):
            ask()
    server.shutdown()
    thread.join()
    server.server_close()
    assert server.asked == []


def test_credentials_that_are_about_to_end_are_renewed_once_for_all_threads(store, monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    (tmp_path / "program").write_text(f"""#!/bin/sh
echo >>{calls}
n=$(wc -l <{calls})
[ $n = 1 ] && end=2020-01-01T00:00:00Z || end=2099-01-01T00:00:00Z
echo '{{"Version": 1, "AccessKeyId": "key-'$n'", "SecretAccessKey": "s",'
echo '"SessionToken": "t'$n'", "Expiration": "'$end'"}}'
""")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "config").write_text("[default]\ncredential_process = %s\n" % (tmp_path / "program"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    archive = opened(store)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(archive.put, [MADE] * 40))
    assert len(calls.read_text().splitlines()) == 2
    assert {headers["X-Amz-Security-Token"] for headers in store.uploads} == {"t2"}
    assert all("Credential=key-2/" in authorization for authorization in store.authorizations)
    assert not any("amz-sdk-request" in headers for headers in store.uploads)


def test_other_credentials_sign_from_the_moment_on_that_there_are_some(store):
    archive = opened(store)
    for name in ("first", "second"):
        archive._direct._credentials = Credentials(name, "s")
        archive.put(MADE)
    assert [authorization.partition("/")[0][-6:] for authorization in store.authorizations] == ["=first", "second"]


def test_it_is_signed_by_the_clock_that_is_given(store):
    opened(store, clock=SYSTEM_CLOCK._replace(now=lambda: 0.0)).put(MADE)
    assert [headers["X-Amz-Date"] for headers in store.uploads] == ["19700101T000000Z"]


def test_a_clock_that_is_wrong_for_it_alone_stops_nothing(bucket, monkeypatch):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    clock = SYSTEM_CLOCK._replace(now=lambda: 0.0)
    archive = S3Archive(bucket=bucket.name, threads=1, environ=bucket.env, user_agent="t/1", clock=clock)
    archive.put(MADE)
    assert bucket.objects() == {MADE.key: MADE.body}


def test_the_more_misses_in_turn_the_rarer_it_is_tried(store):
    store.refusal = (500, "InternalError")
    archive = opened(store)
    for _ in range(40):
        with pytest.raises(Outage):
            archive.put(MADE)
    tried = [number for number, headers in enumerate(store.uploads) if "amz-sdk-request" not in headers]
    assert len(store.uploads) - len(tried) == 40
    assert [later - earlier for earlier, later in zip(tried, tried[1:])] == [4, 6, 10, 18]
    store.refusal, store.uploads = (200, ""), []
    for _ in range(40):
        archive.put(MADE)
    assert sum("amz-sdk-request" not in headers for headers in store.uploads) > 10


def test_after_a_miss_no_connection_is_kept_beside_those_of_the_sdk(store):
    archive = opened(store)
    wire = archive._direct._wire
    wire._idle.extend([wire._connection(), wire._connection()])
    store.refusal = (500, "InternalError")
    with pytest.raises(Outage):
        archive.put(MADE)
    assert not wire._idle


@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_has_too_much_to_do_is_left_to_the_sdk_for_longer(store, status):
    store.refusal = (status, "SlowDown")
    archive = opened(store)
    for _ in range(33):
        with pytest.raises(Outage):
            archive.put(MADE)
    assert sum("amz-sdk-request" not in headers for headers in store.uploads) == 1


def test_each_success_halves_the_pause_after_the_next_miss():
    pause = _Pause()
    pause.missed(0, 5)
    assert sum(pause.level() is None for _ in range(40)) == 32
    for _ in range(3):
        pause.succeeded()
    assert pause.level() == 2


def test_of_misses_at_the_same_time_one_counts():
    pause = _Pause()
    levels = [pause.level() for _ in range(32)]
    for level in levels:
        pause.missed(level, 1)
    assert [pause.level() for _ in range(3)] == [None, None, 1]


def test_no_pause_is_longer_than_the_longest():
    pause = _Pause()
    for _ in range(20):
        while pause.level() is None:
            pass
        pause.missed(pause._level, 1)
    assert sum(pause.level() is None for _ in range(3 * LONGEST_PAUSE)) == LONGEST_PAUSE


CONTENT = b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OF_IT, OF_ANOTHER = ('"%s"' % MD5(text).hexdigest() for text in (CONTENT, b"other"))
KMS = {"x-amz-server-side-encryption": "aws:kms"}


@pytest.mark.parametrize(
    "headers, is_asked_again",
    [
        ({"ETag": OF_IT}, False),
        ({"ETag": OF_IT, "Vary": "Origin"}, False),
        ({"ETag": OF_ANOTHER, "x-amz-meta-sha256": SHA256, **KMS}, False),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-2"', "x-amz-meta-sha256": SHA256}, False),
        ({"ETag": OF_ANOTHER, "x-amz-meta-sha256": "ab", **KMS}, True),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-2"'}, True),
        ({"ETag": OF_ANOTHER}, True),
        ({"ETag": OF_IT, "Content-Encoding": "identity"}, True),
        ({"ETag": None}, True),
    ],
)
def test_what_is_got_is_what_the_answer_proves_or_the_sdks_business(store, headers, is_asked_again):
    store.page, store.headers = CONTENT, {"x-amz-meta-fetched-at": NOW, **headers}
    if headers["ETag"] is None:
        with pytest.raises(Outage):
            opened(store).get("k.json")
    else:
        assert opened(store).get("k.json") == (CONTENT, NOW, headers.get("x-amz-meta-sha256", ""))
    assert len(store.asked) == (2 if is_asked_again else 1)


def test_a_batch_is_got_by_the_sdk_which_needs_it_in_memory_once(store):
    store.page, store.headers = CONTENT, {"ETag": OF_IT}
    opened(store).get("raw/batch.jsonl.gz")
    assert "amz-sdk-request" in store.headers_asked[-1]


def test_an_upload_whose_200_holds_an_error_is_made_again_by_the_sdk(store):
    store.page, store.headers = b"<Error><Code>InternalError</Code></Error>", {"ETag": '"abc-1"'}
    with pytest.raises(Outage, match="InternalError"):
        opened(store).put(MADE)


@pytest.mark.parametrize("said", ["maybe", "-1", "00"])
def test_a_switch_that_says_neither_is_a_persons_work(store, said):
    with pytest.raises(ConfigurationError, match="PIPELINE_S3_FAST says neither on nor off; set it to 1 or 0"):
        opened(store, way=said)


def test_by_day_small_objects_need_no_sdk_at_all(bucket, monkeypatch, caplog):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    archive = S3Archive(bucket=bucket.name, threads=4, environ=bucket.env, user_agent="t/1")
    with caplog.at_level(logging.DEBUG, "pipeline.s3"), concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(archive.put, [MADE._replace(key=f"raw/{number}.json") for number in range(50)]))
        got = list(pool.map(archive.get, bucket.keys()))
    assert {each.body for each in got} == {BODY}
    assert caplog.messages == []
    assert archive.last_date.endswith("GMT")
