"""The errors that end a command, each with the exit code of the contract (docs/REFERENCE.md, "Exit codes").

A message says what failed, on what, and what to do next, in one line. Nothing here imports another room.
"""

from __future__ import annotations

import errno
import os

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_OUTAGE = 3
EXIT_BUSY = 4


class PipelineError(Exception):
    """Base of every error with a message meant for a person; `exit_code` is what the process ends with."""

    exit_code = EXIT_FAILED


class ConfigurationError(PipelineError):
    """Something that only a person can put right: an option, a token, a bucket, a key, a database file."""

    exit_code = EXIT_CONFIGURATION


class Outage(PipelineError):
    """Something outside is down or full; the same command later goes on where this one stopped."""

    exit_code = EXIT_OUTAGE


class AnotherRun(PipelineError):
    """Another live process does the same work on this database."""

    exit_code = EXIT_BUSY


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end (signals.py); the exit code is 128 + the signal's number, as shells have it.

    No Exception, so that no library on the way takes it for a failure of its own.
    """

    def __init__(self, signum: int, message: str = "interrupted; the next run goes on from here") -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


# What passes, or can be mended beside the program, and what to do about it.
_PASSING = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room, the quota is used up",
    errno.EIO: "mend the disk",
    errno.EMFILE: "raise `ulimit -n`, or ask for fewer threads",
    errno.ENFILE: "let other programs end",
    errno.ENOMEM: "free memory",
    errno.EAGAIN: "raise `ulimit -u` and the limit of pids, or ask for fewer threads and processes",  # fork(2)
}


def is_passing(error: OSError) -> bool:
    return error.errno in _PASSING


def of_system(error: OSError, what: str) -> ConfigurationError | Outage:
    """What an error of the operating system on `what` means for the person who runs the command."""
    said = f"{what}: {error.strerror or error}"
    if is_passing(error):
        return Outage(f"{said}; {_PASSING[error.errno or 0]}, then run again")
    return ConfigurationError(f"{said}; check its owner and permissions")


def of_machine(error: BaseException, what: str) -> ConfigurationError | Outage | None:
    """What an exception that nobody thought of says of the machine it met; None: nothing, it may be the program's."""
    if isinstance(error, MemoryError):
        return Outage(f"{what}: no memory is left; free some, or ask for fewer threads, then run again")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):  # CPython has no class for it
        return Outage(f"{what}: no room for another thread; {_PASSING[errno.EAGAIN]}, or free memory, then run again")
    if isinstance(error, OSError) and is_passing(error):
        return of_system(error, str(error.filename or what))
    if isinstance(error, FileNotFoundError) and not _is_anywhere():
        return ConfigurationError(f"{what}: the current directory was deleted; change to one that is there (cd)")
    return None


def _is_anywhere() -> bool:
    """Has the process a current directory, from which relative paths lead on?"""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
