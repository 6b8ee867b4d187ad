"""What a signal means, decided once: SIGINT, SIGTERM and SIGHUP (a terminal that was closed) ask a run to end.

The first one counts. systemd (KillMode=control-group, systemd.kill(5)), `timeout` and a terminal send it to every
process of the group, and a parent passes it on as well: what comes within REPEAT_SECONDS is the same signal. A later
one ends the process at once. To the processes of processes.py no signal comes: there the parent's word is one.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, Callable

from commands.early_signals import STOP_SIGNALS, are_wanted, end_at_once
from foundation.errors import Interrupted

REPEAT_SECONDS = 2.0
END_SECONDS = 12.0


class _Signals:
    """Within the block the first signal calls `_first(signum)`. `received` is its number."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._received_at = 0.0
        self._previous: list[tuple[int, Any]] = []
        self.received: int | None = None

    def __enter__(self) -> Any:
        for number in filter(are_wanted, STOP_SIGNALS):
            self._previous.append((number, signal.signal(number, self._handle)))
        return self

    def __exit__(self, *exception: object) -> None:
        if self.received is None:  # else the process is about to end, and a repeat must not cut that short
            for number, handler in self._previous:
                signal.signal(number, handler)

    def _handle(self, signum: int, frame: object) -> None:
        if self.received is None:
            self.received, self._received_at = signum, self._monotonic()
            self._first(signum)
        elif self._monotonic() - self._received_at > REPEAT_SECONDS:
            os._exit(128 + signum)  # leases and dead owners cover what was claimed

    def _first(self, signum: int) -> None:
        raise NotImplementedError


class SignalsRaise(_Signals):
    """Within the block the first signal raises Interrupted: for work that is safe to drop at any point.

    What the end still asks of a server that hangs is given END_SECONDS.
    """

    def _first(self, signum: int) -> None:
        signal.signal(signal.SIGALRM, lambda number, frame: end_at_once(signum))
        signal.setitimer(signal.ITIMER_REAL, END_SECONDS)
        raise Interrupted(signum)

    def __exit__(self, *exception: object) -> None:
        if self.received is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        super().__exit__(*exception)


class SignalsCall(_Signals):
    """Within the block the first signal calls `stop(signum)`. `wait(seconds)` is a sleep that it ends."""

    def __init__(self, stop: Callable[[int], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic)
        self._stop = stop

    def wait(self, seconds: float) -> None:
        if self.received is None:
            select.select([self._reader], [], [], seconds)

    def __enter__(self) -> SignalsCall:
        self._reader, self._writer = os.pipe()
        super().__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        os.close(self._reader)
        os.close(self._writer)

    def _first(self, signum: int) -> None:
        os.write(self._writer, b".")  # an Event could deadlock here: its lock may be held by what was interrupted
        self._stop(signum)


class ParentCalls:
    """SignalsCall for a process of processes.py: what its parent sends through `control` is the signal.

    A parent that died closed the other end, and can't say anything any more: that is a SIGTERM.
    """

    def __init__(self, control: Connection, stop: Callable[[int], None]) -> None:
        self._control = control
        self._stop = stop
        self._came = threading.Event()
        self.received: int | None = None

    def wait(self, seconds: float) -> None:
        self._came.wait(seconds)

    def __enter__(self) -> ParentCalls:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _listen(self) -> None:
        try:
            signum = int(self._control.recv())
        except (EOFError, OSError):
            signum = signal.SIGTERM
        self.received = signum
        self._came.set()
        self._stop(signum)
