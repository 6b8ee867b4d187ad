"""One Delta table, replaced as a whole: by `deltalake`, which takes 130 MB and is asked for by `publish` alone.

A version is a file of its log: what was written counts once that one is there, all at once, and of two writers the
second finds it taken. Knows nothing of the database.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from arro3.core import RecordBatch, RecordBatchReader
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from foundation.errors import AnotherRun, ConfigurationError, Outage, PipelineError
from lake import arrow
from lake.tables import Table

MARK = "pipeline.mark"  # in a version's record: what its rows are the same as
OLDEST = "pipeline.oldest"  # there, too: the first version whose files may still lie there
AHEAD = 1  # batch that waits for the writer
ROW_GROUP_ROWS = 16_384  # each is in memory until it is whole (python -m benchmarks publish)
COMMITS_LOOKED_AT = 20  # another program's vacuum is two
# Each reader begins with the newest checkpoint, and asks for each version since: without them 1,000 requests a publish.
CHECKPOINT_VERSIONS = 10
ABANDON_SECONDS = 5.0
WRITER = WriterProperties(
    compression="ZSTD", compression_level=3, max_row_group_size=ROW_GROUP_ROWS, statistics_truncate_length=64
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STATUS = re.compile(r"\b([1-5]\d\d) [A-Z][A-Za-z]+")
_CODE = re.compile(r"<Code>(\w+)</Code>")


class Refused(Exception):
    """S3 said no to a request of deltalake's: the status (0: it said nothing), and the code of its answer.

    `operation`: what was asked for, in boto3's words.
    """

    def __init__(self, status: int, code: str, operation: str) -> None:
        super().__init__(f"{status} {code}")
        self.operation = operation
        self.status = status
        self.code = code


class Version(NamedTuple):
    """What lies there now. `mark` is empty where another program wrote it; of those before `oldest` no file is left."""

    number: int
    mark: str
    oldest: int


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
        """`delete` takes a path within the table, for `keep`."""
        self.uri = uri
        self._delete = delete
        self._options = dict(options or {}) or None
        self._table: DeltaTable | None = None

    def look(self) -> Version | None:
        """None where no table is. What is written later replaces this version, or none."""
        with _explained(self.uri, "get_object"):
            try:
                self._table = DeltaTable(self.uri, storage_options=self._options)
            except TableNotFoundError:
                return None
            commits = self._table.history(1)
            if commits and _is_vacuum(commits[0]):
                commits = self._table.history(COMMITS_LOOKED_AT)
            number = self._table.version()
            oldest = next((int(commit[OLDEST]) for commit in commits if OLDEST in commit), number)
            written = next((commit for commit in commits if not _is_vacuum(commit)), {})
            return Version(number, str(written.get(MARK, "")), oldest)

    def keep(self, versions: int, there: Version) -> Kept:
        """Before another version: delete the files of all but so many, less that one, of those there. The newest stays.

        Only those that the log names: whatever else lies there, and what another writer is at, is left alone. A version
        of which not all could be deleted is begun with again next time.
        """
        oldest, deleted, first = there.oldest, 0, there.number - max(versions - 1, 1) + 1
        if oldest >= first:
            return Kept(oldest, 0, None)
        assert self._table is not None and self._delete is not None
        try:
            with _explained(self.uri, "get_object"):
                # What another program compacted, or deleted rows from, has files of the version before it.
                needed = _paths(self._table) | next(filter(None, map(self._files, range(first, there.number))), set())
                for oldest in range(there.oldest, first):
                    for path in sorted(self._files(oldest) - needed):
                        self._delete(path)
                        deleted += 1
            with _explained(self.uri, "delete_object"):
                self._table.cleanup_metadata()
        except (PipelineError, Refused) as refused:
            return Kept(oldest, deleted, refused)
        return Kept(first, deleted, None)

    def _files(self, number: int) -> set[str]:
        """Of old commits the log is cleaned a month later: what is left of it may be too little for a version."""
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
        with _explained(self.uri):
            self._table = DeltaTable(self.uri, storage_options=self._options)
            sizes = self._table.get_add_actions(flatten=True).column("size_bytes").to_pylist()
            return Written(self._table.version(), len(sizes), sum(sizes))

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
            with _explained(self._uri):
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


@contextlib.contextmanager
def _explained(uri: str, operation: str = "put_object") -> Iterator[None]:
    """deltalake's exceptions in our words; Refused where S3 said no, which s3_writer.py knows the meaning of."""
    try:
        yield
    except (PipelineError, Refused):
        raise
    except Exception as error:
        said = " ".join(_COLOURS.sub("", str(error)).replace("\u21b3", " ").split())
        raise _meaning(uri, said, operation, is_taken=isinstance(error, CommitFailedError)) from error


def _meaning(uri: str, said: str, operation: str, *, is_taken: bool) -> Exception:
    if is_taken or "table already exists" in said:
        return AnotherRun(f"{uri} was written by somebody else meanwhile, and is as they left it; run again")
    if uri.startswith("s3:"):
        return _meaning_in_s3(uri, said, operation)
    if "No space left" in said or "Disk quota" in said:
        return Outage(f"{uri}: no room is left; make room on the disk, then run again")
    if "Permission denied" in said or "Read-only file system" in said:
        return ConfigurationError(f"{uri} can't be written; check its owner and permissions")
    return PipelineError(f"{uri}: {said[:300]}")


def _meaning_in_s3(uri: str, said: str, operation: str) -> Exception:
    status, code = _STATUS.search(said), _CODE.search(said)
    if status or code:
        return Refused(int(status[1]) if status else 0, code[1] if code else "", operation)
    if "necessary privileges" in said:
        return Refused(403, "AccessDenied", operation)
    if re.search("error sending request|timed? ?out|after \\d+ retries", said, re.IGNORECASE):
        return Outage(f"S3 can't be reached: {said[-200:]}; run again later")
    return PipelineError(f"{uri}: {said[:300]}")
