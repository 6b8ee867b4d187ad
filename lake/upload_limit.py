"""How many uploads may be under way at a time: fewer when the store asks for it, more again when all is calm."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Iterator

log = logging.getLogger("pipeline.worker")

# So many uploads in a row without complaint, and one more may be under way.
CALM_UPLOADS = 100


class UploadLimit:
    """Shared by the upload threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = most
        self._under_way = 0
        self._calm = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def place(self) -> Iterator[int]:
        """Waits for a place and holds it; yields the limit that holds now, for `lower`."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self._size)
            self._under_way += 1
            size = self._size
        try:
            yield size
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def lower(self, size: int) -> bool:
        """An upload that began under the limit `size` was refused: halve it. False when it can't get lower.

        Of several that were refused at the same time only the first halves it.
        """
        with self._changed:
            self._calm = 0
            if size == self._size and size > 1:
                self._size = size // 2
                log.warning("the archive asks for fewer requests: %d uploads at a time from now on", self._size)
            return size > 1

    def succeeded(self) -> None:
        with self._changed:
            self._calm += 1
            if self._calm >= CALM_UPLOADS and self._size < self._most:
                self._size += 1
                self._calm = 0
                self._changed.notify()
