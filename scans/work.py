"""The scan of a work list: what another stream noted is asked for until it is shown no older than it was noted.

Where nothing was noted, nothing is asked for.
"""

from __future__ import annotations

import collections
from typing import Any, Iterator, NamedTuple, Sequence

from foundation.records import Gap, Item
from github.by_number import Ask, Batch, Shown
from github.pull_reader import PullReader
from github.refusals import HeavyAnswer, NotReadable
from scans.halving import BROKEN_IN_A_ROW, Halving
from scans.scan import Page, Scan


class _Brought(NamedTuple):
    """What came of some of the list: all parts of what was shown, what is not there, what could not be had."""

    shown: dict[int, list[Item]]
    missing: list[int]
    broken: list[int]


class WorkScan(Scan):
    """Of pull requests by themselves: GraphQL where it can be asked, REST else."""

    def __init__(self, **asked: Any) -> None:
        super().__init__(**asked)
        self._reader = PullReader(api=self._api, on_request=self._on_request)
        self._has_graphql = not self._api.login.is_anonymous
        self._many = Halving(self._ask_graphql, self._look_for_an_outage)
        self._broken_in_a_row = 0  # by REST, too
        self._gave_up: HeavyAnswer | None = None

    def pages(self) -> Iterator[Page]:
        self._claim(self._state.repo_id)
        covered_since = min(self._since, self._state.covered_since or self._since)
        listed = {number: updated_at for number, updated_at in self._work if updated_at >= covered_since}
        gaps = tuple(gap for gap in self._state.gaps if gap.offset in listed)
        begun = self._state._replace(covered_since=covered_since, gaps=gaps, scan=self._state.scan if listed else None)
        if begun != self._state:  # a later run wants no less, whatever becomes of this one
            self._state = begun
            yield Page(self._repo, self._was, [], begun)
        yield from self._ask_for(listed, broken={gap.offset for gap in gaps})

    def _ask_for(self, listed: dict[int, str], *, broken: set[int]) -> Iterator[Page]:
        """What could not be had before comes last, each by itself."""
        left = [*sorted(set(listed) - broken), *sorted(broken)]
        while left:
            some = [number for number in left[: self._many.at_once] if number not in broken] or left[:1]
            left = left[len(some) :]
            yield self._page(self._bring(some), listed, is_last=not left)
            if self._gave_up is not None and not broken.intersection(some):
                raise self._gave_up  # what it could not have is in the state: the next run begins with others

    def _page(self, brought: _Brought, listed: dict[int, str], *, is_last: bool) -> Page:
        """Done is what was shown; of several parts, as of the oldest."""
        settled = [(number, min(item.updated_at for item in parts)) for number, parts in brought.shown.items()]
        settled += [(number, listed[number]) for number in brought.missing]
        had = {number for number, _ in settled}
        gaps = [gap for gap in self._state.gaps if gap.offset not in had]
        known = {gap.offset for gap in gaps}
        gaps += [
            Gap(None, number, 1, listed[number], listed[number]) for number in brought.broken if number not in known
        ]
        cursor = max([self._state.cursor or "", *(updated_at for number, updated_at in settled)])
        scan = (
            None if is_last else {"covered_since": self._state.covered_since}
        )  # only that it goes on: the list says how
        self._state = self._state._replace(gaps=tuple(gaps), cursor=cursor or None, scan=scan)
        items = [item for parts in brought.shown.values() for item in parts]
        return Page(self._repo, self._was, items, self._state, settled=settled)

    def _bring(self, numbers: Sequence[int]) -> _Brought:
        if not self._has_graphql:
            return self._by_rest(numbers)
        try:
            brought = self._by_graphql(numbers)
        except NotReadable:  # an old Enterprise Server, a token that may read by REST alone
            self._has_graphql = False
            return self._by_rest(numbers)
        # What GraphQL can't show even alone, REST may.
        alone = self._by_rest(brought.broken)
        return _Brought({**brought.shown, **alone.shown}, [*brought.missing, *alone.missing], alone.broken)

    def _by_graphql(self, numbers: Sequence[int]) -> _Brought:
        """All parts of all of them; a part of one is not the whole."""
        brought = _Brought(collections.defaultdict(list), [], [])
        for batch in self._many.answers([Ask(number) for number in numbers]):
            self._identify_as(batch)
            self._many.ask_for(batch.further)
            for number, shown in batch.shown.items():
                brought.shown[number].extend(shown.items)
            brought.missing.extend(batch.missing)
            for number in batch.missing:  # gone since its last part
                brought.shown.pop(number, None)
        self._has_graphql = self._many.gave_up is None  # else the rest of this run goes by REST
        brought.broken.extend([*self._many.broken, *self._many.left])
        for number in brought.broken:
            brought.shown.pop(number, None)
        return brought

    def _ask_graphql(self, asks: Sequence[Ask], attempts: int) -> Batch:
        return self._reader.many(self._repo, asks, attempts=attempts)

    def _by_rest(self, numbers: Sequence[int]) -> _Brought:
        brought = _Brought({}, [], [])
        for number in numbers:
            try:
                shown: Shown = self._reader.one(self._own_place(), number)
            except NotReadable as refused:
                if refused.status not in (404, 410):
                    raise
                self._is_there()
                brought.missing.append(number)
                continue
            except HeavyAnswer as heavy:
                self._look_for_an_outage(heavy)
                brought.broken.append(number)
                self._broken_in_a_row += 1
                if self._broken_in_a_row >= BROKEN_IN_A_ROW:
                    self._gave_up = heavy
                    break
                continue
            self._broken_in_a_row = 0
            brought.shown[number] = shown.items
        return brought
