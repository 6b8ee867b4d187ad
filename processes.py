"""Several processes that do the same work: starts them, passes signals on, gathers what they report.

The way up where one process is at the interpreter's limit. Knows nothing of what the work is.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from typing import Any, Callable, NamedTuple, Sequence, cast


class Ended(NamedTuple):
    """The last report of a process: what its work returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class Died(Exception):
    """A process ended without a report: it was killed, or ran out of memory."""


class Processes:
    """`work(report, argument)` once for each argument, each in a process of its own.

    Both must be picklable, and so must what `report` is called with. `stop()` may be called from a signal handler.
    """

    def __init__(self, work: Callable[[Callable[[Any], None], Any], Any], arguments: Sequence[Any]) -> None:
        # Not forked: a fork copies locks that other threads hold.
        context = multiprocessing.get_context("spawn")
        self._members = []
        for argument in arguments:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_run, args=(sender, work, argument))
            process.start()
            sender.close()
            self._members.append((process, receiver))

    def stop(self) -> None:
        for process, _ in self._members:
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGTERM)

    def reports(self, on_report: Callable[[int, Any], None]) -> list[Ended]:
        """Wait for all; `on_report(index, report)` is called for each report on the way."""
        ends: list[Ended] = [Ended(error=Died())] * len(self._members)
        open_ends = {receiver: index for index, (_, receiver) in enumerate(self._members)}
        while open_ends:
            for ready in multiprocessing.connection.wait(list(open_ends)):
                receiver = cast("multiprocessing.connection.Connection", ready)
                index = open_ends[receiver]
                try:
                    report = receiver.recv()
                except EOFError:
                    del open_ends[receiver]
                    continue
                if isinstance(report, Ended):
                    ends[index] = report
                else:
                    on_report(index, report)
        for process, _ in self._members:
            process.join()
        return ends


def _run(sender: Any, work: Callable[[Callable[[Any], None], Any], Any], argument: Any) -> None:
    """In the new process. Ctrl-C reaches the whole group at a terminal: only the parent passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        end = Ended(value=work(sender.send, argument))
    except BaseException as error:
        end = Ended(error=error)
    sender.send(end)
    sender.close()
    os._exit(0)  # a thread that still waits for an answer must not keep it


def _follow_parent() -> None:
    """A parent that is killed can't pass on any signal: its processes hand back what they hold and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
