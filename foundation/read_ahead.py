"""Generators that run in threads, a step ahead of the one who uses what they bring. Knows nothing of what that is."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import queue
import threading
from typing import Any, Callable, Generic, Iterable, Iterator, NamedTuple, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Ended(NamedTuple):
    """A source has no more values; `error` is what it raised, if it did."""

    error: BaseException | None


class _Lane(Generic[T]):
    """Sources that are worked on one after the other, so many at a time."""

    def __init__(self, sources: Iterator[Iterator[T]], threads: int) -> None:
        self.sources = sources
        self.idle = threads


class _Source(Generic[T]):
    def __init__(self, index: int, values: Iterator[T], lane: _Lane[T]) -> None:
        self.index = index
        self.values = values
        self.lane = lane
        self.room = threading.Semaphore(1)  # for one value that is not used up yet


class ReadAhead(Generic[T]):
    """Yields (index of the source, its value or Ended), each source's in its order, in the thread that iterates.

    Each of the `lanes` is asked for its next source only when one of its `threads` is free; none waits for another. The
    index counts the sources as they were begun, over all lanes. A source works on its next value while
    the last one is used, that is until the iteration goes on; no further, so that memory holds one of each and one.
    `close` ends it early: without waiting for a source that is in the middle of a value.
    """

    def __init__(self, *lanes: Iterator[Iterator[T]], threads: int) -> None:
        self._lanes = [_Lane(sources, threads) for sources in lanes]
        self._begun = itertools.count()
        self._todo: queue.SimpleQueue[_Source[T] | None] = queue.SimpleQueue()
        self._brought: queue.SimpleQueue[tuple[_Source[T], Any]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way: set[_Source[T]] = set()
        self._closed = False

    def __iter__(self) -> Iterator[tuple[int, T | Ended]]:
        while True:
            self._start()
            if not self._under_way:
                return
            source, value = self._brought.get()
            if isinstance(value, Ended):
                self._under_way.remove(source)
                source.lane.idle += 1
            yield source.index, value
            del value  # not kept in memory while waiting for the next
            source.room.release()

    def close(self) -> None:
        self._closed = True
        for source in self._under_way:
            source.room.release()
        for _ in self._threads:
            self._todo.put(None)

    def _start(self) -> None:
        for lane in self._lanes:
            while lane.idle:
                values = next(lane.sources, None)
                if values is None:
                    break
                lane.idle -= 1
                self._begin(_Source(next(self._begun), values, lane))

    def _begin(self, source: _Source[T]) -> None:
        self._under_way.add(source)
        if len(self._threads) < len(self._under_way):
            # A daemon: the process may end while it waits for an answer.
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        self._todo.put(source)

    def _work(self) -> None:
        for source in iter(self._todo.get, None):
            error: BaseException | None = None
            try:
                for value in source.values:
                    source.room.acquire()
                    if self._closed:
                        return
                    self._brought.put((source, value))
                    del value
            except BaseException as raised:  # handed to the thread that iterates
                error = raised
            self._brought.put((source, Ended(error)))


def in_order(
    pool: concurrent.futures.Executor, work: Callable[[S], T], things: Iterable[S], *, ahead: int
) -> Iterator[T]:
    """What `work` makes of each thing, in their order, with never more than `ahead` under way or waiting."""
    under_way: collections.deque[concurrent.futures.Future[T]] = collections.deque()
    try:
        for thing in things:
            under_way.append(pool.submit(work, thing))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
