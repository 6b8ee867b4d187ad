"""What a live process has: a token, which is a locked file in a private folder beside the database.

The kernel drops the lock when the process ends, however it ends, and a process id used again means nothing here. A
process that ends in order takes its file away; one that dies leaves it, locked by nobody.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import stat
import uuid
from typing import Callable, Iterable, Iterator

from foundation import errors


class State(enum.Enum):
    """What became of the process that a token was given to."""

    ALIVE = enum.auto()  # or nobody can tell: the folder is another user's
    ENDED = enum.auto()  # in order, or after it had been told to: what it had in hand is not to blame
    DIED = enum.auto()  # killed or crashed, perhaps over what it had in hand


@contextlib.contextmanager
def fresh_token(db_path: str) -> Iterator[str]:
    """A token of this process; ALIVE until the block ends or the process does.

    Raises ConfigurationError or Outage where the folder can't be used.
    """
    token = uuid.uuid4().hex
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(_path(db_path), 0o700)
        with _own_folder(db_path) as folder:
            descriptor = _born(folder, token)
    except OSError as error:
        raise errors.of_system(error, f"lock folder {_path(db_path)!r}") from error
    try:
        yield token
    finally:
        with contextlib.suppress(OSError), _own_folder(db_path) as folder:
            os.unlink(token, dir_fd=folder)
        os.close(descriptor)


def told_to_stop(db_path: str, token: str) -> None:
    """Whatever ends the process from here on, what it has in hand is not to blame. Fit for a signal handler."""
    with contextlib.suppress(OSError), _own_folder(db_path) as folder:
        os.close(os.open(token, os.O_WRONLY | os.O_TRUNC | _SAFELY, dir_fd=folder))


def state(db_path: str, token: str) -> State:
    try:
        with _folder(db_path) as folder, _opened(folder, token) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return State.DIED if os.fstat(descriptor).st_size else State.ENDED
    except FileNotFoundError:
        return State.ENDED
    except OSError:
        return State.ALIVE


def is_alive(db_path: str, token: str) -> bool:
    return state(db_path, token) is State.ALIVE


def known(db_path: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), _folder(db_path) as folder:
        return sorted(name for name in os.listdir(folder) if name.isalnum())
    return []


def process(db_path: str, token: str) -> str:
    """The process that has the token, in words."""
    with contextlib.suppress(OSError, ValueError), _folder(db_path) as folder, _opened(folder, token) as descriptor:
        return f"process {int(os.read(descriptor, 20))}"
    return "another process"


def tidy(db_path: str, *, in_use: Callable[[], Iterable[str]]) -> None:
    """Remove the files of processes that died, but for the tokens `in_use()`: their State will be asked for.

    `in_use` is asked once it is known who died: from then on these take nothing more.
    """
    with contextlib.suppress(OSError), _own_folder(db_path) as folder:
        died = {name for name in os.listdir(folder) if name.isalnum() and state(db_path, name) is not State.ALIVE}
        for name in died.difference(in_use()):
            with contextlib.suppress(OSError), _opened(folder, name) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)


_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link is followed, no pipe waited for


def _path(db_path: str) -> str:
    """By the real path: who comes through a link must see the others' locks."""
    return os.path.realpath(db_path) + ".owners"


@contextlib.contextmanager
def _folder(db_path: str) -> Iterator[int]:
    """Its descriptor: whatever is put in its place meanwhile, what is done through this is done here."""
    descriptor = os.open(_path(db_path), os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _own_folder(db_path: str) -> Iterator[int]:
    with _folder(db_path) as folder:
        if os.fstat(folder).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user; run this as that user")
        yield folder


@contextlib.contextmanager
def _opened(folder: int, token: str) -> Iterator[int]:
    """A token's file. FileNotFoundError for anything else: what is no file, or not of the folder's owner."""
    # Tokens come back from the database, which is not to be trusted with paths.
    name = "".join(c for c in token if c.isalnum())
    descriptor = os.open(name, os.O_RDONLY | _SAFELY, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.fstat(folder).st_uid:
            raise FileNotFoundError(name)
        yield descriptor
    finally:
        os.close(descriptor)


def _born(folder: int, token: str) -> int:
    """The descriptor of the token's new file, locked."""
    while True:
        descriptor = os.open(token, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600, dir_fd=folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                os.write(descriptor, b"%d\n" % os.getpid())
                return descriptor
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(token, dir_fd=folder)
            os.close(descriptor)
            raise
        os.close(descriptor)  # before it was locked, `tidy` took it for one of a process that died
