"""Where a walk through a list stands: which page to ask for next, and whether what comes goes on from there. Pure.

GitHub's pages are cut by number: an item that leaves the list, or moves within it, shifts all that stand behind it.
Pages that overlap by an item show whether that happened between two answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from github.pages import Element

PAGE_SIZE = 100  # GitHub's maximum: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
SEEN = 3 * PAGE_SIZE  # of the items that were read last: enough to step back among those of one second
NO_HORIZON = "9999-12-31T23:59:59Z"


class Spot(NamedTuple):
    """A place in a list: behind its first `offset` items, counted among those since `since` where the list has that.

    `link` is GitHub's own link to the rest, where it counts by a cursor of its own and not by numbers.
    `last_time` and `last_seen` tell what was read: everything up to that time, and the last items (id and time shown).
    Before `not_before` stands an item that can't be had, and makes each page that holds it fail.

    `horizon`: what is not older leads nothing. An item that is updated between GitHub's selection and its answer
    stands at its old place and shows a time from far ahead.
    """

    since: str | None = None
    offset: int = 0
    link: str | None = None
    last_time: str | None = None
    last_seen: tuple[tuple[int, str], ...] = ()
    not_before: int = 0

    @classmethod
    def saved(cls, found: Any) -> Spot | None:
        """From its JSON form; None where an older version wrote something else."""
        if not isinstance(found, dict) or set(found) != set(cls._fields):
            return None
        return cls(**{**found, "last_seen": tuple((item_id, time) for item_id, time in found["last_seen"])})

    def read_up_to(self, elements: Sequence[Element], *, offset: int, horizon: str = NO_HORIZON) -> Spot:
        """The place behind a page that was read."""
        seen = [(element.item_id, element.updated_at or "") for element in elements]
        times = [time for _, time in seen if "" < time < horizon]
        return self._replace(
            offset=offset,
            link=None,
            last_time=times[-1] if times else self.last_time,
            last_seen=(*self.last_seen, *seen)[-SEEN:],
        )

    def stepped_back(self, items: int = PAGE_SIZE) -> Spot:
        """What can't be had stands behind that place again."""
        return self._replace(offset=max(0, self.offset - items), link=None, not_before=0)

    def is_continued_by(
        self, elements: Sequence[Element], *, start: int, newest_first: bool, horizon: str = NO_HORIZON
    ) -> bool:
        """Do `elements`, the first of them at `start`, go on from here, with nothing in between that was never shown?

        The first that tells anything must have been read before: an item moves only when it shows another time, and
        what stands before the last time that was read has been read. Newest first, what is not older than the horizon
        tells nothing: it may show its time too early. Oldest first, what moves goes where nothing was read yet.
        """
        if start == 0:
            return True
        for element in elements:
            time = element.updated_at
            if (element.item_id, time or "") in self.last_seen:
                return True
            if time is not None and (time < horizon or not newest_first):
                last = self.last_time
                return last is not None and (time > last if newest_first else time < last)
        return False


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


def page_at(
    offset: int, *, most: int, overlap: int, not_before: int = 0, deepest_page: int | None = None
) -> Cut | None:
    """Of the pages of up to `most` items that begin at least `overlap` before `offset`, the one that reaches furthest.

    A page begins at a multiple of its size, so that of 100 items 12 overlap on average. None begins before
    `not_before`. Where no such page reaches beyond `offset`, the best of those that begin there. None where all would
    have a higher number than `deepest_page`.
    """
    first = max(0, offset - overlap)
    cuts = [Cut(size, latest // size + 1) for size in range(1, most + 1) for latest in (first, offset)]
    shown = [cut for cut in cuts if deepest_page is None or cut.number <= deepest_page]
    leading_on = [cut for cut in shown if not_before <= cut.start and offset < cut.end]
    overlapping = [cut for cut in leading_on if cut.start <= first]
    return max(overlapping or leading_on, key=lambda cut: (cut.end, cut.size), default=None)
