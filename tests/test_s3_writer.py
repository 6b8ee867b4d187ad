import base64
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import s3_writer
from foundation import settings
from foundation.errors import ConfigurationError, Outage
from lake.objects import DamagedOnTheWay, Described, Fetched, ItemRefused, Object, ObjectOptions, Throttled
from s3_writer import S3Archive
from tests.answering_s3 import DATE, MD5, Answering, answering_s3
from tests.conftest import ROOT
from tests.test_run_pipeline import wait_until

# On Python 3.8 the SDK leaves sockets of a refused CONNECT to the collector, which complains in any test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
NOW = "2026-01-01T00:00:00Z"
PLAIN = ObjectOptions()


@pytest.fixture
def store(monkeypatch, s3_way):
    with answering_s3(monkeypatch, s3_way) as server:
        yield server


def archive(store, options=PLAIN, bucket="lake"):
    return S3Archive(bucket=bucket, threads=1, environ=store.environ, user_agent="test/1", options=options)


def put(store, options=PLAIN, body=b"body", bucket="lake"):
    archive(store, options, bucket).put(Object("k.json", body, "ab" * 32, "application/json", NOW))


def test_an_upload_carries_what_lets_the_store_verify_it(store):
    put(store)
    (headers,) = store.uploads
    assert headers["Content-MD5"] == base64.b64encode(hashlib.md5(b"body").digest()).decode()
    assert headers["x-amz-meta-sha256"] == "ab" * 32
    assert headers["x-amz-meta-fetched-at"] == NOW
    assert headers["Content-Type"] == "application/json"
    assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]


def test_an_upload_says_which_program_sends_it_and_by_which_sdk(store):
    put(store)
    (headers,) = store.uploads
    assert re.match(r"test/1 Boto3/[0-9.]+ Botocore/[0-9.]+\Z", headers["User-Agent"])


@pytest.mark.parametrize("size, asks", [(0, False), (64 * 1024, False), (64 * 1024 + 1, True)])
def test_only_before_a_large_body_is_sent_does_it_ask_whether_it_may(store, size, asks):
    put(store, body=b"x" * size)
    assert [headers.get("Expect") == "100-continue" for headers in store.uploads] == [asks]


def test_an_sdk_that_does_not_ask_whether_it_may_send_is_left_alone(store, monkeypatch):
    monkeypatch.setenv("BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE", "true")
    put(store, body=b"")
    assert "Expect" not in store.uploads[0]


@pytest.mark.parametrize(
    "status, code, kind, advice",
    [
        (404, "NoSuchBucket", ConfigurationError, "BUCKET_NAME"),
        (403, "AccessDenied", ConfigurationError, "s3:PutObject"),
        (403, "InvalidAccessKeyId", ConfigurationError, "AWS_ACCESS_KEY_ID"),
        (400, "InvalidStorageClass", ConfigurationError, "check --storage-class"),
        (403, "SignatureDoesNotMatch", ConfigurationError, "AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", ConfigurationError, "renew"),
        (300, "", ConfigurationError, "answers 300 ; check bucket, key and endpoint"),
        (301, "PermanentRedirect", ConfigurationError, "AWS_REGION"),
        (403, "SomethingNew", ConfigurationError, "; check bucket, key and endpoint"),
        (400, "AlsoNew", ConfigurationError, "check"),
        (403, "RequestTimeTooSkewed", ConfigurationError, "clock"),
        (503, "SlowDown", Throttled, "--threads"),
        (500, "InternalError", Outage, "later"),
        (503, "", Outage, "later"),
        (429, "TooManyRequests", Throttled, "--threads"),
        (429, "", Throttled, "--threads"),
        (400, "RequestTimeout", Outage, "later"),
        (400, "EntityTooLarge", ItemRefused, ""),
        (400, "KeyTooLongError", ItemRefused, ""),
        (400, "BadDigest", Outage, "later"),
        (400, "IncompleteBody", Outage, "later"),
        (400, "XAmzContentSHA256Mismatch", Outage, "later"),
    ],
)
def test_each_refusal_is_the_items_fault_a_persons_work_or_an_outage(store, status, code, kind, advice):
    store.refusal, store.headers = (status, code), {"ETag": None, "x-amz-bucket-region": "eu-west-3"}
    with pytest.raises(kind) as caught:
        put(store)
    assert isinstance(caught.value, Throttled) is (kind is Throttled)
    assert code in str(caught.value)
    assert advice in str(caught.value)
    assert "test-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


ANOTHER_MD5 = '"%s"' % hashlib.md5(b"another").hexdigest()
KMS = ObjectOptions(encryption="aws:kms")


@pytest.mark.parametrize("headers", [{"ETag": None}, {"ETag": ""}, {"ETag": ANOTHER_MD5},
                                     {"ETag": ANOTHER_MD5, "x-amz-server-side-encryption": "AES256"}])  # fmt: skip
def test_an_upload_whose_answer_does_not_name_what_was_sent_is_made_again_and_then_an_outage(
    store, monkeypatch, headers
):
    monkeypatch.setattr(s3_writer, "SDK_ATTEMPTS", 2)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    store.headers = headers
    with pytest.raises(Outage, match="without what proves it.*run again later"):
        put(store)
    assert len(store.uploads) == store.before_the_sdk + 2


@pytest.mark.parametrize(
    "headers, options",
    [
        ({"ETag": ANOTHER_MD5, "x-amz-server-side-encryption": "aws:kms"}, PLAIN),  # as the bucket has it
        ({"ETag": ANOTHER_MD5}, KMS),
        ({"ETag": ANOTHER_MD5, "x-amz-server-side-encryption-customer-algorithm": "AES256"}, PLAIN),
        ({"ETag": '"0x8D4B2AE97754E88"'}, PLAIN),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-1"'}, PLAIN),
    ],
)
def test_an_etag_that_is_no_md5_by_the_rules_of_its_store_proves_an_upload(store, headers, options):
    store.headers = headers
    put(store, options)
    assert len(store.uploads) == 1


def test_an_etag_of_a_directory_bucket_is_of_no_known_make_and_proves_an_upload(store):
    given = {"AccessKeyId": "a", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2099-01-01T00:00:00Z"}
    session = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    store.pages = [f"<CreateSessionResult><Credentials>{session}</Credentials></CreateSessionResult>".encode()]
    store.headers = {"ETag": ANOTHER_MD5}
    put(store, bucket="lake--use1-az4--x-s3")
    assert len(store.uploads) == 1


@pytest.mark.skipif(sys.version_info < (3, 9), reason="this Python's hashlib knows no such difference")
def test_where_python_refuses_md5_for_security_alone_it_serves_as_a_checksum(store, monkeypatch):
    def md5(body, usedforsecurity=True):
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return MD5(body)

    monkeypatch.setattr(s3_writer.hashlib, "md5", md5)
    put(store)
    assert store.uploads[0]["Content-MD5"] == base64.b64encode(MD5(b"body").digest()).decode()


@pytest.mark.parametrize("refused", [ValueError, AttributeError])
def test_where_python_refuses_md5_the_store_compares_a_sha256(store, monkeypatch, refused):
    def md5(*arguments, **options):
        raise refused("disabled for FIPS")

    store.headers = {"ETag": ANOTHER_MD5}
    monkeypatch.setattr(s3_writer.hashlib, "md5", md5)
    put(store)
    (headers,) = store.uploads
    assert "Content-MD5" not in headers
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"body").digest()).decode()


@pytest.mark.parametrize("page", [b"<html><p>Log in<br></html>", b"<html><p>Log in</p></html>"])
def test_a_page_in_place_of_s3s_answer_is_an_outage(store, page):
    store.headers, store.page = {"ETag": None}, page
    with pytest.raises(Outage, match="run again later"):
        put(store)


def test_a_body_that_is_too_large_for_what_stands_before_the_store_is_its_items_fault(store):
    store.refusal = (413, "")
    with pytest.raises(ItemRefused, match="413"):
        put(store)


def test_an_endpoint_that_redirects_every_request_is_named_as_what_to_look_at(store):
    store.refusal = (301, "")
    with pytest.raises(ConfigurationError, match="'lake'.*redirects.*https.* and AWS_REGION$"):
        put(store)


def test_a_name_that_no_bucket_has_is_said_to_be_wrong(store):
    made = archive(store, bucket="no bucket!")
    for ask in (made.describe, made.put_damaged):
        with pytest.raises(ConfigurationError, match="'no bucket!'.*check --bucket and BUCKET_NAME"):
            ask("k.json")


def test_credentials_that_are_not_there_are_a_persons_work(store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="AWS credentials: Unable to locate credentials; set them"):
        put(store)


def test_of_an_error_that_the_sdk_has_no_word_for_only_the_kind_is_shown(store, monkeypatch):
    def request(*arguments, **options):
        raise AttributeError("Credential=hunter2-secret")

    monkeypatch.setattr("urllib3.connectionpool.HTTPConnectionPool.urlopen", request)
    store.environ["PIPELINE_S3_FAST"] = "0"
    with pytest.raises(Outage, match="can't be reached: AttributeError; run again later"):
        put(store)


def test_no_answer_at_all_is_an_outage(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(Outage, match="can't be reached"):
        put(store)


@pytest.mark.parametrize(
    "variables, region",
    [
        ({"AWS_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-north-1"}, "eu-west-3"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_PROFILE": "lab"}, "sa-east-1"),
        ({"AWS_REGION": "eu-west-3", "AWS_PROFILE": "lab"}, "eu-west-3"),
        ({}, "us-east-1"),
    ],
    ids=str,
)
def test_the_region_is_that_of_the_variables_or_of_the_profile(store, monkeypatch, tmp_path, variables, region):
    (tmp_path / "config").write_text("[profile lab]\nregion = sa-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_REGION")
    del store.environ["AWS_REGION"]
    store.environ.update(variables)
    if "AWS_PROFILE" in variables:
        monkeypatch.setenv("AWS_PROFILE", variables["AWS_PROFILE"])
    put(store)
    assert f"/{region}/s3/" in store.authorizations[0]


@pytest.mark.parametrize("told_by", ["PUT", "HEAD"])
def test_a_bucket_that_is_elsewhere_is_asked_again_in_its_region(store, monkeypatch, told_by):
    answer = Answering.do_PUT

    def of_region(handler):
        store.headers = {"x-amz-bucket-region": "eu-west-3"} if handler.command == told_by else {}
        answer(handler)

    for method in ("do_PUT", "do_HEAD"):
        monkeypatch.setattr(Answering, method, of_region)
    store.refusal = (301, "PermanentRedirect")
    with pytest.raises(ConfigurationError, match="region"):
        put(store)
    assert ("/us-east-1/s3/" in store.authorizations[0], "/eu-west-3/s3/" in store.authorizations[-1]) == (True, True)
    assert len(store.asked) < 6


@pytest.mark.parametrize("region, host", [("", "s3"), ("eu-west-3", "s3.eu-west-3")])
def test_a_bucket_at_aws_is_asked_for_by_its_own_host_name_in_its_region(store, monkeypatch, region, host):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("HTTPS_PROXY", store.environ["AWS_ENDPOINT_URL_S3"])
    store.environ["AWS_REGION"] = region
    store.refusal = (403, "")  # the proxy's
    with pytest.raises(Outage, match="proxy"):
        put(store)
    assert store.asked == [("CONNECT", f"lake.{host}.amazonaws.com:443", {})] * (store.before_the_sdk + 1)


def test_an_unknown_profile_is_a_configuration_error(store, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match="nobody"):
        put(store)


@pytest.mark.parametrize("url", ["127.0.0.1:1", "localhost", "http://", "http://[", "http://ada:pw@x:port"])
def test_an_endpoint_that_is_no_url_is_said_to_be_none_and_not_shown(store, monkeypatch, url):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    store.environ["AWS_ENDPOINT_URL_S3"] = url
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL_S3 is no URL such as") as caught:
        put(store)
    assert "pw" not in str(caught.value)
    assert not settings.is_aws(url)


def test_a_bucket_that_the_sdk_takes_for_none_is_said_to_be_no_name(store):
    archive = S3Archive(bucket="my lake", threads=1, environ=store.environ, user_agent="test/1")
    with pytest.raises(ConfigurationError, match="'my lake': that is no name of a bucket; check --bucket"):
        next(archive.keys("raw/"))


def test_a_profile_that_makes_no_sense_is_a_configuration_error(store, monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\ns3 = zz\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigurationError, match=r"S3 client: \w+Error; check .*profile"):
        put(store)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_a_credential_that_no_header_takes_is_a_persons_work_and_is_not_shown(store, monkeypatch, name):
    monkeypatch.setenv(name, "one-half\nother-half")
    with pytest.raises(ConfigurationError, match="^S3: a credential .* line break; check") as caught:
        put(store)
    assert not [part for part in ("half", "Signature", "Credential") if part in str(caught.value)]


PROGRAMS = {
    "it fails": "echo 'denied for user=ada key=hunter2-secret' >&2; exit 1",
    "it fails in another encoding": "printf 'hunter2-secret \\377' >&2; exit 1",
    "what it prints is no JSON": "echo hunter2-secret",
    "what it prints is of another kind": """echo '{"Version": "hunter2-secret"}'""",
    "it is not there": None,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_of_what_a_program_that_gives_credentials_prints_nothing_is_kept(store, monkeypatch, tmp_path, program):
    if PROGRAMS[program] is not None:
        (tmp_path / "hunter2-secret").write_text("#!/bin/sh\n" + PROGRAMS[program])
        (tmp_path / "hunter2-secret").chmod(0o755)
    (tmp_path / "config").write_text("[default]\ncredential_process = %s\n" % (tmp_path / "hunter2-secret"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    said = (
        r"S3 client: (\w+Error|Error when retrieving .* run it by hand to see why); check the AWS variables and profile"
    )
    with pytest.raises(ConfigurationError, match=said) as caught:
        put(store)
    assert "hunter2" not in str(caught.value)
    assert "denied" not in str(caught.value)


def test_credentials_that_can_be_had_no_more_are_a_persons_work(store, monkeypatch, tmp_path):
    """A program that gave credentials which have expired by now, and then goes wrong."""
    first = tmp_path / "first"
    script = f"""#!/bin/sh
if [ -e {first} ]; then echo hunter2-secret; exit 0; fi
touch {first}
echo '{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "s", "Expiration": "2020-01-01T00:00:00Z"}}'
"""
    (tmp_path / "program").write_text(script)
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "config").write_text("[default]\ncredential_process = %s\n" % (tmp_path / "program"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=r"AWS credentials: \w+Error; check") as caught:
        put(store)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "HTTP_PROXY"])
def test_a_password_in_an_address_is_not_shown(store, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://user:pass-word@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(Outage, match="http://127.0.0.1:9") as caught:
        put(store)
    assert "pass-word" not in str(caught.value)


def test_a_bucket_in_the_real_server_holds_the_bytes(bucket, monkeypatch):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    archive = S3Archive(bucket=bucket.name, threads=2, environ=bucket.env, user_agent="test/1")
    for _ in range(2):
        archive.put(Object("raw/é.json", "naïve".encode(), "0" * 64, "application/json", NOW))
    assert bucket.objects() == {"raw/é.json": "naïve".encode()}


def test_what_the_store_holds_is_shown_given_back_described_and_deleted(bucket, monkeypatch):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    store = S3Archive(bucket=bucket.name, threads=1, environ=bucket.env, user_agent="test/1")
    store.put(Object("raw/é.json", b"body", "ab" * 32, "application/json", NOW))
    bucket.client.put_object(Bucket=bucket.name, Key="raw/of another program", Body=b"its")
    bucket.client.put_object(Bucket=bucket.name, Key="rawest", Body=b"")
    assert list(store.keys("raw/")) == ["raw/of another program", "raw/é.json"]
    assert (list(store.keys("none/")), store.describe("none")) == ([], None)
    assert store.get("raw/é.json") == Fetched(b"body", NOW, "ab" * 32)
    assert store.describe("raw/é.json") == Described(4, NOW, "ab" * 32)
    assert store.get("raw/of another program") == Fetched(b"its", "", "")
    assert store.describe("raw/of another program") == Described(3, "", "")
    with pytest.raises(ConfigurationError, match="NoSuchKey"):
        store.get("none")
    with pytest.raises(DamagedOnTheWay):
        store.put_damaged("raw/damaged.json")
    assert store.delete("raw/é.json") is True
    assert bucket.keys() == ["raw/of another program", "rawest"]


def listing(*keys, more=""):
    shown = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    is_truncated = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    return f"<ListBucketResult><Name>lake</Name>{is_truncated}{token}{shown}</ListBucketResult>".encode()


def test_a_listing_is_asked_for_page_after_page(store):
    store.pages = [listing("raw/a", "raw/b", more="t 1"), listing(more="t 2"), listing("raw/c")]
    assert list(archive(store).keys("raw/")) == ["raw/a", "raw/b", "raw/c"]
    assert [(query["prefix"], query.get("continuation-token")) for _, _, query in store.asked] == [
        ("raw/", None),
        ("raw/", "t 1"),
        ("raw/", "t 2"),
    ]


def test_an_object_whose_body_is_cut_off_is_an_outage(store):
    store.page, store.headers = b"half", {"Content-Length": "8"}
    with pytest.raises(Outage, match="can't be reached: .*reading.*; run again later"):
        archive(store).get("k.json")


@pytest.mark.parametrize(
    "status, kind, said",
    [(403, ConfigurationError, "s3:GetObject and s3:ListBucket"), (503, Outage, "run again later")],
)
def test_that_nobody_may_look_does_not_mean_that_nothing_is_there(store, status, kind, said):
    store.refusal = (status, "")
    with pytest.raises(kind, match=said):
        archive(store).describe("k.json")


def test_a_damaged_object_is_sent_as_any_other_but_for_its_checksum(store):
    archive(store, ObjectOptions("STANDARD_IA")).put_damaged("raw/k.json")
    (headers,) = store.uploads
    assert store.asked == [("PUT", "/lake/raw/k.json", {})]
    assert headers["Content-Length"] == "0"
    assert headers["Content-MD5"] not in (None, base64.b64encode(hashlib.md5(b"").digest()).decode())
    assert headers["x-amz-storage-class"] == "STANDARD_IA"


@pytest.mark.parametrize("refusal", [(403, "AccessDenied"), (503, "SlowDown")])
def test_an_object_that_may_not_be_deleted_is_told_of(store, refusal):
    store.refusal = refusal
    assert archive(store).delete("raw/k.json") is False
    assert store.asked == [("DELETE", "/lake/raw/k.json", {})]


@pytest.mark.parametrize("date", [DATE, None])
def test_the_stores_clock_is_that_of_its_last_answer_whatever_it_says(store, date):
    made = archive(store)
    assert made.last_date is None
    store.headers = {"Date": date}
    made.put_damaged("k.json")
    assert made.last_date == date
    store.headers, store.refusal = {"Date": date and "Fri, 02 Jan 2026 00:00:00 GMT"}, (403, "AccessDenied")
    assert made.delete("k.json") is False
    assert made.last_date == store.headers["Date"]


def test_the_real_server_goes_with_whoever_started_it():
    code = "from tests.s3_server import S3Server; made = S3Server(); print(made._directory, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=str(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folder = Path(process.stdout.readline().strip())
        assert (folder / "s3.json").exists()
        process.kill()
    wait_until(lambda: not folder.exists())


def test_what_the_object_options_say_travels_with_each_upload(store):
    put(store, ObjectOptions("STANDARD_IA", "aws:kms", "key-1", (("team", "data & lake"), ("env", "prod"))))
    (headers,) = store.uploads
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
    assert headers["x-amz-tagging"] == "team=data+%26+lake&env=prod"


def test_without_object_options_the_buckets_own_defaults_hold(store):
    put(store)
    chosen = ("x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-tagging")
    assert not [name for name in store.uploads[0] if name.lower().startswith(chosen)]


def test_an_endpoint_from_a_profile_is_a_compatible_store_too(store, monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[profile lab]\nendpoint_url = %s\n" % store.environ["AWS_ENDPOINT_URL_S3"])
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    put(store)
    (headers,) = store.uploads
    assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]


def test_credentials_of_a_profile_are_found(store, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = from-profile\naws_secret_access_key = s\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    put(store)
    assert "from-profile" in store.uploads[0]["Authorization"]


def test_tags_and_storage_class_are_taken_by_a_real_server(bucket, monkeypatch):
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
    options = ObjectOptions("STANDARD_IA", tags=(("team", "data & lake"),))
    archive = S3Archive(bucket=bucket.name, threads=1, environ=bucket.env, user_agent="test/1", options=options)
    archive.put(Object("k.json", b"{}", "0" * 64, "application/json", NOW))
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key="k.json")["TagSet"]
    assert tags == [{"Key": "team", "Value": "data & lake"}]
    assert bucket.client.head_object(Bucket=bucket.name, Key="k.json")["StorageClass"] == "STANDARD_IA"
