"""Several processes that do the same work: starts them, passes the end on, gathers what they report.

The way up where one process is at the interpreter's limit. Knows nothing of what the work is.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from multiprocessing import connection, resource_tracker
from typing import Any, Callable, NamedTuple, Sequence, cast

from commands.early_signals import STOP_SIGNALS
from foundation import errors

log = logging.getLogger("pipeline.worker")

FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 60.0
# While a restart is due: how often to look whether the end has been asked for.
LOOK_SECONDS = 0.2


class Ended(NamedTuple):
    """The last report of a process: what its work returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class Died(Exception):
    """A process ended without its last report: it was killed, or ran out of memory."""


class _Member(NamedTuple):
    number: int
    started_at: float
    process: Any
    reports: connection.Connection
    control: connection.Connection

    def tell(self, signum: int) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self.control.send(signum)


Work = Callable[[Callable[[Any], None], connection.Connection, Any], Any]


class Processes:
    """`work(report, control, argument)` once for each argument, each in a process of its own.

    All of these must be picklable, and so must what `report` is called with. No signal reaches the processes: through
    `control` (signals.ParentCalls) they hear that they are to end, or that their parent did.

    `on_report(number, report)` is called for each report. `again(number)` is asked for the argument of a process that
    is to take the place of one that died; None: none is.
    """

    def __init__(
        self,
        work: Work,
        arguments: Sequence[Any],
        *,
        on_report: Callable[[int, Any], None],
        again: Callable[[int], Any] = lambda number: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._on_report = on_report
        self._again = again
        self._monotonic = monotonic
        # What is to be started: when, with what.
        self._due: dict[int, tuple[float, Any]] = {number: (0.0, argument) for number, argument in enumerate(arguments)}
        self._deaths = [0] * len(arguments)  # in turn, without a long life in between
        self._ends = [Ended()] * len(arguments)
        self._members: dict[connection.Connection, _Member] = {}
        self._stopped: int | None = None

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Ask all to end, as if by this signal. Fit for a signal handler."""
        self._stopped = signum
        for member in list(self._members.values()):
            member.tell(signum)

    def run(self) -> list[Ended]:
        """Start all and wait for all. An error that ends one ends them all."""
        try:
            while self._members or (self._due and self._stopped is None):
                self._start_due()
                timeout = None if self._members and not self._due else LOOK_SECONDS
                for ready in connection.wait(list(self._members), timeout):
                    self._hear(self._members[cast("connection.Connection", ready)])
        finally:
            self.stop()
        return self._ends

    def _start_due(self) -> None:
        now = self._monotonic()
        for number in [number for number, (at, _) in self._due.items() if at <= now]:
            if self._stopped is None:
                self._try_to_start(number, self._due.pop(number)[1])

    def _try_to_start(self, number: int, argument: Any) -> None:
        """Where the machine has no room for it, that is like a death at once."""
        try:
            self._start(number, argument)
        except (OSError, MemoryError) as error:
            no_room = errors.of_machine(error, "another process")
            if no_room is None:
                raise
            self._ends[number] = Ended(error=no_room)
            if self._is_put_off(number, lived=0.0, said=str(no_room)):
                return
            self.stop()

    def _start(self, number: int, argument: Any) -> None:
        # Not forked: a fork copies locks that other threads hold.
        context = multiprocessing.get_context("spawn")
        reports, sender = context.Pipe(duplex=False)
        listener, control = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(sender, listener, self._work, argument))
        resource_tracker.ensure_running()  # or `start` does it, and unblocks signals by the way (before Python 3.13)
        # What is blocked here is blocked there, from the first moment on; here it arrives a little later.
        usual = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            process.start()
            self._members[reports] = _Member(number, self._monotonic(), process, reports, control)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        self._ends[number] = Ended(error=Died())  # for as long as there is no report
        sender.close()
        listener.close()
        if self._stopped is not None:
            self._members[reports].tell(self._stopped)

    def _hear(self, member: _Member) -> None:
        try:
            report = member.reports.recv()
        except EOFError:
            self._bury(member)
            return
        if not isinstance(report, Ended):
            self._on_report(member.number, report)
            return
        self._ends[member.number] = report
        if report.error is not None:
            self.stop()

    def _bury(self, member: _Member) -> None:
        """The process has ended; where it died without a word, another may take its place."""
        del self._members[member.reports]
        member.process.join()
        member.reports.close()
        member.control.close()
        if isinstance(self._ends[member.number].error, Died):
            lived = self._monotonic() - member.started_at
            self._is_put_off(member.number, lived=lived, said="a worker process was killed, perhaps for want of memory")

    def _is_put_off(self, number: int, *, lived: float, said: str) -> bool:
        """Does another one take its place, after a pause?"""
        argument = self._again(number) if self._stopped is None else None
        if argument is None:
            return False
        seconds = self._pause_after(number, lived)
        self._due[number] = (self._monotonic() + seconds, argument)
        log.warning("%s; another begins in %.0f s", said, seconds)
        return True

    def _pause_after(self, number: int, lived: float) -> float:
        """Longer after each death, unless it had lived for long."""
        if lived > LONGEST_RESTART_SECONDS:
            self._deaths[number] = 0
        self._deaths[number] += 1
        return min(FIRST_RESTART_SECONDS * 2.0 ** min(self._deaths[number] - 1, 20), LONGEST_RESTART_SECONDS)


def _run(sender: Any, control: connection.Connection, work: Work, argument: Any) -> None:
    """In the new process. A parent that is gone hears nothing: `control` tells the work so, and it ends in order."""

    def report(value: Any) -> None:
        with contextlib.suppress(OSError):
            sender.send(value)

    try:
        report(Ended(value=work(report, control, argument)))
    except BaseException as error:
        of_machine = errors.of_machine(error, "a worker process")
        if of_machine is None:
            report(Ended(error=error))
        else:  # it ends without a last report, as one that was killed: another may take its place
            log.warning("%s", of_machine)
    os._exit(0)  # a thread that still waits for an answer must not keep it
