"""The command line's shape: commands, options, their defaults and checks. Runs nothing.

`command` in what is parsed names a module of commands/; every other name is a keyword argument of its `run`.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any, Callable, Iterator, Mapping, Sequence

from foundation import settings
from github import streams
from lake.tables import TABLES, Table

VERSION = "0.1.0"
USER_AGENT = f"github-issues-pipeline/{VERSION}"
DEFAULT_DAYS = 7
# A quarter of an hour: a cron job then ends well before the next hour's run, which goes on where it stopped.
DEFAULT_MAX_WAIT_SECONDS = 900
# GitHub asks for requests one after the other; more is for those who know their limits.
DEFAULT_JOBS = 1
UPLOAD_THREADS = 64  # where S3 is far, nothing but more at a time helps (python -m benchmarks worker)
READ_THREADS = 8  # each may hold a batch in memory
DEFAULT_MAX_ATTEMPTS = 5
# Who reads a table begins with its version of that moment: hours long, where it is published every hour.
DEFAULT_VERSIONS_KEPT = 5
DEFAULT_TABLES_PREFIX = "curated/github/"


def parse(words: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """What the words of a command line say. Ends the process with 2, and a line that says what is wrong with them.

    argparse takes a value of a misplaced option for the command, and shows the wrong usage for a word too many.
    """
    parser = build_parser(environ)
    commands = {name: each for action in _commands(parser) for name, each in action.choices.items()}
    if not words:
        parser.error(f"COMMAND is missing; it is one of {', '.join(commands)}")
    if words[0].startswith("-") and not _is_option_of(parser, words[0]):
        at = next((at for at, word in enumerate(words) if word in commands), None)
        moved = ["COMMAND", *words] if at is None else [words[at], *words[:at], *words[at + 1 :]]
        parser.error(f"options come after the command: main.py {' '.join(map(shlex.quote, moved))}")
    arguments, left = parser.parse_known_args(words)
    if left:
        commands[arguments.command].error(_too_many(left, environ, takes_repos=hasattr(arguments, "repos")))
    return arguments


def _is_option_of(parser: argparse.ArgumentParser, word: str) -> bool:
    """Also in short, and with its value, as argparse takes it."""
    name = word.split("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    return name in known or (len(name) > 2 and any(option.startswith(name) for option in known))


def _too_many(left: Sequence[str], environ: Mapping[str, str], *, takes_repos: bool) -> str:
    said = f"unrecognized arguments: {' '.join(left)}"
    try:
        name = settings.repo_name(left[0], settings.web_hosts(environ))
    except ValueError:
        return said
    return f"{said}; for repositories: --repo {name}" if takes_repos else said


def build_parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py", description="GitHub issues and pull requests -> queue in a database -> S3 + table `issues`."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    common = _common_options(environ)
    _add_ingest(commands, common, environ)
    _add_worker(commands, common, environ)
    _add_status(commands, common)
    _add_forget(commands, common, environ)
    _add_sweep(commands, common, environ)
    _add_check(commands, common, environ)
    _add_retry(commands, common)
    _add_prune(commands, common)
    _add_rebuild(commands, common, environ)
    _add_copy(commands, common)
    _add_move(commands, common)
    _add_schema(commands, common)
    _add_publish(commands, common)
    _add_report(commands, common, environ)
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        default=argparse.SUPPRESS,  # it is no argument of any command
        choices=("bash", "zsh", "tcsh"),
        help="print a script that completes commands and options of ./main.py",
    )
    return parser


def _common_options(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--db",
        dest="db_path",
        metavar="PATH",
        type=_checked(settings.database),
        default=environ.get("PIPELINE_DB") or settings.DEFAULT_DATABASE,
        help="the database, a file or postgresql://... (default: $PIPELINE_DB, else pipeline.db)",
    )
    group.add_argument("-v", "--verbose", action="store_true", help="log more")
    group.add_argument("-q", "--quiet", action="store_true", help="log only what needs a person; print only --json")
    group.add_argument("--json", dest="as_json", action="store_true", help="print the result as one JSON object")
    group.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="what the log on stderr looks like: lines for people, or an object a line for collectors (default text)",
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    group.add_argument("--version", action="version", version=VERSION)
    return common


def _add_ingest(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("ingest", parents=[common], help="GitHub -> queue")
    _add_repos(parser, environ, "a repository")
    _add_repos_file(parser)
    _add_orgs(parser, environ, "all repositories of an organisation or user, without forks")
    _add_installation(parser, "all repositories that the GitHub App sees, without forks, of each of its installations")
    parser.add_argument("--skip-archived", action="store_true", help="with these two: leave archived repositories out")
    parser.add_argument("--include-forks", action="store_true", help="with these two: take forks too")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--days",
        type=_checked(_look_back),
        metavar="N",
        help=f"look back N days (default {DEFAULT_DAYS} at first; later runs go on from the cursor)",
    )
    start.add_argument("--since", type=_checked(settings.date), metavar="DATE", help="look back to this date (UTC)")
    start.add_argument("--all", dest="all_history", action="store_true", help="look back to the beginning")
    which = parser.add_mutually_exclusive_group()
    _add_streams(which, environ)
    which.add_argument("--only", choices=streams.DEFAULT, help="one of these two streams")
    parser.add_argument(
        "--jobs",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_JOBS,
        help=f"streams fetched at a time (default {DEFAULT_JOBS}, as GitHub advises)",
    )
    _add_limits(parser)


def _add_orgs(parser: argparse.ArgumentParser, environ: Mapping[str, str], meaning: str) -> None:
    parser.add_argument(
        "--org",
        dest="orgs",
        metavar="ORG",
        action="append",
        default=[],
        type=_checked(lambda text: settings.owner_name(text, settings.web_hosts(environ))),
        help=f"{meaning}; may be given again and again",
    )


def _add_installation(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--installation", action="store_true", help=meaning)


def _add_limits(parser: argparse.ArgumentParser) -> None:
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


def _add_sweep(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("sweep", parents=[common], help="what is gone from GitHub, and what was missed")
    _add_repos(parser, environ, "a repository (default: all that are known)")
    _add_repos_file(parser)
    _add_orgs(parser, environ, "those of an organisation or user that are known")
    _add_installation(parser, "those of all that the GitHub App sees that are known")
    parser.add_argument(
        "--full", action="store_true", help="look at all items and comments, also where the items are as many as known"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what is gone, and write nothing")
    parser.add_argument(
        "--max-gone",
        type=_checked(settings.amount),
        metavar="N",
        help="more gone at once in a repository are not believed (default 10, or 1 %% of what is known, if more)",
    )
    _add_limits(parser)


def _add_streams(parser: argparse._ActionsContainer, environ: Mapping[str, str]) -> None:
    default = ",".join(streams.DEFAULT)
    parser.add_argument(
        "--streams",
        metavar="NAMES",
        type=_checked(streams.named),
        default=environ.get("PIPELINE_STREAMS") or default,
        help=f"what to read: some of {','.join(streams.STREAMS)}, or all (default: $PIPELINE_STREAMS, else {default})",
    )


def _add_worker(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("worker", parents=[common], help="queue -> archive + table `issues`")
    _add_archive(parser)
    parser.add_argument(
        "--layout",
        choices=("object", "batch"),
        default="object",
        help="an object for each item, or for many of a day (gzip JSON Lines) (default object)",
    )
    _add_threads(parser, "uploads", UPLOAD_THREADS)
    parser.add_argument(
        "--processes",
        type=_checked(settings.count),
        metavar="N",
        default=1,
        help="worker processes side by side, each with its own threads (default 1)",
    )
    parser.add_argument(
        "--max-attempts",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_MAX_ATTEMPTS,
        help=f"attempts before an item is `failed` (default {DEFAULT_MAX_ATTEMPTS})",
    )
    parser.add_argument("--limit", type=_checked(settings.amount), metavar="N", help="stop after N items")
    parser.add_argument(
        "--follow", action="store_true", help="go on when the queue is empty, and wait for outages to pass"
    )
    parser.add_argument(
        "--ignore-users",
        dest="ignored_users",
        metavar="LOGINS",
        type=_checked(settings.logins),
        default=environ.get("PIPELINE_IGNORE_USERS") or None,
        help="whose answers item_metrics does not count, such as ci,deploy-user, in place of those of before; '' for "
        "nobody (default: $PIPELINE_IGNORE_USERS, else as before)",
    )
    _add_object_options(parser)


def _add_archive(
    parser: argparse.ArgumentParser, *, prefix: str = settings.DEFAULT_PREFIX, what: str = "archive keys"
) -> None:
    parser.add_argument(
        "--bucket", metavar="NAME", type=_checked(settings.bucket), help="the S3 bucket (default: $BUCKET_NAME)"
    )
    parser.add_argument("--archive-dir", metavar="DIR", help="a local directory instead, in the same layout")
    parser.add_argument(
        "--prefix",
        type=_checked(settings.prefix),
        metavar="P",
        default=prefix,
        help=f"what {what} begin with (default {prefix})",
    )


def _add_threads(parser: argparse.ArgumentParser, what: str, default: int) -> None:
    parser.add_argument(
        "--threads",
        type=_checked(settings.count),
        metavar="N",
        default=default,
        help=f"{what} at a time (default {default})",
    )


def _add_repos(parser: argparse.ArgumentParser, environ: Mapping[str, str], meaning: str) -> None:
    parser.add_argument(
        "--repo",
        dest="repos",
        metavar="OWNER/NAME",
        action="append",
        default=[],
        type=_checked(lambda text: settings.repo_name(text, settings.web_hosts(environ))),
        help=f"{meaning}; may be given again and again",
    )


def _add_repos_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repos-file", metavar="FILE", help="a file of repositories, one a line, # for comments")


def _add_object_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options for S3", "left out, the bucket's own defaults hold")
    group.add_argument("--storage-class", metavar="CLASS", help="such as STANDARD_IA or INTELLIGENT_TIERING")
    _add_encryption(group)
    group.add_argument(
        "--tag",
        dest="tags",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_checked(settings.tag),
        help="a tag on each object; may be given up to ten times",
    )


def _add_encryption(group: Any) -> None:
    group.add_argument(
        "--sse",
        dest="encryption",
        choices=("AES256", "aws:kms", "aws:kms:dsse"),
        help="server-side encryption: with S3's own key, or with one of KMS",
    )
    group.add_argument(
        "--sse-kms-key-id", dest="kms_key_id", metavar="KEY", help="with --sse aws:kms: id or ARN of the key"
    )


def _add_status(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("status", parents=[common], help="what is queued, done, failed, and how fresh it is")
    parser.add_argument(
        "--max-age",
        dest="max_age_seconds",
        type=_checked(settings.age),
        metavar="AGE",
        help="end with 1 when a stream was last read, or a row is pending, for longer than this (90s, 15m, 2h, 3d)",
    )
    parser.add_argument(
        "--max-failed", type=_checked(settings.amount), metavar="N", help="end with 1 when more than N rows are failed"
    )


def _add_forget(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser(
        "forget", parents=[common], help="a repository, or a failed row, that nobody wants any more"
    )
    _add_repos(parser, environ, "a repository whose state is to go; what is queued or archived stays")
    _add_items(parser, "the failed row of this id, as `status` shows it")


def _add_items(parser: Any, meaning: str) -> None:
    parser.add_argument(
        "--item",
        dest="item_ids",
        metavar="ID",
        action="append",
        type=_checked(settings.amount),
        help=f"{meaning}; may be given again and again",
    )


def _add_check(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("check", parents=[common], help="is everything that a run needs in place?")
    _add_repos(parser, environ, "a repository that must be readable")
    _add_repos_file(parser)
    _add_streams(parser, environ)
    _add_archive(parser)
    _add_object_options(parser)


def _add_prune(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("prune", parents=[common], help="delete rows that were done long ago")
    parser.add_argument(
        "--older-than",
        dest="older_than_days",
        type=_checked(settings.days),
        metavar="DAYS",
        required=True,
        help="rows that have been done for so many days",
    )


def _add_rebuild(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("rebuild", parents=[common], help="archive -> table `issues`")
    _add_archive(parser)
    _add_threads(parser, "downloads", READ_THREADS)
    _add_repos(parser, environ, "only this repository")
    parser.add_argument("--restart", action="store_true", help="read again what a run that was stopped had read")


def _add_copy(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("copy", parents=[common], help="the archive to another place")
    _add_archive(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--to-bucket",
        metavar="NAME",
        type=_checked(settings.bucket),
        help="copy to this S3 bucket, at the same endpoint",
    )
    target.add_argument("--to-archive-dir", metavar="DIR", help="copy to this local directory")
    _add_threads(parser, "copies", READ_THREADS)


def _add_move(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("move", parents=[common], help="the database to another engine: a file to PostgreSQL")
    parser.add_argument(
        "--from",
        dest="db_path",
        metavar="PATH",
        type=_checked(settings.database),
        default=argparse.SUPPRESS,  # that of --db, which says the same
        help="the database to move, a file or postgresql://... (default: that of --db)",
    )
    parser.add_argument(
        "--to",
        dest="to_db_path",
        metavar="PATH",
        type=_checked(settings.database),
        required=True,
        help="where to: an empty database, postgresql://... or a file",
    )


def _add_schema(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("schema", parents=[common], help="the tables, for a database's owner")
    parser.add_argument(
        "--sql", action="store_true", required=True, help="print the statements that make or bring forward the tables"
    )


def _add_publish(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("publish", parents=[common], help="the tables -> Delta tables in the lake")
    _add_archive(parser, prefix=DEFAULT_TABLES_PREFIX, what="the tables' folders")
    parser.add_argument(
        "--tables",
        metavar="NAME,...",
        type=_checked(_table_names),
        default=tuple(TABLES.values()),
        help=f"only these (default: all, {', '.join(TABLES)})",
    )
    parser.add_argument(
        "--keep",
        dest="versions_kept",
        type=_checked(settings.count),
        metavar="N",
        default=DEFAULT_VERSIONS_KEPT,
        help=f"versions of a table to keep for its readers, the newest one too (default {DEFAULT_VERSIONS_KEPT})",
    )
    _add_encryption(parser.add_argument_group("options for S3", "left out, the bucket's own defaults hold"))


def _add_report(commands: Any, common: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    parser = commands.add_parser("report", parents=[common], help="the tables -> one HTML page with plots, for people")
    parser.add_argument("--out", metavar="FILE", required=True, help="the page to write; - for stdout")
    _add_repos(parser, environ, "only this repository")
    parser.add_argument(
        "--since", type=_checked(settings.date), metavar="DATE", help="from this date on (UTC; default: a year ago)"
    )


def _table_names(text: str) -> tuple[Table, ...]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = next((name for name in names if name not in TABLES), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of the tables: {', '.join(TABLES)}")
    return tuple(TABLES[name] for name in names)


def _add_retry(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("retry", parents=[common], help="failed -> pending")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", dest="all_failed", action="store_true", help="every failed row")
    _add_items(which, "the row of this id, as `status` shows it")


def missing_package(error: ModuleNotFoundError) -> str:
    return f"the package {error.name} is missing; run ./run_pipeline.sh once, then `. .venv/bin/activate`"


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> None:
        try:
            import shtab  # here, so that no other command pays for it
        except ModuleNotFoundError as error:
            parser.error(missing_package(error))
        for each in _parsers(parser):
            for action in each._actions:
                if action.dest in ("archive_dir", "to_archive_dir"):
                    action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
                elif action.dest in ("db_path", "repos_file", "out"):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=arguments[1]))
        parser.exit()


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of its commands."""
    yield parser
    for action in _commands(parser):
        yield from action.choices.values()


def _commands(parser: argparse.ArgumentParser) -> Iterator[Any]:
    return (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _look_back(text: str) -> int:
    try:
        return settings.days(text)
    except ValueError as error:
        raise ValueError(f"{error}; for everything there is --all") from error


def _checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows the message of an ArgumentTypeError, and swallows that of a ValueError."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert
