"""Runs a command: builds the objects, shows the result, turns errors into exit codes.

The options are in options.py, what is printed in reports.py. Commands import what they need when they run, so that
--help, status and retry start without boto3 and requests.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

import db
import logs
import options
import queue_manager
import reports
import settings
import timestamps
from clock import SYSTEM_CLOCK, Clock
from errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, ConfigurationError, Interrupted, PipelineError
from progress import Progress, wants_bar
from signals import SignalsCall, SignalsRaise

if TYPE_CHECKING:
    from github_api import GitHub

log = logging.getLogger("pipeline")

USER_AGENT = f"github-issues-pipeline/{options.VERSION}"
FAILED_ITEMS_SHOWN = 20


def main(
    argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK
) -> int:
    """Run one command and return its exit code. The one place where errors become a line and a code."""
    environ = os.environ if environ is None else environ
    arguments = vars(options.build_parser(environ).parse_args(argv))
    command = COMMANDS[arguments.pop("command")]
    logs.set_up(verbose=arguments.pop("verbose"), quiet=arguments["quiet"], environ=environ)
    try:
        return command(environ=environ, clock=clock, **arguments)
    except (PipelineError, Interrupted) as error:
        return _report(str(error), error.exit_code, environ)
    except sqlite3.Error as error:
        explained = db.explain(error, arguments["db_path"])
        return _report(str(explained), explained.exit_code, environ)
    except KeyboardInterrupt:
        return _report("interrupted", 128 + signal.SIGINT, environ)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open: the interpreter flushes stdout at its end
        return EXIT_OK
    except Exception as error:
        log.debug("where it happened", exc_info=True)
        return _report(f"unexpected {type(error).__name__}: {error}; please report it", EXIT_FAILED, environ)


def _report(message: str, code: int, environ: Mapping[str, str]) -> int:
    print("error: " + settings.one_line(message, environ), file=sys.stderr)
    return code


def run_ingest(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    repos: Sequence[str],
    repos_file: str | None,
    orgs: Sequence[str],
    skip_archived: bool,
    include_forks: bool,
    days: int | None,
    since: str | None,
    all_history: bool,
    only: str | None,
    jobs: int,
    max_wait_seconds: int,
    reserve_points: int,
) -> int:
    import ingest
    import repositories
    from fetcher import ALL_HISTORY

    started = clock.monotonic()
    since = ALL_HISTORY if all_history else _look_back(since, days, clock)
    api = _github(environ, clock, max_wait_seconds=max_wait_seconds, reserve_points=reserve_points)
    names = [*repos, *(repositories.from_file(repos_file) if repos_file else [])]
    if not names and not orgs:
        raise ConfigurationError("no repository: give --repo OWNER/NAME, --repos-file FILE or --org ORG")
    db.connect(db_path).close()  # a database that can't be used is found before GitHub is asked for anything
    progress = _progress(clock, total=None, quiet=quiet, no_progress=no_progress)
    totals: dict[tuple[str, str], int] = {}

    def on_progress(result: ingest.StreamResult) -> None:
        totals[result.repo, result.stream] = result.fetched
        left = "unknown" if api.limits.remaining is None else api.limits.remaining
        progress.update(sum(totals.values()), f"{result.repo} {result.stream}, {left} API points left")

    run = ingest.Ingest(
        api=api,
        db_path=db_path,
        clock=clock,
        since=since,
        default_since=timestamps.from_epoch(clock.now() - options.DEFAULT_DAYS * settings.DAY_SECONDS),
        on_progress=on_progress,
    )
    with SignalsRaise():
        listed, unreadable = repositories.of_organisations(
            api, orgs, include_archived=not skip_archived, include_forks=include_forks
        )
        streams = [only] if only else ["issues", "pulls"]
        targets = [(repo, stream) for repo in repositories.unique([*names, *listed]) for stream in streams]
        results = run.run(targets, jobs=jobs)
    progress.close()
    summary = reports.ingest_summary(results, api.limits.remaining, clock.monotonic() - started)
    reports.show(summary, reports.ingest_lines(summary), as_json=as_json, quiet=quiet)
    code = ingest.exit_code(results)
    if code == EXIT_CONFIGURATION:
        raise ConfigurationError(next(r.error or "" for r in results if r.exit_code == code))
    return code or (EXIT_FAILED if unreadable else EXIT_OK)


def _look_back(since: str | None, days: int | None, clock: Clock) -> str | None:
    """--days as a date. Raises ConfigurationError for a date that has not been yet."""
    if days is not None:
        return timestamps.from_epoch(clock.now() - days * settings.DAY_SECONDS)
    if since is not None and since > clock.utc():
        raise ConfigurationError(f"--since {since} lies in the future; give a date that has been")
    return since


def _github(environ: Mapping[str, str], clock: Clock, *, max_wait_seconds: int, reserve_points: int) -> GitHub:
    from github_api import GitHub, log
    from rate_limit import RateLimits

    token = settings.token(environ)
    return GitHub(
        base_url=settings.api_url(environ, with_token=token is not None),
        token=token,
        user_agent=USER_AGENT,
        limits=RateLimits(
            now=clock.now,
            monotonic=clock.monotonic,
            max_wait_seconds=max_wait_seconds,
            reserve_points=reserve_points,
        ),
        clock=clock,
        rng=random.Random(),
        on_wait=lambda seconds, reason: log.info(
            "waiting %.0f s, until %s: %s", seconds, timestamps.from_epoch(clock.now() + seconds), reason
        ),
    )


def _progress(clock: Clock, *, total: int | None, quiet: bool, no_progress: bool) -> Progress:
    show_bar = wants_bar(quiet=quiet, no_progress=no_progress)
    return Progress(unit=" items", total=total, show_bar=show_bar, monotonic=clock.monotonic)


def run_worker(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    bucket: str | None,
    archive_dir: str | None,
    prefix: str,
    threads: int,
    max_attempts: int,
    limit: int | None,
) -> int:
    if bucket and archive_dir:
        raise ConfigurationError("--bucket and --archive-dir exclude each other; give one")
    bucket = None if archive_dir else bucket or environ.get("BUCKET_NAME")
    if not bucket and not archive_dir:
        raise ConfigurationError("no archive: give --bucket NAME (or set BUCKET_NAME), or --archive-dir DIR")
    import s3_writer
    import worker

    started = clock.monotonic()
    # NORMAL: a power cut may cost the last moments' `done`s, whose uploads are then repeated to the same keys.
    conn = db.connect(db_path, synchronous="NORMAL")
    archive: s3_writer.Archive = (
        s3_writer.DirectoryArchive(archive_dir)
        if archive_dir
        else s3_writer.S3Archive(bucket=bucket or "", threads=threads, environ=environ, user_agent=USER_AGENT)
    )
    pending = queue_manager.counts(conn).pending
    progress = _progress(clock, total=pending, quiet=quiet, no_progress=no_progress)
    run = worker.Worker(
        conn=conn,
        db_path=db_path,
        archive=archive,
        clock=clock,
        rng=random.Random(),
        prefix=prefix,
        threads=threads,
        max_attempts=max_attempts,
        limit=limit,
        on_progress=lambda result: progress.update(result.done + result.failed, f"{result.failed} failed"),
    )
    with SignalsCall(run.stop) as received:
        result = run.run()
    progress.close()
    summary = {
        "command": "worker",
        **result._asdict(),
        "pending": queue_manager.counts(conn).pending,
        "seconds": round(clock.monotonic() - started, 3),
    }
    conn.close()
    reports.show(summary, reports.worker_lines(summary), as_json=as_json, quiet=quiet)
    if run.outage is not None:
        raise run.outage
    if received:
        raise Interrupted(received[0])
    return EXIT_FAILED if result.failed else EXIT_OK


def run_status(
    *, environ: Mapping[str, str], clock: Clock, db_path: str, quiet: bool, as_json: bool, no_progress: bool
) -> int:
    conn = db.connect(db_path)
    oldest = queue_manager.oldest_pending(conn)
    summary = {
        "command": "status",
        "queue": queue_manager.counts(conn)._asdict(),
        "oldest_pending_seconds": max(0, int(clock.now() - timestamps.to_epoch(oldest))) if oldest else None,
        "issues": queue_manager.issues_count(conn),
        "repos": queue_manager.streams(conn),
        "failed_items": queue_manager.failed_items(conn, limit=FAILED_ITEMS_SHOWN),
        "db_bytes": sum(os.path.getsize(p) for p in (db_path, db_path + "-wal") if os.path.exists(p)),
    }
    conn.close()
    lines = [settings.one_line(line, environ) for line in reports.status_lines(summary)]
    reports.show(summary, lines, as_json=as_json)
    return EXIT_OK


def run_retry(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    all_failed: bool,
    item_ids: Sequence[int] | None,
) -> int:
    conn = db.connect(db_path)
    with db.transaction(conn):
        retried = queue_manager.retry(conn, item_ids=None if all_failed else item_ids)
    conn.close()
    summary = {"command": "retry", "retried": retried}
    reports.show(summary, [f"{retried} rows are pending again"], as_json=as_json, quiet=quiet)
    return EXIT_OK


COMMANDS: Mapping[str, Callable[..., int]] = {
    "ingest": run_ingest,
    "worker": run_worker,
    "status": run_status,
    "retry": run_retry,
}

if __name__ == "__main__":
    code = main()
    if code > 128:
        # Interrupted: a thread may still wait for an answer. Its commits are whole; nothing is lost by not waiting.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
