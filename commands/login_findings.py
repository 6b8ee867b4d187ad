"""What `check` says of who asks GitHub: which login is used, its points, GitHub's clock, the rights of a key's file."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path
from typing import Any, Iterator, Sequence

from commands import findings
from commands.findings import ERROR, OK, WARNING, Finding
from foundation import timestamps
from foundation.clock import Clock
from github.api import GitHub
from github.clients import AppClients, Clients
from github.login.environment import AppSettings
from github.login.installation import Installation
from github.login.logins import Rejected
from github.refusals import NotReadable

MOST_SHOWN = 20  # installations, each of which takes a token


def of(clients: Clients, app: AppSettings | None, repos: Sequence[str], *, clock: Clock) -> Iterator[Finding]:
    """Asks for no points: /rate_limit costs none, /user one."""
    if app is not None and isinstance(clients, AppClients):
        yield from _app(clients, app, repos, clock)
        return
    apis = clients.all()
    users: dict[str, str] = {}
    for api in apis:
        is_one = len(apis) == 1
        name = "GitHub token" if is_one else f"GitHub {api.login.name}"
        try:
            points = "GitHub points" if is_one else f"GitHub points of {api.login.name}"
            yield from _points(api, points, clock, tells_clock=api is apis[0])
            yield _whose(api, name, users)
        except Rejected as error:  # the others are looked at all the same
            yield Finding(ERROR, name, str(error))


def _whose(api: GitHub, name: str, users: dict[str, str]) -> Finding:
    """`users`: whose the tokens before it are, and their names."""
    if api.login.is_anonymous:
        return Finding(WARNING, name, "none: 60 requests an hour, public repositories only; set GITHUB_TOKEN")
    try:
        user = findings.ask(api, "/user").body
    except NotReadable:
        return Finding(OK, name, "accepted; it is an app's, of no user")
    login = str(user.get("login") if isinstance(user, dict) else None)
    other = users.setdefault(login, api.login.name)
    if other != api.login.name:
        return Finding(
            WARNING, name, f"it is {login}'s, as {other} is: they share their points, so one of them would do"
        )
    return Finding(OK, name, f"accepted; it is {login}'s, with whom it shares its points")


def _app(clients: AppClients, app: AppSettings, repos: Sequence[str], clock: Clock) -> Iterator[Finding]:
    if app.key_file is not None:
        yield _rights(app.key_file)
    answer = findings.ask(clients.any, "/app")
    said = answer.body.get("slug") if isinstance(answer.body, dict) else None
    yield Finding(OK, "GitHub App", f"{app.id} is used, which is {said}; GITHUB_TOKEN is not")
    yield from findings.clock_off("GitHub", timestamps.from_http_date(answer.date), clock)
    shown = list(itertools.islice(_installations(clients, repos), MOST_SHOWN + 1))
    if not shown and not repos:
        yield Finding(WARNING, "GitHub App", "it is installed nowhere; install it, and choose the repositories")
    for api in shown[:MOST_SHOWN]:
        yield from _installation(api, clock)
    if len(shown) > MOST_SHOWN:
        yield Finding(OK, "GitHub App", f"more than {MOST_SHOWN} installations; for others give --repo")


def _installations(clients: AppClients, repos: Sequence[str]) -> Iterator[GitHub]:
    """Those of the repositories asked about, or all. Where there is none, the repository's own line says so."""
    if not repos:
        yield from clients.of_installations()
        return
    seen = set()
    for repo in repos:
        try:
            api = clients.of_repo(repo)
        except NotReadable:
            continue
        if api.login not in seen:
            seen.add(api.login)
            yield api


def _installation(api: GitHub, clock: Clock) -> Iterator[Finding]:
    login = api.login
    name = f"installation of {login.found.owner}" if isinstance(login, Installation) else login.name
    try:
        yield from _points(api, name, clock, tells_clock=False)
    except NotReadable as error:  # no error of all the others; a repository's own line says so again
        yield Finding(WARNING, name, str(error))


def _rights(path: str) -> Finding:
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(WARNING, "the App's key", f"others than its owner can use {path} ({mode:03o}); chmod 600 {path}")
    return Finding(OK, "the App's key", f"only its owner can read {path}")


def _points(api: GitHub, name: str, clock: Clock, *, tells_clock: bool) -> Iterator[Finding]:
    try:
        answer = findings.ask(api, "/rate_limit")
    except NotReadable as error:
        if error.status != 404:
            raise
        yield Finding(OK, name, "this server sets no limits")
        return
    yield _left(answer.body, name)
    if tells_clock:
        yield from findings.clock_off("GitHub", timestamps.from_http_date(answer.date), clock)


def _left(body: Any, name: str) -> Finding:
    core = body.get("resources", {}).get("core", {}) if isinstance(body, dict) else {}
    limit, remaining, reset = (core.get(field) for field in ("limit", "remaining", "reset"))
    if not (isinstance(limit, int) and isinstance(remaining, int) and isinstance(reset, int)):
        return Finding(WARNING, name, "the server does not say how many there are")
    said = f"{remaining} of {limit} left, all again at {timestamps.from_epoch(reset)}"
    return Finding(OK if remaining else WARNING, name, said)
