"""What a live process has: tokens, and locks on what only one may do at a time. Both are locks on files.

The kernel drops the lock when the process ends, however it ends, and a process id used again means nothing here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from pathlib import Path
from typing import Iterator

from errors import AnotherRun


@contextlib.contextmanager
def fresh_token(db_path: str) -> Iterator[str]:
    """A token of this process; seen as alive by `is_alive` until the block ends or the process does."""
    token = uuid.uuid4().hex
    path = _path(db_path, token)
    path.parent.mkdir(exist_ok=True)
    # The first lock is of a name that nobody looks at yet: `tidy` must not find the file unlocked.
    unborn = path.with_name("." + token)
    descriptor = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(unborn, path)
        yield token
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def is_alive(db_path: str, token: str) -> bool:
    """Does a process of this machine hold the token? Tidies up the file of one that died."""
    path = _path(db_path, token)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold(db_path: str, name: str, *, now: str) -> Iterator[None]:
    """Do what is called `name` alone on this database. Raises AnotherRun, with who does it since when.

    The kernel drops the lock of a process that dies; what it wrote into the file is then of no meaning.
    """
    path = Path(f"{db_path}.owners") / f"lock-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:32]}"
    path.parent.mkdir(exist_ok=True)
    descriptor = _locked(path)
    if descriptor is None:
        about = path.read_text(encoding="utf-8").strip() if path.exists() else "another process"
        raise AnotherRun(f"{name} runs already on {db_path!r}: {about}; let it end, or run this later")
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} since {now}\n".encode())
        yield
    finally:
        path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """An open, locked file of this name; None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one that had it may have removed the file meanwhile: then ours is one that nobody else will see.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def tidy(db_path: str) -> None:
    """Remove the files of processes that died and had no row in hand, which nobody asks about."""
    folder = Path(f"{db_path}.owners")
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.isalnum():
            is_alive(db_path, path.name)


def _path(db_path: str, token: str) -> Path:
    # Tokens come back from the database, which is not to be trusted with paths.
    return Path(f"{db_path}.owners") / "".join(c for c in token if c.isalnum())
