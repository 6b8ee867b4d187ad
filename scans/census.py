"""What `sweep` asks GitHub for: how many items there are, which ones, and what became of one of them.

docs/ARCHITECTURE.md, "The sweep", tells why nothing is taken for gone that is only hard to see.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence
from urllib.parse import urlsplit

from foundation import timestamps
from foundation.errors import Outage
from foundation.settings import is_repo_name
from github import graphql, pages
from github.api import Answer, GitHub
from github.fields import as_count, is_integer
from github.pages import Element, PageError
from github.refusals import Moved, NotReadable
from github.spots import PAGE_SIZE

REPOSITORIES_AT_ONCE = 50  # of two counts each: a point for all of them
PAGES_WITHOUT_END = 100_000
# kind -> GraphQL's list of it, and what an element shows besides
_LISTS = {
    "issue": ("issues", "comments { totalCount }"),
    "pull_request": ("pullRequests", "comments { totalCount } reviews { totalCount }"),
}
_NEWEST = "first: 1, orderBy: {field: CREATED_AT, direction: DESC}"
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


class Totals(NamedTuple):
    """A repository, how many items it has by kind, and the number of the one that was made last (None: there is none).
    Both are empty where only the list can tell."""

    repo_id: int
    repo: str
    counts: Mapping[str, int]
    newest: Mapping[str, int | None]


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
    """What GitHub answers of one item: `reason` None: it is there, and `element` is what is shown."""

    reason: str | None
    moved_to: str | None = None
    element: Element | None = None


def count(api: GitHub, repos: Sequence[str], on_request: Callable[[int], None]) -> list[Totals | None]:
    """Of up to REPOSITORIES_AT_ONCE, in one request; None for what is not there. Raises what GitHub.query raises."""
    parts = []
    for place, repo in enumerate(repos):
        owner, name = map(graphql.quoted, repo.split("/"))
        counts = " ".join(f"{field}({_NEWEST}) {{ totalCount nodes {{ number }} }}" for field, _ in _LISTS.values())
        parts.append(f"  r{place}: repository(owner: {owner}, name: {name}) {{ databaseId nameWithOwner {counts} }}")
    text = "query Totals {\n" + "\n".join(parts) + "\n}\n"
    found = api.query(text, parse=graphql.data, on_request=on_request).body
    return [_totals(found.get(f"r{place}")) for place in range(len(repos))]


def _totals(shown: Any) -> Totals | None:
    if not isinstance(shown, dict):
        return None
    counts = {kind: _total(shown.get(field)) for kind, (field, _) in _LISTS.items()}
    newest = {kind: _newest(shown[field]) for kind, (field, _) in _LISTS.items()}
    return Totals(_identity(shown), str(shown.get("nameWithOwner")), counts, newest)


def _newest(connection: Mapping[str, Any]) -> int | None:
    nodes = connection.get("nodes")
    node = nodes[0] if isinstance(nodes, list) and nodes else None
    return as_count(node.get("number")) if isinstance(node, dict) else None


def describe(api: GitHub, place: str, on_request: Callable[[int], None]) -> Totals:
    """A repository without counts. Raises what GitHub.get raises."""
    shown = api.get(place, parse=json.loads, on_request=on_request, retry_refusals=True).body
    name = shown.get("full_name") if isinstance(shown, dict) else None
    if not isinstance(name, str) or not is_repo_name(name) or not is_integer(shown.get("id")):
        raise Outage(f"GitHub's answer on {place} describes no repository; run again later")
    return Totals(shown["id"], name, {}, {})


class Reader:
    """Of one repository, by its id: whatever its name means meanwhile. Raises what GitHub raises."""

    def __init__(self, api: GitHub, of: Totals, on_request: Callable[[int], None]) -> None:
        self._api = api
        self._of = of
        self._on_request = on_request
        self._place = f"/repositories/{of.repo_id}"
        self._names: dict[str, str] = {}

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
            field, besides = _LISTS[kind]
            after, seen = "null", 0
            while after:
                order = "orderBy: {field: CREATED_AT, direction: ASC}"
                text = (
                    f"query Census {{\n  repository(owner: {owner}, name: {name}) {{ databaseId\n"
                    f"    {field}(first: {PAGE_SIZE}, after: {after}, {order}) {{\n"
                    "      totalCount pageInfo { hasNextPage endCursor }\n"
                    f"      nodes {{ number fullDatabaseId updatedAt {besides} }}\n    }}\n  }}\n}}\n"
                )
                answer = self._api.query(text, parse=graphql.data, on_request=self._on_request)
                shown = answer.body.get("repository")
                if not isinstance(shown, dict) or _identity(shown) != self._of.repo_id:
                    raise Outage(f"{self._of.repo} is another repository than a moment ago; run again")
                some = _nodes(kind, shown.get(field))
                seen += len(some)
                yield answer.date, some
                after = _after(shown[field])
            if seen < _total(shown[field]):
                raise Outage(f"GitHub's list of {self._of.repo} ends before its end; run again later")

    def _by_rest(self) -> Iterator[tuple[str | None, list[Listed]]]:
        """Issues and pull requests alike; a pull request has another id there."""
        address: str | None = f"{self._place}/issues?state=all&sort=created&direction=asc&per_page={PAGE_SIZE}"
        for _ in range(PAGES_WITHOUT_END):
            if address is None:
                return
            answer = self._api.get(address, parse=_listed_by_rest, on_request=self._on_request, retry_refusals=True)
            yield answer.date, answer.body
            address = answer.next_url

    def ids(self, kind: str, number: int) -> set[int]:
        """Of the comments or reviews of one item."""
        lists = {
            "issue_comment": "issues/{}/comments",
            "review_comment": "pulls/{}/comments",
            "review": "pulls/{}/reviews",
        }
        address: str | None = f"{self._place}/{lists[kind].format(number)}?per_page={PAGE_SIZE}"
        found: set[int] = set()
        for _ in range(PAGES_WITHOUT_END):
            if address is None:
                break
            answer: Answer = self._api.get(address, parse=pages.cut, on_request=self._on_request, retry_refusals=True)
            found.update(element.item_id for element in answer.body)
            address = answer.next_url
        return found

    def look(self, kind: str, number: int, item_id: int) -> Found:
        """At one item by itself, once. What can't be had for another reason is raised."""
        address = self._place + ADDRESSES[kind].format(number=number, id=item_id)
        try:
            answer = self._api.get(address, parse=_one, on_request=self._on_request, follows=False)
        except Moved as moved:
            target = self._target(moved.location) if moved.status == 301 else None
            if target is None:
                raise Outage(f"GitHub leads from {address} to no issue; run again later") from moved
            return Found("transferred", target)
        except NotReadable as refused:
            if refused.disabled or refused.status not in (404, 410):
                raise
            return Found("deleted" if refused.status == 410 else "missing")
        return Found(None, element=answer.body)

    def is_there(self) -> bool:
        """Is the repository itself still to be seen, and the same one?"""
        try:
            return describe(self._api, self._place, self._on_request).repo_id == self._of.repo_id
        except NotReadable:
            return False

    def _target(self, location: str) -> str | None:
        """`OWNER/NAME#NUMBER`, or `repositories/ID#NUMBER` of a repository that is not to be seen: read out of the
        address alone, which nobody goes to.
        """
        found = _TARGET.match(urlsplit(location).path) if self._api.is_own_origin(location) else None
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


def _identity(shown: Mapping[str, Any]) -> int:
    if not is_integer(shown.get("databaseId")):
        raise Outage("GitHub's GraphQL does not say which repository it shows; run again later")
    return int(shown["databaseId"])


def _total(connection: Any) -> int:
    total = as_count(connection.get("totalCount")) if isinstance(connection, dict) else None
    if total is None:
        raise Outage("GitHub's GraphQL counts nothing where it was asked to; run again later")
    return total


def _nodes(kind: str, connection: Any) -> list[Listed]:
    nodes = connection.get("nodes") if isinstance(connection, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise Outage("GitHub's GraphQL shows no list where it was asked for one; run again later")
    found = []
    for node in nodes:
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
