"""The whole page, from one look at the database."""

from __future__ import annotations

from typing import Any, Callable, Mapping

import db
from report import conversations, freshness, items, page, sections, streams, words
from report.items import Items
from report.page import Page
from report.periods import Scope

REPOS_NAMED = 4


def html(
    conn: db.Connection, scope: Scope, status: Mapping[str, Any], *, clean: Callable[[str], str], generator: str
) -> bytes:
    """`status`: what the command of that name shows. `clean`: leaves out of a line what must not be shown."""
    with db.snapshot(conn):
        scope = items.narrowed(conn, scope)
        counted = items.read(conn, scope)
        waiting = items.waiting_longest(conn, scope)
        further = streams.read(conn, scope)
    told = freshness.told(status, scope.repos, scope.now, clean=clean)
    if counted.total:
        shown = [*sections.all_of(counted, waiting, scope), *conversations.all_of(further, scope)]
        numbers = sections.numbers(counted)
    else:
        shown, numbers = [], []
    title, about = _headed(scope, counted)
    made = Page(title, about, numbers, told, shown, _remarks(scope, counted, generator))
    return page.html(made, generator=generator)


def _headed(scope: Scope, counted: Items) -> tuple[str, str]:
    repos = [words.title(repo, 80) for repo in scope.repos or [each.repo for each in counted.repos]]
    if not counted.total:
        of = f" of {words.listed(repos)}" if repos else ""
        said = f"No issue or pull request{of} is in the tables yet: `ingest` reads them, and `worker` fills the tables."
        return "Issues and pull requests", said
    whose = repos[0] if len(repos) == 1 else words.count(len(repos), "repository", "repositories")
    of = "" if len(repos) == 1 or len(repos) > REPOS_NAMED else f": {words.listed(repos, REPOS_NAMED)}"
    said = f"{words.day(scope.since)} to {words.day(scope.now)}, of {counted.total:,} items in all{of}"
    return f"Issues and pull requests of {whose}", said


def _remarks(scope: Scope, counted: Items, generator: str) -> list[str]:
    found = [
        "All times are UTC, and weeks begin on Monday. Half, three of four, nine of ten: the median, the 75th and the "
        "90th percentile. Times that nobody works count, too.",
        f"Made on {words.moment(scope.now)} by {generator}, from the database alone; "
        "--since and --repo show another part of it.",
    ]
    if counted.gone:
        found.append(f"Left out: {words.count(counted.gone, 'item that is', 'items that are')} gone from GitHub.")
    return found
