"""Reads pull requests by themselves, with their reviews: many at once by GraphQL, or one by REST.

What that means for a work list is scans/'s business.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from foundation import timestamps
from foundation.records import Item
from github import graphql, pages
from github.api import GitHub
from github.fields import is_integer
from github.graphql import Own
from github.spots import PAGE_SIZE
from github.streams.pull_details import FIELDS, QUERY_VERSION, REVIEW_FIELDS, REVIEWS_AT_ONCE
from github.transport import Fault

ITEM_TYPE = "pull_detail"
EMPTY_ANSWERS = 3  # so many in a row say that there is nothing


class Ask(NamedTuple):
    """A pull request that is wanted; `after`: the reviews behind this cursor of GitHub's."""

    number: int
    after: str | None = None


class Shown(NamedTuple):
    """A pull request, or a part of it. `more`: the cursor behind which it has more reviews."""

    item: Item
    more: str | None = None


class Batch(NamedTuple):
    """What was shown of what was asked for, by number; `missing`: what GitHub says is not there."""

    repo_id: int
    repo: str
    shown: Mapping[int, Shown]
    missing: frozenset[int]


class PullReader:
    def __init__(self, *, api: GitHub, on_request: Callable[[int], None]) -> None:
        self._api = api
        self._on_request = on_request

    def many(self, repo: str, asks: Sequence[Ask], *, attempts: int) -> Batch:
        """By GraphQL. Raises HeavyAnswer where less may pass, NotReadable where nothing does, and what else
        GitHub.query raises."""
        return self._api.query(  # type: ignore[no-any-return]
            query(repo, asks),
            parse=functools.partial(_batch, asks=asks),
            on_request=self._on_request,
            attempts=attempts,
        ).body

    def one(self, place: str, number: int) -> Shown:
        """By REST, below `place`, with all its reviews. Raises what GitHub.get raises."""
        address = f"{place}/pulls/{number}"
        # The reviews are asked for behind it: they are no older than the version that it shows.
        pull = self._get(address, _pull)
        reviews = self._reviews(f"{address}/reviews", are_expected=bool(pull.value.get("review_comments")))
        payload = b'{"pull_request": %b, "reviews": [%b]}' % (pull.characters, b", ".join(reviews))
        return Shown(_item(payload, pull.value["id"], number, pull.value.get("updated_at")))

    def _reviews(self, address: str, *, are_expected: bool) -> list[bytes]:
        """Oldest first, each one's own characters. An empty answer says little where comments on code are."""
        found: dict[int, bytes] = {}
        number, empty = 1, 0
        while True:
            answer = self._api.get(
                f"{address}?per_page={PAGE_SIZE}&page={number}", parse=pages.cut, on_request=self._on_request,
                retry_refusals=True,
            )  # fmt: skip
            found.update((element.item_id, element.payload) for element in answer.body)
            empty = 0 if answer.body else empty + 1
            if 0 < empty < EMPTY_ANSWERS and (are_expected or number > 1):
                continue
            if answer.next_url is None and len(answer.body) < PAGE_SIZE:
                return list(found.values())
            number += 1

    def _get(self, address: str, parse: Callable[[str], Own]) -> Own:
        return self._api.get(  # type: ignore[no-any-return]
            address, parse=parse, on_request=self._on_request, retry_refusals=True
        ).body


def query(repo: str, asks: Sequence[Ask]) -> str:
    """One request for all, a point for 25 with up to 100 reviews each."""
    owner, name = (graphql.quoted(part) for part in repo.split("/"))
    pulls = "\n".join(
        f"    {_alias(ask.number)}: pullRequest(number: {ask.number}) {{ ...fields "
        f"reviews({_reviews_of(ask)}) {{ ...reviews }} }}"
        for ask in asks
    )
    return (
        f"query PullDetails{QUERY_VERSION} {{\n  repository(owner: {owner}, name: {name}) {{\n"
        f"    databaseId nameWithOwner\n{pulls}\n  }}\n  rateLimit {{ cost remaining resetAt }}\n}}\n"
        f"fragment fields on PullRequest {{{FIELDS}}}\n"
        f"fragment reviews on PullRequestReviewConnection {{{REVIEW_FIELDS}}}\n"
    )


def _reviews_of(ask: Ask) -> str:
    after = "" if ask.after is None else f", after: {graphql.quoted(ask.after)}"
    return f"first: {REVIEWS_AT_ONCE}{after}"


def _alias(number: int) -> str:
    return f"p{number}"


def _batch(text: str, *, asks: Sequence[Ask]) -> Batch:
    """Raises Fault where something is null that GitHub does not call missing: it had no time for it."""
    answer = graphql.cut(text, "repository")
    missing = frozenset(ask.number for ask in asks if _alias(ask.number) in answer.missing)
    shown = {
        ask.number: _shown(ask, answer.members.get(_alias(ask.number))) for ask in asks if ask.number not in missing
    }
    repo_id, name = (answer.members[key].value if key in answer.members else None for key in _OF_REPOSITORY)
    if not is_integer(repo_id) or not isinstance(name, str):
        raise Fault("GraphQL does not say which repository it shows", heavy=True)
    return Batch(int(repo_id), name, shown, missing)  # type: ignore[arg-type]


_OF_REPOSITORY = ("databaseId", "nameWithOwner")


def _shown(ask: Ask, own: Own | None) -> Shown:
    pull = _object(own and own.value)
    reviews = _object(pull.get("reviews"))
    nodes, page, pull_id = reviews.get("nodes"), _object(reviews.get("pageInfo")), str(pull.get("fullDatabaseId"))
    after = page.get("endCursor") if page.get("hasNextPage") else None
    is_whole = isinstance(nodes, list) and None not in nodes and pull_id.isdecimal()
    leads_on = not page.get("hasNextPage") or (isinstance(after, str) and after != ask.after)
    if own is None or not is_whole or not leads_on:
        raise Fault(f"GraphQL does not show all of pull request {ask.number}", heavy=True)
    return Shown(_item(own.characters, int(pull_id), ask.number, pull.get("updatedAt")), after)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _item(payload: bytes, pull_id: int, number: int, updated_at: Any) -> Item:
    moment = timestamps.normalise(updated_at) or timestamps.EPOCH
    return Item(ITEM_TYPE, pull_id, number, moment, payload, hashlib.sha256(payload).hexdigest())


def _pull(text: str) -> Own:
    value = json.loads(text)
    if not isinstance(value, dict) or not is_integer(value.get("id")):
        raise pages.PageError("no pull request")
    return Own(value, text.strip().encode("utf-8"))
