"""`ingest`: GitHub -> queue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Callable, Collection, Sequence

import db
import ingest
from commands import options, progress, reports
from commands.api_client import api_clients
from commands.context import Context
from commands.signals import SignalsRaise
from cursors import repo_names
from fetcher import ALL_HISTORY
from foundation import settings, timestamps
from foundation.errors import EXIT_OK, AnotherRun, ConfigurationError, Outage, PipelineError
from github import repositories
from github.clients import Clients

if TYPE_CHECKING:
    from audit import sweep

log = logging.getLogger("pipeline.ingest")


def run(
    context: Context,
    *,
    repos: Sequence[str],
    repos_file: str | None,
    orgs: Sequence[str],
    installation: bool,
    skip_archived: bool,
    include_forks: bool,
    days: int | None,
    since: str | None,
    all_history: bool,
    only: str | None,
    streams: Sequence[str],
    jobs: int,
    max_wait_seconds: int,
    reserve_points: int,
) -> int:
    started = context.clock.monotonic()

    def on_wait(seconds: float, reason: str) -> None:
        if clients.any.login.is_anonymous and "limit" in reason:
            reason += "; GITHUB_TOKEN raises 60 points an hour to 5,000"
        back = timestamps.from_epoch(context.clock.now() + seconds)
        log.info("waiting %.0f s, until %s: %s", seconds, back, reason)
        bar.wait(seconds, reason)

    chosen = [only] if only else streams
    clients = api_clients(
        context, chosen, max_wait_seconds=max_wait_seconds, reserve_points=reserve_points, on_wait=on_wait
    )
    names = [*repos, *(repositories.from_file(repos_file, context.environ) if repos_file else [])]
    if not names and not orgs and not installation:
        raise ConfigurationError("no repository: give --repo OWNER/NAME, --repos-file FILE or --org ORG")
    conn = db.connect(context.db_path)  # one that can't be used is found before GitHub is asked for anything
    now = db.now(conn, context.clock)
    since = ALL_HISTORY if all_history else _look_back(since, days, now)
    bar = context.bar(unit=" items")
    what = f"{', '.join([*names, *lists_named(orgs, installation)])}, looking back to {_shown(since)}"
    with bar, SignalsRaise(), context.recorded(conn, command="ingest", what=what) as record:
        listed, failures = in_lists(
            clients, orgs, installation, include_archived=not skip_archived, include_forks=include_forks
        )
        targets = [(repo, stream) for repo in repositories.unique([*names, *listed]) for stream in chosen]
        locks = ingest_locks(conn, {repo for repo, _ in targets})
        record.hold(sorted(set(locks.values())))
        scans = ingest.Ingest(
            clients=clients,
            db_path=context.db_path,
            clock=context.clock,
            since=since,
            default_since=_days_before(now, options.DEFAULT_DAYS),
            repo_ids={name.lower(): repo_id for name, repo_id in listed.items()},
            on_progress=_shown_on(bar, clients),
            in_commit=lambda conn, repo: record.check_held(conn, locks[repo]),
        )
        results = scans.run(targets, jobs=jobs)
        code = ingest.exit_code(results, failures)
        error = last_word(code, results, failures)
        record.ended(code, None if error is None else str(error))
        bar.close("stopped, see below" if error else None)
    conn.close()
    summary = reports.ingest_summary(results, clients.points_left, context.clock.monotonic() - started)
    context.show(summary, reports.ingest_lines(summary))
    if error is not None:
        raise error
    return code


def lists_named(orgs: Sequence[str], installation: bool) -> list[str]:
    return [f"all of {org}" for org in orgs] + ["all of the App's installations"] * installation


def in_lists(
    clients: Clients, orgs: Sequence[str], installation: bool, **kinds: bool
) -> tuple[dict[str, int], list[PipelineError]]:
    """The repositories in GitHub's own lists, by their ids, and why other lists could not be read."""
    listed, failures = repositories.of_organisations(clients, orgs, **kinds)
    if installation:
        more, others = repositories.of_installations(clients, **kinds)
        listed, failures = {**listed, **more}, [*failures, *others]
    return listed, failures


def last_word(
    code: int, results: Sequence[ingest.StreamResult | sweep.RepoResult], failures: Sequence[PipelineError]
) -> PipelineError | None:
    """What a person reads last: the first error of those that decide the exit code."""
    if code == EXIT_OK:
        return None
    said = [str(failure) for failure in failures if failure.exit_code == code]
    said += [result.error for result in results if result.error is not None and result.exit_code == code]
    kinds = {kind.exit_code: kind for kind in (ConfigurationError, Outage, AnotherRun)}
    more = f" (and {len(said) - 1} more, see above)" if len(set(said)) > 1 else ""
    return kinds.get(code, PipelineError)(said[0] + more)


def ingest_locks(conn: db.Connection, repos: Collection[str]) -> dict[str, str]:
    """What no other ingest may do meanwhile: a lock for each repository, by the name under which it is kept."""
    return {repo: f"ingest of {name.lower()}" for repo, name in repo_names.kept_as(conn, repos).items()}


def _shown(since: str | None) -> str:
    return "the cursors" if since is None else "the beginning" if since == ALL_HISTORY else since


def _look_back(since: str | None, days: int | None, now: str) -> str | None:
    """--days as a date. Raises ConfigurationError for a date that has not been yet."""
    if days is not None:
        return _days_before(now, days)
    if since is not None and since > now:
        raise ConfigurationError(f"--since {since} lies in the future; give a date that has been")
    return since


def _days_before(now: str, days: int) -> str:
    return timestamps.shift(now, seconds=-days * settings.DAY_SECONDS)


def _shown_on(bar: progress.Progress, clients: Clients) -> Callable[[ingest.StreamResult], None]:
    totals: dict[tuple[str, str], tuple[int, int]] = {}

    def show(result: ingest.StreamResult) -> None:
        totals[result.repo, result.stream] = (result.fetched, result.requests)
        items, pages = (sum(figures) for figures in zip(*totals.values()))
        left = "unknown" if clients.points_left is None else clients.points_left
        bar.update(items, f"{pages} pages, now {result.repo} {result.stream}, {left} API points left")

    return show
