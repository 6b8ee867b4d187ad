"""Generators that run in threads, a step ahead of the one who uses what they bring. Knows nothing of what that is."""

from __future__ import annotations

import collections
import concurrent.futures
import queue
import threading
from typing import Any, Callable, Generic, Iterable, Iterator, NamedTuple, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Ended(NamedTuple):
    """A source has no more values; `error` is what it raised, if it did."""

    error: BaseException | None


class _Source(Generic[T]):
    def __init__(self, index: int, values: Iterator[T]) -> None:
        self.index = index
        self.values = values
        self.room = threading.Semaphore(1)  # for one value that is not used up yet


class ReadAhead(Generic[T]):
    """Yields (index of the source, its value or Ended), each source's in its order, in the thread that iterates.

    `sources` is asked for the next one only when one of the `threads` is free. A source works on its next value while
    the last one is used, that is until the iteration goes on; no further, so that memory holds one of each and one.
    `close` ends it early: without waiting for a source that is in the middle of a value.
    """

    def __init__(self, sources: Iterator[Iterator[T]], *, threads: int) -> None:
        self._sources = enumerate(sources)
        self._todo: queue.SimpleQueue[_Source[T] | None] = queue.SimpleQueue()
        self._brought: queue.SimpleQueue[tuple[_Source[T], Any]] = queue.SimpleQueue()
        self._idle = threads
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
                self._idle += 1
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
        while self._idle:
            index, values = next(self._sources, (0, None))
            if values is None:
                return
            source = _Source(index, values)
            self._under_way.add(source)
            self._idle -= 1
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
