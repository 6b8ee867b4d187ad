"""What SIGINT and SIGTERM do while a command works."""

from __future__ import annotations

import os
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
    """Within the block the first SIGTERM or SIGINT calls `stop`; a second one ends the process at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._received: list[int] = []

    def __enter__(self) -> list[int]:
        def handle(signum: int, frame: object) -> None:
            if self._received:
                os._exit(128 + signum)  # leases and dead owners cover what was claimed
            self._received.append(signum)
            self._stop()

        self._previous = [(number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)]
        return self._received

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)
