"""The client of GitHub that a command asks with."""

from __future__ import annotations

import random
from typing import Callable

from commands import options
from commands.context import Context
from foundation import settings
from github.api import GitHub
from github.rate_limit import RateLimits


def api_client(
    context: Context,
    *,
    max_wait_seconds: float = 0,
    reserve_points: int = 0,
    on_wait: Callable[[float, str], None] = lambda seconds, reason: None,
) -> GitHub:
    """By default one that waits for no limit. Raises ConfigurationError for an address or token that can't be used."""
    clock, token = context.clock, settings.token(context.environ)
    return GitHub(
        base_url=settings.api_url(context.environ, with_token=token is not None),
        token=token,
        user_agent=options.USER_AGENT,
        limits=RateLimits(
            now=clock.now,
            monotonic=clock.monotonic,
            max_wait_seconds=max_wait_seconds,
            reserve_points=reserve_points,
        ),
        clock=clock,
        rng=random.Random(),
        on_wait=on_wait,
    )
