"""How many items repositories have, many at once, and what one is: all that `sweep` asks where nothing changed."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from foundation.errors import Outage
from foundation.settings import is_repo_name
from github import graphql
from github.api import GitHub
from github.fields import as_count, is_integer
from github.refusals import MAX_ATTEMPTS

REPOSITORIES_AT_ONCE = 50  # of two counts each: a point for all of them
LISTS = {"issue": "issues", "pull_request": "pullRequests"}  # kind -> GraphQL's list of it
_NEWEST = "first: 1, orderBy: {field: CREATED_AT, direction: DESC}"
# What a repository may have switched off (REST: 404 for every pull request, augurlabs/augur #3731), by its own field
_SWITCHES = {"issue": "has_issues", "pull_request": "has_pull_requests"}


class Totals(NamedTuple):
    """A repository, how many items it has by kind, and the number of the one that was made last (None: there is none).
    Both are empty where only the list can tell. `off`: kinds that are switched off, as far as was asked for."""

    repo_id: int
    repo: str
    counts: Mapping[str, int]
    newest: Mapping[str, int | None]
    off: frozenset[str] = frozenset()


def count(
    api: GitHub, repos: Sequence[str], on_request: Callable[[int], None], *, attempts: int = MAX_ATTEMPTS
) -> list[Totals | None]:
    """Of up to REPOSITORIES_AT_ONCE, in one request; None for what is not there. Raises what GitHub.query raises."""
    parts = []
    for place, repo in enumerate(repos):
        owner, name = map(graphql.quoted, repo.split("/"))
        counts = " ".join(f"{field}({_NEWEST}) {{ totalCount nodes {{ number }} }}" for field in LISTS.values())
        parts.append(f"  r{place}: repository(owner: {owner}, name: {name}) {{ databaseId nameWithOwner {counts} }}")
    text = "query Totals {\n" + "\n".join(parts) + "\n}\n"
    found = api.query(text, parse=graphql.data, on_request=on_request, attempts=attempts).body
    return [_totals(found.get(f"r{place}")) for place in range(len(repos))]


def _totals(shown: Any) -> Totals | None:
    if not isinstance(shown, dict):
        return None
    counts = {kind: _total(shown.get(field)) for kind, field in LISTS.items()}
    newest = {kind: _newest(shown[field]) for kind, field in LISTS.items()}
    return Totals(identity(shown), str(shown.get("nameWithOwner")), counts, newest)


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
    off = frozenset(kind for kind, field in _SWITCHES.items() if shown.get(field) is False)
    return Totals(shown["id"], name, {}, {}, off)


def identity(shown: Mapping[str, Any]) -> int:
    if not is_integer(shown.get("databaseId")):
        raise Outage("GitHub's GraphQL does not say which repository it shows; run again later")
    return int(shown["databaseId"])


def _total(connection: Any) -> int:
    total = as_count(connection.get("totalCount")) if isinstance(connection, dict) else None
    if total is None:
        raise Outage("GitHub's GraphQL counts nothing where it was asked to; run again later")
    return total
