"""What a run shows of itself while it works: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Callable

log = logging.getLogger("pipeline.progress")

# Often enough to see in a cron log that it lives, rare enough to be read.
LOG_INTERVAL_SECONDS = 30


class Progress:
    """Takes a count and a note, from any thread; `total` None when it can't be known."""

    def __init__(self, *, unit: str, total: int | None, show_bar: bool, monotonic: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._logged_at = monotonic()
        self._unit = unit
        self._bar = None
        if show_bar:
            from tqdm import tqdm  # here, so that commands without a bar start without it

            self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, leave=False, file=sys.stderr)

    def update(self, count: int, note: str) -> None:
        """`count` so far, in all."""
        with self._lock:
            if self._bar is not None:
                self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(count - self._bar.n)
            elif self._monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
                self._logged_at = self._monotonic()
                log.info("%d%s so far; %s", count, self._unit, note)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def start(*, unit: str, total: int | None, quiet: bool, no_progress: bool, monotonic: Callable[[], float]) -> Progress:
    """A bar only for a person who looks: on a terminal, unless told not to."""
    show_bar = sys.stderr.isatty() and not (quiet or no_progress)
    return Progress(unit=unit, total=total, show_bar=show_bar, monotonic=monotonic)
