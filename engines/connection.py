"""What the rest of the program sees of a database, whichever engine it is: a connection, and the words that differ."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Protocol, Sequence


class Words(NamedTuple):
    """Where the SQL of both engines differs in a word or two; what differs by more stands side by side where it is."""

    is_postgres: bool
    # A parameter of bytes as text, and a column of text as bytes: payloads are never decoded on their way.
    text_of_bytes: str
    bytes_of_payload: str
    # SQLite has one writer at a time. Elsewhere rows that are read to be changed are locked: all of them, or those that
    # nobody else has locked.
    lock_rows: str
    lock_free_rows: str
    # Rows that a query names by id. PostgreSQL is told to run it first: it could go through all rows beside it.
    ids_of: str
    # The order of the queue, as the indexes of its pending rows have it. PostgreSQL would read it off the primary key
    # as well, over all rows that are done, whenever its statistics are from when most were pending; an expression of
    # `id` it finds in those indexes alone.
    queue_order: str
    # SQLite takes the tables of a CROSS JOIN in this order, whatever it guesses of their sizes.
    join_in_order: str


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def close(self) -> object: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Of one thread. Parameters are `?` or `:name`; the values of a row are found by name and by place."""

    @property
    def words(self) -> Words: ...
    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Sequence[Any], /) -> object: ...
    def close(self) -> None: ...
