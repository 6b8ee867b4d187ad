"""The archive in S3.

Decides, once, what a failed upload means: the item's own fault (ItemRefused), something a person has to put right
(ConfigurationError), too many at a time (Throttled) or something else that passes (Outage). Knows nothing of the queue.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
from typing import Any, Callable, Iterator, Mapping

import boto3
import botocore.exceptions
import botocore.session
from botocore.config import Config

from foundation import settings, timestamps
from foundation.clock import SYSTEM_CLOCK, Clock
from foundation.errors import ConfigurationError, Outage, PipelineError
from lake import objects
from lake.objects import JSON_TYPE, DamagedOnTheWay, Described, Fetched, ItemRefused, Object, ObjectOptions, Throttled
from s3 import checksums, object_store, plan, signing
from s3.direct import Direct
from s3.plan import NotPlain

log = logging.getLogger("pipeline.s3")

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 30
SDK_ATTEMPTS = 5  # the SDK is the only owner of retries of a request
# A body up to this size goes with its headers. The SDK would first ask whether it may send it, whatever the size: a
# round trip more, and an eighth of the CPU (python -m benchmarks steps). For a large one that pays: a refusal comes
# before it is sent.
UNASKED_BYTES = 64 * 1024

# For stores other than AWS: many know no virtual-host names, and refuse the newer checksum headers.
COMPATIBLE: dict[str, Any] = {
    "s3": {"addressing_style": "path"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
ITEM_CODES = {"EntityTooLarge", "KeyTooLongError", "InvalidDigest", "MetadataTooLarge"}
TRANSIT_CODES = {
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
}  # what arrived is not what was sent: no item makes that happen
THROTTLING_CODES = {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"}
PASSING_CODES = {"InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
SWITCH = "PIPELINE_S3_FAST"  # 0: for support, when direct requests are under suspicion
PLUGINS = "BOTOCORE_EXPERIMENTAL__PLUGINS"  # of the SDK; they may change each request
PROBE = "probe"  # the key of an upload that the SDK only prepares
NOT_WHOLE = "AnswerNotWhole"  # ours, of an answer that says that all went well, and proves nothing
ACTIONS = {"put_object": "s3:PutObject", "list_objects_v2": "s3:ListBucket", "get_object": "s3:GetObject",
           "head_object": "s3:GetObject", "delete_object": "s3:DeleteObject"}  # fmt: skip
_CHECK_PROFILE = "check the AWS variables and profile, and what gives the credentials"
ADVICE = {
    "NoSuchBucket": "create the bucket or check BUCKET_NAME and --bucket",
    "AccessDenied": "check that the bucket is there, and that the key has {action} on it",
    # An answer to HEAD has no body, and so no better code. Without s3:ListBucket it is said of what is not there, too.
    "403": "check that the key has {action} and s3:ListBucket",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the AWS credentials",
    "RequestTimeTooSkewed": "set this machine's clock",
    "InvalidStorageClass": "check --storage-class",
    "InvalidObjectState": "the object is in an archive storage class; restore it first",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION",
}
UNKNOWN = "check bucket, key and endpoint"
REDIRECTS = (301, 302, 307, 308)
REDIRECTED = "the endpoint redirects each request; check its address (https?) and AWS_REGION"


class S3Archive:
    """Uploads to one bucket. Safe to use from `threads` threads; making one takes about 100 ms, so make one."""

    def __init__(
        self,
        *,
        bucket: str,
        threads: int,
        environ: Mapping[str, str],
        user_agent: str,
        options: ObjectOptions = ObjectOptions(),  # noqa: B008 - a NamedTuple never changes
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check_endpoint(environ)
        is_on = settings.switch(environ, SWITCH)
        self._parameters = options.parameters()
        self._environ = environ
        self.last_date: str | None = None  # the store's clock, as its last answer's `Date` header
        self._bucket = bucket
        config: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": SDK_ATTEMPTS},
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "max_pool_connections": threads,
            # A fixed text: the SDK puts its own together anew for each upload, a tenth of the CPU or more.
            "user_agent": f"{user_agent} Boto3/{boto3.__version__}",
        }
        try:
            self._core = core = botocore.session.get_session()
            # Times that nobody asks for are not parsed: of each key in a listing that is most of the work.
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
            named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
            session = boto3.session.Session(botocore_session=core, region_name=named)
            region = session.region_name or "us-east-1"
            self._client = session.client("s3", region_name=region, config=Config(**config))
            # The endpoint may come from the environment or from a profile; only the client knows.
            if not settings.is_aws(self._client.meta.endpoint_url):
                self._client = session.client("s3", region_name=region, config=Config(**config, **COMPATIBLE))
            self._client.meta.events.register_last("before-call.s3", _send_small_unasked)
            self._client.meta.events.register_first("needs-retry.s3", _refuse_unless_whole)
            self._client.meta.events.register_first("needs-retry.s3.HeadBucket", _follow_no_redirect)
            self._direct = self._open_direct(core, environ, clock, is_on=is_on)
        except Exception as error:  # what is wrong in a profile comes to light in many ways
            raise ConfigurationError(f"S3 client: {_said(error)}; {_CHECK_PROFILE}") from error

    def _open_direct(
        self, core: botocore.session.Session, environ: Mapping[str, str], clock: Clock, *, is_on: bool
    ) -> Direct | None:
        """None where everything is left to the SDK; -v says why."""
        try:
            if not is_on:
                raise NotPlain(f"{SWITCH} is off")
            if environ.get(PLUGINS):
                raise NotPlain(PLUGINS)
            if checksums.md5(b"") is None:
                raise NotPlain("this Python has no MD5")
            plan.check_kind(self._bucket)
            credentials = core.get_credentials()
            probe = Object(PROBE, b"", signing.NOTHING_SHA256, JSON_TYPE, timestamps.EPOCH)
            upload = {"Bucket": self._bucket, **self._upload(probe)}
            return Direct(
                plan.learn(self._client, upload, credentials),
                credentials=credentials,
                connect_seconds=CONNECT_TIMEOUT_SECONDS,
                read_seconds=READ_TIMEOUT_SECONDS,
                # The second one is the SDK's last resort, too.
                ca_bundle=core.get_config_variable("ca_bundle") or environ.get("REQUESTS_CA_BUNDLE"),
                endpoint=self._client.meta.endpoint_url,
                now=clock.now,
            )
        except NotPlain as reason:
            log.debug("each request to S3 goes through the SDK, which is slower: %s", reason)
        except Exception as error:  # a request will meet it again, and say it in words
            log.debug("each request to S3 goes through the SDK: %s", type(error).__name__)
        return None

    def object_store_options(self) -> dict[str, str]:
        """For another SDK, with the credentials that hold now. Raises ConfigurationError where it can't do the same."""
        try:
            plan.check_kind(self._bucket)
            credentials = self._core.get_credentials()
            if credentials is None:
                raise botocore.exceptions.NoCredentialsError
            ca_bundle = self._core.get_config_variable("ca_bundle") or self._environ.get("REQUESTS_CA_BUNDLE")
            return object_store.options(
                self._client, credentials, self._parameters, ca_bundle=ca_bundle, environ=self._environ
            )
        except NotPlain as reason:
            raise ConfigurationError(f"S3 bucket {self._bucket!r}: deltalake can't use {reason}") from reason
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError, ValueError) as error:
            raise ConfigurationError(f"AWS credentials: {_said(error)}; {_CHECK_PROFILE}") from error

    def meaning(self, status: int, code: str, *, operation: str) -> PipelineError:
        """Of a refusal that another SDK met, as of one's own request."""
        answer = {"Error": {"Code": code or str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}
        meant = self._explain(operation, botocore.exceptions.ClientError(answer, operation))
        return ConfigurationError(str(meant)) if isinstance(meant, ItemRefused) else meant

    def put(self, made: Object) -> None:
        if not self._put_directly(made):
            self._call("put_object", **self._upload(made))

    def _put_directly(self, made: Object) -> bool:
        if self._direct is None or len(made.body) > UNASKED_BYTES:
            return False
        answer = self._direct.put(
            made.key,
            made.body,
            # The hash of a batch is that of its content, before it was packed.
            body_sha256=hashlib.sha256(made.body).hexdigest() if objects.is_batch(made.key) else made.sha256,
            headers={
                "content-type": made.content_type,
                **{f"x-amz-meta-{name}": value for name, value in _metadata_of(made).items()},
            },
        )
        if answer is not None:
            self.last_date = answer.headers.get("date")
        return answer is not None

    def _upload(self, made: Object) -> dict[str, Any]:
        """As PutObject's parameters."""
        return {
            "Key": made.key,
            "Body": made.body,
            "ContentType": made.content_type,
            "Metadata": _metadata_of(made),
            **_checksum(made.body),
            **self._parameters,
        }

    def keys(self, folder: str) -> Iterator[str]:
        position: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=folder, **position)
            for entry in page.get("Contents", []):
                yield entry["Key"]
            if not page.get("IsTruncated"):
                return
            position = {"ContinuationToken": page["NextContinuationToken"]}

    def get(self, key: str) -> Fetched:
        found = None if self._direct is None or objects.is_batch(key) else self._direct.get(key)
        if found is not None:
            return Fetched(found.body, *_metadata(found.headers, "x-amz-meta-"))
        answer = self._call("get_object", Key=key)
        try:
            body = bytes(answer["Body"].read())
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            raise Outage(f"S3 can't be reached: {_said(error)}; run again later") from error
        return Fetched(body, *_metadata(answer.get("Metadata", {})))

    def describe(self, key: str) -> Described | None:
        try:
            answer = self._call("head_object", Key=key)
        except ConfigurationError as error:
            if getattr(error.__cause__, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
        return Described(answer["ContentLength"], *_metadata(answer.get("Metadata", {})))

    def put_damaged(self, key: str) -> None:
        """Ask to store an object under a checksum that is not its own: DamagedOnTheWay where the key may write.

        Raises what `put` raises; returns where the store took it, unverified.
        """
        self._call("put_object", Key=key, Body=b"", **_checksum(b"not this"), **self._parameters)

    def delete(self, key: str) -> bool:
        """False where that is not allowed."""
        try:
            self.remove(key)
        except PipelineError:
            return False
        return True

    def remove(self, key: str) -> None:
        """Raises ConfigurationError or Outage; it may be gone already."""
        self._call("delete_object", Key=key)

    def _call(self, operation: str, **parameters: Any) -> Any:
        """One request. Raises what `put` raises."""
        try:
            answer = getattr(self._client, operation)(Bucket=self._bucket, **parameters)
            self.last_date = _date(answer)
            return answer
        except botocore.exceptions.ClientError as error:
            self.last_date = _date(error.response)
            raise self._explain(operation, error) from error
        except botocore.exceptions.ParamValidationError as error:
            raise ConfigurationError(f"S3 bucket {self._bucket!r}: {_refused_by_sdk(error)}") from error
        except _NEEDS_A_PERSON as error:
            raise ConfigurationError(f"AWS credentials: {_said(error)}; set them (README, 'Into S3')") from error
        except botocore.exceptions.BotoCoreError as error:
            if isinstance(_cause(error), ValueError):
                raise ConfigurationError(
                    "S3: a credential or another setting holds what can't be sent, perhaps a line break; "
                    + _CHECK_PROFILE
                ) from error
            raise Outage(f"S3 can't be reached: {_said(error)}; run again later") from error
        except (OSError, ValueError, RuntimeError) as error:  # out of what fetches credentials anew; the SDK lets it by
            raise ConfigurationError(f"AWS credentials: {_said(error)}; {_CHECK_PROFILE}") from error

    def _explain(self, operation: str, error: botocore.exceptions.ClientError) -> ItemRefused | PipelineError:
        """What S3's refusal means. An unknown one stops the run: a fixable mistake must never fail every item."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"S3 bucket {self._bucket!r} answers {status} {code}"
        if code == NOT_WHOLE:
            said = f"S3 bucket {self._bucket!r}: an answer without what proves it (the ETag of what was sent, a list)"
        if code in ITEM_CODES or status == 413:  # a proxy before the store may set a limit of its own
            return ItemRefused(said)
        if code in TRANSIT_CODES:
            return DamagedOnTheWay(f"{said}: it did not get what was sent; run again later")
        if code in THROTTLING_CODES or status == 429:
            return Throttled(f"{said}, after {SDK_ATTEMPTS} attempts; run again later, or with fewer --threads")
        if code in PASSING_CODES or status >= 500:
            return Outage(f"{said}, after {SDK_ATTEMPTS} attempts; run again later")
        advice = ADVICE.get(code, REDIRECTED if status in REDIRECTS else UNKNOWN).format(action=ACTIONS[operation])
        return ConfigurationError(f"{said}; {advice}")


_NEEDS_A_PERSON = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoRegionError,
    botocore.exceptions.InvalidEndpointDiscoveryConfigurationError,
)


def _send_small_unasked(params: Mapping[str, Any], **_: Any) -> None:
    """https://www.rfc-editor.org/rfc/rfc9110#name-expect: `100-continue` is the client's choice."""
    body = params["body"]
    if isinstance(body, io.BytesIO) and body.getbuffer().nbytes <= UNASKED_BYTES:
        params["headers"].pop("Expect", None)


def _follow_no_redirect(request_dict: dict[str, Any], **_: Any) -> None:
    """By HeadBucket the SDK asks for the region of a bucket that is elsewhere, and reads it off that answer, too. Where
    the answer names none, it would ask again, and so on down to the end of the stack."""
    request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True


def _refuse_unless_whole(response: Any, request_dict: Mapping[str, Any], operation: Any, **_: Any) -> None:
    """Make a fault of an answer that is cut off in its headers, which the SDK takes for a success.

    It then does as with any 500: asks again, and at last raises it. botocore's own `check_for_200_error` works so, too.
    """
    if response is None or response[0].status_code >= 300:
        return
    answer, parsed = response
    is_whole = _PROOFS.get(operation.name)
    if is_whole is not None and not is_whole(parsed, request_dict):
        answer.status_code = parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = 500
        parsed["Error"] = {"Code": NOT_WHOLE, "Message": ""}


def _names_what_was_sent(parsed: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    return checksums.names(
        parsed.get("ETag"),
        _md5_of_what_was_sent(request),
        encryption={parsed.get("ServerSideEncryption"), request["headers"].get("x-amz-server-side-encryption")},
        has_other_rules="SSECustomerAlgorithm" in parsed or "--x-s3" in request["url"],
    )


def _md5_of_what_was_sent(request: Mapping[str, Any]) -> bytes | None:
    body, said = request["body"], request["headers"].get("Content-MD5")
    if isinstance(body, io.BytesIO):
        return checksums.md5(body.getvalue())
    return base64.b64decode(said) if said is not None else None  # to AWS it goes in chunks, with a checksum behind it


# What each answer holds when it is whole.
_PROOFS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "PutObject": _names_what_was_sent,
    "GetObject": lambda parsed, request: "ETag" in parsed,
    "HeadObject": lambda parsed, request: "ETag" in parsed,
    "ListObjectsV2": lambda parsed, request: "Name" in parsed or "IsTruncated" in parsed,
}


def _checksum(body: bytes) -> dict[str, str]:
    """What the store compares with the body that arrived. Every S3-compatible one knows Content-MD5."""
    md5 = checksums.md5(body)
    if md5 is None:
        return {"ChecksumSHA256": checksums.base64_text(hashlib.sha256(body).digest())}
    return {"ContentMD5": checksums.base64_text(md5)}


def _metadata_of(made: Object) -> dict[str, str]:
    return {"sha256": made.sha256, "fetched-at": made.fetched_order}


def _metadata(found: Mapping[str, Any], before: str = "") -> tuple[str, str]:
    """`fetched-at` and `sha256`, as `put` gave them; empty where another program put the object."""
    return str(found.get(f"{before}fetched-at", "")), str(found.get(f"{before}sha256", ""))


def _date(answer: Mapping[str, Any]) -> str | None:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers["date"]) if "date" in headers else None


def _cause(error: Exception) -> Exception | None:
    """What the SDK met and has no word for; None where it has one."""
    return error.kwargs.get("error") if type(error) is botocore.exceptions.HTTPClientError else None


def _check_endpoint(environ: Mapping[str, str]) -> None:
    """The SDK has no word of its own for a scheme that is missing, and an outage for a port that is none.

    The address is not shown: it may hold a password.
    """
    named = next((name for name in ENDPOINT_VARIABLES if environ.get(name)), None)
    if named is not None and not settings.is_http_url(environ[named]):
        raise ConfigurationError(f"{named} is no URL such as http://127.0.0.1:9000")


def _refused_by_sdk(error: botocore.exceptions.ParamValidationError) -> str:
    """Why nothing was sent. What the SDK says of it quotes the request."""
    if str(error.kwargs.get("report", "")).startswith("Invalid bucket name"):
        return "that is no name of a bucket; check --bucket and BUCKET_NAME"
    return "the SDK refuses a parameter; check --bucket and the options for S3"


def _said(error: Exception) -> str:
    """The error in one line, without what may be secret: parts of a request that it quotes, passwords in URLs, and all
    that another program said (`credential_process` prints what it likes, and `error_msg` is that)."""
    if not isinstance(error, botocore.exceptions.BotoCoreError):
        return type(error).__name__
    cause = _cause(error)
    if cause is not None:
        return type(cause).__name__
    hidden = (
        {}
        if isinstance(error, botocore.exceptions.FlexibleChecksumError)
        else {"error_msg": "run it by hand to see why"}
    )
    said = error.fmt.format(**{**error.kwargs, **hidden})
    return re.sub(r"//[^/\s]*@", "//", (said.splitlines() or [type(error).__name__])[0])
