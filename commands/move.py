"""`move`: the database into an empty one of the other engine, and the proof that all of it arrived."""

from __future__ import annotations

import contextlib
from typing import Iterator

import db
from commands import moving, reports, runs
from commands.context import Context
from commands.signals import SignalsRaise
from foundation import settings
from foundation.errors import EXIT_OK, ConfigurationError


def run(context: Context, *, to_db_path: str) -> int:
    started = context.clock.monotonic()
    shown, shown_target = settings.masked(context.db_path), settings.masked(to_db_path)
    if settings.is_postgres(context.db_path) == settings.is_postgres(to_db_path):
        raise ConfigurationError(
            f"{shown} and {shown_target} are of one engine, whose own tools copy it: docs/OPERATIONS.md, 'Backup'"
        )
    conn = db.connect(context.db_path, must_exist=True)
    with contextlib.closing(conn), SignalsRaise(), context.recorded(
        conn, command="move", what=f"{shown} to {shown_target}"
    ) as record:
        record.hold([runs.MOVE])
        with _explained(context.db_path, to_db_path), contextlib.closing(db.connect(to_db_path)) as target:
            is_unfinished = moving.begin(conn, target, shown=shown_target, clock=context.clock)
            with moving.held_still(context.db_path, own_token=record.token) as source:
                copied, found = _move(context, source, target, is_unfinished=is_unfinished)
            if is_unfinished:
                moving.end(target)
    rows = sum(table.rows for table in found.values())
    summary = {
        "command": "move",
        "from": shown,
        "to": shown_target,
        "rows": rows,
        "copied": copied,
        "tables": {name: table._asdict() for name, table in found.items()},
        "seconds": round(context.clock.monotonic() - started, 3),
    }
    context.show(summary, reports.move_lines(summary))
    return EXIT_OK


def _move(
    context: Context, source: db.Connection, target: db.Connection, *, is_unfinished: bool
) -> tuple[int, dict[str, moving.Moved]]:
    """How many rows were copied, and what all tables hold now, here and there."""
    # Two rounds of all rows, and one bar.
    rows = moving.total(source)
    with context.bar(unit=" rows", total=2 * rows) as bar:
        copied = moving.copy(source, target, on_progress=bar.update) if is_unfinished else 0
        found = moving.compare(
            source, target, on_progress=lambda compared, table: bar.update(rows + compared, f"comparing {table}")
        )
    return copied, found


@contextlib.contextmanager
def _explained(*paths: str) -> Iterator[None]:
    """An error of SQLite's is one of that file, which may be the target; `main` takes it for one of the source."""
    try:
        yield
    except db.Error as error:
        raise db.explain(error, next(path for path in paths if not settings.is_postgres(path))) from error
