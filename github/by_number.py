"""Reads items of one repository by their numbers, many at once, by GraphQL: each is a field of one query.

What is asked for of each is its reader's business (`Form`), and what an answer that fails means scans/'s.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from foundation.records import Item
from github import graphql
from github.api import GitHub
from github.fields import is_integer
from github.graphql import Own
from github.transport import Fault


class Ask(NamedTuple):
    """An item that is wanted; `after`: what its list has behind this cursor of GitHub's."""

    number: int
    after: str | None = None


class Shown(NamedTuple):
    """What was shown of an item. `more`: the cursor behind which its list goes on."""

    items: list[Item]
    more: str | None = None


class Batch(NamedTuple):
    """What was shown of what was asked for, by number; `missing`: what GitHub says is not there."""

    repo_id: int
    repo: str
    shown: Mapping[int, Shown]
    missing: frozenset[int]

    @property
    def further(self) -> list[Ask]:
        return [Ask(number, shown.more) for number, shown in self.shown.items() if shown.more]


class Form(NamedTuple):
    """`name`: the query's, with its version. `field`: what stands in it for one item, `fragments`: for all of them,
    and none that is not used, or GitHub refuses the query.

    `read` raises Fault where something is null that GitHub does not call missing: it had no time for it.
    """

    name: str
    field: Callable[[Ask], str]
    fragments: Callable[[Sequence[Ask]], str]
    read: Callable[[Ask, Own | None], Shown]


def read(
    api: GitHub, form: Form, repo: str, asks: Sequence[Ask], *, on_request: Callable[[int], None], attempts: int
) -> Batch:
    """Raises HeavyAnswer where less may pass, NotReadable where nothing does, and what else GitHub.query raises."""
    return api.query(  # type: ignore[no-any-return]
        query(form, repo, asks), parse=functools.partial(parse, form=form, asks=asks), on_request=on_request,
        attempts=attempts,
    ).body  # fmt: skip


def query(form: Form, repo: str, asks: Sequence[Ask]) -> str:
    owner, name = (graphql.quoted(part) for part in repo.split("/"))
    fields = "\n".join(f"    {_alias(ask.number)}: {form.field(ask)}" for ask in asks)
    limits = "rateLimit { cost remaining resetAt }"
    return (
        f"query {form.name} {{\n  repository(owner: {owner}, name: {name}) {{\n"
        f"    databaseId nameWithOwner\n{fields}\n  }}\n  {limits}\n}}\n{form.fragments(asks)}"
    )


def parse(text: str, *, form: Form, asks: Sequence[Ask]) -> Batch:
    answer = graphql.cut(text, "repository")
    missing = frozenset(ask.number for ask in asks if _alias(ask.number) in answer.missing)
    shown = {
        ask.number: form.read(ask, answer.members.get(_alias(ask.number))) for ask in asks if ask.number not in missing
    }
    repo_id, name = (answer.members[key].value if key in answer.members else None for key in _OF_REPOSITORY)
    if not is_integer(repo_id) or not isinstance(name, str):
        raise Fault("GraphQL does not say which repository it shows", heavy=True)
    return Batch(int(repo_id), name, shown, missing)  # type: ignore[arg-type]


_OF_REPOSITORY = ("databaseId", "nameWithOwner")


def following(connection: Mapping[str, Any], *, after: str | None, what: str) -> str | None:
    """Where a list goes on, None at its end. Raises Fault for a list with a null in it, or that leads nowhere."""
    nodes, page = connection.get("nodes"), connection.get("pageInfo")
    page = page if isinstance(page, dict) else {}
    cursor = page.get("endCursor") if page.get("hasNextPage") else None
    leads_on = not page.get("hasNextPage") or (isinstance(cursor, str) and cursor != after)
    if not isinstance(nodes, list) or None in nodes or not leads_on:
        raise Fault(f"GraphQL does not show all of {what}", heavy=True)
    return cursor


def _alias(number: int) -> str:
    return f"p{number}"
