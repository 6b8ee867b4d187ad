"""One archive -> another: the same keys, bytes and metadata. What is there already is passed over.

No argparse, no SQL, no S3 details.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
from typing import Callable, NamedTuple

from foundation import read_ahead
from lake import objects
from lake.objects import Archive, ItemRefused

log = logging.getLogger("pipeline.copy")


class Result(NamedTuple):
    """`objects`: of this project, in the source. `bytes`: of those that were copied."""

    objects: int = 0
    copied: int = 0
    skipped: int = 0
    bytes: int = 0
    failed: int = 0


class Copier:
    """`on_progress(result)` is told after each object."""

    def __init__(
        self,
        *,
        source: Archive,
        target: Archive,
        prefix: str,
        threads: int,
        on_progress: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self._source = source
        self._target = target
        self._prefix = prefix
        self._threads = threads
        self._on_progress = on_progress

    def run(self) -> Result:
        """Raises what an archive raises, but for what is one object's own fault; what was copied until then stays."""
        folders = objects.folders(self._prefix).values()
        keys = itertools.chain.from_iterable(self._source.keys(folder) for folder in folders)
        ours = (key for key in keys if objects.parse_key(self._prefix, key) is not None)
        result = Result()
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        try:
            for one in read_ahead.in_order(pool, self._copy, ours, ahead=2 * self._threads):
                result = Result(*map(sum, zip(result, one)))
                self._on_progress(result)
        finally:
            pool.shutdown(wait=False)  # a signal waits for no answer
        return result

    def _copy(self, key: str) -> Result:
        """Runs in a thread of the pool."""
        there = self._target.describe(key)
        if there is not None and there == self._source.describe(key):
            return Result(objects=1, skipped=1)
        try:
            made = objects.stored(key, self._source.get(key))
            self._target.put(made)
        except (objects.Damaged, ItemRefused) as error:
            log.warning("%s is not copied: %s", key, error)
            return Result(objects=1, failed=1)
        return Result(objects=1, copied=1, bytes=len(made.body))
