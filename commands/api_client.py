"""The clients of GitHub that a command asks with: an App's before those of tokens, before one without a token."""

from __future__ import annotations

import random
from typing import Callable, Sequence

from commands import options
from commands.context import Context
from foundation import settings
from github.api import GitHub
from github.clients import AppClients, Clients
from github.login import environment
from github.login.app import App, AppLogin
from github.login.key import Key
from github.login.logins import Login, OneOfSeveral, Token
from github.rate_limit import RateLimits
from github.streams import STREAMS


def api_clients(
    context: Context,
    streams: Sequence[str],
    *,
    max_wait_seconds: float = 0,
    reserve_points: int = 0,
    on_wait: Callable[[float, str], None] = lambda seconds, reason: None,
) -> Clients:
    """Those that may read these streams; by default such that wait for no limit.

    Raises ConfigurationError for an address or login that can't be used.
    """

    def limits(reserve_points: int = reserve_points) -> RateLimits:
        return RateLimits(
            now=context.clock.now,
            monotonic=context.clock.monotonic,
            max_wait_seconds=max_wait_seconds,
            reserve_points=reserve_points,
        )

    app = environment.app(context.environ)
    logins = _tokens(context) if app is None else [AppLogin(app.id, Key(app.key, source=app.source), context.clock)]
    first = GitHub(
        base_url=settings.api_url(context.environ, with_token=not logins[0].is_anonymous),
        login=logins[0],
        user_agent=options.USER_AGENT,
        limits=limits() if app is None else limits(reserve_points=0),  # the App's own points serve its tokens only
        clock=context.clock,
        rng=random.Random(),
        on_wait=on_wait,
    )
    if app is None:
        return Clients(first, logins, limits)
    finder = App(first, permissions=_permissions(streams), clock=context.clock, only=app.installation_id)
    return AppClients(first, finder, limits, is_one=app.installation_id is not None)


def _tokens(context: Context) -> list[Login]:
    tokens = settings.tokens(context.environ)
    if len(tokens) == 1:
        return [Token(tokens[0])]
    several = [OneOfSeveral(token, place=at, count=len(tokens)) for at, token in enumerate(tokens, start=1)]
    return [*several] or [Login()]


def _permissions(streams: Sequence[str]) -> list[str]:
    """What an App's tokens may read: what the streams are, and the repositories themselves."""
    titles = {"Metadata"}.union(*(STREAMS[name].permissions for name in streams))
    return sorted(title.lower().replace(" ", "_") for title in titles)
