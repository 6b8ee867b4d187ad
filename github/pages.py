"""A page of GitHub's JSON -> its elements, each with its own characters untouched. Pure.

Re-serialising would change spacing, escapes and number formats; the archive promises the bytes that GitHub sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Iterator, Mapping, NamedTuple

from foundation import timestamps
from foundation.records import Item
from foundation.settings import is_repo_name
from github.fields import is_integer, number_at_end

_OPENING = re.compile(r"[ \t\n\r]*\[[ \t\n\r]*(\]?)[ \t\n\r]*")  # the `]` of an empty array
_BETWEEN = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")
# The canonical full name of the repository, as payloads of each kind and age spell it.
_REPO_IN_URL = re.compile(r"/repos/([^/]+/[^/]+)(?:/|\Z)")


class PageError(ValueError):
    """The text is not the JSON array that a page is."""


class Shape(NamedTuple):
    """Where an element has its number and its time: the first of these fields that holds one.

    A number may stand at the end of an address, or be that of an item which is shown within.
    """

    number_in: tuple[str, ...] = ("number",)
    time_in: tuple[str, ...] = ("updated_at",)


ITEM = Shape()


class Element(NamedTuple):
    """One element of a page: its own characters as UTF-8, and what a scan needs to know of it.

    Of the parsed JSON nothing else is kept: a page of it takes several times the memory of its text.
    """

    payload: bytes
    item_id: int  # 0 where none can be read, and so for the number
    number: int
    updated_at: str | None  # UTC text; None where none can be read
    is_pull_request: bool  # in the issues list (https://docs.github.com/rest/issues/issues)
    repo_name: str | None
    repo_id: int | None  # pull requests carry it, issues don't


def cut(text: str, shape: Shape = ITEM) -> list[Element]:
    """The elements of a JSON array. Raises PageError for anything else, a cut-off array included."""
    try:
        return _cut(text, shape, _DECODER)
    except (ValueError, RecursionError):
        pass
    try:
        return _cut(text, shape, _PATIENT_DECODER)
    except (ValueError, RecursionError) as error:
        raise PageError(f"no valid JSON array: {error}") from error


def _cut(text: str, shape: Shape, decoder: json.JSONDecoder) -> list[Element]:
    elements: list[Element] = []
    found = _OPENING.match(text)
    while found is not None and found[1] != "]":
        value, end = decoder.raw_decode(text, found.end())
        elements.append(_element(value, shape, text[found.end() : end].encode("utf-8")))
        found = _BETWEEN.match(text, end)
    if found is None or found.end() != len(text):
        raise ValueError("it does not begin with '[', or go on with ',', or end with ']'")
    return elements


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """A number too long for `int` (Python limits its digits) is only ever compared, never stored: infinity will do."""
    return int(digits) if len(digits) < 4000 else float("inf")


_DECODER = json.JSONDecoder(parse_constant=refuse_constant)
_PATIENT_DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_int=_integer)  # takes a quarter longer


def _element(value: Any, shape: Shape, payload: bytes) -> Element:
    fields = value if isinstance(value, dict) else {}
    return Element(
        payload=payload,
        item_id=_positive(fields.get("id")),
        number=next(filter(None, (_number(fields.get(name)) for name in shape.number_in)), 0),
        updated_at=next(filter(None, (timestamps.normalise(fields.get(name)) for name in shape.time_in)), None),
        is_pull_request="pull_request" in fields,
        repo_name=repo_name(fields),
        repo_id=_repo_id(fields),
    )


def to_item(element: Element, item_type: str) -> Item:
    """The queue's item for an element.

    An element without a readable id, number or time is queued all the same, with 0 or the epoch in its place: it is
    archived like any other, and the worker's extraction then says what is wrong with it.
    """
    return Item(
        item_type=item_type,
        item_id=element.item_id,
        number=element.number,
        updated_at=element.updated_at or timestamps.EPOCH,
        payload=element.payload,
        payload_sha256=hashlib.sha256(element.payload).hexdigest(),
    )


def repo_name(payload: Mapping[str, Any]) -> str | None:
    """The repository's full name as the payload spells it; the payload is not trusted, the caller compares."""
    for name in _names(payload):
        if is_repo_name(name):
            return name
    return None


def _names(payload: Mapping[str, Any]) -> Iterator[str]:
    # GraphQL's, and what holds more than one answer.
    within = [payload.get(name) for name in ("repository", "pull_request", "event")]
    repository, *others = (value if isinstance(value, dict) else {} for value in within)
    if isinstance(repository.get("nameWithOwner"), str):
        yield repository["nameWithOwner"]
    for url in (payload.get("repository_url"), payload.get("url"), *(other.get("url") for other in others)):
        match = _REPO_IN_URL.search(url) if isinstance(url, str) else None
        if match:
            yield match[1]


def repository_id(text: str) -> int | None:
    """The numeric id in GitHub's description of one repository."""
    found = json.loads(text)
    return _positive(found.get("id")) or None if isinstance(found, dict) else None


def _number(value: Any) -> int:
    """0 where there is none: of the value itself, of an address, of the item that is shown."""
    if isinstance(value, dict):
        return _positive(value.get("number"))
    return number_at_end(value) or _positive(value)


def _repo_id(payload: Mapping[str, Any]) -> int | None:
    base = payload.get("base")
    repo = base.get("repo") if isinstance(base, dict) else None
    return _positive(repo.get("id")) or None if isinstance(repo, dict) else None


def _positive(value: Any) -> int:
    return int(value) if is_integer(value) and value > 0 else 0
