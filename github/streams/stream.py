"""What is to be known of a stream: all that tells one from another, in one place. Pure."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

from foundation.records import Row
from github.pages import ITEM, Element, Shape

# What a scan has to do so that it is complete (fetcher.py has the class for each).
KEYSET, PAGES, EVENTS, WHOLE, WORK = "keyset", "pages", "events", "whole", "work"


class Kind(NamedTuple):
    """A type of items. `item_type`: what the queue calls them; `folder`: where the archive keeps them.

    `rows(repo, payload)`: what the tables say of one; raises ExtractionError.
    `is_known_by_id`: it is what it was, although GitHub shows it in other bytes each time (an event shows the present
    state of its issue). The queue takes it once, and its key ends with its id in place of the hash: `id_in` a payload.
    `path` and `query`: where the list of this type is, in a stream of several lists.
    """

    item_type: str
    folder: str
    rows: Callable[[str, Mapping[str, Any]], Sequence[Row]]
    is_known_by_id: bool = False
    id_in: Callable[[Mapping[str, Any]], Any] = lambda payload: payload.get("id")
    path: str = ""
    query: Mapping[str, str] = {}


class Stream(NamedTuple):
    """One of the lists that GitHub has of a repository.

    `name`: in `--streams` and in the database; `path`: in GitHub's address of the list, `query`: what that asks for
    besides. `kinds`: of what types its items are. `shape`: where an element has its number and its time.
    `scan`: KEYSET for a list that can begin at a time, and is walked oldest first by it; PAGES for one that is walked
    newest first, by pages; EVENTS for one whose elements never change, and whose end GitHub may not show; WHOLE for
    lists that are read whole; WORK where nothing is listed, and what another stream noted is asked for.
    `title`: GitHub's word for the feature; `permissions`: for the rights to read it that a token needs.
    `switch`: the field of a repository's description that says whether the feature is on.
    `is_missing_when_off`: GitHub answers 404, as for a wrong name, where the feature is switched off.
    `holds(element)`: is it one of this stream? `needs`: the streams without which it brings nothing, and which are
    read before it. `notes_work`: each new version of an item goes on the work list of those that need this one.
    """

    name: str
    path: str
    kinds: tuple[Kind, ...]
    scan: str
    title: str
    permissions: tuple[str, ...]
    switch: str
    is_missing_when_off: bool
    query: Mapping[str, str] = {}
    shape: Shape = ITEM
    holds: Callable[[Element], bool] = lambda element: True
    needs: tuple[str, ...] = ()
    notes_work: bool = False
