"""How the SDK asks for the objects of a bucket: learnt from a request that it prepares, and that is not sent.

Whatever is not known here makes a bucket one that is left to the SDK (NotPlain).
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any, Mapping, NamedTuple

from foundation import settings
from s3 import signing

_AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request, ")
# Names of AWS's hosts behind a bucket's. With an access point, acceleration, two stacks or FIPS they are others.
_AWS_HOST = r"s3\.(?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?"
# Reserved for others than plain buckets: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_ANOTHER_KIND = re.compile(r"arn:|.*(?:--[a-z0-9]+-s3|-s3alias|\.mrap)\Z")
# Headers of the SDK's request: those that each object has of its own, or that no store needs; ...
_OWN = {
    "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "content-type", "content-md5",
    "content-length", "expect", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-meta-sha256",
    "x-amz-meta-fetched-at",
}  # fmt: skip
# ... those by which it sends a CRC-32, behind the body; ...
_CRC32 = {
    "transfer-encoding", "content-encoding", "x-amz-decoded-content-length", "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm", "x-amz-checksum-crc32",
}  # fmt: skip
# ... and those that all objects share.
_SHARED = {
    "user-agent", "x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-tagging",
}  # fmt: skip


class NotPlain(Exception):
    """The SDK does something that is not known here; the message says what."""


class Plan(NamedTuple):
    """How the SDK asks for the objects of one bucket.

    `origin`: scheme, host and port. `path`: what stands before the key. `headers`: what all uploads share.
    """

    origin: str
    path: str
    region: str
    headers: Mapping[str, str]
    has_crc32: bool

    @property
    def host(self) -> str:
        """As the header: without the port that its scheme has anyway."""
        parts = urllib.parse.urlsplit(self.origin)
        usual = {"http": 80, "https": 443}[parts.scheme]
        host = parts.netloc.lower()
        return host[: -len(f":{usual}")] if parts.port == usual else host


def check_kind(bucket: str) -> None:
    """Raises NotPlain for those before whose first request the SDK makes another one, or asks elsewhere."""
    if _ANOTHER_KIND.match(bucket):
        raise NotPlain("another kind of bucket")


def learn(client: Any, upload: Mapping[str, Any], credentials: Any) -> Plan:
    """How this client of botocore's asks, from an upload that it prepares and does not send.

    `upload`: PutObject's parameters. `credentials`: the client's. Raises NotPlain, and what the client raises.
    """
    request = prepared(client, upload)
    # Only now: to sign may have renewed them.
    return understood(request, upload["Bucket"], upload["Key"], credentials.get_frozen_credentials())


def prepared(client: Any, upload: Mapping[str, Any]) -> Any:
    """The request (AWSPreparedRequest) by which the client would make the upload."""

    def stop(request: Any, **_: Any) -> None:
        raise _Prepared(request)

    events = client.meta.events
    events.register_first("before-send.s3.PutObject", stop)
    try:
        client.put_object(**upload)
    except _Prepared as made:
        return made.args[0]
    finally:
        events.unregister("before-send.s3.PutObject", stop)
    raise NotPlain("another way of sending")


class _Prepared(Exception):
    """The request that is in it would have been sent."""


def understood(request: Any, bucket: str, key: str, frozen: Any) -> Plan:
    """`frozen`: the credentials that signed it. Raises NotPlain where any part of it is not known here."""
    url = urllib.parse.urlsplit(request.url)
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    unknown = sorted(set(headers) - _OWN - _CRC32 - _SHARED)
    signed = _AUTHORIZATION.match(headers.get("authorization", ""))
    if unknown:
        raise NotPlain(f"header {unknown[0]}")
    if headers.get("x-amz-trailer", "x-amz-checksum-crc32") != "x-amz-checksum-crc32":
        raise NotPlain(f"checksum {headers['x-amz-trailer']}")
    if signed is None:
        raise NotPlain("another signature")
    if url.query or not url.path.endswith("/" + key):
        raise NotPlain("another address")
    host = url.hostname or ""
    is_usual = re.match(rf"(?:{re.escape(bucket)}\.)?{_AWS_HOST}\Z", host)
    if "@" in url.netloc or (settings.is_aws(request.url) and not is_usual):
        raise NotPlain(f"endpoint {host}")
    made = Plan(
        origin=f"{url.scheme}://{url.netloc}",
        path=url.path[: -len(key)],
        region=signed[1],
        headers={name: headers[name] for name in sorted(_SHARED & set(headers))},
        has_crc32=bool(_CRC32 & set(headers)),
    )
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    signer = signing.Signer(frozen.access_key, frozen.secret_key, made.region)
    again = {**headers, "host": made.host}
    if (
        signer.authorization(request.method, url.path, {name: again[name] for name in names})
        != headers["authorization"]
    ):
        raise NotPlain("a signature of its own making")
    return made


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
