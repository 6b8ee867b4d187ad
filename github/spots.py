"""Where a walk through a list stands: which page to ask for next, and whether what comes goes on from there. Pure.

GitHub's pages are cut by number: an item that leaves the list, or moves within it, shifts all that stand behind it.
Pages that overlap by an item show whether that happened between two answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from github.pages import Element

PAGE_SIZE = 100  # GitHub's maximum: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
KNOWN_IDS = 3 * PAGE_SIZE  # of items that share a second: enough to step back among them


class Spot(NamedTuple):
    """A place in a list: behind its first `offset` items, counted among those since `since` where the list has that.

    `link` is GitHub's own link to the rest, where it counts by a cursor of its own and not by numbers.
    `last_time` and `last_ids` tell what was read last: everything up to that time, and which items of that time.
    Before `not_before` stands an item that can't be had, and makes each page that holds it fail.
    """

    since: str | None = None
    offset: int = 0
    link: str | None = None
    last_time: str | None = None
    last_ids: tuple[int, ...] = ()
    not_before: int = 0

    @classmethod
    def saved(cls, found: Any) -> Spot | None:
        """From its JSON form; None where an older version wrote something else."""
        if not isinstance(found, dict) or set(found) != set(cls._fields):
            return None
        return cls(**{**found, "last_ids": tuple(found["last_ids"])})

    def read_up_to(self, elements: Sequence[Element], *, offset: int) -> Spot:
        """The place behind a page that was read."""
        times = [element.updated_at for element in elements if element.updated_at is not None]
        if not times:
            return self._replace(offset=offset, link=None)
        last_ids = tuple(element.item_id for element in elements if element.updated_at == times[-1])
        if times[-1] == self.last_time:
            last_ids = (*self.last_ids, *last_ids)[-KNOWN_IDS:]
        return self._replace(offset=offset, link=None, last_time=times[-1], last_ids=last_ids)

    def stepped_back(self) -> Spot:
        return self._replace(offset=max(0, self.offset - PAGE_SIZE), link=None)

    def is_continued_by(self, elements: Sequence[Element], *, start: int, newest_first: bool) -> bool:
        """Does a page that begins at `start` go on from here, with nothing in between that was never shown?

        Its first item must be one that was read before. One that was updated meanwhile moves, and others with it; but
        what stands before the last time that was read has been read.
        """
        if start == 0 or start >= self.offset or self.last_time is None:
            return True
        first = next((element for element in elements if element.updated_at is not None), None)
        if first is None or first.updated_at is None:
            return False
        if first.updated_at == self.last_time:
            return first.item_id in self.last_ids
        return (first.updated_at > self.last_time) == newest_first


class Cut(NamedTuple):
    """A page as GitHub numbers them: `size` items each, this one beginning at `start`."""

    size: int
    number: int

    @property
    def start(self) -> int:
        return self.size * (self.number - 1)

    @property
    def end(self) -> int:
        return self.size * self.number


def page_at(offset: int, *, most: int, overlap: int, not_before: int = 0) -> Cut:
    """Of the pages of up to `most` items that begin at least `overlap` before `offset`, the one that reaches furthest.

    A page begins at a multiple of its size, so that of 100 items 12 overlap on average. None begins before
    `not_before`. Where no such page reaches beyond `offset`, the best of those that begin there.
    """
    first = max(0, offset - overlap)
    cuts = [Cut(size, latest // size + 1) for size in range(1, most + 1) for latest in (first, offset)]
    leading_on = [cut for cut in cuts if not_before <= cut.start and offset < cut.end]
    overlapping = [cut for cut in leading_on if cut.start <= first]
    return max(overlapping or leading_on, key=lambda cut: (cut.end, cut.size))
