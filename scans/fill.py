"""The scan of events beyond the end of their list: of each item GitHub shows all of them.

docs/ARCHITECTURE.md, "Older events", tells why these are the same events, and why none is doubled.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, Sequence

from foundation import timestamps
from foundation.errors import PipelineError
from foundation.records import OF_ITEM, Gap, Item
from github.by_number import Ask, Batch
from github.refusals import HeavyAnswer, NotReadable
from github.timeline_reader import TimelineReader, UnknownIds, ids_by_event
from scans.events import EventScan
from scans.halving import AT_ONCE, BROKEN_IN_A_ROW, Halving
from scans.lists import LONG_WALK
from scans.scan import OVERLAP_SECONDS, Page


class NotFilled(PipelineError):
    """What the list does not reach can't be had in another way either; the message says why."""


class FilledEventScan(EventScan):
    """First the list, then, where it was cut off, item by item: all numbers from 1 to that of the newest item.

    That asks for a few in vain (what is gone, and discussions, which are numbered alike), and needs no other stream.
    GraphQL is asked for many at once; REST, for one, where GraphQL can't be asked, or shows no ids like REST's.
    """

    def __init__(self, **asked: Any) -> None:
        super().__init__(**asked)
        self._timelines = TimelineReader(api=self._api, on_request=self._on_request)
        self._many = Halving(self._ask_graphql, self._look_for_an_outage)
        self._has_graphql = True
        self._is_compared = False
        self._broken_in_a_row = 0  # by REST, too
        self._gave_up: HeavyAnswer | None = None

    def pages(self) -> Iterator[Page]:
        yield from super().pages()
        cut_off = [gap for gap in self._state.gaps if gap.is_truncation]
        broken = [gap for gap in self._state.gaps if gap.since == OF_ITEM]
        if not cut_off and not broken:
            return
        if self._api.login.is_anonymous:
            raise NotFilled("that takes a token")
        try:
            for gap in cut_off:
                yield from self._fill(gap)
            for gap in broken:
                if self._gave_up is None:
                    yield self._once_more(gap)
        except NotReadable as refused:
            raise NotFilled(str(refused)) from refused

    def _fill(self, gap: Gap) -> Iterator[Page]:
        """Each answer is committed together with how far it has come."""
        if not gap.fill_to:
            newest = self._timelines.newest_number(self._own_place())
            gap = self._replaced(gap, gap._replace(fill_to=newest))
        left = gap.fill_to - gap.filled_to
        if left >= LONG_WALK * AT_ONCE:
            self._on_long_walk(-(-left // AT_ONCE), items=left)
        while not gap.is_filled:
            for advanced, items in self._by_graphql(gap) if self._has_graphql else [self._by_rest(gap)]:
                gap = advanced
                yield Page(self._repo, self._was, items, self._state)
            lost = [other for other in self._state.gaps if other.offset in self._many.broken and other.since == OF_ITEM]
            self._many.broken = []
            for other in lost:  # what GraphQL can't show even alone, REST may
                yield self._once_more(other)
            if self._gave_up is not None:
                raise self._gave_up  # what it could not have is in the state: the next run begins with others

    # By GraphQL.

    def _by_graphql(self, gap: Gap) -> Iterator[tuple[Gap, list[Item]]]:
        """Some of what is next; nothing, where only REST can say what it is."""
        asks = _following(gap, self._many.at_once)
        first = {ask.number for ask in asks if ask.after is None}
        try:
            for batch in self._many.answers(asks):
                self._identify_as(batch)
                self._compare({number: shown.items for number, shown in batch.shown.items() if number in first})
                items = [item for shown in batch.shown.values() for item in shown.items]
                gap = self._advanced(gap, asks, batch)
                yield gap, _between(gap, items)
        except (NotReadable, UnknownIds):
            self._has_graphql = False
            return
        if self._many.broken:
            gap = self._advanced(gap, asks)
            yield gap, []
        self._has_graphql = self._many.gave_up is None

    def _advanced(self, gap: Gap, asks: Sequence[Ask], batch: Batch | None = None) -> Gap:
        """Up to the first that is still to be asked for; what can't be had is a gap of its own."""
        more = _more(gap)
        if batch is not None:
            more = {number: after for number, after in more.items() if number not in {*batch.shown, *batch.missing}}
            more.update((ask.number, str(ask.after)) for ask in batch.further)
        filled_to = min([*self._many.left, asks[-1].number + 1]) - 1
        return self._set(gap, filled_to, more, lost=self._many.broken)

    def _ask_graphql(self, asks: Sequence[Ask], attempts: int) -> Batch:
        return self._timelines.many(self._repo, asks, attempts=attempts)

    def _compare(self, shown: Mapping[int, list[Item]]) -> None:
        """Once a run: does REST know one item's events, of each kind, by the ids that are read out of GraphQL's?

        `shown`: of some items, of which the first part was asked for.
        """
        with_events = [number for number, items in shown.items() if items and not self._is_compared]
        for number in sorted(with_events, key=lambda number: len(shown[number]), reverse=True)[:BROKEN_IN_A_ROW]:
            try:
                ours, by_rest = ids_by_event(shown[number]), ids_by_event(self._alone(number))
            except HeavyAnswer as heavy:
                self._look_for_an_outage(heavy)
                continue
            kinds = ours.keys() & by_rest.keys()
            self._is_compared = bool(kinds) and not any(ours[kind].isdisjoint(by_rest[kind]) for kind in kinds)
            break
        if with_events and not self._is_compared:
            raise UnknownIds(f"REST does not know the events of {self._repo} by the ids that GraphQL shows")

    # By REST, one item by itself.

    def _by_rest(self, gap: Gap) -> tuple[Gap, list[Item]]:
        number = _following(gap, 1)[0].number
        try:
            items, lost = self._alone(number), []
            self._broken_in_a_row = 0
        except HeavyAnswer as heavy:
            self._note_broken(heavy)
            items, lost = [], [number]
        more = {other: after for other, after in _more(gap).items() if other != number}
        gap = self._set(gap, number, more, lost=lost)
        return gap, _between(gap, items)

    def _once_more(self, gap: Gap) -> Page:
        """What could not be had before."""
        items: list[Item] = []
        try:
            items = _between(gap, self._alone(gap.offset))
            self._replaced(gap)
            self._broken_in_a_row = 0
        except HeavyAnswer as heavy:
            self._note_broken(heavy)
        return Page(self._repo, self._was, items, self._state)

    def _note_broken(self, heavy: HeavyAnswer) -> None:
        self._look_for_an_outage(heavy)
        self._broken_in_a_row += 1
        if self._broken_in_a_row >= BROKEN_IN_A_ROW:
            self._gave_up = heavy

    def _alone(self, number: int) -> list[Item]:
        """None of what is gone."""
        try:
            return self._timelines.one(self._own_place(), number)
        except NotReadable as refused:
            if refused.status not in (404, 410):
                raise
            self._is_there()
            return []

    # Where it stands.

    def _set(self, gap: Gap, filled_to: int, more: Mapping[int, str], *, lost: Sequence[int]) -> Gap:
        more = {number: after for number, after in more.items() if number not in lost}
        filled = gap._replace(filled_to=max(filled_to, gap.filled_to), more=json.dumps(more) if more else "")
        return self._replaced(gap, filled, *(Gap(OF_ITEM, number, 1, gap.after, gap.before) for number in lost))

    def _replaced(self, old: Gap, *new: Gap) -> Gap:
        """Returns the first of the new ones; the old one, where it is gone."""
        others = [gap for gap in self._state.gaps if gap != old and gap not in new]
        self._state = self._state._replace(gaps=(*others, *new))
        return new[0] if new else old


def _more(gap: Gap) -> dict[int, str]:
    return {int(number): after for number, after in json.loads(gap.more or "{}").items()}


def _following(gap: Gap, most: int) -> list[Ask]:
    """What to ask for next: first the rest of what was begun."""
    last = min(gap.filled_to + most, gap.fill_to)
    rest = [Ask(number, after) for number, after in sorted(_more(gap).items())]
    return rest[:most] or [Ask(number) for number in range(gap.filled_to + 1, last + 1)]


def _between(gap: Gap, items: Sequence[Item]) -> list[Item]:
    """What the list did not reach; of what is near its end the queue knows by their ids which it has."""
    since = gap.after or ""
    until = timestamps.shift(gap.before, seconds=OVERLAP_SECONDS) if gap.before else "9999"
    return [item for item in items if since <= item.updated_at <= until]
