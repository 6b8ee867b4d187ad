"""What SIGINT and SIGTERM do while a command works."""

from __future__ import annotations

import os
import select
import signal
from typing import Callable

from errors import Interrupted


class SignalsRaise:
    """Within the block SIGTERM and SIGINT raise Interrupted: for work that is safe to drop at any point."""

    def __enter__(self) -> None:
        def interrupt(signum: int, frame: object) -> None:
            raise Interrupted(signum)

        self._previous = [(number, signal.signal(number, interrupt)) for number in (signal.SIGINT, signal.SIGTERM)]

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)


class SignalsCall:
    """Within the block the first SIGTERM or SIGINT calls `stop`; a second one ends the process at once.

    `wait(seconds)` is a sleep that a signal ends. `received` holds the number of the signal that came.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.received: list[int] = []

    def wait(self, seconds: float) -> None:
        if not self.received:
            select.select([self._reader], [], [], seconds)

    def __enter__(self) -> SignalsCall:
        self._reader, self._writer = os.pipe()
        self._previous = [(number, signal.signal(number, self._handle)) for number in (signal.SIGINT, signal.SIGTERM)]
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, signum: int, frame: object) -> None:
        if self.received:
            os._exit(128 + signum)  # leases and dead owners cover what was claimed
        self.received.append(signum)
        os.write(self._writer, b".")  # an Event could deadlock here: its lock may be held by what was interrupted
        self._stop()
