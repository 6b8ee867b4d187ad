"""Archive -> `issues`: reads every object and upserts its newest versions; goes on where it was stopped.

No argparse, no S3 details, no SQL text.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import itertools
import json
import logging
import sqlite3
from typing import Any, Callable, Iterator, NamedTuple

import archive
import db
import queue_manager
import transform
from archive import Archive, Stored
from clock import Clock
from pages import repo_name

log = logging.getLogger("pipeline.rebuild")

COMMIT_ROWS = 1000


class Result(NamedTuple):
    """`items`: payloads read; an item has several where several versions of it are archived."""

    objects: int = 0
    items: int = 0
    unreadable: int = 0


class _Read(NamedTuple):
    """One object: its key, its rows for `issues`, how many payloads it holds, and what could not be read, in words."""

    key: str
    rows: list[dict[str, Any]]
    items: int
    errors: list[str]


class Rebuild:
    """`where` names the archive, so that an unfinished run goes on only with the same one.

    `repos` (lower case) None: all. `on_progress(result)` is told after each commit.
    """

    def __init__(
        self,
        *,
        conn: sqlite3.Connection,
        store: Archive,
        where: str,
        prefix: str,
        repos: frozenset[str] | None,
        threads: int,
        clock: Clock,
        on_progress: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self._conn = conn
        self._store = store
        self._where = where
        self._prefix = prefix
        self._repos = repos
        self._threads = threads
        self._clock = clock
        self._on_progress = on_progress
        self.result = Result()

    def run(self) -> Result:
        """Raises what Archive.keys and Archive.get raise; what was read until then is committed, and not read again."""
        folders = archive.folders(self._prefix).values()
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        try:
            for folder in folders:
                self._run_folder(pool, folder)
        finally:
            pool.shutdown(wait=False)  # whatever ends it must not wait for a download that hangs
        with db.transaction(self._conn):
            for folder in folders:
                queue_manager.save_rebuild_position(self._conn, self._scope(folder), None)
        return self.result

    def _scope(self, folder: str) -> str:
        """Only the same archive, read for the same repositories, is gone on with."""
        return json.dumps([self._where, folder, sorted(self._repos) if self._repos is not None else None])

    def _run_folder(self, pool: concurrent.futures.Executor, folder: str) -> None:
        after = queue_manager.rebuild_position(self._conn, self._scope(folder))
        if after is not None:
            log.info("goes on behind %s", after)
        keys = (key for key in self._store.keys(folder, after=after) if self._is_wanted(key))
        waiting: list[_Read] = []
        for read in _in_order(pool, self._read, keys, ahead=2 * self._threads):
            waiting.append(read)
            if sum(len(each.rows) for each in waiting) >= COMMIT_ROWS:
                self._commit(folder, waiting)
                waiting = []
        self._commit(folder, waiting)

    def _is_wanted(self, key: str) -> bool:
        stored = archive.parse_key(self._prefix, key)
        return stored is not None and self._is_wanted_repo(stored.repo)

    def _is_wanted_repo(self, repo: str | None) -> bool:
        return self._repos is None or repo is None or repo.lower() in self._repos

    def _read(self, key: str) -> _Read:
        """Runs in a thread of the pool."""
        stored = archive.parse_key(self._prefix, key)
        fetched = self._store.get(key)
        rows: list[dict[str, Any]] = []
        errors = []
        try:
            for payload in archive.payloads(key, fetched.body):
                try:
                    rows.append(self._row(key, stored or Stored("issue", None), payload, fetched.fetched_order))
                except transform.ExtractionError as error:
                    errors.append(str(error))
        except archive.Damaged as error:
            return _Read(key, [], 0, [str(error)])
        replaced = archive.superseded(rows)
        wanted = [r for place, r in enumerate(rows) if place not in replaced and self._is_wanted_repo(r["repo"])]
        return _Read(key, wanted, len(rows), errors)

    def _row(self, key: str, stored: Stored, payload: bytes, fetched_order: str) -> dict[str, Any]:
        fields = transform.parse_payload(payload)
        repo = stored.repo or repo_name(fields)
        if repo is None:
            raise transform.ExtractionError("the payload does not say which repository it is of")
        extra = {
            "s3_key": key,
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
            "processed_at": self._clock.utc(),
            "fetched_order": fetched_order,
        }
        return {**transform.issues_row(stored.item_type, repo, fields), **extra}

    def _commit(self, folder: str, reads: list[_Read]) -> None:
        """Rows and position in one transaction: what the position says was read is in `issues`."""
        if not reads:
            return
        with db.transaction(self._conn):
            db.upsert_issues(self._conn, itertools.chain.from_iterable(read.rows for read in reads))
            queue_manager.save_rebuild_position(self._conn, self._scope(folder), reads[-1].key)
        for read in reads:
            for error in read.errors:
                log.warning("%s: %s", read.key, error)
        self.result = Result(
            objects=self.result.objects + len(reads),
            items=self.result.items + sum(read.items for read in reads),
            unreadable=self.result.unreadable + sum(len(read.errors) for read in reads),
        )
        self._on_progress(self.result)


def _in_order(
    pool: concurrent.futures.Executor, read: Callable[[str], _Read], keys: Iterator[str], *, ahead: int
) -> Iterator[_Read]:
    """The results in the order of the keys, with never more than `ahead` under way or waiting: memory stays bounded."""
    under_way: collections.deque[concurrent.futures.Future[_Read]] = collections.deque()
    try:
        for key in keys:
            under_way.append(pool.submit(read, key))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
