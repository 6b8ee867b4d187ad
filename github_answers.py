"""What GitHub's answers mean: classified once, here. Pure: no request, no clock."""

from __future__ import annotations

import enum
import re
from typing import Mapping


class Kind(enum.Enum):
    """What an answer means for the caller."""

    ANSWER = enum.auto()
    REDIRECT = enum.auto()
    LIMITED = enum.auto()
    UNAVAILABLE = enum.auto()
    BAD_TOKEN = enum.auto()
    NOT_READABLE = enum.auto()


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Kind:
    """What an answer means; the one place that tells the four meanings of 403 apart.

    https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
    """
    if status in (200, 304):
        return Kind.ANSWER
    if status in (301, 302, 303, 307, 308):
        return Kind.REDIRECT
    if status == 401:
        return Kind.BAD_TOKEN
    if status == 429 or (status == 403 and _is_limit(headers, body)):
        return Kind.LIMITED
    if status >= 500 or status == 408:
        return Kind.UNAVAILABLE
    return Kind.NOT_READABLE


def _is_limit(headers: Mapping[str, str], body: bytes) -> bool:
    if "retry-after" in headers:
        return True
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-limit", "0") != "0":
        return True
    return "rate limit" in message(body).lower() or "abuse detection" in message(body).lower()


def advice(status: int) -> str:
    """What a person can do about a refusal."""
    return {
        404: "check the name, and that the token may read it (GitHub shows a private repository as missing)",
        410: "issues are disabled there, or gone",
        451: "it was taken down for legal reasons",
        403: "the token lacks the permission, or access is blocked",
        422: "GitHub does not accept this request",
    }.get(status, "GitHub does not accept this request")


def message(body: bytes) -> str:
    """GitHub's own `message`, printable and short; nothing for a page of HTML."""
    match = re.search(rb'"message"\s*:\s*"([^"\\]{1,200})', body[:4000])
    return "".join(c for c in match[1].decode("utf-8", "replace") if c.isprintable()) if match else ""
