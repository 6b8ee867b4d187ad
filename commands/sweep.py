"""`sweep`: what GitHub shows no more, and what no ingest brought."""

from __future__ import annotations

import contextlib
import logging
from typing import Sequence

import db
from audit import inventory, sweep
from commands import reports
from commands.api_client import api_clients
from commands.context import Context
from commands.ingest import in_lists, ingest_locks, last_word, lists_named
from commands.signals import SignalsRaise
from foundation import timestamps
from foundation.errors import EXIT_OK, PipelineError
from github import repositories
from github.clients import Clients
from github.streams import STREAMS

log = logging.getLogger("pipeline.sweep")


def run(
    context: Context,
    *,
    repos: Sequence[str],
    repos_file: str | None,
    orgs: Sequence[str],
    installation: bool,
    full: bool,
    dry_run: bool,
    max_gone: int | None,
    max_wait_seconds: int,
    reserve_points: int,
) -> int:
    started = context.clock.monotonic()

    def on_wait(seconds: float, reason: str) -> None:
        log.info("waiting %.0f s, until %s: %s", seconds, timestamps.from_epoch(context.clock.now() + seconds), reason)
        bar.wait(seconds, reason)

    clients = api_clients(
        context, list(STREAMS), max_wait_seconds=max_wait_seconds, reserve_points=reserve_points, on_wait=on_wait
    )
    names = [*repos, *(repositories.from_file(repos_file, context.environ) if repos_file else [])]
    what = ", ".join([*names, *lists_named(orgs, installation)]) or "all repositories that are known"
    bar = context.bar(unit=" repositories")
    with contextlib.closing(
        db.connect(context.db_path, must_exist=True)
    ) as conn, bar, SignalsRaise(), context.recorded(conn, command="sweep", what=what) as record:
        chosen, failures = _chosen(conn, clients, names, orgs, installation)
        locks = ingest_locks(conn, chosen)
        job = sweep.Sweep(
            conn=conn,
            clients=clients,
            clock=context.clock,
            settings=sweep.Settings(full, dry_run, max_gone),
            alone=lambda repo: record.while_held(locks[repo]),
            in_commit=lambda conn, repo: record.check_held(conn, locks[repo]),
        )
        results: list[sweep.RepoResult] = []
        for result in job.run(chosen):
            results.append(result)
            bar.update(len(results), f"now {result.repo}")
        error = last_word(sweep.exit_code(results, failures), results, failures)
        record.ended(EXIT_OK if error is None else error.exit_code, None if error is None else str(error))
        bar.close("ended, see below" if error else None)
    summary = reports.sweep_summary(results, job.requests, dry_run, context.clock.monotonic() - started)
    context.show(summary, reports.sweep_lines(summary))
    if error is not None:
        raise error
    return EXIT_OK


def _chosen(
    conn: db.Connection, clients: Clients, names: Sequence[str], orgs: Sequence[str], installation: bool
) -> tuple[list[str], list[PipelineError]]:
    """Of a list of GitHub's those that are kept: of others nothing could be gone. Also those of an organisation that
    it does not list any more: access to them may be lost."""
    known = inventory.repositories(conn)
    if not names and not orgs and not installation:
        return known, []
    listed, failures = in_lists(clients, orgs, installation, include_archived=True, include_forks=True)
    kept = {name.lower() for name in known}
    owners = {org.lower() for org in orgs}
    theirs = [name for name in known if name.lower().split("/")[0] in owners]
    return repositories.unique([*names, *(name for name in listed if name.lower() in kept), *theirs]), failures
