"""A GitHub App: it says who it is, finds its installations, and gets a token for each.

https://docs.github.com/rest/apps/apps
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, Iterator, NamedTuple, Sequence

from foundation import secrets, timestamps
from foundation.clock import Clock
from foundation.errors import ConfigurationError, PipelineError
from github.api import Answer, GitHub
from github.fields import is_integer
from github.login.key import LASTS_SECONDS, Key
from github.login.logins import Login
from github.refusals import NotReadable

log = logging.getLogger("pipeline.github")

RENEWED_BEFORE_SECONDS = 300
DEFAULT_LIFE_SECONDS = 3600  # where an answer says nothing that can be read
# So long after it was given, a token may be unknown to some of GitHub's servers (octokit/auth-app.js #65).
FRESH_SECONDS = 10
REFUSED = 403  # by whatever status GitHub says that an installation gives no token


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


class Found(NamedTuple):
    """An installation, as GitHub describes it. `granted`: {permission: read, write or admin}."""

    id: int
    owner: str
    granted: dict[str, str]
    is_suspended: bool


class Installation(Login):
    """An App where an owner has installed it, with a token that is renewed before it ends."""

    is_anonymous = False
    is_trusted = True

    def __init__(self, found: Found, *, app: GitHub, permissions: Sequence[str], clock: Clock) -> None:
        self.found = found
        self.name = f"the App's installation {found.id} ({found.owner})"
        self._api = app
        self._permissions = permissions
        self._clock = clock
        self._header: str | None = None
        self._fetched_at = self._renew_at = float("-inf")  # monotonic, so that a wrong clock does no harm
        self._refusal: NotReadable | None = None
        self._lock = threading.Lock()  # held while a token is fetched: who needs one too waits for it

    def header(self) -> str | None:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._header is None or self._clock.monotonic() >= self._renew_at:
                self._fetch()
            return self._header

    def renew(self, refused: str | None, *, date: str | None) -> bool:
        with self._lock:
            if self._header == refused:  # else another thread has renewed it meanwhile
                self._header = None
        return True

    @property
    def is_fresh(self) -> bool:
        return self._clock.monotonic() < self._fetched_at + FRESH_SECONDS

    def rejected(self, said: str) -> PipelineError:
        """Its owner's trouble alone: what else the run reads goes on."""
        return NotReadable(f"GitHub rejects a new token of {self.name} ({said}); run again later", status=REFUSED)

    def _fetch(self) -> None:
        wanted = {name: "read" for name in self._permissions if name in self.found.granted}
        try:
            answer = self._api.post(
                f"/app/installations/{self.found.id}/access_tokens",
                {"permissions": wanted or {"metadata": "read"}},
                parse=_secret_of,
            )
        except NotReadable as error:
            self._refusal = NotReadable(f"{self.name} gives no token: {_meaning(error)}", status=REFUSED)
            raise self._refusal from error
        token, ends = answer.body
        self._header = f"Bearer {token}"
        life = _life_seconds(ends, answer.date)
        self._fetched_at = self._clock.monotonic()
        self._renew_at = self._fetched_at + life - min(RENEWED_BEFORE_SECONDS, life / 2)
        log.debug("%s: a token for %.0f s, to read %s", self.name, life, ", ".join(wanted))


def _secret_of(text: str) -> tuple[str, str]:
    """The token, kept from all messages from here on, and when it ends. Raises ValueError for an answer without one."""
    found = json.loads(text)
    token = found.get("token") if isinstance(found, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ValueError("no token in it")
    secrets.remember(token)
    return token, str(found.get("expires_at"))


def _life_seconds(ends: str, date: str | None) -> float:
    moment, theirs = timestamps.normalise(ends), timestamps.from_http_date(date)
    if moment is None or theirs is None:
        return DEFAULT_LIFE_SECONDS
    return max(0.0, timestamps.to_epoch(moment) - theirs)


def _meaning(error: NotReadable) -> str:
    if error.status == 404:
        return f"it was revoked ({error}); install the App again, or leave the owner out"
    if error.status == 422:
        return f"its permissions have changed ({error}); run again"
    return f"{error}; its owner may have suspended it"


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
        found = list(self._listed())
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
                found = _found(self._get(place).body)
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
                return self._known(_found(self._get(f"/app/installations/{number}").body))
            except NotReadable as error:
                said = f"GITHUB_APP_INSTALLATION_ID {number} is no installation of the App ({error}); check both ids"
                raise ConfigurationError(said) from error

    def _known(self, found: Found) -> Installation:
        if found.id not in self._by_id:
            self._by_id[found.id] = Installation(found, app=self._api, permissions=self._permissions, clock=self._clock)
        return self._by_id[found.id]

    def _listed(self) -> Iterator[Found]:
        url: str | None = "/app/installations?per_page=100"
        while url is not None:
            answer = self._get(url)
            for entry in answer.body:
                try:
                    yield _found(entry)
                except NotReadable as error:
                    log.warning("%s", error)
            url = answer.next_url

    def _get(self, path: str) -> Answer:
        return self._api.get(path, parse=json.loads, on_request=lambda status: None)


def _found(entry: Any) -> Found:
    """What GitHub says of an installation. Raises NotReadable for what says nothing."""
    fields = entry if isinstance(entry, dict) else {}
    account, granted = fields.get("account"), fields.get("permissions")
    owner = account.get("login") or account.get("slug") if isinstance(account, dict) else None  # an enterprise has none
    if not is_integer(fields.get("id")) or not isinstance(owner, str):
        raise NotReadable("GitHub describes an installation that has no id or no owner", status=REFUSED)
    return Found(
        id=fields["id"],
        owner=owner,
        granted=granted if isinstance(granted, dict) else {},
        is_suspended=fields.get("suspended_at") is not None,
    )
