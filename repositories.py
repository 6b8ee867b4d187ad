"""Which repositories a run is about: names given, a file of names, an organisation's list.

Asks GitHub for organisations and for what a repository has; reads no stream.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Callable, Iterable

import settings
from errors import ConfigurationError, PipelineError
from github_api import GitHub, NotReadable
from pages import PageError
from rate_limit import RateLimitReached

log = logging.getLogger("pipeline.repositories")


def from_file(path: str) -> list[str]:
    """The names in a file, one a line; `#` begins a comment. Raises ConfigurationError with the line's number."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"--repos-file {path!r}: {reason}; check the path") from error
    names = []
    for number, line in enumerate(lines, start=1):
        name = line.split("#")[0].strip()
        if name and not settings.is_repo_name(name):
            raise ConfigurationError(f"--repos-file {path!r}, line {number}: {name!r} is no OWNER/NAME; correct it")
        names.extend([name] if name else [])
    return names


def of_organisation(api: GitHub, org: str, *, include_archived: bool, include_forks: bool) -> list[str]:
    """The full names of an organisation's (or, failing that, a user's) repositories that the token can see.

    https://docs.github.com/rest/repos/repos - one point for each hundred. Raises what GitHub.get raises.
    """
    try:
        found = _all_pages(api, f"/orgs/{org}/repos?type=all&per_page=100")
    except NotReadable as error:
        if error.status != 404:
            raise
        found = _all_pages(api, f"/users/{org}/repos?type=owner&per_page=100")
    return [
        entry["full_name"]
        for entry in found
        if (include_archived or not entry.get("archived")) and (include_forks or not entry.get("fork"))
    ]


def of_organisations(
    api: GitHub, orgs: Iterable[str], *, include_archived: bool, include_forks: bool
) -> tuple[list[str], list[PipelineError]]:
    """The full names in all of them, and why others could not be read: one does not end the others.

    Raises ConfigurationError and RateLimitReached, which would meet the next one too.
    """
    names: list[str] = []
    failures: list[PipelineError] = []
    for org in orgs:
        try:
            names += of_organisation(api, org, include_archived=include_archived, include_forks=include_forks)
        except (ConfigurationError, RateLimitReached):
            raise
        except PipelineError as error:
            log.warning("organisation %s: %s", org, error)
            failures.append(error)
    return names, failures


def has_pull_requests(api: GitHub, repo: str, *, on_request: Callable[[int], None]) -> bool:
    """False only where GitHub says so: the list of pull requests is then 404 for everyone, and no one's mistake.

    augurlabs/augur #3731, kenn-io/forge #819. A repository that can't be read says nothing.
    """
    try:
        found = api.get(f"/repos/{repo}", parse=json.loads, on_request=on_request).body
    except NotReadable:
        return True
    return not (isinstance(found, dict) and found.get("has_pull_requests") is False)


def unique(names: Iterable[str]) -> list[str]:
    """Each repository once, in the order given; GitHub does not tell upper case from lower."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.lower(), name)
    return list(seen.values())


def _all_pages(api: GitHub, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = url
    while following is not None:
        answer = api.get(following, parse=_repo_list, on_request=lambda status: None)
        found.extend(answer.body)
        following = answer.next_url
    return found


def _repo_list(text: str) -> list[dict[str, Any]]:
    """Entries whose name can be used; what GitHub sends is checked like what a user types."""
    parsed = json.loads(text)
    if not isinstance(parsed, list):
        raise PageError("no list of repositories")
    return [e for e in parsed if isinstance(e, dict) and settings.is_repo_name(str(e.get("full_name")))]
