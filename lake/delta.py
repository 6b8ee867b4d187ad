"""One Delta table, replaced as a whole: by `deltalake`, which takes 130 MB and is asked for by `publish` alone.

A version is a file of its log: what was written counts once that one is there, all at once, and of two writers the
second finds it taken. Knows nothing of the database.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence, TypeVar, cast

from arro3.core import RecordBatch, RecordBatchReader
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from foundation.errors import ConfigurationError, PipelineError
from lake import arrow
from lake.refusals import Refused, explained
from lake.tables import Table

T = TypeVar("T")
MARK = "pipeline.mark"  # in a version's record: what its rows are the same as
OLDEST = "pipeline.oldest"  # there, too: the first version whose files may still lie there
AHEAD = 1  # batch that waits for the writer
ROW_GROUP_ROWS = 16_384  # each is in memory until it is whole (python -m benchmarks publish)
COMMITS_LOOKED_AT = 20  # where the last is another program's; a vacuum is two
# Each reader begins with the newest checkpoint, and asks for each version since: without them 1,000 requests a publish.
CHECKPOINT_VERSIONS = 10
ABANDON_SECONDS = 5.0
WRITER = WriterProperties(
    compression="ZSTD", compression_level=3, max_row_group_size=ROW_GROUP_ROWS, statistics_truncate_length=64
)
# It takes a path for a URL: at # it writes elsewhere, with ? or : it never finds its own record, and of ^ it dies.
_ODD = re.compile(r"[#?:\[\\\]^|]|%[0-9A-Fa-f]{2}")


class Version(NamedTuple):
    """What lies there now. `mark` is empty where another program wrote it; of those before `oldest` no file is left.

    `name`: which table its maker says that it is, in any version since.
    """

    number: int
    mark: str
    oldest: int
    name: str | None


class Written(NamedTuple):
    version: int
    files: int
    bytes: int


class Kept(NamedTuple):
    """What became of old versions: `oldest` as in Version; `refused`: why no more of them were deleted."""

    oldest: int
    deleted_files: int
    refused: PipelineError | Refused | None


class Place:
    """Where a table lies: a directory, or s3://bucket/key with the options for object_store."""

    def __init__(
        self, uri: str, options: Mapping[str, str] | None = None, *, delete: Callable[[str], None] | None = None
    ) -> None:
        """`delete` takes a path within the table, for `keep`. Raises ConfigurationError for what is no place."""
        odd = _ODD.search(uri[len("s3:") :] if uri.startswith("s3:") else uri.replace(":", ""))
        if odd:
            raise ConfigurationError(f"{uri}: deltalake can't use a path with {odd[0]} in it; choose another")
        self.uri = uri
        self._delete = delete
        self._options = dict(options or {}) or None
        self._table: DeltaTable | None = None

    def look(self) -> Version | None:
        """None where no table is. What is written later replaces this version, or none."""
        return aside(self._look)

    def _look(self) -> Version | None:
        with explained(self.uri, "get_object"):
            try:
                self._table = DeltaTable(self.uri, storage_options=self._options)
            except TableNotFoundError:
                return None
            commits = self._table.history(1)
            if commits and MARK not in commits[0]:
                commits = self._table.history(COMMITS_LOOKED_AT)
            number = self._table.version()
            oldest = next((int(commit[OLDEST]) for commit in commits if OLDEST in commit), number)
            written = next((commit for commit in commits if not _is_vacuum(commit)), {})
            return Version(number, str(written.get(MARK, "")), oldest, self._table.metadata().name)

    def keep(self, versions: int, there: Version) -> Kept:
        """Before another version: delete the files of all but so many, less that one, of those there. The newest stays.

        Only those that the log names: whatever else lies there, and what another writer is at, is left alone. A version
        of which not all could be deleted is begun with again next time.
        """
        return aside(lambda: self._keep(versions, there))

    def _keep(self, versions: int, there: Version) -> Kept:
        oldest, deleted, first = there.oldest, 0, there.number - max(versions - 1, 1) + 1
        if oldest >= first:
            return Kept(oldest, 0, None)
        assert self._table is not None and self._delete is not None
        try:
            with explained(self.uri, "get_object"):
                # What another program compacted, or deleted rows from, has files of the version before it.
                needed = _paths(self._table) | next(filter(None, map(self._files, range(first, there.number))), set())
                for oldest in range(there.oldest, first):
                    for path in sorted(self._files(oldest) - needed):
                        self._delete(path)
                        deleted += 1
            # It leaves of commits that are older than a month only those since the checkpoint, also of what is kept.
            if first > there.number - (there.number + 1) % CHECKPOINT_VERSIONS:
                with explained(self.uri, "delete_object"):
                    self._table.cleanup_metadata()
        except (PipelineError, Refused) as refused:
            return Kept(oldest, deleted, refused)
        return Kept(first, deleted, None)

    def _files(self, number: int) -> set[str]:
        """Whoever cleaned the log may have left too little of it for this version."""
        try:
            return _paths(DeltaTable(self.uri, version=number, storage_options=self._options))
        except DeltaError:
            return set()

    def replace(
        self, table: Table, chunks: Iterable[Sequence[Sequence[Any]]], mark: str, *, oldest: int = 0
    ) -> Written:
        """All rows by these; AnotherRun where somebody else wrote meanwhile, and all stays as they left it.

        The chunks are made in this thread, whose they may be; what is written is in another one, so that a signal is
        heard at once. After any exception the version before is whole and the one that counts.
        """
        feed = _Feed(self.uri, lambda batches: self._write(table, batches, {MARK: mark, OLDEST: str(oldest)}))
        try:
            for rows in chunks:
                feed.put(arrow.batch(table, rows))
        except BaseException as error:
            feed.abandon(error)
            raise
        feed.end()
        return aside(self._written)

    def _written(self) -> Written:
        with explained(self.uri, "get_object"):
            table = DeltaTable(self.uri, storage_options=self._options)
            sizes = table.get_add_actions(flatten=True).column("size_bytes").to_pylist()
            return Written(table.version(), len(sizes), sum(sizes))

    def _write(self, table: Table, batches: Iterator[RecordBatch], record: dict[str, str]) -> None:
        write_deltalake(
            self._table or self.uri,
            RecordBatchReader.from_batches(arrow.schema(table), batches),
            # Where there was none when we looked, there must be none now, either.
            mode="overwrite" if self._table else "error",
            schema_mode="overwrite" if self._table else None,
            partition_by=[table.partition] if table.partition else None,
            name=table.name,
            description=table.comment,
            storage_options=self._options,
            writer_properties=WRITER,
            configuration={"delta.checkpointInterval": str(CHECKPOINT_VERSIONS)},
            # No retry: it would go on upon what another one wrote meanwhile.
            commit_properties=CommitProperties(custom_metadata=record, max_commit_retries=0),
            # To clean the log may be refused, which would fail a version that is written.
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )


def _is_vacuum(commit: Mapping[str, Any]) -> bool:
    """It has the rows of the version before it."""
    return str(commit.get("operation", "")).startswith("VACUUM")


def _paths(table: DeltaTable) -> set[str]:
    return set(table.get_add_actions(flatten=True).column("path").to_pylist())


def aside(work: Callable[[], T]) -> T:
    """What it returns, or raises, in a thread of its own: one that waits in Rust, where S3 hangs, hears no signal."""
    done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()  # the process may end while it waits
    result, error = done.get()
    if error is not None:
        raise error
    return cast(T, result)


class _Feed:
    """Hands batches to a writer in a thread of its own, which may be no more than AHEAD of it behind."""

    def __init__(self, uri: str, write: Callable[[Iterator[RecordBatch]], None]) -> None:
        self._uri = uri
        self._queue: queue.Queue[Any] = queue.Queue(AHEAD)
        self._error: BaseException | None = None
        self._write = write
        self._thread = threading.Thread(target=self._run, daemon=True)  # the process may end while it waits
        self._thread.start()

    def put(self, batch: Any) -> None:
        """Raises what became of the writer, if it has ended."""
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                return self._queue.put(batch, timeout=0.2)
        self.end()
        return None

    def end(self) -> None:
        """Wait until all is written. Raises what became of the writer, in our words."""
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=0.2)
                break
        self._thread.join()
        if self._error is not None:
            with explained(self._uri):
                raise self._error

    def abandon(self, error: BaseException) -> None:
        """Let the writer end without a version; it is not waited for any longer than a moment."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(error)
        self._thread.join(ABANDON_SECONDS)

    def _run(self) -> None:
        try:
            self._write(self._batches())
        except BaseException as error:
            self._error = error

    def _batches(self) -> Iterator[Any]:
        for batch in iter(self._queue.get, None):
            if isinstance(batch, BaseException):
                raise RuntimeError("abandoned")
            yield batch
