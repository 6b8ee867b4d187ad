"""What a signal means before a command has handlers of its own (signals.py): the end, at once.

Without handlers an import that is interrupted shows a traceback, and the first process of a container (pid 1) does not
get the signal at all: the kernel gives it only those that it handles (pid_namespaces(7)). Imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def are_wanted(number: int) -> bool:
    """`nohup` ignores SIGHUP for us. SIGINT is ignored in the background of a script, where we are wanted still."""
    return number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


def handle() -> None:
    for number in filter(are_wanted, STOP_SIGNALS):
        signal.signal(number, lambda signum, frame: end_at_once(signum))


def end_at_once(signum: int) -> None:
    """No exception: it could come out of anywhere. Nothing is claimed yet, and a commit is whole or not at all."""
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted; the next run goes on from here\n")
    os._exit(128 + signum)
