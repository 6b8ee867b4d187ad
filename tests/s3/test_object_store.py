"""What boto3 was told of S3 reaches the other SDK, or is refused."""

import pytest

from foundation.errors import ConfigurationError
from lake.objects import ObjectOptions
from s3.object_store import unheard
from s3_writer import S3Archive

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


@pytest.fixture
def opened(monkeypatch):
    def archive(bucket="my-lake", options=ObjectOptions(), **env):  # noqa: B008
        for name, value in {**KEYS, **env}.items():
            monkeypatch.setenv(name, value)
        return S3Archive(bucket=bucket, threads=1, environ={**KEYS, **env}, user_agent="test/1", options=options)

    return archive


def test_credentials_region_and_address_are_handed_over(opened):
    found = opened(AWS_SESSION_TOKEN="token").object_store_options()
    assert found["aws_access_key_id"] == "key"
    assert found["aws_secret_access_key"] == "secret"
    assert found["aws_session_token"] == "token"
    assert found["aws_region"] == "eu-central-1"
    assert found["aws_endpoint_url"] == "https://s3.eu-central-1.amazonaws.com"
    assert found["aws_allow_http"] == "false"
    assert found["aws_conditional_put"] == "etag"


def test_an_address_of_ones_own_may_be_plain_http(opened):
    found = opened(AWS_ENDPOINT_URL_S3="http://127.0.0.1:8333").object_store_options()
    assert (found["aws_endpoint_url"], found["aws_allow_http"]) == ("http://127.0.0.1:8333", "true")


def test_encryption_is_handed_over(opened):
    options = ObjectOptions(encryption="aws:kms", kms_key_id="arn:key")
    found = opened(options=options).object_store_options()
    assert (found["aws_server_side_encryption"], found["aws_sse_kms_key_id"]) == ("aws:kms", "arn:key")


@pytest.mark.parametrize(
    "bucket, env, said",
    [
        ("arn:aws:s3:eu-central-1:123456789012:accesspoint/mine", {}, "can't use"),
        ("my-lake", {"AWS_USE_FIPS_ENDPOINT": "true"}, "a FIPS endpoint"),
        ("my-lake", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "an accelerated or dual-stack endpoint"),
        ("my-lake", {"AWS_CA_BUNDLE": "/ca.pem"}, "AWS_CA_BUNDLE; set SSL_CERT_FILE=/ca.pem as well"),
        ("my-lake", {"AWS_S3_LOCKING_PROVIDER": "dynamodb"}, "AWS_S3_LOCKING_PROVIDER; unset it"),
        ("my-lake", {"AWS_SECRET_ACCESS_KEY": ""}, "missing: AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_the_other_sdk_does_not_do_is_refused(opened, bucket, env, said):
    with pytest.raises(ConfigurationError) as raised:
        opened(bucket=bucket, **env).object_store_options()
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_session_token_of_other_credentials_is_refused(opened, monkeypatch, tmp_path):
    """It would be sent with the profile's keys."""
    (tmp_path / "credentials").write_text("[lake]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_PROFILE": "lake", "AWS_ACCESS_KEY_ID": ""}
    assert "aws_session_token" not in opened(**env).object_store_options()
    with pytest.raises(ConfigurationError, match="AWS_SESSION_TOKEN, which belongs to other credentials; unset it"):
        opened(AWS_SESSION_TOKEN="stale", **env).object_store_options()


def test_what_the_other_sdk_alone_would_hear_is_hidden_from_it_meanwhile():
    bare = {"TOKEN": "ghp_secret", "Timeout": "30", "AWS_PROXY_URL": "http://127.0.0.1:9", "AWS_TOKEN": "x"}
    others = {"AWS_SESSION_TOKEN": "token", "AWS_CHECKSUM_ALGORITHM": "sha256", "HTTPS_PROXY": "http://proxy"}
    environ = {**bare, **others}
    with unheard(environ):
        assert environ == others
    assert environ == {**bare, **others}
