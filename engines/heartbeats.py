"""What a live process has in PostgreSQL: a row of `owners` that says until when it lives, renewed again and again.

owners.py asks the kernel, which knows at once; it knows nothing of other hosts. Here silence says it: what a process
has that could not be heard for its whole lease goes to others. Each of its changes names its token, so that one that
comes back, stopped or cut off for so long, changes nothing of theirs. Silence blames nobody: it may be the database
that was away.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import signal
import socket
import threading
import uuid
from typing import Callable, Iterable, Iterator

from engines import postgres
from engines.owners import State
from engines.postgres import NOW, Connection
from foundation import settings
from foundation.errors import PipelineError

log = logging.getLogger("pipeline.heartbeats")

BEATS_A_LEASE = 6  # some may be lost
FAREWELL_SECONDS = 2.0
# A clock of the server's that once stood far ahead must keep nobody alive for as long: no lease lasts beyond this.
_LATEST = postgres.time_text(f"clock_timestamp() + make_interval(secs => {settings.MAX_LEASE_SECONDS})")
_IS_HEARD = f"(alive_until >= {NOW} AND alive_until <= {_LATEST})"
# An orderly end takes less: worker.STOP_SECONDS for the uploads, and a moment to hand back.
END_SECONDS = 15.0
_hearts: dict[str, _Heart] = {}  # of this process, for its signal handlers


@contextlib.contextmanager
def fresh_token(conn: Connection, address: str, *, lease_seconds: float) -> Iterator[str]:
    """A token of this process; ALIVE until the block ends, or nothing was heard of the process for so long."""
    token = uuid.uuid4().hex
    heart = _Heart(address, token, lease_seconds)
    heart.beat(conn)
    _hearts[token] = heart
    heart.start()
    try:
        yield token
    finally:
        del _hearts[token]
        heart.stop()
        with contextlib.suppress(postgres.Error):
            conn.execute("DELETE FROM owners WHERE token = ?", (token,))


def told_to_stop(token: str) -> None:
    """Whatever ends the process from here on, what it has in hand is not to blame. Fit for a signal handler."""
    if token in _hearts:
        _hearts[token].tell(b"s")


def state(conn: Connection, token: str) -> State:
    found = conn.execute(
        f"SELECT pid, birth, is_stopping, {_IS_HEARD} AS is_heard FROM owners WHERE token = ?", (token,)
    ).fetchone()
    if found is None:
        return State.ENDED
    if _is_gone(found["pid"], found["birth"]):
        return State.ENDED if found["is_stopping"] else State.DIED
    return State.ALIVE if found["is_heard"] else State.ENDED


def known(conn: Connection) -> list[str]:
    return [row["token"] for row in conn.execute("SELECT token FROM owners ORDER BY token")]


def process(conn: Connection, token: str) -> str:
    found = conn.execute("SELECT host, pid FROM owners WHERE token = ?", (token,)).fetchone()
    return "another process" if found is None else f"process {found['pid']} on {found['host']}"


def tidy(conn: Connection, *, in_use: Callable[[], Iterable[str]]) -> None:
    """Forget processes that are not heard, but for the tokens `in_use()`: their State will be asked for."""
    silent = [row["token"] for row in conn.execute(f"SELECT token FROM owners WHERE NOT {_IS_HEARD}")]
    for token in set(silent).difference(in_use()) if silent else ():
        conn.execute(f"DELETE FROM owners WHERE token = ? AND NOT {_IS_HEARD}", (token,))


class _Heart:
    """Renews a token's row from a thread of its own, over a connection of its own."""

    def __init__(self, address: str, token: str, lease_seconds: float) -> None:
        self._address = address
        self._token = token
        self._lease_seconds = lease_seconds
        self._is_stopping = False
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._watch = _Watch()

    def start(self) -> None:
        self._thread.start()
        self._watch.start()

    def tell(self, word: bytes) -> None:
        """`s`: the process is to stop; `e`: this is the end."""
        os.write(self._writer, word)  # an Event could deadlock in a signal handler
        self._watch.tell(word)

    def stop(self) -> None:
        self.tell(b"e")
        self._watch.close()
        self._thread.join(FAREWELL_SECONDS)
        if not self._thread.is_alive():  # else it waits for a server that does not answer
            os.close(self._reader)
            os.close(self._writer)

    def beat(self, conn: Connection) -> None:
        # Inserted again where another took it for dead and forgot it: it lives.
        conn.execute(
            f"""
            INSERT INTO owners (token, host, pid, birth, is_stopping, alive_until)
            VALUES (?, ?, ?, ?, ?, {postgres.time_text("clock_timestamp() + make_interval(secs => ?)")})
            ON CONFLICT (token) DO UPDATE
            SET is_stopping = excluded.is_stopping, alive_until = excluded.alive_until
            """,
            (
                self._token, socket.gethostname(), os.getpid(), _birth(os.getpid()), self._is_stopping,
                float(self._lease_seconds),
            ),
        )  # fmt: skip

    def _run(self) -> None:
        with contextlib.closing(postgres.Connection(self._address, durable=False)) as conn:
            while True:
                told, _, _ = select.select([self._reader], [], [], self._lease_seconds / BEATS_A_LEASE)
                word = os.read(self._reader, 1) if told else b""
                if word == b"e":
                    return
                self._is_stopping = self._is_stopping or word == b"s"
                try:
                    with postgres.transaction(conn, afresh=True):  # not durable: no standby is waited for
                        self.beat(conn)
                except (postgres.Error, PipelineError) as error:  # the next one may get through
                    log.debug("heartbeat: %s", error)


class _Watch:
    """Ends the process where it was told to stop and can't: it waits for a server that hangs, and says nothing at all.

    As a second signal does: what was in hand is not to blame, and the next worker takes it over after the lease.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, word: bytes) -> None:
        os.write(self._writer, word)

    def close(self) -> None:
        """After `e`."""
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def _run(self) -> None:
        while os.read(self._reader, 1) == b"s":
            if not select.select([self._reader], [], [], END_SECONDS)[0]:
                log.error("the database does not answer: ended as it is; the next worker takes over what was in hand")
                os._exit(128 + signal.SIGTERM)


def _is_gone(pid: int, birth: str) -> bool:
    """Is it certain that the process ended? Only one that would be seen here."""
    if not birth or birth.rpartition(" ")[0] != _boot():
        return False
    return _birth(pid) != birth


def _birth(pid: int) -> str:
    """What tells a process from every other that has its number, before and after, and on other hosts.

    Empty where that can't be told: a system other than Linux. See proc(5): the 22nd field of stat is when it started;
    one that died and was not waited for is a zombie.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    return f"{_boot()} {fields[19].decode()}" if _boot() and fields[0] != b"Z" else ""


@functools.lru_cache(maxsize=1)
def _boot() -> str:
    """Of the system, the container and the user: processes of others may not be seen."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino} {os.geteuid()}"
    except OSError:
        return ""
