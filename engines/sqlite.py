"""SQLite: connecting, transactions, statements for many rows, space, and what its errors mean. Knows no table."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence, TypeVar

from engines.connection import Words
from foundation.errors import ConfigurationError, Outage

# How long a statement waits for another process's write lock. Ours are held for milliseconds; a backup may take longer.
BUSY_TIMEOUT_SECONDS = 30
WAL_ATTEMPTS = 10  # to switch to it
PAGE_BYTES = 16384
PARAMETERS_A_STATEMENT = 999  # SQLite before 3.32 takes no more (https://www.sqlite.org/limits.html)
T = TypeVar("T")
WORDS = Words(
    is_postgres=False,
    text_of_bytes="CAST(? AS TEXT)",
    bytes_of_payload="CAST(payload AS BLOB)",
    lock_rows="",
    lock_free_rows="",
    ids_of="id IN ({})",
    queue_order="id",
    join_in_order="CROSS JOIN",
)


class Connection(sqlite3.Connection):
    """Knows which file it works on. SQLite goes on in one that was deleted or moved away, and reports success.

    https://www.sqlite.org/howtocorrupt.html, "Unlinking or renaming a database file while in use"
    """

    words = WORDS
    path = ""
    file: tuple[int, int] | None = None

    def check_file(self) -> None:
        """ConfigurationError where the path means another file than the one that was opened, or none."""
        if _file_at(self.path) != self.file:
            raise ConfigurationError(
                f"database {self.path!r} was deleted, moved or replaced meanwhile: nothing more is written to it; "
                "see that the right file is there, then run again"
            )


def connect(path: str, *, synchronous: str, must_exist: bool, prepare: Callable[[Connection], bool]) -> Connection:
    """A connection to the database at `path`, created where there is none; use it in one thread only.

    `must_exist`: none is created. `prepare(conn)` makes or brings forward its tables, and says whether it had to; then
    it is opened anew: SQLite 3.31 leaves in force what was taken out of a schema's text until then.
    `synchronous` as in https://www.sqlite.org/pragma.html#pragma_synchronous: FULL keeps every commit through a power
    cut. Raises ConfigurationError for a path or file that can't be a database.
    """
    _check_place(path)
    if must_exist and not os.path.exists(path):
        raise ConfigurationError(f"there is no database {path!r}; check --db and PIPELINE_DB, or run ingest first")
    # Payloads of private repositories lie there. SQLite gives the files that it makes beside it the same rights. Only
    # where there is none: to open and close a file drops all locks that this process has on it (fcntl(2)).
    with contextlib.suppress(OSError):
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    file = _file_at(path)  # before it is opened: one that is replaced in between is found later, not taken for it
    try:
        conn = _opened(path, file)
        try:
            if prepare(conn):
                conn.close()
                conn = _opened(path, file)
            conn.execute(f"PRAGMA synchronous = {synchronous}")
        except BaseException:
            conn.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return conn


def _opened(path: str, file: tuple[int, int] | None) -> Connection:
    conn = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, factory=Connection)
    conn.path, conn.file, conn.row_factory = path, file, sqlite3.Row
    return conn


@contextlib.contextmanager
def transaction(conn: Connection) -> Iterator[Connection]:
    """One write transaction: committed when the block ends, rolled back when it raises.

    Raises ConfigurationError where the file is no longer the one at its path: what is written there is lost.
    IMMEDIATE, because a deferred one that reads before it writes can fail with SQLITE_BUSY_SNAPSHOT whatever the
    time-out (https://www.sqlite.org/isolation.html).
    """
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield conn
        conn.check_file()
        conn.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled the transaction back already.
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(conn: Connection) -> Iterator[None]:
    """Within the block all is read as it was at the first look. Nobody waits for it; only the log grows meanwhile."""
    conn.execute("BEGIN")
    try:
        yield
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


def chunks(conn: Connection, query: str, parameters: Sequence[Any], *, rows: int) -> Iterator[list[tuple[Any, ...]]]:
    cursor = conn.cursor()
    cursor.row_factory = None  # plain tuples
    with contextlib.closing(cursor):
        cursor.execute(query, parameters)
        while some := cursor.fetchmany(rows):
            yield some


@contextlib.contextmanager
def reader(path: str) -> Iterator[Connection]:
    """A connection that changes nothing, migrates nothing, and is closed at the end of the block."""
    real = Path(path).resolve()
    # Where nothing may be made beside the file, SQLite reads it only as one that nobody changes meanwhile, and without
    # what stands in its log (https://www.sqlite.org/wal.html#readonly).
    is_alone = not os.access(real.parent, os.W_OK) and not Path(f"{real}-wal").exists()
    uri = f"{real.as_uri()}?{'immutable=1' if is_alone else 'mode=ro'}"
    conn = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, factory=Connection)
    try:
        conn.row_factory = sqlite3.Row
        yield conn
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        conn.close()


def set_up_new(conn: Connection) -> None:
    """What a database can be told only before its first table is made."""
    # Each change of a row writes all of it again: payloads of some KB take half the time where they fit on a page
    # (python -m benchmarks queues).
    conn.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    conn.execute("PRAGMA auto_vacuum = INCREMENTAL")  # lets space be given back later


def switch_to_wal(conn: Connection) -> None:
    """While another process does the same, SQLite may refuse this at once, without waiting: then wait for the other."""
    for _ in range(WAL_ATTEMPTS - 1):
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            with transaction(conn):
                pass
    conn.execute("PRAGMA journal_mode = WAL")


def damage(conn: Connection) -> str | None:
    """What is wrong with the file, reading every page of it (https://www.sqlite.org/pragma.html#pragma_quick_check)."""
    found = [row[0] for row in conn.execute("PRAGMA quick_check(1)")]
    return None if found == ["ok"] else f"damaged: {found[0]}; restore a backup, or start a new one and rebuild"


def size_bytes(path: str) -> int:
    """What the database takes on disk, with its write-ahead log, which lies beside the file that a link leads to."""
    path = os.path.realpath(path)
    return sum(Path(file).stat().st_size for file in (path, path + "-wal") if Path(file).exists())


def give_space_back(conn: Connection, *, pages: int) -> bool:
    """Give up to `pages` free pages back to the file system; False when there were none."""
    if conn.execute("PRAGMA freelist_count").fetchone()[0] == 0:
        return False
    # `execute` stops the statement after its first row, and so after one page (Python 3.11).
    conn.executescript(f"PRAGMA incremental_vacuum({pages})")
    return True


def last_id(conn: Connection, table: str) -> int:
    """The last that was given to a row; those behind it are free."""
    found = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(found[0]) if found else 0


def give_ids_after(conn: Connection, table: str, last: int) -> None:
    # The table has no key (https://www.sqlite.org/autoinc.html), and no row for what nothing was put into.
    if not conn.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, table)).rowcount:
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))


def empty_wal(conn: Connection) -> bool:
    """Move the write-ahead log into the database and cut it to nothing; False where a reader is in the way.

    https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
    """
    return not conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def in_statements(rows: Sequence[T], *, parameters: int = 1, besides: int = 0) -> Iterator[Sequence[T]]:
    """The rows, as many at a time as one statement takes: each needs so many parameters, and the rest `besides`.

    One statement for many rows takes far less time than one for each, above all when other threads are busy: each
    statement gives up the interpreter's lock, and waits for it again. Groups are of 1, 2, 4, 8 ... rows, so that there
    are few different statements: `sqlite3` keeps a hundred of them, each with the values that it had last.
    """
    most = (PARAMETERS_A_STATEMENT - besides) // parameters
    first = 0
    while first < len(rows):
        size = 2 ** (min(most, len(rows) - first).bit_length() - 1)
        yield rows[first : first + size]
        first += size


def places(count: int) -> str:
    """`(?, ?, ?)`: so many parameters."""
    return "(" + ", ".join("?" * count) + ")"


def explain(error: sqlite3.Error | UnicodeDecodeError, path: str) -> ConfigurationError | Outage:
    """What an SQLite error means for the person who runs the command.

    A damaged schema shows as a UnicodeDecodeError: Python can't decode SQLite's own message about it.
    """
    text = "malformed" if isinstance(error, UnicodeDecodeError) else str(error)
    if "locked" in text or "busy" in text:
        return Outage(f"database {path!r} was locked by another process for {BUSY_TIMEOUT_SECONDS} s; run again later")
    if "full" in text or "disk I/O" in text:
        return Outage(f"database {path!r}: {text}; make room on its disk, then run again")
    if "not a database" in text:
        return ConfigurationError(f"{path!r} is not an SQLite database; check --db and PIPELINE_DB")
    if "malformed" in text or "decode" in text:
        return ConfigurationError(f"database {path!r} is damaged ({text}); restore a backup, or begin anew and rebuild")
    return ConfigurationError(f"database {path!r} can't be used: {text}; check the path and its permissions")


def _file_at(path: str) -> tuple[int, int] | None:
    """What tells the file from every other that lives (inode(7)); None: there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_place(path: str) -> None:
    """ConfigurationError where no database can be made at `path`, and what is there is no file."""
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise ConfigurationError(f"database {path!r}: the folder {str(Path(path).parent)!r} does not exist; create it")
    if path.endswith(os.sep) or (real.exists() and not real.is_file()):
        raise ConfigurationError(f"database {path!r} can't be used: it is no file; give one, such as pipeline.db")
