"""What is to be known of a stream: all that tells one from another, in one place. Pure."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

from github.pages import Element


class Stream(NamedTuple):
    """One of the lists that GitHub has of a repository.

    `name`: in `--only`, in the database, and in GitHub's address of the list.
    `item_type`: what the queue calls its elements; `folder`: where the archive keeps them.
    `title`: GitHub's word for the feature, and for the permission that a token needs.
    `takes_since`: the list can begin at a time, and is walked oldest first by it; else newest first, by pages.
    `switch`: the field of a repository's description that says whether the feature is on.
    `is_missing_when_off`: GitHub answers 404, as for a wrong name, where the feature is switched off.
    `holds(element)`: is it one of this stream? `row(repo, payload)`: what its table says of it; raises ExtractionError.
    """

    name: str
    item_type: str
    folder: str
    title: str
    takes_since: bool
    switch: str
    is_missing_when_off: bool
    holds: Callable[[Element], bool]
    row: Callable[[str, Mapping[str, Any]], dict[str, Any]]
