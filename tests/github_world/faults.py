"""Answers that are none: what a fault makes of one, and connections that break."""

import contextlib
import json
import socket
import struct

from tests.github_world.answers import (
    BAD_GATEWAY,
    HTML,
    NO_TIME,
    SECONDARY,
    TOO_SLOW,
    Answer,
    as_json,
    error,
    graphql_errors,
)

SAML = (
    "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization."
)


def faulty(handler, kind, details, answer):
    """The answer for a fault; None where there is none. `answer()` makes the one without it."""
    if kind == "hang":
        handler.server.hanging += 1
        handler.server.closing.wait(details.get("seconds", 60))
    if kind in ("reset", "close", "hang"):
        if kind == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        return None
    whole = answer()
    if kind in ("drip", "stall"):
        _send_slowly(handler, whole.body, dripping=kind == "drip", status=details.get("status", 200))
        return None
    if kind == "truncate":
        return whole
    if kind == "no_items":
        return whole._replace(body=b"[]", headers={})
    if kind == "no_link":
        return whole._replace(headers={})
    if kind == "link":
        return whole._replace(headers={**whole.headers, "Link": '<{}>; rel="next"'.format(details["url"])})
    if isinstance(kind, str) and kind.startswith("graphql_"):
        return GRAPHQL[kind](details, whole)
    return _other(kind, details, whole)


def _send_slowly(handler, body, *, dripping, status):
    """Half of the body, and then nothing, or now and then a byte, until the client has enough of it."""
    handler.close_connection = True
    handler.send_response_only(status)
    if status != 200:
        handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", str(2 * len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    with contextlib.suppress(OSError):
        while not handler.server.closing.wait(0.02):
            if dripping:
                handler.wfile.write(b" ")
            elif handler.connection.recv(1) == b"":
                return


def _other(kind, details, whole):
    retry_after = {"retry-after": str(details["retry_after"])} if "retry_after" in details else {}
    if kind == "invalid_json":
        return Answer(200, whole.body[: len(whole.body) // 2])
    if kind in ("empty", "not_modified"):
        return Answer(200 if kind == "empty" else 304)
    if kind == "too_many":  # as GitHub Enterprise Server refuses long pages: renovatebot/renovate #43750
        return error(404, "Not Found", **whole.headers)
    if kind == "html":
        return Answer(200, BAD_GATEWAY, HTML)
    if kind in ("secondary_403", "secondary_429"):
        return error(int(kind[-3:]), SECONDARY, **retry_after)
    if kind == "redirect":
        return Answer(302, b"{}", {"Location": details["url"]})
    if kind == "blocked":
        return as_json({"message": "Repository access blocked", "block": {"reason": "tos"}}, 403)
    if kind >= 500:
        return Answer(kind, BAD_GATEWAY, HTML)
    return error(kind, details.get("message", "Not Found"), **details.get("headers", {}))


def _nulls(details, whole):
    """Some of what was asked for is null (all, where it was one thing), and no error says why."""
    body, holder = _opened(whole)
    for name in list(holder)[1::2] or list(holder):
        holder[name] = None
    return whole._replace(body=as_json(body).body)


def _null_reviews(details, whole):
    """Of each thing asked for the first list has a null in it, or is null itself where it was empty."""
    body, holder = _opened(whole)
    for item in holder.values():
        name = next(
            (name for name, value in (item or {}).items() if isinstance(value, dict) and "nodes" in value), None
        )
        if name:
            item[name] = {**item[name], "nodes": [None, *item[name]["nodes"][1:]]} if item[name]["nodes"] else None
    return whole._replace(body=as_json(body).body)


def _partly(details, whole):
    """One thing took too long: it is null, its error has no type, and the others are there."""
    body, holder = _opened(whole)
    name = next(iter(holder), None)
    holder[name] = None
    said = {"message": TOO_SLOW, "path": ["repository", name]}
    return whole._replace(body=as_json({**body, "errors": [*body.get("errors", []), said]}).body)


def _opened(whole):
    """The body, and of what it holds the first thing with names of its own: the repository."""
    body = json.loads(whole.body)
    return body, next((value for value in (body.get("data") or {}).values() if isinstance(value, dict)), {})


def _limited(details, whole):
    """`spelling` "RATE_LIMIT": yanyongyu/githubkit #271."""
    kind = details.get("spelling", "RATE_LIMITED")
    more = {"code": "graphql_rate_limit"} if kind == "RATE_LIMIT" else {}
    said = {"type": kind, **more, "message": "API rate limit already exceeded for user ID 1."}
    return as_json({"errors": [said]}, **details.get("headers", {}))


def _forbidden(details, whole):
    said = {"type": "FORBIDDEN", "path": ["repository"], "extensions": {"saml_failure": True}, "message": SAML}
    return graphql_errors(said, data={"repository": None})


def _secondary(details, whole):
    headers = {"retry-after": str(details["retry_after"])} if "retry_after" in details else {}
    return as_json({"errors": [{"type": "RATE_LIMITED", "message": SECONDARY}]}, **headers)


GRAPHQL = {
    "graphql_502": lambda details, whole: graphql_errors({"message": TOO_SLOW}, status=502),
    "graphql_wrong": lambda details, whole: graphql_errors({"message": TOO_SLOW}),
    "graphql_slow": lambda details, whole: as_json({"message": NO_TIME}, 502),
    "graphql_nulls": _nulls,
    "graphql_null_reviews": _null_reviews,
    "graphql_partly": _partly,
    "graphql_limited": _limited,
    "graphql_secondary": _secondary,
    "graphql_forbidden": _forbidden,
}
