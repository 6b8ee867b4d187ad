"""A file for a person's eyes: whole or not at all, and readable by its owner alone unless somebody widened that."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid

from foundation import errors
from foundation.errors import ConfigurationError

MODE = 0o600


def write(path: str, content: bytes) -> None:
    """In place of what lies at `path`, or where a link leads, whose mode and group it keeps, and whose owner for root.

    Raises what an error of the system means, and ConfigurationError for what is no file.
    """
    target = os.path.realpath(path)
    if not os.path.basename(path):
        raise ConfigurationError(f"{path!r} names a folder and no file; give the name of one in it")
    temporary = f"{target}.{uuid.uuid4().hex[:8]}.part"
    try:
        mode, owner = _like(path)
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, MODE)) as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode if _is_given(file.fileno(), owner) else mode & ~stat.S_IRWXG)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except (FileNotFoundError, NotADirectoryError) as error:
        folder = os.path.dirname(target)
        raise ConfigurationError(f"{path!r} can't be written: {folder!r} is no folder; make it first") from error
    except OSError as error:
        raise errors.of_system(error, f"{path!r} can't be written") from error


def _like(path: str) -> tuple[int, tuple[int, int] | None]:
    """The mode, the owner and the group of what is there."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return MODE, None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path!r} is there and is no file; give another name")
    return stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)


def _is_given(descriptor: int, owner: tuple[int, int] | None) -> bool:
    """Does the file belong to the owner's group now? Rights of one group are not for another."""
    if owner is None:
        return True
    user, group = owner
    for its in (user, -1):  # the user is root's to give
        with contextlib.suppress(OSError):
            os.fchown(descriptor, its, group)
            return True
    return False
