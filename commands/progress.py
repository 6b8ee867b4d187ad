"""What a run shows of itself while it works: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from typing import Any, Callable

from foundation import logs

log = logging.getLogger("pipeline.progress")

# Often enough to see in a cron log that it lives, rare enough to be read.
LOG_INTERVAL_SECONDS = 30


class Progress:
    """Takes a count and a note, from any thread; `total` None when it can't be known.

    As a context manager it ends the bar however the block ends. Lines of the log stand above the bar.
    """

    def __init__(self, *, unit: str, total: int | None, show_bar: bool, monotonic: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._logged_at = monotonic()
        self._unit = unit
        self._note = ""
        self._waits_until = 0.0
        self._waits_for = ""
        self._ended = threading.Event()
        self._bar = _bar(unit, total) if show_bar else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close(None if error is None else "stopped")

    def update(self, count: int, note: str) -> None:
        """`count` so far, in all."""
        with self._lock:
            self._note = note
            if self._bar is not None:
                self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(count - self._bar.n)
            elif self._monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
                self._logged_at = self._monotonic()
                log.info("%d%s so far; %s", count, self._unit, note)

    def wait(self, seconds: float, reason: str) -> None:
        """The run waits so long: count it down beside the bar."""
        with self._lock:
            is_counting = self._waits_until > self._monotonic()
            self._waits_until, self._waits_for = max(self._waits_until, self._monotonic() + seconds), reason
        if self._bar is not None and not is_counting:
            threading.Thread(target=self._count_down, daemon=True).start()

    def _count_down(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                left = self._waits_until - self._monotonic()
                if self._ended.is_set() or self._bar is None:
                    return
                self._bar.set_postfix_str(f"waiting {left:.0f} s: {self._waits_for}" if left > 0 else self._note)
                if left <= 0:
                    return
            self._ended.wait(1)

    def close(self, reason: str | None = None) -> None:
        """The bar stays where it ended: at 100 %, or with the reason why not."""
        if self._ended.is_set():
            return
        self._ended.set()
        with self._lock:
            if self._bar is None:
                return
            if reason is not None:
                self._bar.set_postfix_str(reason, refresh=False)
            elif self._bar.total is not None:
                self._bar.total = self._bar.n  # others may have taken some of it
            self._bar.refresh()
            self._bar.close()
        logs.share_terminal(None)


def _bar(unit: str, total: int | None) -> Any:
    from tqdm import tqdm  # here, so that commands without a bar start without it
    from tqdm.utils import disp_trim

    class OneLine(tqdm):  # type: ignore[misc]
        def display(self, msg: str | None = None, pos: int | None = None) -> Any:
            """A line that is longer than the terminal is wide would be left behind at each refresh."""
            columns = shutil.get_terminal_size().columns
            return super().display(disp_trim(str(self) if msg is None else msg, columns - 1), pos)

    logs.share_terminal(lambda: OneLine.external_write_mode(file=sys.stderr))
    return OneLine(total=total, unit=unit, dynamic_ncols=True, file=sys.stderr)


def start(*, unit: str, total: int | None, quiet: bool, no_progress: bool, monotonic: Callable[[], float]) -> Progress:
    """A bar only for a person who looks: on a terminal, unless told not to."""
    show_bar = sys.stderr.isatty() and not (quiet or no_progress)
    return Progress(unit=unit, total=total, show_bar=show_bar, monotonic=monotonic)
