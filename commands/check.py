"""`check`: is everything that a run needs in place? Changes nothing, and leaves nothing behind."""

from __future__ import annotations

from typing import Callable, Iterator, Mapping, Sequence

from commands import archive_choice, findings, login_findings, options, reports
from commands.api_client import api_clients
from commands.context import Context
from commands.findings import ERROR, OK, OUTAGE, WARNING, Finding
from foundation import settings
from foundation.clock import Clock
from foundation.errors import EXIT_CONFIGURATION, EXIT_OK, EXIT_OUTAGE, ConfigurationError, Outage, PipelineError
from github import repositories
from github.login import environment
from lake.objects import ObjectOptions


def run(
    context: Context,
    *,
    repos: Sequence[str],
    repos_file: str | None,
    streams: Sequence[str],
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    storage_class: str | None,
    encryption: str | None,
    kms_key_id: str | None,
    tags: Sequence[tuple[str, str]],
) -> int:
    objects = archive_choice.object_options(
        storage_class, encryption, kms_key_id, tags, is_local=archive_dir is not None
    )
    names = [*repos, *(repositories.from_file(repos_file, context.environ) if repos_file else [])]
    found = [
        *_guarded("GitHub", lambda: _github(context, names, streams)),
        *_guarded("archive", lambda: _archive(bucket, archive_dir, prefix, objects, context.environ, context.clock)),
        *_guarded("database", lambda: findings.database(context.db_path, clock=context.clock)),
    ]
    summary = {"command": "check", "checks": [finding._asdict() for finding in found]}
    lines = [settings.one_line(line, context.environ) for line in reports.check_lines(summary)]
    if context.quiet:
        lines = [line for line in lines if not line.startswith(OK)]
    context.show(summary, lines, quiet=False)
    states = {finding.state for finding in found}
    return EXIT_CONFIGURATION if ERROR in states else EXIT_OUTAGE if OUTAGE in states else EXIT_OK


def _github(context: Context, names: Sequence[str], streams: Sequence[str]) -> Iterator[Finding]:
    clients = api_clients(context, streams)
    yield from login_findings.of(clients, environment.app(context.environ), names, clock=context.clock)
    yield from findings.repositories(clients, names, streams)


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check raises is its last finding; the others are made all the same."""
    try:
        yield from check()
    except Outage as error:
        yield Finding(OUTAGE, name, str(error))
    except PipelineError as error:
        yield Finding(ERROR, name, str(error))


def _archive(
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    objects: ObjectOptions,
    environ: Mapping[str, str],
    clock: Clock,
) -> Iterator[Finding]:
    try:
        location = archive_choice.locate(bucket=bucket, archive_dir=archive_dir, environ=environ)
    except ConfigurationError as error:
        if bucket or archive_dir:
            raise
        yield Finding(WARNING, "archive", str(error))
        return
    if location.directory is not None:
        yield from findings.directory(location.directory)
        return
    store = archive_choice.open_bucket(
        location, threads=1, environ=environ, user_agent=options.USER_AGENT, options=objects
    )
    yield from findings.bucket(store, str(location), prefix, clock=clock)
