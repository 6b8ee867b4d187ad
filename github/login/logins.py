"""A login: what stands in the header `Authorization`, and what it means that GitHub does not take it."""

from __future__ import annotations

from foundation import secrets
from foundation.errors import ConfigurationError, PipelineError


class Rejected(ConfigurationError):
    """GitHub does not take one token of several: what the others read goes on."""


def is_of_all(error: PipelineError) -> bool:
    """Would what comes next meet it, too? What only a person can mend is so, unless it is of one token of several."""
    return isinstance(error, ConfigurationError) and not isinstance(error, Rejected)


class Login:
    """Nobody's, unless a class below says otherwise. `name`: as messages and `check` call it.

    `is_trusted`: GitHub itself has given it, so that a 401 is hardly its fault; `is_fresh`: just now, so that some of
    GitHub's servers may not know it yet.
    """

    name = "no token"
    is_anonymous = True
    is_trusted = False

    @property
    def is_fresh(self) -> bool:
        return False

    def header(self) -> str | None:
        """The header's value; None: none. May ask GitHub for it, one thread at a time, and raises what that raises."""
        return None

    def renew(self, refused: str | None, *, date: str | None) -> bool:
        """GitHub answered 401 to the header `refused`, at `date` by its clock. Is there another one to try?"""
        return False

    def rejected(self, said: str) -> PipelineError:
        """What it means that GitHub goes on to answer 401."""
        return ConfigurationError(f"GitHub wants a token ({said}); set GITHUB_TOKEN")


class Token(Login):
    """A token that was given, which is what it is: a person's, an app's."""

    is_anonymous = False

    def __init__(self, token: str, *, name: str = "the token") -> None:
        secrets.remember(token)
        self.name = name
        self._header = f"Bearer {token}"

    def header(self) -> str | None:
        return self._header

    def rejected(self, said: str) -> PipelineError:
        return ConfigurationError(f"GitHub rejects {self.name} ({said}); check GITHUB_TOKEN or GH_TOKEN")


class OneOfSeveral(Token):
    """Of different accounts, by their places in the variable."""

    def __init__(self, token: str, *, place: int, count: int) -> None:
        super().__init__(token, name=f"token {place} of {count}")

    def rejected(self, said: str) -> PipelineError:
        return Rejected(str(super().rejected(said)))


def of(token: str | None) -> Login:
    return Login() if token is None else Token(token)
