"""`publish`: the tables as Delta tables in the lake, for engines that read no database."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence, cast

import db
from commands import archive_choice, options, reports
from commands.archive_choice import Location, Place
from commands.context import Context
from commands.signals import SignalsRaise
from foundation.errors import EXIT_OK, ConfigurationError
from lake import notes
from lake.objects import Archive
from lake.tables import Table
from s3.object_store import unheard

if TYPE_CHECKING:
    from lake import delta
    from lake.local import DirectoryArchive
    from s3_writer import S3Archive

log = logging.getLogger("pipeline.publish")


def run(
    context: Context,
    *,
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    tables: Sequence[Table],
    versions_kept: int,
    encryption: str | None,
    kms_key_id: str | None,
) -> int:
    started = context.clock.monotonic()
    publishing = _publishing()
    location = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=context.environ)
    is_local = location.directory is not None
    objects = archive_choice.object_options(None, encryption, kms_key_id, (), is_local=is_local)
    conn = db.connect(context.db_path, must_exist=True)
    what = f"{', '.join(table.name for table in tables)} into {location}, below {prefix!r}"
    bar = context.bar(unit=" rows")
    recorded = context.recorded(conn, command="publish", what=what)
    refused: list[Exception] = []
    with contextlib.closing(conn), _private(is_local), SignalsRaise(), recorded as record:
        record.hold(["publish"])
        store = archive_choice.open_archive(
            location, threads=1, environ=context.environ, user_agent=options.USER_AGENT, options=objects
        )
        with _explained(store), unheard(os.environ), bar:
            _check_prefix(conn, location, prefix, context.environ)
            _check(store, location, [f"{prefix}{table.name}" for table in tables])
            results = publishing.publish(
                conn,
                tables,
                lambda table: _place(store, location, f"{prefix}{table.name}"),
                keep=versions_kept,
                on_progress=lambda table, rows: bar.update(rows, table.name),
                on_refused=refused.append,
            )
        done = [result._asdict() for result in results]
        seconds = round(context.clock.monotonic() - started, 3)
        summary = {"command": "publish", "tables": done, "seconds": seconds}
        context.show(summary, reports.publish_lines(summary))
        with _explained(store):
            if refused:
                raise refused[0]
    return EXIT_OK


def _publishing() -> Any:
    """lake.publish, which stands on a package that nothing else needs."""
    try:
        from lake import publish
    except ImportError as error:
        raise ConfigurationError(
            f"publish needs the package deltalake ({error}), and that Python 3.10 or newer; install it: "
            "pip install -r requirements-publish.txt"
        ) from error
    return publish


def _check_prefix(conn: db.Connection, location: Location, prefix: str, environ: Mapping[str, str]) -> None:
    """Not within the archive of this database: streams that are switched on later have folders of the tables' names."""
    here = location.place(prefix, environ)
    for known in map(Place.of_text, notes.archives(conn)):
        if known.prefix and prefix.startswith(known.prefix) and known._replace(prefix=prefix) == here:
            raise ConfigurationError(f"--prefix {prefix}: the archive lies below {known.prefix}; give another")


def _check(store: Archive, location: Location, folders: Sequence[str]) -> None:
    """All of it before anything is written, and by requests whose failures have words of ours."""
    from lake.publish import check_is_free, unfinished

    for folder in folders:
        _place(store, location, folder)
        if next(store.keys(f"{folder}/_delta_log/"), None) is None:
            check_is_free(store.keys(f"{folder}/"), f"{folder}/")
        if location.directory is not None:
            _of_directory(store).remove_stale(unfinished(store.keys(f"{folder}/")))


def _place(store: Archive, location: Location, folder: str) -> delta.Place:
    from lake.delta import Place as DeltaPlace

    def delete(path: str) -> None:
        store.remove(f"{folder}/{path}")

    if location.directory is not None:
        return DeltaPlace(str(Path(location.directory).resolve() / folder), delete=delete)
    return DeltaPlace(f"s3://{location.bucket}/{folder}", _of_s3(store).object_store_options(), delete=delete)


def _of_directory(store: Archive) -> DirectoryArchive:
    return cast("DirectoryArchive", store)


def _of_s3(store: Archive) -> S3Archive:
    return cast("S3Archive", store)


@contextlib.contextmanager
def _explained(store: Archive) -> Iterator[None]:
    """What S3 refuses to deltalake means what it means to the worker."""
    from lake.refusals import Refused

    try:
        yield
    except Refused as refused:
        # No more of it: an answer about a session's token holds the token.
        log.debug("deltalake met %d %s", refused.status, refused.code)
        raise _of_s3(store).meaning(refused.status, refused.code, operation=refused.operation) from refused


@contextlib.contextmanager
def _private(is_local: bool) -> Iterator[None]:
    """What deltalake makes in a directory is its owner's alone, as the archive is."""
    before = os.umask(0o077) if is_local else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)
