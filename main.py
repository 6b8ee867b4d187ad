"""The command line: parsers, building the objects, printing results, exit codes.

Commands import what they need when they run, so that --help, status and retry start without boto3 and requests.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import db
import logs
import queue_manager
import settings
import timestamps
from clock import SYSTEM_CLOCK, Clock
from errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, ConfigurationError, Interrupted, PipelineError
from progress import Progress, wants_bar

if TYPE_CHECKING:
    from github_api import GitHub

log = logging.getLogger("pipeline")

VERSION = "0.1.0"
USER_AGENT = f"github-issues-pipeline/{VERSION}"
DEFAULT_DAYS = 7
# A quarter of an hour: a cron job then ends well before the next hour's run, which goes on where it stopped.
DEFAULT_MAX_WAIT_SECONDS = 900
# GitHub asks for requests one after the other; more is for those who know their limits.
DEFAULT_JOBS = 1
DEFAULT_THREADS = 8
DEFAULT_MAX_ATTEMPTS = 5
FAILED_ITEMS_SHOWN = 20


def main(
    argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK
) -> int:
    """Run one command and return its exit code. The one place where errors become a line and a code."""
    environ = os.environ if environ is None else environ
    options = vars(build_parser(environ).parse_args(argv))
    command: Callable[..., int] = options.pop("run")
    logs.set_up(verbose=options.pop("verbose"), quiet=options["quiet"], environ=environ)
    try:
        return command(environ=environ, clock=clock, **options)
    except PipelineError as error:
        return _report(str(error), error.exit_code, environ)
    except sqlite3.Error as error:
        explained = db.explain(error, options["db_path"])
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


# Parsers.


def build_parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py", description="GitHub issues and pull requests -> queue in SQLite -> S3 + table `issues`."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _common_options(environ)
    _add_ingest(commands, common)
    _add_worker(commands, common, environ)
    status = commands.add_parser("status", parents=[common], help="what is queued, done, failed, and how fresh it is")
    status.set_defaults(run=run_status)
    _add_retry(commands, common)
    return parser


def _common_options(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--db",
        dest="db_path",
        metavar="PATH",
        default=environ.get("PIPELINE_DB") or settings.DEFAULT_DATABASE,
        help="the database (default: $PIPELINE_DB, else pipeline.db)",
    )
    group.add_argument("-v", "--verbose", action="store_true", help="log more")
    group.add_argument("-q", "--quiet", action="store_true", help="log only what needs a person; print only --json")
    group.add_argument("--json", dest="as_json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    group.add_argument("--version", action="version", version=VERSION)
    return common


def _add_ingest(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("ingest", parents=[common], help="GitHub -> queue")
    parser.add_argument(
        "--repo",
        dest="repos",
        metavar="OWNER/NAME",
        action="append",
        default=[],
        type=_checked(settings.repo_name),
        help="a repository; may be given again and again",
    )
    parser.add_argument("--repos-file", metavar="FILE", help="a file of repositories, one a line, # for comments")
    parser.add_argument(
        "--org",
        dest="orgs",
        metavar="ORG",
        action="append",
        default=[],
        type=_checked(settings.owner_name),
        help="all repositories of an organisation or user, without forks; may be given again and again",
    )
    parser.add_argument("--skip-archived", action="store_true", help="with --org: leave archived repositories out")
    parser.add_argument("--include-forks", action="store_true", help="with --org: take forks too")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--days",
        type=_checked(settings.days),
        metavar="N",
        help=f"look back N days (default {DEFAULT_DAYS} at first; later runs go on from the cursor)",
    )
    start.add_argument("--since", type=_checked(settings.date), metavar="DATE", help="look back to this date (UTC)")
    start.add_argument("--all", dest="all_history", action="store_true", help="look back to the beginning")
    parser.add_argument("--only", choices=("issues", "pulls"), help="one of the two streams (default: both)")
    parser.add_argument(
        "--jobs",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_JOBS,
        help=f"streams fetched at a time (default {DEFAULT_JOBS}, as GitHub advises)",
    )
    parser.add_argument(
        "--max-wait",
        dest="max_wait_seconds",
        type=_checked(settings.amount),
        metavar="SECONDS",
        default=DEFAULT_MAX_WAIT_SECONDS,
        help=f"longest wait for rate limits, in all (default {DEFAULT_MAX_WAIT_SECONDS})",
    )
    parser.add_argument(
        "--reserve",
        dest="reserve_points",
        type=_checked(settings.amount),
        metavar="POINTS",
        default=0,
        help="API points to leave to others who use the token (default 0)",
    )
    parser.set_defaults(run=run_ingest)


def _add_worker(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("worker", parents=[common], help="queue -> archive + table `issues`")
    parser.add_argument("--bucket", metavar="NAME", help="the S3 bucket (default: $BUCKET_NAME)")
    parser.add_argument("--archive-dir", metavar="DIR", help="archive into this directory instead, in the same layout")
    parser.add_argument(
        "--prefix",
        type=_checked(settings.prefix),
        metavar="P",
        default=settings.DEFAULT_PREFIX,
        help=f"what archive keys begin with (default {settings.DEFAULT_PREFIX})",
    )
    parser.add_argument(
        "--threads",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_THREADS,
        help=f"uploads at a time (default {DEFAULT_THREADS})",
    )
    parser.add_argument(
        "--max-attempts",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_MAX_ATTEMPTS,
        help=f"attempts before an item is `failed` (default {DEFAULT_MAX_ATTEMPTS})",
    )
    parser.add_argument("--limit", type=_checked(settings.amount), metavar="N", help="stop after N items")
    parser.set_defaults(run=run_worker)


def _add_retry(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("retry", parents=[common], help="failed -> pending")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", dest="all_failed", action="store_true", help="every failed row")
    which.add_argument(
        "--item",
        dest="item_ids",
        metavar="ID",
        action="append",
        type=_checked(settings.amount),
        help="the row of this id, as `status` shows it; may be given again and again",
    )
    parser.set_defaults(run=run_retry)


def _checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows the message of an ArgumentTypeError, and swallows that of a ValueError."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


# Commands.


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
        default_since=timestamps.from_epoch(clock.now() - DEFAULT_DAYS * settings.DAY_SECONDS),
        on_progress=on_progress,
    )
    with _signals_raise():
        listed, unreadable = repositories.of_organisations(
            api, orgs, include_archived=not skip_archived, include_forks=include_forks
        )
        streams = [only] if only else ["issues", "pulls"]
        targets = [(repo, stream) for repo in repositories.unique([*names, *listed]) for stream in streams]
        results = run.run(targets, jobs=jobs)
    progress.close()
    summary = _ingest_summary(results, api.limits.remaining, clock.monotonic() - started)
    _print_result(summary, _ingest_lines(summary), as_json=as_json, quiet=quiet)
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


def _ingest_summary(results: Sequence[Any], remaining: int | None, seconds: float) -> dict[str, Any]:
    repos = [
        {
            "repo": result.repo,
            "stream": result.stream,
            "enqueued": result.enqueued,
            "unchanged": result.unchanged,
            "requests": result.requests,
            "cursor": result.cursor,
            "error": result.error,
        }
        for result in results
    ]
    return {
        "command": "ingest",
        "enqueued": sum(result.enqueued for result in results),
        "unchanged": sum(result.unchanged for result in results),
        "fetched": sum(result.fetched for result in results),
        "requests": sum(result.requests for result in results),
        "not_modified": sum(result.not_modified for result in results),
        "rate_limit_remaining": remaining,
        "seconds": round(seconds, 3),
        "repos": repos,
    }


def _ingest_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{repo['repo']} {repo['stream']:<6}  {repo['enqueued']:>7} new  {repo['unchanged']:>7} unchanged"
        f"  {repo['requests']:>5} requests  up to {repo['cursor'] or '-'}" + ("  STOPPED" if repo["error"] else "")
        for repo in summary["repos"]
    ]
    left = "-" if summary["rate_limit_remaining"] is None else summary["rate_limit_remaining"]
    return [*lines, f"queued {summary['enqueued']} items in {summary['seconds']:.1f} s; {left} API points left"]


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
    with _signals_call(run.stop) as received:
        result = run.run()
    progress.close()
    summary = {
        "command": "worker",
        **result._asdict(),
        "pending": queue_manager.counts(conn).pending,
        "seconds": round(clock.monotonic() - started, 3),
    }
    conn.close()
    _print_result(summary, _worker_lines(summary), as_json=as_json, quiet=quiet)
    if run.outage is not None:
        raise run.outage
    if received:
        raise Interrupted(received[0])
    return EXIT_FAILED if result.failed else EXIT_OK


def _worker_lines(summary: Mapping[str, Any]) -> list[str]:
    names = ("done", "failed", "retrying", "released", "pending", "objects", "bytes")
    rate = summary["done"] / summary["seconds"] if summary["seconds"] else 0.0
    return [*_aligned({name: summary[name] for name in names}), f"in {summary['seconds']:.1f} s, {rate:.0f} items/s"]


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
    lines = [settings.one_line(line, environ) for line in _status_lines(summary)]
    _print_result(summary, lines, as_json=as_json)
    return EXIT_OK


def _status_lines(summary: Mapping[str, Any]) -> list[str]:
    oldest = summary["oldest_pending_seconds"]
    figures = {
        **summary["queue"],
        "oldest pending": "-" if oldest is None else f"{oldest} s",
        "issues rows": summary["issues"],
        "database bytes": summary["db_bytes"],
    }
    streams = [
        f"{row['repo']} {row['stream']:<6}  up to {row['cursor'] or '-'}  last success {row['last_success_at'] or '-'}"
        + ("  unfinished" if row["unfinished"] else "")
        + (f"  {row['last_error']}" if row["last_error"] else "")
        for row in summary["repos"]
    ]
    failed = [
        f"failed row {row['id']}: {row['repo']} #{row['number']} ({row['item_type']}), "
        f"{row['attempts']} attempts: {row['last_error']}"
        for row in summary["failed_items"]
    ]
    return [*_aligned(figures), *streams, *failed]


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
    _print_result(summary, [f"{retried} rows are pending again"], as_json=as_json, quiet=quiet)
    return EXIT_OK


# Output and signals.


def _print_result(summary: Mapping[str, Any], lines: Sequence[str], *, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        print("\n".join(lines))


def _aligned(figures: Mapping[str, Any]) -> list[str]:
    width = max(map(len, figures))
    return [f"{name:<{width}}  {value}" for name, value in figures.items()]


class _signals_raise:
    """Within the block SIGTERM and SIGINT raise Interrupted: for work that is safe to drop at any point."""

    def __enter__(self) -> None:
        def interrupt(signum: int, frame: object) -> None:
            raise Interrupted(signum)

        self._previous = [(number, signal.signal(number, interrupt)) for number in (signal.SIGINT, signal.SIGTERM)]

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)


class _signals_call:
    """Within the block the first SIGTERM or SIGINT calls `stop`; a second one ends the process at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._received: list[int] = []

    def __enter__(self) -> list[int]:
        def handle(signum: int, frame: object) -> None:
            if self._received:
                os._exit(128 + signum)  # leases and dead owners cover what was claimed
            self._received.append(signum)
            self._stop()

        self._previous = [(number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)]
        return self._received

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)


if __name__ == "__main__":
    raise SystemExit(main())
