"""What `sweep` asks GitHub for of one repository: which items there are, and what became of one of them.

docs/ARCHITECTURE.md, "The sweep", tells why nothing is taken for gone that is only hard to see.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence
from urllib.parse import urlsplit

from foundation import timestamps
from foundation.errors import Outage
from foundation.settings import is_repo_name
from github import graphql, pages
from github.api import GitHub
from github.fields import as_count
from github.listing import all_pages
from github.pages import Element, PageError
from github.refusals import Moved, NotReadable
from github.spots import PAGE_SIZE
from scans.totals import LISTS, Totals, describe, identity

log = logging.getLogger("pipeline.sweep")

UNCLEAR = "unclear"  # no reason, but an answer that tells nothing
# What GraphQL's lists show of each element besides
_BESIDES = {"issue": "comments { totalCount }", "pull_request": "comments { totalCount } reviews { totalCount }"}
# Where GitHub leads from an issue that was transferred: by name, or by the repository's id as its own links have it.
_TARGET = re.compile(
    r"(?:/api/v3)?/(?:repos/(?P<repo>[^/]+/[^/]+)|repositories/(?P<id>[1-9]\d{0,17}))/issues/(?P<number>[1-9]\d{0,17})\Z",
    re.ASCII,
)
ADDRESSES = {
    "issue": "/issues/{number}",
    "pull_request": "/pulls/{number}",
    "issue_comment": "/issues/comments/{id}",
    "review_comment": "/pulls/comments/{id}",
    "review": "/pulls/{number}/reviews/{id}",
}


class Listed(NamedTuple):
    """An item as a list shows it. `item_id` None: the list shows another one. Counts are None where it has none."""

    kind: str
    number: int
    item_id: int | None
    updated_at: str
    comments: int | None = None
    reviews: int | None = None


class Census(NamedTuple):
    """All items by their numbers, and GitHub's time when it began to show them."""

    items: Mapping[int, Listed]
    seen_at: str | None


class Found(NamedTuple):
    """What GitHub answers of one item: `reason` None: it is there, and `element` is what is shown; else why it is gone,
    or UNCLEAR."""

    reason: str | None
    moved_to: str | None = None
    element: Element | None = None


class Reader:
    """Of one repository, by its id: whatever its name means meanwhile. Raises what GitHub raises."""

    def __init__(self, api: GitHub, of: Totals, on_request: Callable[[int], None]) -> None:
        self._api = api
        self._of = of
        self._on_request = on_request
        self._place = f"/repositories/{of.repo_id}"
        self._names = {str(of.repo_id): of.repo}

    def census(self, kinds: Sequence[str], *, by_graphql: bool) -> Census:
        """Every item of these kinds, ordered by creation: nothing moves while it is read."""
        items: dict[int, Listed] = {}
        seen_at: str | None = None
        for date, some in self._by_graphql(kinds) if by_graphql else self._by_rest():
            seen_at = seen_at or _moment(date)
            items.update((listed.number, listed) for listed in some)
        return Census(items, seen_at)

    def _by_graphql(self, kinds: Sequence[str]) -> Iterator[tuple[str | None, list[Listed]]]:
        owner, name = map(graphql.quoted, self._of.repo.split("/"))
        for kind in kinds:
            field, besides = LISTS[kind], _BESIDES[kind]
            after = "null"
            while after:
                order = "orderBy: {field: CREATED_AT, direction: ASC}"
                text = (
                    f"query Census {{\n  repository(owner: {owner}, name: {name}) {{ databaseId\n"
                    f"    {field}(first: {PAGE_SIZE}, after: {after}, {order}) {{\n"
                    "      pageInfo { hasNextPage endCursor }\n"
                    f"      nodes {{ number fullDatabaseId updatedAt {besides} }}\n    }}\n  }}\n}}\n"
                )
                answer = self._api.query(text, parse=graphql.data, on_request=self._on_request)
                shown = answer.body.get("repository")
                if not isinstance(shown, dict) or identity(shown) != self._of.repo_id:
                    raise Outage(f"{self._of.repo} is another repository than a moment ago; run again")
                yield answer.date, _nodes(kind, shown.get(field))
                before, after = after, _after(shown[field])
                if after == before:
                    raise Outage(f"GitHub's list of {self._of.repo} leads in a circle; run again later")

    def _by_rest(self) -> Iterator[tuple[str | None, list[Listed]]]:
        """Issues and pull requests alike; a pull request has another id there."""
        address: str | None = f"{self._place}/issues?state=all&sort=created&direction=asc&per_page={PAGE_SIZE}"
        asked: set[str] = set()
        while address is not None:
            if address in asked:
                raise Outage(f"GitHub's list of {self._of.repo} leads in a circle; run again later")
            asked.add(address)
            answer = self._api.get(address, parse=_listed_by_rest, on_request=self._on_request, retry_refusals=True)
            yield answer.date, answer.body
            address = answer.next_url

    def ids(self, kind: str, number: int) -> set[int]:
        """Of the comments or reviews of one item. None at all is believed: each is looked at by itself then."""
        lists = {
            "issue_comment": "issues/{}/comments",
            "review_comment": "pulls/{}/comments",
            "review": "pulls/{}/reviews",
        }
        return set(
            all_pages(
                self._api, f"{self._place}/{lists[kind].format(number)}?per_page={PAGE_SIZE}", parse=pages.cut,
                usable=lambda shown: {element.item_id: element.item_id for element in shown},
                on_request=self._on_request, retry_refusals=True, may_be_empty=True,
            )
        )  # fmt: skip

    def look(self, kind: str, number: int, item_id: int) -> Found:
        """At one item by itself, once. What can't be had for another reason is raised."""
        address = self._place + ADDRESSES[kind].format(number=number, id=item_id)
        try:
            answer = self._api.get(address, parse=_one, on_request=self._on_request, follows=False)
        except Moved as moved:
            return self._moved(address, moved, here=number)
        except NotReadable as refused:
            if refused.disabled or refused.status not in (404, 410):
                raise
            return Found("deleted" if refused.status == 410 else "missing")
        is_issue = kind != "issue" or not answer.body.is_pull_request
        return Found(None if is_issue else "converted", element=answer.body)

    def repository(self) -> Totals | None:
        """The repository itself, without counts; None where it is not to be seen any more, or is another one."""
        try:
            found = describe(self._api, self._place, self._on_request)
        except NotReadable:
            return None
        return found if found.repo_id == self._of.repo_id else None

    def _moved(self, address: str, moved: Moved, *, here: int) -> Found:
        """What leads to itself (an empty Location: golang/build #26) or to no issue may do so for good."""
        if not self._api.is_own_origin(moved.location):
            raise Outage(f"GitHub leads from {address} to another origin, which is not followed; run again later")
        target = self._target(moved.location) if moved.status == 301 else None
        if target in (None, f"{self._of.repo}#{here}"):
            log.warning("GitHub leads from %s to no other issue", address)
            return Found(UNCLEAR)
        return Found("transferred", target)

    def _target(self, location: str) -> str | None:
        """`OWNER/NAME#NUMBER`, or `repositories/ID#NUMBER` of a repository that is not to be seen: read out of the
        address alone, which nobody goes to.
        """
        found = _TARGET.match(urlsplit(location).path)
        if found is None or (found["repo"] and not is_repo_name(found["repo"])):
            return None
        return f"{found['repo'] or self._name(found['id'])}#{found['number']}"

    def _name(self, repo_id: str) -> str:
        if repo_id not in self._names:
            place = f"/repositories/{repo_id}"
            try:
                self._names[repo_id] = describe(self._api, place, self._on_request).repo
            except NotReadable:
                self._names[repo_id] = place[1:]
        return self._names[repo_id]


def _nodes(kind: str, connection: Any) -> list[Listed]:
    """Without those that are null: GitHub has something there, and does not show what."""
    nodes = connection.get("nodes") if isinstance(connection, dict) else None
    if not isinstance(nodes, list) or not all(node is None or isinstance(node, dict) for node in nodes):
        raise Outage("GitHub's GraphQL shows no list where it was asked for one; run again later")
    found = []
    for node in filter(None, nodes):
        number, updated_at = as_count(node.get("number")), timestamps.normalise(node.get("updatedAt"))
        if number is None or updated_at is None:
            raise Outage("GitHub's GraphQL lists an item without number or time; run again later")
        item_id = str(node.get("fullDatabaseId"))
        found.append(
            Listed(
                kind, number, int(item_id) if re.match(r"\d{1,18}\Z", item_id, re.ASCII) else None, updated_at,
                _count_in(node.get("comments")), _count_in(node.get("reviews")),
            )
        )  # fmt: skip
    return found


def _count_in(connection: Any) -> int | None:
    return as_count(connection.get("totalCount")) if isinstance(connection, dict) else None


def _after(connection: Mapping[str, Any]) -> str:
    """Where the next page begins, as a query has it; nothing behind the last one."""
    page = connection.get("pageInfo")
    if not isinstance(page, dict) or not page.get("hasNextPage"):
        return ""
    return graphql.quoted(str(page.get("endCursor")))


def _listed_by_rest(text: str) -> list[Listed]:
    entries = json.loads(text)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PageError("no list of issues")
    found = []
    for entry in entries:
        number, updated_at = as_count(entry.get("number")), timestamps.normalise(entry.get("updated_at"))
        if number is None or updated_at is None:
            raise PageError("an issue without number or time")
        is_pull = "pull_request" in entry
        item_id = None if is_pull else as_count(entry.get("id"))
        kind = "pull_request" if is_pull else "issue"
        found.append(Listed(kind, number, item_id, updated_at, as_count(entry.get("comments"))))
    return found


def _one(text: str) -> Element:
    elements = pages.cut(f"[{text}]")
    if len(elements) != 1:
        raise PageError("not one item")
    return elements[0]


def _moment(date: str | None) -> str | None:
    seconds = timestamps.from_http_date(date)
    return None if seconds is None else timestamps.from_epoch(seconds)
