"""A page of GitHub's JSON -> its elements, each with its own characters untouched. Pure.

Re-serialising would change spacing, escapes and number formats; the archive promises the bytes that GitHub sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

import timestamps
from queue_manager import Item
from settings import is_repo_name
from transform import is_integer

_GAP = re.compile(r"[ \t\n\r]*")
# The canonical full name of the repository, as payloads of each kind and age spell it.
_REPO_IN_URL = re.compile(r"/repos/([^/]+/[^/]+)(?:/|\Z)")


class PageError(ValueError):
    """The text is not the JSON array that a page is."""


class Element(NamedTuple):
    """One element of a page: parsed, and the characters that it was parsed from."""

    value: Any
    text: str


def cut(text: str) -> list[Element]:
    """The elements of a JSON array. Raises PageError for anything else, a cut-off array included."""
    try:
        return _cut(text)
    except (ValueError, RecursionError) as error:
        raise PageError(f"no valid JSON array: {error}") from error


def _cut(text: str) -> list[Element]:
    position = _skip(text, 0, "[")
    elements: list[Element] = []
    while text[position : position + 1] != "]" or elements:
        value, end = _DECODER.raw_decode(text, position)
        elements.append(Element(value, text[position:end]))
        end = _gap_end(text, end)
        if text[end : end + 1] == "]":
            position = end
            break
        position = _skip(text, end, ",")
    if _gap_end(text, position + 1) != len(text):
        raise ValueError("characters after the array")
    return elements


def _gap_end(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position


def _skip(text: str, position: int, expected: str) -> int:
    """The position after white space, `expected` and more white space."""
    position = _gap_end(text, position)
    if text[position : position + 1] != expected:
        raise ValueError(f"{expected!r} expected at character {position}")
    return _gap_end(text, position + 1)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """A number too long for `int` (Python limits its digits) is only ever compared, never stored: infinity will do."""
    return int(digits) if len(digits) < 4000 else float("inf")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer)


def to_item(element: Element, item_type: str) -> Item:
    """The queue's item for an element.

    An element without a readable id, number or time is queued all the same, with 0 or the epoch in its place: it is
    archived like any other, and the worker's extraction then says what is wrong with it.
    """
    value = element.value if isinstance(element.value, dict) else {}
    return Item(
        item_type=item_type,
        item_id=_positive(value.get("id")),
        number=_positive(value.get("number")),
        updated_at=updated_at(element) or timestamps.EPOCH,
        payload=element.text,
        payload_sha256=hashlib.sha256(element.text.encode("utf-8")).hexdigest(),
    )


def updated_at(element: Element) -> str | None:
    """The element's `updated_at` as UTC text; None when it has none that can be read."""
    return timestamps.normalise(element.value.get("updated_at")) if isinstance(element.value, dict) else None


def is_pull_request_in_issues(element: Element) -> bool:
    """The issues list holds pull requests too, marked by this key (https://docs.github.com/rest/issues/issues)."""
    return isinstance(element.value, dict) and "pull_request" in element.value


def repo_name(element: Element) -> str | None:
    """The repository's full name as the payload spells it; the payload is not trusted, the caller compares."""
    value = element.value if isinstance(element.value, dict) else {}
    for url in (value.get("repository_url"), value.get("url")):
        match = _REPO_IN_URL.search(url) if isinstance(url, str) else None
        if match and is_repo_name(match[1]):
            return match[1]
    return None


def _positive(value: Any) -> int:
    return int(value) if is_integer(value) and value > 0 else 0
