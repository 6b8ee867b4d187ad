"""What a page leads to: the newest time that a scan sets out for, what is too new to lead anywhere, and the next place.
Pure."""

from __future__ import annotations

from foundation import timestamps
from github.api import Answer
from github.page_reader import Read
from github.spots import PAGE_SIZE, Spot
from scans.scan import OVERLAP_SECONDS

# Not so many items of one page are updated between GitHub's selection and its answer.
LEADING_ITEMS = 10


def behind(spot: Spot, read: Read, *, by_time: bool, horizon: str, target: str) -> Spot:
    """Where to go on behind a page: by time at its last time that leads.

    By time what leads nothing is not read either: it may have been updated after the selection, and stand further back.
    Pages within the last minute lead as far as their last quarter agrees: never do so many change in that moment.
    """
    elements, offset = read.elements, read.end
    if by_time:
        end = read.times[-len(read.times) // 4 :]
        if len(end) >= LEADING_ITEMS and min(end) <= target:
            horizon = max(horizon, timestamps.shift(min(end), seconds=1))
        sure = [at for at, element in enumerate(elements, 1) if (element.updated_at or "") < horizon]
        offset = read.start + sure[-1] if sure else max(read.start, spot.offset)
        elements = [elements[at - 1] for at in sure]
    following = spot.read_up_to(elements, offset=offset, horizon=horizon)
    if by_time and following.last_time is not None and following.last_time > (spot.since or ""):
        return following._replace(since=following.last_time, offset=0, not_before=0)
    # GitHub's own link leads on with as many items a page: not where large pages fail. Nor from a last item that was
    # updated after the selection: it may lead on from where that went.
    if read.end - read.start == PAGE_SIZE and read.times and read.times[-1] < horizon:
        following = following._replace(link=read.opaque_next)
    return following if read.gap is None else following._replace(not_before=read.start)


def newest_at_in(head: Read, floor: str) -> str:
    """What a scan sets out for: the newest time of the head; not one from the future, while there are others."""
    present = present_of(head)
    past = [time for time in head.times if present is None or time <= present]
    return max(past or head.times, default=floor)


def horizon_of(head: Read, floor: str) -> str:
    """What is not older leads a scan nowhere: it may be updated while the scan goes on, or shown only then.

    A minute before the head, because replicas show items late; but right behind what it showed where all is older.
    """
    newest_at, present = newest_at_in(head, floor), present_of(head)
    if present is None:
        return timestamps.shift(newest_at, seconds=-OVERLAP_SECONDS)
    return min(timestamps.shift(present, seconds=-OVERLAP_SECONDS), timestamps.shift(newest_at, seconds=1))


def present_of(head: Read) -> str | None:
    present = timestamps.from_http_date(head.answer.date)
    return None if present is None else timestamps.from_epoch(present)


def not_in_the_future(moment: str, answer: Answer) -> str:
    """A cursor beyond GitHub's own present would skip items."""
    present = timestamps.from_http_date(answer.date)
    return moment if present is None else min(moment, timestamps.from_epoch(present))
