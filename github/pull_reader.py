"""Reads pull requests by themselves, with their reviews: many at once by GraphQL, or one by REST.

What that means for a work list is scans/'s business.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable, Sequence

from foundation import timestamps
from foundation.records import Item
from github import by_number, graphql, pages
from github.api import GitHub
from github.by_number import Ask, Batch, Form, Shown
from github.fields import is_integer
from github.graphql import Own
from github.listing import all_pages
from github.spots import PAGE_SIZE
from github.streams.pull_details import FIELDS, QUERY_VERSION, REVIEW_FIELDS, REVIEWS_AT_ONCE
from github.transport import Fault

ITEM_TYPE = "pull_detail"


class PullReader:
    def __init__(self, *, api: GitHub, on_request: Callable[[int], None]) -> None:
        self._api = api
        self._on_request = on_request

    def many(self, repo: str, asks: Sequence[Ask], *, attempts: int) -> Batch:
        """By GraphQL, a point for 25 with up to 100 reviews each. Raises what by_number.read raises."""
        return by_number.read(self._api, FORM, repo, asks, on_request=self._on_request, attempts=attempts)

    def one(self, place: str, number: int) -> Shown:
        """By REST, below `place`, with all its reviews. Raises what GitHub.get raises."""
        address = f"{place}/pulls/{number}"
        # The reviews are asked for behind it: they are no older than the version that it shows.
        pull = self._get(address, _pull)
        reviews = self._reviews(f"{address}/reviews", are_expected=bool(pull.value.get("review_comments")))
        payload = b'{"pull_request": %b, "reviews": [%b]}' % (pull.characters, b", ".join(reviews))
        return Shown([_item(payload, pull.value["id"], number, pull.value.get("updated_at"))])

    def _reviews(self, address: str, *, are_expected: bool) -> list[bytes]:
        """Oldest first, each one's own characters. An empty answer says little where comments on code are."""
        return all_pages(
            self._api, f"{address}?per_page={PAGE_SIZE}", parse=pages.cut,
            usable=lambda shown: {element.item_id: element.payload for element in shown},
            on_request=self._on_request, retry_refusals=True, may_be_empty=not are_expected,
        )  # fmt: skip

    def _get(self, address: str, parse: Callable[[str], Own]) -> Own:
        return self._api.get(  # type: ignore[no-any-return]
            address, parse=parse, on_request=self._on_request, retry_refusals=True
        ).body


def _field(ask: Ask) -> str:
    after = "" if ask.after is None else f", after: {graphql.quoted(ask.after)}"
    return (
        f"pullRequest(number: {ask.number}) {{ ...fields reviews(first: {REVIEWS_AT_ONCE}{after}) {{ ...reviews }} }}"
    )


def _shown(ask: Ask, own: Own | None) -> Shown:
    pull = _object(own and own.value)
    what, pull_id = f"pull request {ask.number}", str(pull.get("fullDatabaseId"))
    more = by_number.following(_object(pull.get("reviews")), after=ask.after, what=what)
    if own is None or not pull_id.isdecimal():
        raise Fault(f"GraphQL does not show all of {what}", heavy=True)
    return Shown([_item(own.characters, int(pull_id), ask.number, pull.get("updatedAt"))], more)


FORM = Form(
    name=f"PullDetails{QUERY_VERSION}",
    field=_field,
    fragments=lambda asks: (
        f"fragment fields on PullRequest {{{FIELDS}}}\n"
        f"fragment reviews on PullRequestReviewConnection {{{REVIEW_FIELDS}}}\n"
    ),
    read=_shown,
)


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
