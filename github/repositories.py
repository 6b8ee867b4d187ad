"""Which repositories a run is about: names given, a file of names, an organisation's list.

Asks GitHub for organisations and for what a repository has; reads no stream.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

from foundation import settings
from foundation.errors import ConfigurationError, PipelineError
from github.api import GitHub
from github.clients import Clients
from github.fields import is_integer
from github.listing import all_pages
from github.login.installation import Installation
from github.login.logins import is_of_all
from github.pages import PageError
from github.refusals import NotReadable

log = logging.getLogger("pipeline.repositories")

OF_INSTALLATION = "/installation/repositories?per_page=100"


def from_file(path: str, environ: Mapping[str, str]) -> list[str]:
    """The names in a file, one a line; `#` begins a comment. Raises ConfigurationError with the line's number."""
    hosts = settings.web_hosts(environ)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"--repos-file {path!r}: {reason}; check the path") from error
    names = []
    for number, line in enumerate(lines, start=1):
        name = line.split("#")[0].strip()
        try:
            names.extend([settings.repo_name(name, hosts)] if name else [])
        except ValueError as error:
            raise ConfigurationError(f"--repos-file {path!r}, line {number}: {error}") from error
    return names


def of_organisation(api: GitHub, org: str, *, include_archived: bool, include_forks: bool) -> dict[str, int]:
    """The repositories of an organisation (or, failing that, a user) that the token can see: full names and ids.

    https://docs.github.com/rest/repos/repos - one point for each hundred. Raises what GitHub.get raises.
    """
    try:
        found = _all_pages(api, f"/orgs/{org}/repos?type=all&per_page=100")
    except NotReadable as error:
        if error.status != 404:
            raise
        found = _of_user(api, org)
    return _wanted(found, include_archived=include_archived, include_forks=include_forks)


def _wanted(found: list[dict[str, Any]], *, include_archived: bool, include_forks: bool) -> dict[str, int]:
    return {
        entry["full_name"]: entry["id"]
        for entry in found
        if (include_archived or not entry.get("archived")) and (include_forks or not entry.get("fork"))
    }


def _of_user(api: GitHub, name: str) -> list[dict[str, Any]]:
    """`/users/x/repos` shows public ones only, whoever asks; a token's own owner, and an App there, see more."""
    public = f"/users/{name}/repos?type=owner&per_page=100"
    if isinstance(api.login, Installation):  # of an App: google/go-github #2980
        is_there = api.login.found.owner.lower() == name.lower()
        return [*_all_pages(api, public), *(_all_pages(api, OF_INSTALLATION) if is_there else [])]
    with contextlib.suppress(NotReadable):  # an app's token is of no user
        user = api.get("/user", parse=json.loads, on_request=_ignore).body if not api.login.is_anonymous else None
        if isinstance(user, dict) and str(user.get("login")).lower() == name.lower():
            return _all_pages(api, "/user/repos?affiliation=owner&per_page=100")
    return _all_pages(api, public)


def of_organisations(
    clients: Clients, orgs: Iterable[str], *, include_archived: bool, include_forks: bool
) -> tuple[dict[str, int], list[PipelineError]]:
    """The repositories of all of them, and why others could not be read: one does not end the others.

    Raises ConfigurationError, which would meet the next one too, unless it is of one of several tokens.
    """
    kinds = {"include_archived": include_archived, "include_forks": include_forks}

    def read(org: str) -> dict[str, int]:
        return of_organisation(clients.of_owner(org), org, **kinds)

    return _each((f"organisation {org}", functools.partial(read, org)) for org in orgs)


def of_installations(
    clients: Clients, *, include_archived: bool, include_forks: bool
) -> tuple[dict[str, int], list[PipelineError]]:
    """The repositories of all installations of an App, likewise: https://docs.github.com/rest/apps/installations"""
    kinds = {"include_archived": include_archived, "include_forks": include_forks}

    def read(api: GitHub) -> dict[str, int]:
        return _wanted(_all_pages(api, OF_INSTALLATION), **kinds)

    apis = clients.of_installations()
    if not apis:
        log.warning("the GitHub App is installed nowhere; install it, and choose the repositories")
    return _each((api.login.name, functools.partial(read, api)) for api in apis)


def _each(
    lists: Iterable[tuple[str, Callable[[], dict[str, int]]]],
) -> tuple[dict[str, int], list[PipelineError]]:
    found: dict[str, int] = {}
    failures: list[PipelineError] = []
    for name, read in lists:
        try:
            found.update(read())
        except PipelineError as error:
            if is_of_all(error):
                raise
            log.warning("%s", error if name in str(error) else f"{name}: {error}")
            failures.append(error)
    return found, failures


def has(api: GitHub, repo: str, switch: str, *, on_request: Callable[[int], None]) -> bool:
    """Is a feature of the repository on? False only where GitHub says so; one that can't be read says nothing."""
    try:
        found = api.get(f"/repos/{repo}", parse=json.loads, on_request=on_request).body
    except NotReadable:
        return True
    return not (isinstance(found, dict) and found.get(switch) is False)


def unique(names: Iterable[str]) -> list[str]:
    """Each repository once, in the order given; GitHub does not tell upper case from lower."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.lower(), name)
    return list(seen.values())


def _all_pages(api: GitHub, url: str) -> list[dict[str, Any]]:
    return all_pages(api, url, parse=_entries, usable=_usable)


def _ignore(status: int) -> None:
    pass


def _entries(text: str) -> list[Any]:
    """Of a list, or of the object that holds the list of an installation."""
    parsed = json.loads(text)
    parsed = parsed.get("repositories") if isinstance(parsed, dict) else parsed
    if not isinstance(parsed, list):
        raise PageError("no list of repositories")
    return parsed


def _usable(entries: list[Any]) -> dict[int, dict[str, Any]]:
    return {entry["id"]: entry for entry in entries if _is_usable(entry)}


def _is_usable(entry: Any) -> bool:
    """What GitHub sends is checked like what a user types; nothing is left out silently."""
    if isinstance(entry, dict) and settings.is_repo_name(str(entry.get("full_name"))) and is_integer(entry.get("id")):
        return True
    name = entry.get("full_name") if isinstance(entry, dict) else entry
    log.warning("a repository that GitHub lists is left out: %.100r with this id is none that can be asked for", name)
    return False
