"""Reads the events of items by themselves: of many items at once by GraphQL, or of one by REST.

What that means for a list of events is scans/'s business.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import json
from typing import Callable, Iterable, Sequence

from foundation import timestamps
from foundation.errors import PipelineError
from foundation.records import Item
from github import by_number, graphql, pages
from github.api import GitHub
from github.by_number import Ask, Batch, Form, Shown
from github.fields import text_in
from github.graphql import Own
from github.listing import EMPTY_ANSWERS, all_pages
from github.pages import Element, Shape
from github.spots import PAGE_SIZE
from github.streams import timeline
from github.transport import Fault

ITEM_TYPE = "event"


class UnknownIds(PipelineError):
    """By what GraphQL shows, an event can't be told from those that REST shows."""


class TimelineReader:
    def __init__(self, *, api: GitHub, on_request: Callable[[int], None]) -> None:
        self._api = api
        self._on_request = on_request

    def many(self, repo: str, asks: Sequence[Ask], *, attempts: int) -> Batch:
        """A point for 25 items with up to 100 events each. Raises UnknownIds, and what by_number.read raises."""
        return by_number.read(self._api, FORM, repo, asks, on_request=self._on_request, attempts=attempts)

    def one(self, place: str, number: int) -> list[Item]:
        """By REST, below `place`, all of one item. Raises what GitHub.get raises."""
        return all_pages(
            self._api, f"{place}/issues/{number}/events?per_page={PAGE_SIZE}",
            parse=functools.partial(pages.cut, shape=_EVENT),
            usable=lambda shown: {element.item_id: _rest_item(number, element) for element in shown},
            on_request=self._on_request, retry_refusals=True,
        )  # fmt: skip

    def newest_number(self, place: str) -> int:
        """That of the item which was made last, issue or pull request; at least 1."""
        address = f"{place}/issues?state=all&sort=created&direction=desc&per_page={PAGE_SIZE}"
        answers = (
            self._api.get(address, parse=pages.cut, on_request=self._on_request, retry_refusals=True).body
            for _ in range(EMPTY_ANSWERS)
        )
        return max((element.number for element in next(filter(None, answers), ())), default=1)


def _field(ask: Ask) -> str:
    if ask.after is None:
        return f"issueOrPullRequest(number: {ask.number}) {{ ...issue ...pull }}"
    after = graphql.quoted(ask.after)
    parts = " ".join(f"... on {kind} {{ {timeline.of_item(kind, after)} }}" for kind in ("Issue", "PullRequest"))
    return f"issueOrPullRequest(number: {ask.number}) {{ {parts} }}"


def _shown(ask: Ask, own: Own | None) -> Shown:
    if own is None or not isinstance(own.value, dict) or not isinstance(own.value.get("timelineItems"), dict):
        raise Fault(f"GraphQL does not show the events of item {ask.number}", heavy=True)
    of_item = graphql.members(own)
    listed = of_item["timelineItems"]
    more = by_number.following(listed.value, after=ask.after, what=f"item {ask.number}")
    number, repository = (own.value.get(name) for name in ("number", "repository"))
    if number != ask.number or text_in(repository, "nameWithOwner") is None:
        raise Fault(f"GraphQL does not say that it shows item {ask.number}", heavy=True)
    nodes = graphql.elements(graphql.members(listed)["nodes"])
    if not all(isinstance(node.value, dict) for node in nodes):
        raise Fault(f"GraphQL shows something else than the events of item {ask.number}", heavy=True)
    return Shown([_item(ask.number, of_item, node) for node in nodes], more)


def _item(number: int, of_item: dict[str, Own], node: Own) -> Item:
    """Raises UnknownIds: a wrong id would double the event, and so would one that is made up."""
    payload = b'{"number": %b, "repository": %b, "node": %b}' % (
        of_item["number"].characters, of_item["repository"].characters, node.characters,
    )  # fmt: skip
    event_id = timeline.id_in({"node": node.value})
    if event_id is None:
        raise UnknownIds(f"the id {str(node.value.get('id'))[:100]!r} of an event of item {number} says no number")
    moment = timestamps.normalise(node.value.get("createdAt")) or timestamps.EPOCH
    return Item(ITEM_TYPE, event_id, number, moment, payload, hashlib.sha256(payload).hexdigest())


def _fragments(asks: Sequence[Ask]) -> str:
    return timeline.fragments(with_first=any(ask.after is None for ask in asks))


FORM = Form(name=f"Events{timeline.QUERY_VERSION}", field=_field, fragments=_fragments, read=_shown)


def _rest_item(number: int, element: Element) -> Item:
    """An event does not say there of which item it is."""
    payload = b'{"number": %d, "event": %b}' % (number, element.payload)
    moment, sha256 = element.updated_at or timestamps.EPOCH, hashlib.sha256(payload).hexdigest()
    return Item(ITEM_TYPE, element.item_id, number, moment, payload, sha256)


_EVENT = Shape(time_in=("created_at",))


def ids_by_event(items: Iterable[Item]) -> dict[str, set[int]]:
    """The ids of events that were shown by either, those of each kind."""
    ids: dict[str, set[int]] = collections.defaultdict(set)
    for item in items:
        payload = json.loads(item.payload)
        ids[timeline.kind_of(payload)].add(item.item_id)
    return ids
