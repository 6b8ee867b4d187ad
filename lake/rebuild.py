"""Archive -> tables: reads every object and upserts its newest versions; reads none twice when it was stopped.

No argparse, no S3 details, no SQL text.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import json
import logging
from typing import Callable, Iterator, NamedTuple

import db
from foundation import read_ahead
from foundation.clock import Clock
from foundation.records import Row
from github import fields
from github.pages import repo_name
from github.streams import KINDS
from lake import notes, objects
from lake.objects import Archive, Stored

log = logging.getLogger("pipeline.rebuild")

COMMIT_ROWS = 1000
LISTED_ROWS = 500  # keys looked up at a time
# The archive is listed until a listing shows nothing new; a worker beside it must not keep that up for ever.
LISTINGS = 3


class Result(NamedTuple):
    """`objects`, `items` (payloads; an item has several where several versions of it are archived), `unreadable`: read
    by this run. `before`: objects that an earlier one had read. `listed`: objects that the last listing shows."""

    objects: int = 0
    items: int = 0
    unreadable: int = 0
    before: int = 0
    listed: int = 0

    @property
    def missing(self) -> int:
        """Objects that were read, and that the archive does not show."""
        return max(0, self.before + self.objects - self.listed)


class _Read(NamedTuple):
    """One object: its key, its rows of tables, how many payloads it holds, and what could not be read, in words."""

    key: str
    rows: list[Row]
    items: int
    errors: list[str]


class Rebuild:
    """`where` names the archive, so that what an unfinished run has read of it counts for no other.

    `repos` (lower case) None: all. `on_progress(result)` is told after each commit.
    """

    def __init__(
        self,
        *,
        conn: db.Connection,
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
        # Only the same archive, read for the same repositories, is gone on with.
        scope = json.dumps([where, prefix, sorted(repos) if repos is not None else None])
        self._scope = hashlib.sha256(scope.encode("utf-8")).hexdigest()[:16]
        self._unreadable: set[str] = set()  # not noted as read: another run looks at them again
        self._prefix = prefix
        self._repos = repos
        self._threads = threads
        self._clock = clock
        self._on_progress = on_progress
        self.result = Result()

    def run(self, *, restart: bool = False) -> Result:
        """Raises what Archive.keys and Archive.get raise; what was read until then is committed, and not read again."""
        if restart:
            self._forget()
        self.result = Result(before=notes.read_count(self._conn, self._scope))
        if self.result.before:
            log.info("goes on from %d objects read before; --restart reads them again", self.result.before)
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        try:
            for _ in range(LISTINGS):
                before = self.result.objects
                self._read_all(pool)
                if self.result.objects == before:
                    break
        finally:
            pool.shutdown(wait=False)  # a signal waits for no answer
        self._forget()
        return self.result

    def _forget(self) -> None:
        with db.transaction(self._conn):
            notes.forget_read(self._conn, self._scope)

    def _read_all(self, pool: concurrent.futures.Executor) -> None:
        """List the archive once, and read what is not read yet."""
        self.result = self.result._replace(listed=0)
        waiting: list[_Read] = []
        rows = 0
        for read in read_ahead.in_order(pool, self._read, self._unread_keys(), ahead=2 * self._threads):
            waiting.append(read)
            rows += len(read.rows)
            if rows >= COMMIT_ROWS:
                self._commit(waiting)
                waiting, rows = [], 0
        self._commit(waiting)

    def _unread_keys(self) -> Iterator[str]:
        folders = objects.folders(self._prefix).values()
        keys = itertools.chain.from_iterable(self._store.keys(folder) for folder in folders)
        wanted = filter(self._is_wanted, keys)
        while True:
            some = list(itertools.islice(wanted, LISTED_ROWS))
            if not some:
                return
            self.result = self.result._replace(listed=self.result.listed + len(some))
            unread = notes.unread(self._conn, self._scope, some)
            yield from (key for key in unread if key not in self._unreadable)

    def _is_wanted(self, key: str) -> bool:
        stored = objects.parse_key(self._prefix, key)
        return stored is not None and self._is_wanted_repo(stored.repo)

    def _is_wanted_repo(self, repo: str | None) -> bool:
        return self._repos is None or repo is None or repo.lower() in self._repos

    def _read(self, key: str) -> _Read:
        """Runs in a thread of the pool."""
        stored = objects.parse_key(self._prefix, key)
        rows: list[list[Row]] = []
        errors = []
        try:
            fetched = self._store.get(key)
            for payload in objects.payloads(key, fetched):
                try:
                    rows.append(self._rows(key, stored or Stored("issue", None), payload, fetched.fetched_order))
                except fields.ExtractionError as error:
                    errors.append(str(error))
        except objects.Damaged as error:
            return _Read(key, [], 0, [str(error)])
        newest = itertools.chain.from_iterable(objects.newest(rows))
        wanted = [row for row in newest if self._is_wanted_repo(row.columns["repo"])]
        return _Read(key, wanted, len(rows), errors)

    def _rows(self, key: str, stored: Stored, payload: bytes, fetched_order: str) -> list[Row]:
        parsed = fields.parse_payload(payload)
        repo = stored.repo or repo_name(parsed)
        if repo is None:
            raise fields.ExtractionError("the payload does not say which repository it is of")
        extra = {
            "s3_key": key,
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
            "fetched_order": fetched_order,
        }
        return [Row(row.table, {**row.columns, **extra}) for row in KINDS[stored.item_type].rows(repo, parsed)]

    def _commit(self, reads: list[_Read]) -> None:
        """Rows and keys in one transaction: what is noted as read is in the tables."""
        if not reads:
            return
        rows = list(itertools.chain.from_iterable(read.rows for read in reads))
        with db.transaction(self._conn):
            now = db.now(self._conn, self._clock)
            db.upsert_all(self._conn, (Row(row.table, {**row.columns, "processed_at": now}) for row in rows))
            notes.note_read(self._conn, self._scope, [read.key for read in reads if not read.errors])
        for read in reads:
            for error in read.errors:
                self._unreadable.add(read.key)
                log.warning("%s: %s", read.key, error)
        self.result = self.result._replace(
            objects=self.result.objects + len(reads),
            items=self.result.items + sum(read.items for read in reads),
            unreadable=self.result.unreadable + sum(len(read.errors) for read in reads),
        )
        self._on_progress(self.result)
