"""A list of GitHub's to its last page: repositories, an App's installations. Reads no stream."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Mapping, TypeVar

from foundation.errors import Outage
from github.api import GitHub
from github.spots import PAGE_SIZE

T = TypeVar("T")

ODD_PAGES = 10  # so many pages in a row without anything that was not seen before, and the list does not end


def all_pages(
    api: GitHub, url: str, *, parse: Callable[[str], list[Any]], usable: Callable[[list[Any]], Mapping[int, T]]
) -> list[T]:
    """All entries, as `usable` makes them of a page's, by their ids. `url` has a query already.

    Neither an empty answer nor a full page without `next` says alone that a list ends there.
    """
    found: dict[int, T] = {}
    led_nowhere = 0
    for number in itertools.count(1):
        page = url if number == 1 else f"{url}&page={number}"
        answer = api.get(page, parse=parse, on_request=_ignore)
        if not answer.body:
            answer = api.get(page, parse=parse, on_request=_ignore)
        shown = usable(answer.body)
        led_nowhere = 0 if shown.keys() - found.keys() else led_nowhere + 1
        found.update(shown)
        if answer.next_url is None and len(answer.body) < PAGE_SIZE:
            break
        if led_nowhere == ODD_PAGES:
            raise Outage(f"GitHub's list {page} shows nothing new, and does not end; run again later")
    return list(found.values())


def _ignore(status: int) -> None:
    pass
