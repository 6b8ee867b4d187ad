"""What is asked for many at a time, where some of it can't be had."""

import pytest

from foundation.errors import Outage
from github.by_number import Ask, Batch
from github.refusals import MAX_ATTEMPTS, HeavyAnswer
from scans.halving import AT_ONCE, ATTEMPTS_AT_FEWER, BROKEN_IN_A_ROW, Halving


class Asked:
    """GitHub, which can't show what is `broken`, nor more than `most` at a time."""

    def __init__(self, *broken, most=AT_ONCE):
        self.broken, self.most, self.attempts, self.outages = broken, most, [], 0
        self.halving = Halving(self.ask, self.look)

    def ask(self, asks, attempts):
        self.attempts.append(attempts)
        numbers = [ask.number for ask in asks]
        if len(asks) > self.most or not set(self.broken).isdisjoint(numbers):
            raise HeavyAnswer(str(numbers))
        return Batch(1, "acme/widgets", dict.fromkeys(numbers), frozenset())

    def look(self, heavy):
        self.outages += 1

    def shown(self, first, last):
        answers = self.halving.answers([Ask(number) for number in range(first, last + 1)])
        return [number for batch in answers for number in batch.shown]


def test_all_but_what_can_not_be_had_even_alone_is_shown_in_order():
    asked = Asked(4, 9)
    assert asked.shown(1, 10) == [1, 2, 3, 5, 6, 7, 8, 10]
    assert (asked.halving.broken, asked.halving.left, asked.halving.gave_up) == ([4, 9], [], None)


def test_what_failed_is_tried_less_often_in_parts_and_asked_once_whether_it_is_an_outage():
    asked = Asked(4)
    asked.shown(1, 10)
    assert (asked.attempts[0], set(asked.attempts[1:]), asked.outages) == (MAX_ATTEMPTS, {ATTEMPTS_AT_FEWER}, 1)


def test_next_it_asks_for_as_many_as_passed_and_then_for_more_again():
    asked = Asked(most=8)
    asked.shown(1, 25)
    assert asked.halving.at_once == 7
    asked.shown(26, 32)
    assert asked.halving.at_once == 14
    asked.most = AT_ONCE
    asked.shown(33, 46)
    assert asked.halving.at_once == AT_ONCE


def test_where_some_in_a_row_fail_alone_it_gives_up_and_says_what_is_left():
    asked = Asked(*range(5, 20))
    assert asked.shown(1, 25) == [1, 2, 3, 4]
    given_up = list(range(5, 5 + BROKEN_IN_A_ROW))
    assert (asked.halving.broken, sorted(asked.halving.left)) == (given_up, list(range(given_up[-1] + 1, 26)))
    assert isinstance(asked.halving.gave_up, HeavyAnswer)


def test_what_fails_alone_with_others_that_pass_between_is_no_reason_to_give_up():
    asked = Asked(*range(1, 26, 2))
    assert (asked.shown(1, 25), asked.halving.gave_up) == (list(range(2, 25, 2)), None)


def test_an_outage_is_raised_and_nothing_else_is_asked_for():
    asked = Asked(4)

    def raise_it(heavy):
        raise Outage("GitHub is down")

    asked.halving = Halving(asked.ask, raise_it)
    with pytest.raises(Outage, match="is down"):
        asked.shown(1, 10)
    assert len(asked.attempts) == 1
