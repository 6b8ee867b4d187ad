"""GitHub's GraphQL: where it is asked, what an answer means that is 200 in any case, and its parts untouched. Pure.

https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, NamedTuple, Sequence

from github.pages import PageError, refuse_constant
from github.refusals import ODD_ATTEMPTS, NotReadable
from github.transport import Fault

_LIMITS = ("RATE_LIMITED", "RATE_LIMIT")  # the second: yanyongyu/githubkit #271
_REFUSALS = {"FORBIDDEN": 403, "INSUFFICIENT_SCOPES": 403, "NOT_FOUND": 404}
# An older Enterprise Server does not know a field that is asked for.
_UNKNOWN_FIELD = "undefinedField"
_DECODER = json.JSONDecoder(parse_constant=refuse_constant)
_SPACE = re.compile(r"[ \t\n\r]*")
_MARK = re.compile(r"[ \t\n\r]*([][{}:,])[ \t\n\r]*")


class Own(NamedTuple):
    """A value of an answer, and GitHub's own characters of it, as UTF-8."""

    value: Any
    characters: bytes


class Answered(NamedTuple):
    """What an answer says of one thing that was asked for. `missing`: the members that GitHub says are not there."""

    members: Mapping[str, Own]
    missing: frozenset[str]


def address(base_url: str) -> str:
    """https://docs.github.com/graphql/guides/forming-calls-with-graphql; beside /api/v3 on an Enterprise Server."""
    return (base_url[: -len("v3")] if base_url.endswith("/api/v3") else base_url + "/") + "graphql"


def posted(query: str) -> bytes:
    return json.dumps({"query": query}).encode("ascii")


def quoted(text: str) -> str:
    """As a string of a query: its escapes are JSON's."""
    return json.dumps(text)


def is_limit(body: bytes) -> bool:
    """Limits come with status 200. What someone wrote in a comment is no error, so the body has to be understood."""
    if b"RATE_LIMIT" not in body:
        return False
    try:
        answer = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return any(error.get("type") in _LIMITS for error in _errors(answer))


def cut(text: str, name: str) -> Answered:
    """The members of `data.<name>`. Raises Fault for errors other than that one of them is not there.

    Such an answer holds less than was asked for, wherever it is null: nothing of it is used. Raises PageError for what
    is no answer at all.
    """
    try:
        answer, end = _object(text, _SPACE.match(text).end(), ("data", name))  # type: ignore[union-attr]
        if text[end:].strip(" \t\n\r"):
            raise ValueError("something stands behind it")
    except (ValueError, RecursionError) as error:
        raise PageError(f"no answer of GraphQL's: {error}") from error
    missing = _missing(_errors({key: own.value for key, own in answer.items() if isinstance(own, Own)}), name)
    data = answer.get("data")
    members = data.get(name) if isinstance(data, dict) else None
    if not isinstance(members, dict):
        raise PageError(f"no answer of GraphQL's: it holds no {name}")
    return Answered(members, missing)


def members(own: Own) -> dict[str, Own]:
    """Those of an object, each with its own characters."""
    found, _ = _object(own.characters.decode("utf-8"), 0, ())
    return found


def elements(own: Own) -> list[Own]:
    """Those of a list, each with its own characters."""
    text, found = own.characters.decode("utf-8"), []
    mark, at = _mark(text, 0, "[")
    if text[at] == "]":
        return []
    while mark != "]":
        value, end = _DECODER.raw_decode(text, at)
        found.append(Own(value, text[at:end].encode("utf-8")))
        mark, at = _mark(text, end, ",]")
    return found


def data(text: str) -> dict[str, Any]:
    """`data` as it is parsed; of several things at its top those that are not there, or not for this token, are null.

    So are those of which a part is refused that can't be null (boostsecurityio/poutine #415: a token without the right
    to read issues gets no repository). Raises as `cut` does.
    """
    try:
        answer = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PageError(f"no answer of GraphQL's: {error}") from error
    found = answer.get("data") if isinstance(answer, dict) else None
    for said in _errors(answer):
        path = said.get("path")
        is_all_of_it = isinstance(path, list) and path and isinstance(found, dict) and found.get(path[0]) is None
        if said.get("type") not in _REFUSALS or not is_all_of_it:
            raise _fault(said, is_of_all=not path)
    if not isinstance(found, dict):
        raise PageError("no answer of GraphQL's: it holds no data")
    return found


def _object(text: str, start: int, way: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The members of the object at `start`, and where it ends; of the one that `way` leads to next, its own members.

    Not re-serialised: the archive promises the bytes that GitHub sent.
    """
    members: dict[str, Any] = {}
    mark, at = _mark(text, start, "{")
    if text[at : at + 1] == "}":
        return members, at + 1
    while mark != "}":
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"a member without a name at character {at}")
        _, at = _mark(text, at, ":")
        if way and name == way[0] and text[at : at + 1] == "{":
            members[name], end = _object(text, at, way[1:])
        else:
            value, end = _DECODER.raw_decode(text, at)
            members[name] = Own(value, text[at:end].encode("utf-8"))
        mark, at = _mark(text, end, ",}")
    return members, _end_of(text, end)


def _mark(text: str, at: int, wanted: str) -> tuple[str, int]:
    """One of the marks that may stand there, and what comes behind it and the space around it."""
    found = _MARK.match(text, at)
    if found is None or found[1] not in wanted:
        raise ValueError(f"no {wanted!r} at character {at}")
    return found[1], found.end()


def _end_of(text: str, at: int) -> int:
    return text.index("}", at) + 1


def _errors(answer: Any) -> list[dict[str, Any]]:
    found = answer.get("errors") if isinstance(answer, dict) else None
    return [error for error in found if isinstance(error, dict)] if isinstance(found, list) else []


def _missing(errors: Sequence[Mapping[str, Any]], name: str) -> frozenset[str]:
    """The members of `name` that are not there. Any other error is raised."""
    missing = set()
    for error in errors:
        kind, path = error.get("type"), error.get("path")
        if kind == "NOT_FOUND" and isinstance(path, list) and len(path) == 2 and path[0] == name:
            missing.add(str(path[1]))
            continue
        raise _fault(error, is_of_all=not isinstance(path, list) or path in ([], [name]))
    return frozenset(missing)


def _fault(error: Mapping[str, Any], *, is_of_all: bool) -> Fault:
    """`is_of_all`: nothing of what was asked for can be had; else less at a time may pass."""
    said = "".join(c for c in str(error.get("message")) if c.isprintable())[:200]
    extensions = error.get("extensions")
    is_unknown = isinstance(extensions, dict) and extensions.get("code") == _UNKNOWN_FIELD
    status = 400 if is_unknown else _REFUSALS.get(str(error.get("type")))
    if status is None or not (is_unknown or is_of_all):
        return Fault(f"GraphQL answers with the error {said!r}", heavy=True)
    refusal = NotReadable(f"GitHub's GraphQL answers {error.get('type') or status}: {said}", status=status)
    return Fault(f"GraphQL answers {said!r}", lasting=refusal, times=ODD_ATTEMPTS)
