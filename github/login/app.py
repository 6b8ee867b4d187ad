"""A GitHub App: it says who it is, finds its installations, and gets a token for each.

https://docs.github.com/rest/apps/apps
"""

from __future__ import annotations

import json
import threading
from typing import Any, Sequence

from foundation import secrets, timestamps
from foundation.clock import Clock
from foundation.errors import ConfigurationError, PipelineError
from github.api import Answer, GitHub
from github.listing import all_pages
from github.login.installation import REFUSED, Found, Installation, described, usable
from github.login.key import LASTS_SECONDS, Key
from github.login.logins import Login
from github.refusals import NotReadable


class AppLogin(Login):
    """The App itself, which may only ask for its installations."""

    is_anonymous = False

    def __init__(self, app: str, key: Key, clock: Clock) -> None:
        self.name = f"the App {app}"
        self._app = app
        self._key = key
        self._clock = clock
        self._ahead = 0.0  # seconds by which GitHub's clock is ahead of ours
        self._jwt = ""
        self._jwt_ends = float("-inf")  # monotonic
        self._lock = threading.Lock()

    def header(self) -> str | None:
        with self._lock:
            if self._clock.monotonic() >= self._jwt_ends:
                self._jwt = self._key.jwt(self._app, now=self._clock.now() + self._ahead)
                self._jwt_ends = self._clock.monotonic() + LASTS_SECONDS / 2
                secrets.remember(self._jwt)
            return f"Bearer {self._jwt}"

    def renew(self, refused: str | None, *, date: str | None) -> bool:
        """Once more by GitHub's own clock: ours may be wrong by more than the JWT allows for."""
        theirs = timestamps.from_http_date(date)
        with self._lock:
            if theirs is None:
                return False
            self._ahead = theirs - self._clock.now()
            self._jwt_ends = float("-inf")
        return True

    def rejected(self, said: str) -> PipelineError:
        return ConfigurationError(
            f"GitHub rejects {self.name} ({said}); check GITHUB_APP_ID, its private key and GITHUB_API_URL"
        )


class App:
    """Finds installations, each once: by a repository, or its owner. Safe to use from several threads.

    `api` asks as the App. `permissions`: what its tokens are to read, where the owner granted that.
    `only`: the one installation to use for whatever is asked for.
    """

    def __init__(self, api: GitHub, *, permissions: Sequence[str], clock: Clock, only: int | None = None) -> None:
        self._api = api
        self._permissions = permissions
        self._clock = clock
        self._only = only
        self._of_owner: dict[str, Installation | NotReadable] = {}
        self._by_id: dict[int, Installation] = {}
        self._lock = threading.Lock()

    def of_repo(self, repo: str) -> Installation:
        """Raises NotReadable where the App is not installed, and what GitHub.get raises."""
        return self._of(repo.split("/")[0], [f"/repos/{repo}/installation"])

    def of_owner(self, owner: str) -> Installation:
        return self._of(owner, [])

    def all(self) -> list[Installation]:
        if self._only is not None:
            return [self._one(self._only)]
        found = all_pages(self._api, "/app/installations?per_page=100", parse=_entries, usable=usable)
        with self._lock:
            self._of_owner.update((each.owner.lower(), self._known(each)) for each in found)
            return [self._known(each) for each in found]

    def _of(self, owner: str, places: list[str]) -> Installation:
        if self._only is not None:
            return self._one(self._only)
        with self._lock:
            known = self._of_owner.get(owner.lower())
            if known is None:
                known = self._sought(owner, [*places, f"/orgs/{owner}/installation", f"/users/{owner}/installation"])
        if isinstance(known, NotReadable):
            raise known
        return known

    def _sought(self, owner: str, places: list[str]) -> Installation | NotReadable:
        """By a repository that was renamed or given away the installation of another owner may be found."""
        for place in places:
            try:
                found = described(self._get(place).body)
            except NotReadable as error:
                if error.status != 404:
                    raise
                continue
            installation = self._known(found)
            self._of_owner[found.owner.lower()] = installation
            return installation
        self._of_owner[owner.lower()] = NotReadable(
            f"the App is not installed for {owner}, or not on what was asked for; install it there, or set "
            "GITHUB_APP_INSTALLATION_ID to one that is to read public repositories of others",
            status=REFUSED,
        )
        return self._of_owner[owner.lower()]

    def _one(self, number: int) -> Installation:
        with self._lock:
            if number in self._by_id:
                return self._by_id[number]
            try:
                return self._known(described(self._get(f"/app/installations/{number}", retry_refusals=True).body))
            except NotReadable as error:
                said = f"GITHUB_APP_INSTALLATION_ID {number} is no installation of the App ({error}); check both ids"
                raise ConfigurationError(said) from error

    def _known(self, found: Found) -> Installation:
        if found.id not in self._by_id:
            self._by_id[found.id] = Installation(found, app=self._api, permissions=self._permissions, clock=self._clock)
        return self._by_id[found.id]

    def _get(self, path: str, *, retry_refusals: bool = False) -> Answer:
        return self._api.get(path, parse=json.loads, on_request=lambda status: None, retry_refusals=retry_refusals)


def _entries(text: str) -> list[Any]:
    parsed = json.loads(text)
    if not isinstance(parsed, list):
        raise ValueError("no list of installations")
    return parsed
