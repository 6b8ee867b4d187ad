"""What the store compares with the body that arrived, and what its answer proves. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from typing import Collection

_NO_MATTER_OF_SECURITY = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}


def md5(body: bytes) -> bytes | None:
    """None where this Python refuses it: FIPS builds do (boto/botocore#2769), some even what is no matter of security.

    It is none: that the bytes are the right ones is what SHA-256 says.
    """
    try:
        return hashlib.md5(body, **_NO_MATTER_OF_SECURITY).digest()
    except (AttributeError, ValueError):
        return None


def base64_text(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def names(
    etag: str | None, body_md5: bytes | None, *, encryption: Collection[str | None], has_other_rules: bool
) -> bool:
    """Is this the ETag of an object with that MD5, as far as ETags tell?

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: it is the MD5 of the body, but not with KMS or a
    customer's key, nor in a directory bucket (`has_other_rules`). Other stores have ETags of their own making, of
    another shape (MinIO before Azure: s3tools/s3cmd#880).
    """
    said = (etag or "").strip('"')
    is_md5 = re.match(r"[0-9a-f]{32}\Z", said) and set(encryption) <= {None, "AES256"} and not has_other_rules
    if not is_md5:
        return said != ""
    return body_md5 is None or body_md5.hex() == said
