"""What is asked of GitHub's API, as data."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from github.rate_limit import RateLimits


class Question(NamedTuple):
    """`body` None: a GET, else a POST. `is_whole`: less of it can't be asked for, so that no answer is too heavy."""

    url: str
    parse: Callable[[str], Any]
    on_request: Callable[[int], None]
    limits: RateLimits
    etag: str | None = None
    retry_refusals: bool = False
    body: bytes | None = None
    follows: bool = True
    is_whole: bool = False
