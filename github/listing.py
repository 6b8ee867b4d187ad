"""A list of GitHub's to its last page, for who wants all of it at once: what stands below an item, an organisation."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Mapping, TypeVar

from foundation.errors import Outage
from github.api import GitHub
from github.spots import PAGE_SIZE

T = TypeVar("T")

EMPTY_ANSWERS = 3  # so many in a row say that there is nothing
ODD_PAGES = 10  # so many pages in a row without anything that was not seen before, and the list does not end


def all_pages(
    api: GitHub,
    url: str,
    *,
    parse: Callable[[str], list[Any]],
    usable: Callable[[list[Any]], Mapping[int, T]],
    on_request: Callable[[int], None] = lambda status: None,
    retry_refusals: bool = False,
    may_be_empty: bool = False,
) -> list[T]:
    """All entries, as `usable` makes them of a page's, by their ids. `url` has a query already.

    Neither an empty answer (but where a list `may_be_empty`) nor a full page without `next` says alone that it ends
    there. Raises what GitHub.get raises.
    """
    found: dict[int, T] = {}
    led_nowhere = 0
    for number in itertools.count(1):
        page = url if number == 1 else f"{url}&page={number}"
        for _ in range(1 if number == 1 and may_be_empty else EMPTY_ANSWERS):
            answer = api.get(page, parse=parse, on_request=on_request, retry_refusals=retry_refusals)
            if answer.body:
                break
        shown = usable(answer.body)
        led_nowhere = 0 if shown.keys() - found.keys() else led_nowhere + 1
        found.update(shown)
        if answer.next_url is None and len(answer.body) < PAGE_SIZE:
            break
        if led_nowhere == ODD_PAGES:
            raise Outage(f"GitHub's list {page} shows nothing new, and does not end; run again later")
    return list(found.values())
