"""`report`: what the tables say, as one HTML page with plots, for people who ask no database."""

from __future__ import annotations

import os
from typing import Any, Sequence

import db
from commands import options, output, reports, status
from commands.context import Context
from commands.signals import SignalsRaise
from foundation import private_files, settings
from foundation.errors import EXIT_OK, ConfigurationError
from report import items, periods
from report.periods import Scope

STDOUT = "-"


def run(context: Context, *, out: str, repos: Sequence[str], since: str | None) -> int:
    started = context.clock.monotonic()
    if out == STDOUT and context.as_json:
        raise ConfigurationError("--out - and --json both write to stdout; give --out a file")
    if _is_of_database(out, context.db_path):
        raise ConfigurationError(
            f"--out {out!r} is the database, which a page would take the place of; give another file"
        )
    whole = _whole()
    with SignalsRaise(), db.onlooker(context.db_path) as conn:
        now = db.now(conn, context.clock)
        if since is not None and since > now:
            raise ConfigurationError(f"--since {since} is yet to come; give an earlier date")
        scope = Scope(_known(conn, repos), since or periods.default_since(now), now)
        page = whole.html(
            conn,
            scope,
            status.found(conn, context.db_path, now=now, repos=scope.repos),
            clean=lambda text: settings.one_line(text, context.environ),
            generator=options.USER_AGENT.replace("/", " "),
        )
        if out == STDOUT:
            output.deliver(page)
            return EXIT_OK
        private_files.write(out, page)
    summary = {
        "command": "report", "out": out, "bytes": len(page), "since": scope.since, "repos": list(scope.repos),
        "seconds": round(context.clock.monotonic() - started, 3),
    }  # fmt: skip
    context.show(summary, reports.report_lines(summary))
    return EXIT_OK


def _is_of_database(out: str, db_path: str) -> bool:
    """The database, or a file beside it without which it is none."""
    if settings.is_postgres(db_path):
        return False
    return os.path.realpath(out) in (os.path.realpath(db_path) + end for end in ("", "-wal", "-shm"))


def _whole() -> Any:
    """report.whole, which stands on packages that nothing else needs."""
    try:
        from report import whole
    except ImportError as error:
        raise ConfigurationError(
            f"report needs the packages vl-convert-python and jinja2 ({error}); install them: "
            "pip install -r requirements-report.txt"
        ) from error
    return whole


def _known(conn: db.Connection, repos: Sequence[str]) -> tuple[str, ...]:
    """The repositories by their present names."""
    known = items.repositories(conn) if repos else {}
    for repo in repos:
        if repo.lower() not in known:
            raise ConfigurationError(
                f"--repo {repo}: nothing is known of it; `status` shows what is, or ingest it first"
            )
    return tuple(dict.fromkeys(known[repo.lower()] for repo in repos))
