"""What GitHub's answers mean: classified once, here. Pure: no request, no clock."""

from __future__ import annotations

import enum
import re
from typing import Mapping
from urllib.parse import urlsplit


class Kind(enum.Enum):
    """What an answer means for the caller."""

    ANSWER = enum.auto()
    REDIRECT = enum.auto()
    LIMITED = enum.auto()
    UNAVAILABLE = enum.auto()
    WEB_PAGE = enum.auto()
    BAD_TOKEN = enum.auto()
    BAD_PROXY = enum.auto()
    RETIRED = enum.auto()
    TOO_MANY = enum.auto()
    NOT_READABLE = enum.auto()


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Kind:
    """What an answer means; the one place that tells the four meanings of 403 apart.

    https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
    """
    if status == 200 and _is_web_page(body):
        return Kind.WEB_PAGE
    if status in (200, 201, 304):
        return Kind.ANSWER
    if status in (301, 302, 303, 307, 308):
        return Kind.REDIRECT
    if status == 401:
        return Kind.BAD_TOKEN
    if status == 407:
        return Kind.BAD_PROXY
    if status == 429 or (status == 403 and _is_limit(headers, body)):
        return Kind.LIMITED
    if status >= 500 or status == 408:
        return Kind.UNAVAILABLE
    # https://docs.github.com/rest/about-the-rest-api/api-versions: 410, and 400 before 2026
    if status in (400, 410) and "version" in message(body).lower():
        return Kind.RETIRED
    # GitHub Enterprise Server may refuse over 50 items a page so, links to more included: renovatebot/renovate #43750
    if status == 404 and "link" in headers:
        return Kind.TOO_MANY
    # Web pages answer 406 to who asks for JSON: integrations/terraform-provider-github #224
    if status == 406 or _is_web_page(body):
        return Kind.WEB_PAGE
    return Kind.NOT_READABLE


def _is_web_page(body: bytes) -> bool:
    return body[:100].lstrip().startswith(b"<")


def _is_limit(headers: Mapping[str, str], body: bytes) -> bool:
    if "retry-after" in headers:
        return True
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-limit", "0") != "0":
        return True
    return "rate limit" in message(body).lower() or "abuse detection" in message(body).lower()


def is_disabled(status: int, body: bytes) -> bool:
    """Are issues switched off in this repository? Other lists, and an API version, are gone with 410 as well.

    'Issues are disabled for this repo' (dust-tt/dust #10314), 'Issues has been disabled in this repository.'
    """
    return status == 410 and "disabled" in message(body).lower()


def lacks_api_path(base_url: str) -> bool:
    """May this be the address of a GitHub Enterprise Server's web pages, without /api/v3? PyGithub/PyGithub #769"""
    parts = urlsplit(base_url)
    return not (parts.hostname or "").startswith("api.") and not parts.path.endswith("/api/v3")


def advice(status: int, whose: str = "the token") -> str:
    """What a person can do about a refusal. `whose`: who asked, where there may be several."""
    return {
        404: f"check the name, and that {whose} may read it (GitHub shows a private repository as missing)",
        410: "it is gone; where all are gone, GitHub has retired the version of its API: upgrade this program",
        451: "it was taken down for legal reasons",
        403: f"{whose} lacks the permission, or access is blocked",
    }.get(status, "GitHub does not accept this request")


def message(body: bytes) -> str:
    """GitHub's own `message`, printable and short; nothing for a page of HTML."""
    match = re.search(rb'"message"\s*:\s*"([^"\\]{1,200})', body[:4000])
    return "".join(c for c in match[1].decode("utf-8", "replace") if c.isprintable()) if match else ""
