"""GitHub's rate limits, shared by all requests that use one token. Decides how long to wait; never sleeps.

Rules: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

import threading
from typing import Callable, Mapping

from foundation import timestamps
from foundation.errors import ConfigurationError, Outage

# What GitHub asks for when a secondary limit comes without a retry-after header: a minute, then exponentially longer.
SECONDARY_WAIT_SECONDS = 60
ANONYMOUS_POINTS = 60  # an hour, without a token


class RateLimitReached(Outage):
    """Waiting for the limit would take longer than the caller allowed; the message says when to come back."""


class Waited:
    """The budget of waiting that one run may spend, on whichever limits."""

    def __init__(self) -> None:
        self.seconds = 0.0


class RateLimits:
    """What is known of the limits, and the budget of waiting that one run may spend on them.

    `remaining` and `reset_at` (server's epoch seconds) are None until GitHub has said so: GitHub Enterprise Server
    without limits sends no such headers, or 0 of 0, and is then never waited for.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        max_wait_seconds: float,
        reserve_points: int = 0,
        waited: Waited | None = None,
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._max_wait_seconds = max_wait_seconds
        self._reserve_points = reserve_points
        self._lock = threading.Lock()
        self._blocked_until = float("-inf")  # monotonic seconds
        self._waited = waited or Waited()
        self._secondary_hits = 0
        self._refused_at = float("-inf")  # monotonic seconds: when a limit was last met
        self._limit: int | None = None  # points an hour
        self.remaining: int | None = None
        self.reset_at: int | None = None

    def of_another_resource(self) -> RateLimits:
        """Of points that GitHub counts apart, as those of GraphQL; the budget of waiting is the same."""
        return RateLimits(
            now=self._now,
            monotonic=self._monotonic,
            max_wait_seconds=self._max_wait_seconds,
            reserve_points=self._reserve_points,
            waited=self._waited,
        )

    def observe(self, headers: Mapping[str, str], *, sent_at: float) -> None:
        """Take in the headers of an answer that was no refusal. `sent_at` (monotonic): when it was asked for.

        Raises ConfigurationError when the reserve leaves nothing of the limit.
        """
        with self._lock:
            if sent_at > self._refused_at:
                self._secondary_hits = 0
            if self._read(headers) and self.remaining is not None and self.remaining <= self._reserve_points:
                self._block(self._seconds_to_reset(headers))

    def refused(self, headers: Mapping[str, str], *, sent_at: float) -> None:
        """Take in a 403 or 429 that was a limit, primary or secondary.

        Requests under way when a limit begins are refused as well: they tell nothing new, and the wait does not double.
        A time that GitHub names holds in any case, unless it has gone by: asking on while limited can end in a ban.
        """
        with self._lock:
            known = self._read(headers)
            seconds = self._retry_after(headers)
            if seconds is None and known and self.remaining == 0:
                seconds = self._seconds_to_reset(headers)
            if seconds is not None and seconds > 0:
                self._block(seconds)
            elif sent_at > self._refused_at:
                self._block(SECONDARY_WAIT_SECONDS * 2**self._secondary_hits)
                self._secondary_hits += 1
            else:
                return
            self._refused_at = self._monotonic()

    def seconds_to_wait(self) -> float:
        """How long to sleep before the next request; 0 when it may go out.

        Raises RateLimitReached when that is more than is left of the run's budget. Threads that wait for one and the
        same limit spend the budget once.
        """
        with self._lock:
            seconds = self._blocked_until - self._monotonic()
            if seconds <= 0:
                return 0.0
            if self._waited.seconds > self._max_wait_seconds:
                back = timestamps.from_epoch(self._now() + seconds)
                more = "; GITHUB_TOKEN raises 60 points an hour to 5,000" if self._limit == ANONYMOUS_POINTS else ""
                raise RateLimitReached(
                    f"GitHub's rate limit holds until {back}, longer than --max-wait {self._max_wait_seconds:g} s "
                    f"allows; run again after that, it goes on from here{more}"
                )
            return seconds

    def _read(self, headers: Mapping[str, str]) -> bool:
        """Note what the headers say of the primary limit; False when there is none, or of a window that has ended."""
        limit, remaining, reset = (_integer(headers.get("x-ratelimit-" + k)) for k in ("limit", "remaining", "reset"))
        if not limit or remaining is None or reset is None:
            return False
        if limit <= self._reserve_points:
            advice = "set GITHUB_TOKEN for more, or leave less" if limit <= ANONYMOUS_POINTS else "leave less"
            raise ConfigurationError(
                f"--reserve {self._reserve_points} leaves nothing of GitHub's limit of {limit} points an hour; {advice}"
            )
        self._limit = limit
        # Answers of parallel requests arrive in any order: within one window the lowest figure is the latest.
        if self.reset_at is not None and reset < self.reset_at and reset <= self._server_now(headers):
            return False
        same_window = self.reset_at == reset and self.remaining is not None
        self.remaining = min(self.remaining or 0, remaining) if same_window else remaining
        self.reset_at = reset
        return True

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Seconds, or a date as RFC 9110 allows and proxies send it; None where there is none that can be read."""
        text = headers.get("retry-after")
        seconds, moment = _integer(text), timestamps.from_http_date(text)
        return seconds if seconds is not None or moment is None else moment - self._server_now(headers)

    def _seconds_to_reset(self, headers: Mapping[str, str]) -> float:
        return (self.reset_at or 0) - self._server_now(headers) + 1

    def _server_now(self, headers: Mapping[str, str]) -> float:
        """The server's own clock where it tells it, so that a wrong clock here does no harm."""
        return timestamps.from_http_date(headers.get("date")) or self._now()

    def _block(self, seconds: float) -> None:
        until = self._monotonic() + max(seconds, 1)
        added = until - max(self._blocked_until, self._monotonic())
        if added > 0:
            self._blocked_until = until
            self._waited.seconds += added


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else None
