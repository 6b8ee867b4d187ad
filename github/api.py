"""One question to GitHub's API, REST or GraphQL, answered or classified: attempts, limits, redirects, origin.

The only owner of HTTP retries. Knows nothing of streams or scans (fetcher.py), nor of SQL; prints nothing.
"""

from __future__ import annotations

import concurrent.futures
import copy
import json
import logging
import random
from typing import Any, Callable, NamedTuple

import requests

from foundation import settings
from foundation.clock import Clock
from foundation.errors import ConfigurationError, Outage, PipelineError
from github import answers, graphql, transport
from github.answers import Kind
from github.login.logins import Login
from github.outages import Outages
from github.question import Question
from github.rate_limit import RateLimits
from github.refusals import MAX_ATTEMPTS, HeavyAnswer, Moved, NotReadable, Refusals, Unauthorized, is_forbidden
from github.transport import Fault

log = logging.getLogger("pipeline.github")

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
MAX_REDIRECTS = 5


class Answer(NamedTuple):
    """`body` is None for 304 (unchanged). `url` is the one that answered, after redirects."""

    body: Any
    etag: str | None
    next_url: str | None
    last_url: str | None
    url: str
    redirected: bool
    date: str | None


class GitHub:
    """A client of one API origin, for one login. Safe to use from several threads.

    `on_wait(seconds, reason)` is told of every wait before it begins.
    """

    def __init__(
        self,
        *,
        base_url: str,
        login: Login,
        user_agent: str,
        limits: RateLimits,
        clock: Clock,
        rng: random.Random,
        on_wait: Callable[[float, str], None] = lambda seconds, reason: None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.limits = limits
        self.graphql_limits = limits.of_another_resource()
        self.login = login
        self._clock = clock
        self._rng = rng
        self._on_wait = on_wait
        self._transport = transport.Transport(
            base_url=self.base_url,
            has_secrets=not login.is_anonymous,
            user_agent=user_agent,
            monotonic=clock.monotonic,
        )
        # Parsing holds the interpreter in any case. One thread for all takes the memory of one page; for several, the
        # C library would keep as much for each.
        self._parser = concurrent.futures.ThreadPoolExecutor(1)
        self._outages = Outages()
        self._refusals = self._refusals_of(login)

    def asking_as(self, login: Login, limits: RateLimits) -> GitHub:
        """The same API, for another login with limits of its own. What is known of outages is known to both."""
        other = copy.copy(self)
        other.login, other.limits, other._refusals = login, limits, self._refusals_of(login)
        other.graphql_limits = limits.of_another_resource()
        return other

    def _refusals_of(self, login: Login) -> Refusals:
        return Refusals(base_url=self.base_url, login=login, proxy_fault=self._transport.proxy_fault)

    def get(
        self,
        url: str,
        *,
        parse: Callable[[str], Any],
        etag: str | None = None,
        on_request: Callable[[int], None],
        attempts: int = MAX_ATTEMPTS,
        retry_refusals: bool = False,
        follows: bool = True,
    ) -> Answer:
        """GET `url` (absolute, or a path below the API's base) and parse its body.

        `on_request(status)` is called for each answer, for the caller's counts. `attempts` bounds the faults that are
        survived, outages apart. `retry_refusals`: what is refused should be there, so that one refusal proves nothing.
        `follows` False: a redirect is Moved, and nothing is asked of where it leads.
        Raises NotReadable, HeavyAnswer or another Outage, RateLimitReached, or ConfigurationError (a rejected token, a
        link to another origin).
        """
        question = Question(self._whole(url), parse, on_request, self.limits, etag, retry_refusals, follows=follows)
        return self._answer(question, attempts)

    def post(self, url: str, content: Any, *, parse: Callable[[str], Any]) -> Answer:
        """POST `content` as JSON; what it does may be done twice. A refusal is believed when it is repeated.

        Raises what `get` raises, HeavyAnswer apart: who asks for less of something else would not be helped.
        """
        question = Question(
            self._whole(url), parse, lambda status: None, self.limits, retry_refusals=True,
            body=json.dumps(content).encode(), is_whole=True,
        )  # fmt: skip
        return self._answer(question, MAX_ATTEMPTS)

    def query(
        self,
        text: str,
        *,
        parse: Callable[[str], Any],
        on_request: Callable[[int], None],
        attempts: int = MAX_ATTEMPTS,
    ) -> Answer:
        """Ask GraphQL, whose points are counted apart, and parse the body; `parse` may raise a Fault.

        Raises as `get` does; a refusal is believed when it is repeated.
        """
        url, posted = graphql.address(self.base_url), graphql.posted(text)
        question = Question(url, parse, on_request, self.graphql_limits, retry_refusals=True, body=posted)
        return self._answer(question, attempts)

    def _whole(self, url: str) -> str:
        return self.base_url + url if url.startswith("/") else url

    def _answer(self, question: Question, attempts: int) -> Answer:
        faults: list[Fault] = []
        is_renewed = False
        while True:
            sent_at, header = self._wait_for(question.limits), self.login.header()
            try:
                answer = self._follow(question, sent_at, header)
            except Fault as fault:
                if not is_renewed and self._renews(fault, header):
                    is_renewed = True
                    continue
                faults.append(fault)
                self._back_off(question, faults, attempts)
                continue
            except PipelineError:
                self._outages.answered()
                raise
            self._outages.answered()
            if answer is not None:
                self._refusals.login_taken = True
                return answer
            faults.clear()  # a limit, not a fault; how often is bounded by the limits' own budget

    def _renews(self, fault: Fault, header: str | None) -> bool:
        return isinstance(fault, Unauthorized) and self.login.renew(header, date=fault.date)

    def is_own_origin(self, url: str) -> bool:
        return transport.origin(url) == transport.origin(self.base_url)

    def check_origin(self, url: str, *, source: str) -> None:
        """ConfigurationError unless `url` has the API's own scheme, host and port: the token goes nowhere else."""
        if not self.is_own_origin(url):
            raise ConfigurationError(
                f"GitHub's {source} points to another origin, {transport.shown_origin(url)}, instead of "
                f"{self.base_url}; not followed, because the token would go there; check GITHUB_API_URL"
            )

    def _wait_for(self, limits: RateLimits) -> float:
        """Returns the (monotonic) moment at which no limit was known."""
        while True:
            now = self._clock.monotonic()
            seconds = limits.seconds_to_wait()
            if seconds <= 0:
                return now
            self._on_wait(seconds, "GitHub's rate limit")
            self._clock.sleep(seconds)

    # Faults.

    def _back_off(self, question: Question, faults: list[Fault], attempts: int) -> None:
        """Sleep before the next attempt, or raise when there have been enough."""
        fault = faults[-1]
        if fault.lasting is not None:
            times = MAX_ATTEMPTS if is_forbidden(fault) and self.login.is_fresh else fault.times
            recent = faults[-times:]
            if len(recent) == times and {str(other) for other in recent} == {str(fault)}:
                raise fault.lasting
            attempts = MAX_ATTEMPTS
        elif self._outages.is_down:
            attempts = 1
        if len(faults) >= attempts:
            raise self._outage(question.url, fault, len(faults), heavy=fault.heavy and not question.is_whole)
        seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (len(faults) - 1), LONGEST_BACKOFF_SECONDS)
        seconds *= 1 + self._rng.random() / 2
        self._on_wait(seconds, str(fault))
        self._clock.sleep(seconds)

    def _outage(self, url: str, fault: Fault, attempts: int, *, heavy: bool) -> Outage:
        """What is heavy may be so for one list only; what can't be reached is so for all."""
        self._outages.failed(url, heavy=heavy)
        is_ours = fault.heavy or self.base_url == settings.DEFAULT_API_URL  # who answers is the right one
        advice = "run again later" if is_ours else "check GITHUB_API_URL, or run again later"
        message = f"GitHub: {fault} ({attempts} attempts) on {transport.shown(url)}; {advice}, it goes on from here"
        return HeavyAnswer(message) if heavy and not self._outages.is_down else Outage(message)

    # One attempt.

    def _follow(self, question: Question, sent_at: float, header: str | None) -> Answer | None:
        """One attempt, redirects included. None: a rate limit was met, and is known to `limits` now."""
        target = question.url
        for _ in range(MAX_REDIRECTS):
            response, body = self._ask(target, question, header)
            question.on_request(response.status_code)
            kind = answers.classify(response.status_code, response.headers, body)
            if kind is Kind.ANSWER and question.body is not None and graphql.is_limit(body):
                kind = Kind.LIMITED
            if kind is Kind.REDIRECT:
                target = transport.absolute(target, response.headers.get("location", ""))
                if not question.follows:
                    question.limits.observe(response.headers, sent_at=sent_at)
                    shown = transport.shown(question.url)
                    raise Moved(f"GitHub redirects from {shown}", status=response.status_code, location=target)
                self.check_origin(target, source="redirect")
                continue
            if kind is Kind.LIMITED:
                question.limits.refused(response.headers, sent_at=sent_at)
                return None
            question.limits.observe(response.headers, sent_at=sent_at)
            if kind is not Kind.ANSWER:
                refusal = self._refusals.of(kind, target, response.status_code, body, is_odd=question.retry_refusals)
                if isinstance(refusal, Unauthorized):
                    refusal.date = response.headers.get("date")
                raise refusal
            return Answer(
                body=self._read(response.status_code, body, question),
                etag=response.headers.get("etag"),
                next_url=self._link(target, response, "next"),
                last_url=self._link(target, response, "last"),
                url=target,
                redirected=target != question.url,
                date=response.headers.get("date"),
            )
        shown = transport.shown(question.url)
        raise NotReadable(f"GitHub redirects more than {MAX_REDIRECTS} times from {shown}", status=310)

    def _ask(self, url: str, question: Question, header: str | None) -> tuple[requests.Response, bytes]:
        found = {
            "Authorization": header,
            "If-None-Match": question.etag,
            "Content-Type": None if question.body is None else "application/json",
        }
        headers = {name: value for name, value in found.items() if value}
        began = self._clock.monotonic()
        outcome = "no answer"
        try:
            seconds = self._outages.read_timeout_seconds
            response, body = self._transport.send(
                url, headers=headers, body=question.body, read_timeout_seconds=seconds
            )
            left = response.headers.get("x-ratelimit-remaining", "no count of")
            outcome = f"{response.status_code}, {left} points left"
            return response, body
        except Fault as fault:
            outcome = str(fault)
            raise
        finally:
            milliseconds = (self._clock.monotonic() - began) * 1000
            method = "GET" if question.body is None else "POST"
            log.debug("%s %s: %s, %.0f ms", method, transport.shown(url), outcome, milliseconds)

    def _read(self, status: int, body: bytes, question: Question) -> Any:
        if status == 304:
            if question.etag is None:
                raise Fault("status 304, not modified, for a request that named no version", heavy=True)
            return None
        try:
            return self._parser.submit(lambda: question.parse(body.decode("utf-8"))).result()
        except ValueError as error:
            raise Fault(f"status 200 with a body that can't be read ({str(error)[:80]})", heavy=True) from error

    def _link(self, url: str, response: requests.Response, rel: str) -> str | None:
        link = response.links.get(rel, {}).get("url")
        if not link:
            return None
        absolute = transport.absolute(url, link)
        self.check_origin(absolute, source="Link header")
        return absolute
