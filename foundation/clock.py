"""Time as the rest of the project sees it: passed in, so that a test never has to wait."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple

from foundation import timestamps


class Clock(NamedTuple):
    """`now` is wall-clock seconds since 1970 and may jump; `monotonic` never does; `sleep` takes seconds."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], object]

    def utc(self) -> str:
        return timestamps.from_epoch(self.now())


SYSTEM_CLOCK = Clock(now=time.time, monotonic=time.monotonic, sleep=time.sleep)
