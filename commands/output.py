"""stdout and stderr that can't fail: what can't be written is dropped, and the run ends as it would have.

A reader that went away (`| head`), a full disk under the log, a closed terminal or a closed descriptor is no news about
the run; its exit code is.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from foundation import errors


class _Dropping(io.FileIO):
    dropped: OSError | None = None  # why something was, for what is more than news

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError as error:
            self.dropped = error
            return len(data)


def deliver(content: bytes) -> None:
    """To stdout, what the command was asked to make. Raises what it means where a part of that is lost; a reader that
    went away wanted no more."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
    error = getattr(getattr(sys.stdout.buffer, "raw", None), "dropped", None)
    if error is not None and not isinstance(error, BrokenPipeError):
        raise errors.of_system(error, "stdout can't be written")


def make_safe() -> None:
    """For this process; called once, before anything is written or opened."""
    _fill_gaps()
    sys.stdout, sys.stderr = _safe(1, sys.stdout), _safe(2, sys.stderr)


def _fill_gaps() -> None:
    """Where one of the three is closed (`2>&-`), the next file that is opened would get its number, and the output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number


def _safe(descriptor: int, usual: Any) -> io.TextIOWrapper:
    """As Python makes it, but for errors: what the terminal can't show is shown in another way."""
    writer = io.BufferedWriter(_Dropping(descriptor, "w", closefd=False))
    encoding = getattr(usual, "encoding", None) or "utf-8"
    return io.TextIOWrapper(writer, encoding, "backslashreplace", line_buffering=descriptor == 2 or writer.isatty())
