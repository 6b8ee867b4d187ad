"""What `check` looks at: GitHub, the archive, the database. Each check yields findings, or raises a PipelineError."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, NamedTuple, Sequence
from urllib.parse import urlencode

import db
from engines import postgres
from foundation import settings, timestamps
from foundation.clock import Clock
from github.api import Answer, GitHub
from github.clients import Clients
from github.login.logins import Rejected
from github.refusals import NotReadable
from github.streams import STREAMS
from github.streams.stream import Stream
from lake.objects import DamagedOnTheWay, ItemRefused

if TYPE_CHECKING:
    from s3_writer import S3Archive

OK, WARNING, ERROR, OUTAGE = "ok", "warning", "error", "outage"

# S3 refuses signatures that are 15 minutes off; long before, times in the database are of little use.
CLOCK_WARNING_SECONDS = 60
CLOCK_ERROR_SECONDS = 900
FREE_DISK_BYTES = 1024**3
# A check of every page reads the whole file.
INTEGRITY_CHECK_BYTES = 4 * 1024**3
ATTEMPTS = 2
# https://www.sqlite.org/wal.html#walresetbug
WAL_RESET_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


class Finding(NamedTuple):
    """`state` is one of ok, warning, error (a person has to do something) and outage (it may pass)."""

    state: str
    name: str
    detail: str


def repositories(clients: Clients, repos: Sequence[str], streams: Sequence[str]) -> Iterator[Finding]:
    """Each repository, by the login that would read it; a point for each question."""
    for repo in repos:
        try:
            api = clients.of_repo(repo)
            answer = ask(api, f"/repos/{repo}")
        except (NotReadable, Rejected) as error:
            yield Finding(ERROR, f"repository {repo}", str(error))
            continue
        found = answer.body if isinstance(answer.body, dict) else {}
        name = str(found.get("full_name"))
        notes = [f"it is now {name}"] if name.lower() != repo.lower() else []
        notes += ["it is archived"] if found.get("archived") else []
        yield Finding(WARNING if notes else OK, f"repository {repo}", "; ".join(notes) or "is there")
        for stream in (STREAMS[name] for name in streams):
            yield _list(api, repo, stream, is_on=found.get(stream.switch, True))


def ask(api: GitHub, path: str) -> Answer:
    """With few attempts: somebody waits for the result."""
    return api.get(path, parse=json.loads, attempts=ATTEMPTS, on_request=lambda status: None)


def _list(api: GitHub, repo: str, stream: Stream, *, is_on: bool) -> Finding:
    """Ask for one item of a list: a token may see a repository without the permission for what lies in it.

    https://docs.github.com/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
    """
    name = f"{stream.title} of {repo}"
    if not is_on:
        return Finding(WARNING, name, "disabled there, nothing to read")
    try:
        ask(api, f"/repos/{repo}/{stream.path}?{urlencode({**stream.query, 'per_page': '1'})}")
    except NotReadable as error:
        needed = " and ".join(map(repr, stream.permissions))
        return Finding(ERROR, name, f"{error}; the token needs read access to {needed}")
    return Finding(OK, name, "can be read")


def clock_off(whose: str, theirs: float | None, clock: Clock) -> Iterator[Finding]:
    if theirs is None:
        return
    off = round(clock.now() - theirs)
    state = ERROR if abs(off) >= CLOCK_ERROR_SECONDS else WARNING if abs(off) >= CLOCK_WARNING_SECONDS else OK
    advice = "" if state == OK else "; set this machine's clock (NTP)"
    yield Finding(state, f"clock against {whose}", f"{off:+d} s{advice}")


def bucket(store: S3Archive, where: str, prefix: str, *, clock: Clock) -> Iterator[Finding]:
    """Asks to store an object whose checksum is wrong on purpose: S3 looks at the rights first, and then refuses it.

    A store that takes it nevertheless does not verify checksums; the object is deleted again.
    """
    key = f"{prefix}.check-{uuid.uuid4().hex}"
    try:
        store.put_damaged(key)
    except (DamagedOnTheWay, ItemRefused):
        said = f"may be written below {prefix!r} (asked to store {key} with a wrong checksum: refused, as it should be)"
        yield Finding(OK, where, said)
    else:
        left = "" if store.delete(key) else f"; {key} could not be deleted again, delete it by hand"
        yield Finding(WARNING, where, f"may be written below {prefix!r}, but does not verify checksums{left}")
    yield from clock_off("S3", timestamps.from_http_date(store.last_date), clock)


def directory(path: str) -> Iterator[Finding]:
    root = Path(path).resolve()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(ERROR, f"directory {path}", f"{existing} can't be written to; check --archive-dir")
        return
    yield Finding(OK, f"directory {path}", "may be written" if root.exists() else "will be made by the first worker")
    yield _disk(f"disk of {path}", existing)


def database(path: str, *, clock: Clock) -> Iterator[Finding]:
    yield from _postgres(path, clock) if settings.is_postgres(path) else _sqlite(path)


def _postgres(path: str, clock: Clock) -> Iterator[Finding]:
    """What a run needs of it: the version, tables, rights on them, a clock, connections, commits that last."""
    name = f"database {settings.masked(path)}"
    with contextlib.closing(postgres.connect(path)) as conn:
        try:
            facts = postgres.facts(conn)
            yield Finding(OK, "PostgreSQL", facts.version)
            yield from clock_off("the database", timestamps.to_epoch(facts.now), clock)
            yield _connections(facts)
            if facts.synchronous_commit == "off":
                said = (
                    "synchronous_commit is off: a crash of the server can lose what ingest has committed; set it to on"
                )
                yield Finding(WARNING, "commits", said)
            replicas = f"{facts.replicas} standbys follow" if facts.replicas else "none: a backup is all there is"
            yield Finding(OK, "replication", "this is a standby, which only reads" if facts.is_standby else replicas)
            schema = db.postgres_schema(conn)
            if not schema:
                said = "no tables yet; the first run makes them"
                yield Finding(OK if facts.may_create else ERROR, name, said if facts.may_create else NO_RIGHTS)
                return
            yield _rights(name, f"{schema}, {db.size_bytes(conn, path)} bytes", conn)
        except postgres.Error as error:
            raise error.explained from error


NO_RIGHTS = "the role may not create tables; its owner does: python main.py schema --sql prints the statements"
# As docs/OPERATIONS.md grants them: nobody has to be the owner, and no role needs what another's work does.
EVERY_TABLE = (*db.TABLES, "owners", "schema_version")
_OF_EVERY_RUN = dict.fromkeys(("runs", "owners", "locks"), "INSERT UPDATE DELETE")
RIGHTS = {
    "ingest": {
        **_OF_EVERY_RUN, "queue_items": "INSERT UPDATE", "ingest_state": "INSERT UPDATE DELETE",
        "repo_aliases": "INSERT UPDATE DELETE", "pull_work": "INSERT UPDATE DELETE",
    },
    "sweep": {**_OF_EVERY_RUN, "queue_items": "INSERT UPDATE", "pull_work": "INSERT UPDATE"},
    "worker": {**_OF_EVERY_RUN, "queue_items": "UPDATE", **dict.fromkeys((*db.FILLED, "archives"), "INSERT UPDATE"),
               "ignored_users": "INSERT DELETE"},
}  # fmt: skip


def _rights(name: str, facts: str, conn: postgres.Connection) -> Finding:
    """An error where the role can't even read, a warning where it can do neither work; else what it can't do."""
    unread = postgres.missing_rights(conn, [(table, "SELECT") for table in EVERY_TABLE])
    if unread:
        return Finding(ERROR, name, f"{facts}; the role lacks {_listed(unread)}")
    lacking = {
        command: postgres.missing_rights(conn, [(table, right) for table in of for right in of[table].split()])
        for command, of in RIGHTS.items()
    }
    said = [f"the role may not run {command}: it lacks {_listed(lacks)}" for command, lacks in lacking.items() if lacks]
    return Finding(WARNING if all(lacking.values()) else OK, name, "; ".join([facts, *said]))


def _listed(rights: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{right} on {table}" for table, right in rights)


# A process has one connection, and one for its heartbeat; ingest has one more.
CONNECTIONS_A_PROCESS = 3


def _connections(facts: postgres.Facts) -> Finding:
    free = facts.max_connections - facts.connections
    said = f"{facts.connections} of {facts.max_connections} in use; a process takes up to {CONNECTIONS_A_PROCESS}"
    return Finding(OK if free >= 4 * CONNECTIONS_A_PROCESS else WARNING, "connections", said)


def _sqlite(path: str) -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if _has_wal_reset_fault(sqlite3.sqlite_version_info):
        fault = "can damage a database in rare cases when several processes write (WAL reset); 3.51.3 or newer does not"
        yield Finding(WARNING, "SQLite", f"{version} {fault}")
    else:
        yield Finding(OK, "SQLite", version)
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        yield Finding(ERROR, f"database {path}", f"the folder {folder} does not exist; create it")
        return
    yield _disk(f"disk of {path}", folder)
    if not Path(path).exists():
        writable = os.access(folder, os.W_OK)
        said = "will be made by the first run" if writable else f"can't be made: {folder} can't be written to"
        yield Finding(OK if writable else ERROR, f"database {path}", said)
        return
    with db.reader(path) as conn:
        size = db.size_bytes(conn, path)
        schema = db.check_version(conn, path)
        if size > INTEGRITY_CHECK_BYTES:
            yield Finding(OK, f"database {path}", f"{schema}; too large to check each page ({size} bytes)")
            return
        damage = db.damage(conn)
    yield Finding(ERROR if damage else OK, f"database {path}", damage or f"{schema}, whole, {size} bytes")


def _has_wal_reset_fault(version: tuple[int, ...]) -> bool:
    return not any(
        version >= fixed and (version[:2] == fixed[:2] or fixed == WAL_RESET_FIXED[-1]) for fixed in WAL_RESET_FIXED
    )


def _disk(name: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < FREE_DISK_BYTES:
        return Finding(WARNING, name, f"only {free / 1e6:.0f} MB free; make room")
    return Finding(OK, name, f"{free / 1e9:.1f} GB free")
