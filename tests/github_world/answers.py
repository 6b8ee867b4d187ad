"""What a request was and what it is answered, apart from HTTP."""

import hashlib
from typing import NamedTuple

from tests.github_world.basics import compact_json

BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
HTML = {"Content-Type": "text/html"}
TOO_SLOW = (
    "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug."
    " Please include `0403:094E:157B29B:29134A0:61E4695A` when reporting this issue."
)
NO_TIME = (
    "We couldn't respond to your request in time. Sorry about that. Please try resubmitting your request and contact us"
    " if the problem persists."
)


class Request(NamedTuple):
    path: str
    query: dict
    headers: dict  # names in lower case
    status: int  # 0: never answered
    points: int
    body: bytes = b""  # of a POST
    resource: str = "core"  # whose limit the points count against


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict = {}
    points: int = 1  # GraphQL: what the query cost


def as_json(payload, status=200, **headers):
    return Answer(status, compact_json(payload).encode(), headers)


def error(status, message, **headers):
    documented = "https://docs.github.com/rest"
    return as_json({"message": message, "documentation_url": documented, "status": str(status)}, status, **headers)


def graphql_errors(*errors, data=None, status=200):
    """As GitHub has it: `data` stands there, if only as null, once the query was begun."""
    return as_json({"data": data, "errors": list(errors)}, status)


def etag(answer, headers):
    """The answer with its ETag, or a 304 without a body where the client has it already."""
    if answer.status != 200:
        return answer
    key = answer.body + headers.get("authorization", "").encode()
    tag = f'W/"{hashlib.sha256(key).hexdigest()}"'
    if headers.get("if-none-match") == tag:
        return Answer(304, b"", {"ETag": tag})
    return answer._replace(headers={"ETag": tag, **answer.headers})


def token_of(headers):
    return headers.get("authorization", "").split(" ")[-1] or None
