"""Asks for items by their numbers: many at once, half as many where an answer fails, down to each alone."""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

from github.by_number import Ask, Batch
from github.refusals import MAX_ATTEMPTS, HeavyAnswer

# So many take GitHub a few seconds, and with a hundred of what each of them has they cost one point; 100 time out.
AT_ONCE = 25
ATTEMPTS_AT_FEWER = 2  # of what failed at more at a time
# So many in a row that can't be had even alone are no single one's fault.
BROKEN_IN_A_ROW = 3


class Halving:
    """`ask(asks, attempts)` asks GitHub; `look_for_an_outage(error)` raises it where GitHub answers nothing else.

    `at_once`: how many to ask for next. Of what was asked for last: the numbers that are `broken`, each alone, and
    those that are `left`, in the end because `gave_up` says that asking on is of no use.
    """

    def __init__(
        self, ask: Callable[[Sequence[Ask], int], Batch], look_for_an_outage: Callable[[HeavyAnswer], None]
    ) -> None:
        self._ask = ask
        self._look_for_an_outage = look_for_an_outage
        self._failed_alone = 0  # in a row
        self._todo: list[list[Ask]] = []
        self.at_once = AT_ONCE
        self.broken: list[int] = []
        self.gave_up: HeavyAnswer | None = None

    @property
    def left(self) -> list[int]:
        return [ask.number for asks in self._todo for ask in asks]

    def ask_for(self, further: Sequence[Ask]) -> None:
        """What is to be asked for next, where an answer shows less than the whole of an item."""
        if further:
            self._todo.append(list(further))

    def answers(self, asks: Sequence[Ask]) -> Iterator[Batch]:
        """Each answer, in the order of `asks`. Raises what asking raises."""
        self._todo, self.broken = [list(asks)], []
        attempts, passed = MAX_ATTEMPTS, 0
        while self._todo and self.gave_up is None:
            some = self._todo.pop()
            try:
                batch = self._ask(some, attempts)
            except HeavyAnswer as heavy:
                if attempts == MAX_ATTEMPTS:
                    self._look_for_an_outage(heavy)
                attempts = ATTEMPTS_AT_FEWER
                self._ask_for_fewer(some, heavy)
                continue
            passed, self._failed_alone = max(passed, len(some)), 0
            yield batch
        self.at_once = min(2 * self.at_once, AT_ONCE) if attempts == MAX_ATTEMPTS else max(passed, 1)

    def _ask_for_fewer(self, asks: list[Ask], heavy: HeavyAnswer) -> None:
        half = len(asks) // 2
        if half:
            self._todo += [asks[half:], asks[:half]]
            return
        self.broken.append(asks[0].number)
        self._failed_alone += 1
        if self._failed_alone >= BROKEN_IN_A_ROW:
            self.gave_up = heavy
