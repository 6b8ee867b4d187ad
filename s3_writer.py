"""The archive: keys, uploads to S3, and the same tree on a local disk.

Decides, once, what a failed upload means: the item's own fault (ItemRefused), something a person has to put right
(ConfigurationError) or something that passes (Outage). Knows nothing of the queue.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any, Mapping, Protocol

import boto3
import botocore.exceptions
from botocore.config import Config

import timestamps
from errors import ConfigurationError, Outage, PipelineError
from settings import is_repo_name

FOLDERS = {"issue": "issues", "pull_request": "pulls"}
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
SDK_ATTEMPTS = 5  # the SDK is the only owner of retries of a request

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
ITEM_CODES = {"EntityTooLarge", "KeyTooLongError", "BadDigest", "InvalidDigest", "IncompleteBody", "MetadataTooLarge"}
PASSING_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "InternalError",
    "ServiceUnavailable", "RequestTimeout", "OperationAborted",
}  # fmt: skip
ADVICE = {
    "NoSuchBucket": "create the bucket or check BUCKET_NAME and --bucket",
    "AccessDenied": "check that the bucket is there, and that the key has s3:PutObject on it",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the AWS credentials",
    "RequestTimeTooSkewed": "set this machine's clock",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION",
}


class ItemRefused(Exception):
    """The archive takes others but not this item; the message says why."""


class Archive(Protocol):
    def put(self, key: str, body: bytes, *, sha256: str) -> None:
        """Store `body` under `key`, whole or not at all; returns once it is durable.

        Raises ItemRefused, ConfigurationError or Outage.
        """


def object_key(*, prefix: str, item_type: str, repo: str, number: int, updated_at: str, sha256: str) -> str:
    """The archive key of one version of an item: a pure function of what GitHub sent.

    Raises ItemRefused for parts that GitHub never sends and a path must not hold.
    """
    moment = timestamps.normalise(updated_at)
    if moment is None or not is_repo_name(repo) or not re.match(r"[0-9a-f]{64}\Z", sha256):
        raise ItemRefused(
            "no archive key can be made: the row's repository, time or hash are not as ingest writes them"
        )
    day, compact = moment[:10], moment.replace("-", "").replace(":", "")
    return f"{prefix}{FOLDERS[item_type]}/dt={day}/{repo}/{number}-{compact}-{sha256[:12]}.json"


class S3Archive:
    """Uploads to one bucket. Safe to use from `threads` threads; making one takes about 100 ms, so make one."""

    def __init__(self, *, bucket: str, threads: int, environ: Mapping[str, str], user_agent: str) -> None:
        self._bucket = bucket
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        options: dict[str, Any] = {}
        if endpoint:
            # Stores other than AWS: many know no virtual-host names and refuse the newer checksum headers.
            options = {
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        config = Config(
            retries={"mode": "standard", "total_max_attempts": SDK_ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            max_pool_connections=threads,
            user_agent_extra=user_agent,
            **options,
        )
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        try:
            session = boto3.session.Session(region_name=region)
            default_region = None if session.region_name or not endpoint else "us-east-1"
            self._client = session.client("s3", config=config, region_name=default_region)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"S3 client: {error}; check the AWS variables and profile") from error

    def put(self, key: str, body: bytes, *, sha256: str) -> None:
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                # Every S3-compatible store compares this with what arrived.
                ContentMD5=base64.b64encode(hashlib.md5(body).digest()).decode("ascii"),
                Metadata={"sha256": sha256},
            )
        except botocore.exceptions.ClientError as error:
            raise self._explain(error) from error
        except botocore.exceptions.ParamValidationError as error:
            raise ConfigurationError(f"S3 bucket {self._bucket!r}: {_first_line(error)}; check BUCKET_NAME") from error
        except _NEEDS_A_PERSON as error:
            raise ConfigurationError(f"AWS credentials: {_first_line(error)}; set them (README, AWS)") from error
        except botocore.exceptions.BotoCoreError as error:
            raise Outage(f"S3 can't be reached: {_first_line(error)}; run again later") from error

    def _explain(self, error: botocore.exceptions.ClientError) -> ItemRefused | PipelineError:
        """What S3's refusal means. An unknown one stops the run: a fixable mistake must never fail every item."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"S3 bucket {self._bucket!r} answers {status} {code}"
        if code in ITEM_CODES:
            return ItemRefused(said)
        if code in PASSING_CODES or status >= 500 or status == 429:
            return Outage(f"{said}, after {SDK_ATTEMPTS} attempts; {ADVICE.get(code, 'run again later')}")
        return ConfigurationError(f"{said}; {ADVICE.get(code, 'check bucket, key and endpoint')}")


_NEEDS_A_PERSON = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoRegionError,
    botocore.exceptions.InvalidEndpointDiscoveryConfigurationError,
)


class DirectoryArchive:
    """The same tree below a local directory: each file whole or not at all, on disk before `put` returns."""

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"archive directory {root!r}: {error.strerror}; check --archive-dir") from error

    def put(self, key: str, body: bytes, *, sha256: str) -> None:
        target = self._root / key
        if self._root not in target.parents or ".." in target.parts:
            raise ItemRefused("its key would lie outside the archive directory")
        # The name starts with a dot, so that a reader of the tree passes over what a crash leaves.
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            self._make_folder(target.parent)
            self._write(temporary, body)
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise self._explain(error) from error

    def _make_folder(self, folder: Path) -> None:
        """Create the folder, and make its entry in each new parent durable."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)

    @staticmethod
    def _write(path: Path, body: bytes) -> None:
        with path.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    def _explain(self, error: OSError) -> ItemRefused | PipelineError:
        said = f"archive directory {str(self._root)!r}: {error.strerror}"
        if error.errno == errno.ENAMETOOLONG:
            return ItemRefused(said)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR):
            return ConfigurationError(f"{said}; check --archive-dir and its permissions")
        return Outage(f"{said}; make room or mend the disk, then run again")


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once the folder that holds the name is (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
