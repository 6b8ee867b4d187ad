"""What boto3 knows of a bucket, as the options of Rust's object_store, by which `deltalake` speaks to S3.

Another SDK: it knows neither profiles nor single sign-on, and some of what boto3 can do not at all. Credentials are
resolved by boto3 and handed over; what can't be handed over is NotPlain, before anything is written.
https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html
"""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import Any, Iterator, Mapping, MutableMapping

from s3.plan import NotPlain

RETRIES = "5"
RETRY_SECONDS = "60"
# What deltalake finds in the environment by itself, and must not: https://delta-io.github.io/delta-rs/usage/writing/writing-to-s3-with-locking-provider/
_UNSAFE = ("AWS_S3_ALLOW_UNSAFE_RENAME", "AWS_S3_LOCKING_PROVIDER", "AWS_COPY_IF_NOT_EXISTS", "AWS_SKIP_SIGNATURE")
# What it hears by such bare names, in any case, too: a TOKEN it would send to the store, as that of the session.
# With AWS_ before them boto3 does not know them, either. What `options` hands over counts before what is heard.
_HEARD = {
    "token", "session_token", "skip_signature", "unsigned_payload", "allow_unsafe_rename",
    "s3_allow_unsafe_rename", "copy_if_not_exists", "s3_express", "request_payer", "disable_tagging",
    "checksum_algorithm", "server_side_encryption", "sse_kms_key_id", "sse_bucket_key_enabled",
    "sse_customer_key_base64", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate",
    "proxy_excludes", "timeout", "read_timeout", "pool_idle_timeout", "pool_max_idle_per_host", "http1_only",
    "http2_only", "http2_keep_alive_interval", "http2_keep_alive_timeout", "http2_keep_alive_while_idle",
    "http2_max_frame_size", "randomize_addresses", "user_agent", "default_content_type",
}  # fmt: skip
# What is refused, what boto3 may still read, and the one way into a bucket with a default retention.
_NOT_HIDDEN = (*_UNSAFE, "AWS_SESSION_TOKEN", "AWS_CHECKSUM_ALGORITHM")


@contextlib.contextmanager
def unheard(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Within the block the environment lacks what this SDK would hear, and boto3 does not."""
    names = [name for name in environ if name.lower().replace("aws_", "", 1) in _HEARD and name not in _NOT_HIDDEN]
    hidden = {name: environ.pop(name) for name in names}
    try:
        yield
    finally:
        environ.update(hidden)


def options(
    client: Any, credentials: Any, parameters: Mapping[str, str], *, ca_bundle: str | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """Of a client of boto3's, its credentials, and what PutObject is to be told. Raises NotPlain, in words."""
    frozen = credentials.get_frozen_credentials()
    _check(client, frozen.token, ca_bundle, environ)
    url = client.meta.endpoint_url
    return {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        **({"aws_session_token": frozen.token} if frozen.token else {}),
        "aws_region": client.meta.region_name,
        "aws_endpoint_url": url,
        "aws_allow_http": str(urllib.parse.urlsplit(url).scheme == "http").lower(),
        "aws_virtual_hosted_style_request": "false",
        # A commit is an object that must not be there yet (If-None-Match): so one of two writers wins.
        "aws_conditional_put": "etag",
        "max_retries": RETRIES,
        "retry_timeout": f"{RETRY_SECONDS}s",
        "connect_timeout": "10s",
        **_encryption(parameters),
    }


def _encryption(parameters: Mapping[str, str]) -> dict[str, str]:
    given = {
        "aws_server_side_encryption": parameters.get("ServerSideEncryption"),
        "aws_sse_kms_key_id": parameters.get("SSEKMSKeyId"),
    }
    return {name: value for name, value in given.items() if value}


def _check(client: Any, token: str | None, ca_bundle: str | None, environ: Mapping[str, str]) -> None:
    config = client.meta.config
    ways = config.s3 or {}
    if ways.get("use_accelerate_endpoint") or ways.get("use_dualstack_endpoint") or config.use_dualstack_endpoint:
        raise NotPlain("an accelerated or dual-stack endpoint")
    if config.use_fips_endpoint:
        raise NotPlain("a FIPS endpoint")
    if ca_bundle and environ.get("SSL_CERT_FILE") != ca_bundle:
        raise NotPlain(f"AWS_CA_BUNDLE; set SSL_CERT_FILE={ca_bundle} as well")
    unsafe = next((name for name in _UNSAFE if environ.get(name)), None)
    if unsafe:
        raise NotPlain(f"{unsafe}; unset it")
    if environ.get("AWS_SESSION_TOKEN") and not token:
        raise NotPlain("AWS_SESSION_TOKEN, which belongs to other credentials; unset it")
