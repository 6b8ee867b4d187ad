"""What it means that GitHub does not give what was asked for: whose fault it is, and whether to ask again."""

from __future__ import annotations

from typing import Callable

from foundation import secrets
from foundation.errors import ConfigurationError, Outage, PipelineError
from github import answers, transport
from github.answers import Kind
from github.login.logins import Login
from github.transport import API_VERSION, Fault

MAX_ATTEMPTS = 5
ODD_ATTEMPTS = 2  # for an answer that is sometimes a slip of GitHub's


class NotReadable(PipelineError):
    """GitHub answers, and says that this resource can't be had: 404, 410, 451, no permission, blocked.

    `disabled`: it is a feature that the repository has switched off, which is no error of anyone's.
    """

    def __init__(self, message: str, *, status: int, disabled: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.disabled = disabled


class Moved(NotReadable):
    """It is elsewhere, says GitHub: `location` is where its answer points to, which nobody has looked at."""

    def __init__(self, message: str, *, status: int, location: str) -> None:
        super().__init__(message, status=status)
        self.location = location


class HeavyAnswer(Outage):
    """Kept failing in a way that a smaller page often cures: 5xx, a time-out, a body cut short."""


class Unauthorized(Fault):
    """GitHub does not take who asks, at `date` by its own clock."""

    date: str | None = None


def is_forbidden(fault: Fault) -> bool:
    """By REST or GraphQL. Of a new token some servers don't know yet what it may read: octokit/auth-app.js #589."""
    return isinstance(fault.lasting, NotReadable) and fault.lasting.status == 403


class Refusals:
    """Of one API with one login. `login_taken`: it has been accepted before, so that it is hardly to blame."""

    def __init__(self, *, base_url: str, login: Login, proxy_fault: Callable[[int], Fault]) -> None:
        self._base_url = base_url
        self._login = login
        self._whose = "the token" if login.is_anonymous else login.name
        self._proxy_fault = proxy_fault
        self.login_taken = login.is_trusted

    def of(self, kind: Kind, url: str, status: int, body: bytes, *, is_odd: bool) -> Exception:
        """What to raise for an answer that is none. `is_odd`: it should be there, so one refusal proves nothing."""
        said = f"{status} {secrets.masked(answers.message(body))}".strip()
        where = transport.shown(url)
        if kind is Kind.UNAVAILABLE:
            return Fault(f"status {status}", heavy=True)
        if kind is Kind.BAD_TOKEN:
            return self._bad_token(said)
        if kind is Kind.BAD_PROXY:
            return self._proxy_fault(status)
        if kind is Kind.RETIRED:
            return ConfigurationError(f"GitHub has retired API version {API_VERSION} ({said}); upgrade this program")
        if kind is Kind.TOO_MANY:
            return HeavyAnswer(f"GitHub answers {said} on {where} although it has more; a smaller page may pass")
        refusal: PipelineError = NotReadable(
            f"GitHub answers {said} on {where}; {answers.advice(status, self._whose)}",
            status=status,
            disabled=answers.is_disabled(status, body),
        )
        if kind is Kind.WEB_PAGE:
            return self._web_page(status, refusal)
        if is_odd or self._login.is_fresh:
            return Fault(f"status {said}", lasting=refusal, times=ODD_ATTEMPTS)
        return refusal

    def _bad_token(self, said: str) -> Fault:
        """GitHub answers 401 to a good token now and then: MeltanoLabs/tap-github #90, python-github-backup #524."""
        times = MAX_ATTEMPTS if self.login_taken else ODD_ATTEMPTS
        return Unauthorized(f"status {said}", lasting=self._login.rejected(said), times=times)

    def _web_page(self, status: int, refusal: PipelineError) -> Fault:
        """A page of a proxy's or a passing fault; or what a server of one's own shows beside its API."""
        reason = f"status {status} with a web page"
        if answers.lacks_api_path(self._base_url):
            said = f"{self._base_url} answers with web pages; is /api/v3 missing in GITHUB_API_URL?"
            return Fault(reason, heavy=True, lasting=ConfigurationError(said), times=MAX_ATTEMPTS)
        return Fault(reason, heavy=True, lasting=None if status == 200 else refusal)
