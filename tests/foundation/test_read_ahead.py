import contextlib
import threading

import pytest

from foundation.read_ahead import Ended, ReadAhead


def sources(*values):
    return iter([iter(v) for v in values])


def test_each_source_comes_in_its_order_and_ends_once():
    brought = list(ReadAhead(sources("abc", "", "de"), threads=2))
    assert [value for index, value in brought if index == 0] == ["a", "b", "c", Ended(None)]
    assert [value for index, value in brought if index == 1] == [Ended(None)]
    assert [value for index, value in brought if index == 2] == ["d", "e", Ended(None)]


def test_a_source_that_fails_ends_with_its_error_and_the_others_go_on():
    def fails():
        yield 1
        raise KeyError("x")

    brought = list(ReadAhead(iter([fails(), iter([2])]), threads=1))
    assert brought[0] == (0, 1)
    assert isinstance(brought[1][1].error, KeyError)
    assert brought[2:] == [(1, 2), (1, Ended(None))]


def test_the_next_source_is_asked_for_only_when_a_thread_is_free():
    asked = []

    def lazily():
        for name in "ab":
            asked.append(name)
            yield iter([name])

    brought = iter(ReadAhead(lazily(), threads=1))
    assert next(brought) == (0, "a")
    assert asked == ["a"]
    assert list(brought) == [(0, Ended(None)), (1, "b"), (1, Ended(None))]


def test_a_source_works_on_the_next_value_while_the_last_is_used_and_no_further():
    made = [threading.Event() for _ in range(4)]

    def counting():
        for number, event in enumerate(made):
            event.set()
            yield number

    brought = iter(ReadAhead(iter([counting()]), threads=1))
    for number in range(3):
        assert next(brought) == (0, number)
        assert made[number + 1].wait(10)
        assert not any(event.is_set() for event in made[number + 2 :])


@pytest.mark.parametrize("sources_count", [1, 3])
def test_closing_ends_the_threads_without_waiting_for_values(sources_count):
    def endless():
        while True:
            yield 1

    reading = ReadAhead((endless() for _ in range(sources_count)), threads=sources_count)
    before = threading.active_count()
    with contextlib.closing(reading):
        next(iter(reading))
    for thread in reading._threads:
        thread.join(10)
    assert threading.active_count() <= before


def test_a_lane_that_waits_holds_up_no_other():
    waits = threading.Event()

    def slow():
        waits.wait(30)
        yield "late"

    brought = iter(ReadAhead(iter([slow(), iter("x")]), sources("ab", "c"), threads=1))
    assert [next(brought) for _ in range(5)] == [(1, "a"), (1, "b"), (1, Ended(None)), (2, "c"), (2, Ended(None))]
    waits.set()
    assert list(brought) == [(0, "late"), (0, Ended(None)), (3, "x"), (3, Ended(None))]
