"""An App where an owner has installed it: what GitHub says of that, and a token that is renewed in time."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, NamedTuple, Sequence

from foundation import secrets, timestamps
from foundation.clock import Clock
from foundation.errors import Outage, PipelineError
from github.api import GitHub
from github.fields import is_integer
from github.login.logins import Login
from github.refusals import NotReadable

log = logging.getLogger("pipeline.github")

RENEWED_BEFORE_SECONDS = 300
DEFAULT_LIFE_SECONDS = 3600  # where an answer says nothing that can be true
RENEWAL_RETRIED_SECONDS = 60
# So long after it was given, a token may be unknown to some of GitHub's servers (octokit/auth-app.js #65).
FRESH_SECONDS = 10
REFUSED = 403  # by whatever status GitHub says that an installation gives no token


class Found(NamedTuple):
    """An installation, as GitHub describes it. `granted`: {permission: read, write or admin}."""

    id: int
    owner: str
    granted: dict[str, str]


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
        self._fetched_at = self._renew_at = self._ends_at = float("-inf")  # monotonic: a wrong clock does no harm
        self._refusal: NotReadable | None = None
        self._lock = threading.Lock()  # held while a token is fetched: who needs one too waits for it

    def header(self) -> str | None:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._header is None or self._clock.monotonic() >= self._renew_at:
                self._renewed()
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

    def _renewed(self) -> None:
        """A token is renewed before its end: until then it serves through a bad minute of GitHub's."""
        try:
            self._fetch()
        except Outage as error:
            now = self._clock.monotonic()
            if self._header is None or now >= self._ends_at:
                raise
            log.info("%s keeps its token for now: %s", self.name, error)
            self._renew_at = now + RENEWAL_RETRIED_SECONDS

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
        self._ends_at = self._fetched_at + life
        self._renew_at = self._ends_at - min(RENEWED_BEFORE_SECONDS, life / 2)
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
    life = 0.0 if moment is None or theirs is None else timestamps.to_epoch(moment) - theirs
    return life if life > 0 else DEFAULT_LIFE_SECONDS


def _meaning(error: NotReadable) -> str:
    said = str(error).split(";")[0]  # the advice behind it is for a token
    advice = {
        403: "its owner has to unsuspend it, or leave the owner out",
        404: "it was revoked; install the App again, or leave the owner out",
        422: "its permissions have changed; run again",
    }
    return f"{said}; {advice.get(error.status, 'look at its page in the settings of its owner')}"


def usable(entries: list[Any]) -> dict[int, Found]:
    """By their ids; nothing is left out silently."""
    found = {}
    for entry in entries:
        try:
            installation = described(entry)
            found[installation.id] = installation
        except NotReadable as error:
            log.warning("%s", error)
    return found


def described(entry: Any) -> Found:
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
    )
