"""Which login asks for what: a client of GitHub for each, with limits of its own, and a choice that stays the same.

An ETag belongs to the token that it was given to, so a repository stays with its login from run to run. An App's tokens
change every hour; GitHub answers 200 then, and never a wrong 304 (eclipse-csi/otterdog #201): it costs a point a list.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Callable, Sequence

from foundation.errors import ConfigurationError
from github.api import GitHub
from github.login.app import App
from github.login.installation import Installation
from github.login.logins import Login
from github.rate_limit import RateLimits


class Clients:
    """Of one or several tokens, or of none. Safe to use from several threads.

    `lane(repo)` names what a repository shares its limits with, and asks nobody: one lane need not wait for another.
    """

    def __init__(self, first: GitHub, logins: Sequence[Login], limits: Callable[[], RateLimits]) -> None:
        self.any = first  # for what holds of all of them: addresses, and whether there is a token at all
        self._all = [first, *(first.asking_as(login, limits()) for login in logins[1:])]

    def of_repo(self, repo: str) -> GitHub:
        """Raises what finding it raises."""
        return self._all[self._place(repo)]

    def of_owner(self, owner: str) -> GitHub:
        return self.of_repo(owner)

    def of_installations(self) -> list[GitHub]:
        raise ConfigurationError("--installation is for a GitHub App; set GITHUB_APP_ID and its private key")

    def lane(self, repo: str) -> str:
        return str(self._place(repo))

    def all(self) -> list[GitHub]:
        """Those that are known by now."""
        return self._all

    @property
    def points_left(self) -> int | None:
        """Of all of them together; None until GitHub has told."""
        known = [api.limits.remaining for api in self.all() if api.limits.remaining is not None]
        return sum(known) if known else None

    def _place(self, repo: str) -> int:
        """The same while its token is among them, whatever their order and their number."""

        def weight(place: int) -> bytes:
            return hashlib.sha256(f"{self._all[place].login.header()} {repo.lower()}".encode()).digest()

        return max(range(len(self._all)), key=weight) if len(self._all) > 1 else 0


class AppClients(Clients):
    """Of an App: one for each installation that is asked for. `limits`: makes those of one."""

    def __init__(self, api: GitHub, app: App, limits: Callable[[], RateLimits], *, is_one: bool) -> None:
        super().__init__(api, [api.login], limits)
        self.app = app
        self._limits = limits
        self._is_one = is_one
        self._known: dict[int, GitHub] = {}
        self._lock = threading.Lock()

    def of_repo(self, repo: str) -> GitHub:
        return self._client(self.app.of_repo(repo))

    def of_owner(self, owner: str) -> GitHub:
        return self._client(self.app.of_owner(owner))

    def of_installations(self) -> list[GitHub]:
        return [self._client(installation) for installation in self.app.all()]

    def lane(self, repo: str) -> str:
        return "" if self._is_one else repo.split("/")[0].lower()

    def all(self) -> list[GitHub]:
        with self._lock:
            return list(self._known.values())

    def _client(self, installation: Installation) -> GitHub:
        with self._lock:
            number = installation.found.id
            if number not in self._known:
                self._known[number] = self.any.asking_as(installation, self._limits())
            return self._known[number]
