"""A session of psycopg's that waits for no answer for ever: neither for a server that hangs, nor after a signal.

Imports the driver; imported when a connection is made.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Generator, TypeVar

import psycopg
from psycopg import waiting

T = TypeVar("T")
INTERVAL_SECONDS = 0.1  # how often a wait looks whether it has become too long
CANCEL_SECONDS = 2.0


class Session(psycopg.Connection[Any]):
    """`answer_seconds`: how long an answer may take; None: as long as it needs.

    The server's own limits (statement_timeout) are not enough: one that hangs keeps none. Nor are those of TCP, where
    its kernel still says that everything arrived.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, T], interval: float = INTERVAL_SECONDS) -> T:
        """Raises psycopg.OperationalError for an answer that does not come; the session is closed then.

        psycopg's own asks the server to cancel after a signal, and waits for its answer without an end.
        """
        try:
            return waiting.wait(_limited(gen, self.answer_seconds), self.pgconn.socket, interval=interval)
        except KeyboardInterrupt:
            if self.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                with contextlib.suppress(psycopg.Error):
                    self.cancel_safe(timeout=CANCEL_SECONDS)
            self.close()
            raise
        except AnswerMissing:
            self.close()
            raise


class AnswerMissing(psycopg.OperationalError):
    """The server took what it was asked, and says nothing."""


def _limited(gen: Generator[Any, Any, T], seconds: float | None) -> Generator[Any, Any, T]:
    """`gen`, as long as it is still in time."""
    until = None if seconds is None else time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == waiting.READY_NONE and until is not None and time.monotonic() > until:
                raise AnswerMissing(f"no answer came within {seconds:.0f} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
