"""One request to GitHub's REST API, answered or classified: session, token, retries, redirects, origin.

The only owner of HTTP retries. Knows nothing of streams or scans (fetcher.py), nor of SQL; prints nothing.
"""

from __future__ import annotations

import concurrent.futures
import logging
import random
import threading
from typing import Any, Callable, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests

import github_answers
from clock import Clock
from errors import ConfigurationError, Outage, PipelineError
from github_answers import Kind
from rate_limit import RateLimits

log = logging.getLogger("pipeline.github")

API_VERSION = "2022-11-28"  # https://docs.github.com/rest/about-the-rest-api/api-versions
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 30  # GitHub itself gives up after 10
WHOLE_ANSWER_SECONDS = 120  # a server that drips a byte now and then never trips a read time-out
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # 100 items of 64 KB bodies, escaped, are a tenth of this
MAX_ATTEMPTS = 5
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
MAX_REDIRECTS = 5


class NotReadable(PipelineError):
    """GitHub answers, and says that this resource can't be had: 404, 410, 451, no permission, blocked."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class HeavyAnswer(Outage):
    """Kept failing in a way that a smaller page often cures: 5xx, a time-out, a body cut short."""


class Answer(NamedTuple):
    """`body` is None for 304 (unchanged). `url` is the one that answered, after redirects."""

    body: Any
    etag: str | None
    next_url: str | None
    last_url: str | None
    url: str
    redirected: bool
    date: str | None


class _Fault(Exception):
    """One attempt failed in a way that another may not. `heavy`: a smaller page may help."""

    def __init__(self, reason: str, *, heavy: bool) -> None:
        super().__init__(reason)
        self.heavy = heavy


class GitHub:
    """A client of one API origin with one token. Safe to use from several threads.

    `on_wait(seconds, reason)` is told of every wait before it begins.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str | None,
        user_agent: str,
        limits: RateLimits,
        clock: Clock,
        rng: random.Random,
        on_wait: Callable[[float, str], None] = lambda seconds, reason: None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.limits = limits
        self._origin = _origin(self.base_url)
        self._token = token
        self._user_agent = user_agent
        self._clock = clock
        self._rng = rng
        self._on_wait = on_wait
        self._sessions = threading.local()  # a requests.Session is not documented as thread-safe
        # Parsing holds the interpreter in any case. One thread for all takes the memory of one page; for several, the
        # C library would keep as much for each.
        self._parser = concurrent.futures.ThreadPoolExecutor(1)
        self._down = False  # the last request of all outlasted its retries: others then try only once

    def get(
        self,
        url: str,
        *,
        parse: Callable[[str], Any],
        etag: str | None = None,
        attempts: int = MAX_ATTEMPTS,
        on_request: Callable[[int], None],
    ) -> Answer:
        """GET `url` (absolute, or a path below the API's base) and parse its body.

        `on_request(status)` is called for each answer, for the caller's counts. Raises NotReadable, HeavyAnswer or
        another Outage, RateLimitReached, or ConfigurationError (a rejected token, a link to another origin).
        """
        url = self.base_url + url if url.startswith("/") else url
        attempt = 0
        while True:
            self._wait_for_limits()
            attempt += 1
            try:
                answer = self._follow(url, parse=parse, etag=etag, on_request=on_request)
            except _Fault as fault:
                self._back_off(url, fault, attempt, attempts)
                continue
            if answer is not None:
                self._down = False
                return answer
            attempt = 0  # a limit, not a fault; how often is bounded by the limits' own budget

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def is_own_origin(self, url: str) -> bool:
        return _origin(url) == self._origin

    def check_origin(self, url: str, *, source: str) -> None:
        """ConfigurationError unless `url` has the API's own scheme, host and port: the token goes nowhere else."""
        if not self.is_own_origin(url):
            raise ConfigurationError(
                f"GitHub's {source} points to another origin, {_shown_origin(url)}, instead of {self.base_url}; "
                "not followed, because the token would go there; check GITHUB_API_URL"
            )

    def _wait_for_limits(self) -> None:
        while True:
            seconds = self.limits.seconds_to_wait()
            if seconds <= 0:
                return
            self._on_wait(seconds, "GitHub's rate limit")
            self._clock.sleep(seconds)

    def _back_off(self, url: str, fault: _Fault, attempt: int, attempts: int) -> None:
        """Sleep before the next attempt, or raise when there have been enough."""
        if attempt >= attempts or self._down:
            self._down = not fault.heavy
            message = f"GitHub: {fault} ({attempt} attempts) on {_shown(url)}; run again later, it goes on from here"
            raise HeavyAnswer(message) if fault.heavy else Outage(message)
        seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)
        seconds *= 1 + self._rng.random() / 2
        self._on_wait(seconds, str(fault))
        self._clock.sleep(seconds)

    def _follow(
        self, url: str, *, parse: Callable[[str], Any], etag: str | None, on_request: Callable[[int], None]
    ) -> Answer | None:
        """One attempt, redirects included. None: a rate limit was met, and is known to `limits` now."""
        target = url
        for _ in range(MAX_REDIRECTS):
            response, body = self._send(target, etag)
            on_request(response.status_code)
            kind = github_answers.classify(response.status_code, response.headers, body)
            if kind is Kind.REDIRECT:
                target = _absolute(target, response.headers.get("location", ""))
                self.check_origin(target, source="redirect")
                continue
            if kind is Kind.LIMITED:
                self.limits.refused(response.headers)
                return None
            self.limits.observe(response.headers)
            if response.status_code == 304 and etag is None:
                raise _Fault("status 304 to a request that did not ask for it", heavy=False)
            if kind is not Kind.ANSWER:
                raise self._refusal(kind, target, response.status_code, body)
            return Answer(
                body=None if response.status_code == 304 else self._parsed(body, parse),
                etag=response.headers.get("etag"),
                next_url=self._link(target, response, "next"),
                last_url=self._link(target, response, "last"),
                url=target,
                redirected=target != url,
                date=response.headers.get("date"),
            )
        raise NotReadable(f"GitHub redirects more than {MAX_REDIRECTS} times from {_shown(url)}", status=310)

    def _send(self, url: str, etag: str | None) -> tuple[requests.Response, bytes]:
        try:
            with self._session().get(
                url,
                headers={"If-None-Match": etag} if etag else {},
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, self._read(response)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            raise ConfigurationError(f"{_shown(url)} is no URL that can be asked; check GITHUB_API_URL") from error
        except requests.exceptions.SSLError as error:
            raise _Fault("the TLS certificate or handshake was refused", heavy=False) from error
        except requests.exceptions.ConnectTimeout as error:
            raise _Fault(f"no connection within {CONNECT_TIMEOUT_SECONDS} s", heavy=False) from error
        except requests.exceptions.Timeout as error:
            raise _Fault(f"no answer within {READ_TIMEOUT_SECONDS} s", heavy=True) from error
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            raise _Fault("the answer was cut short", heavy=True) from error
        except requests.exceptions.RequestException as error:
            raise _Fault(_connection_reason(error), heavy=False) from error
        except OSError as error:  # requests' own check, before it connects
            raise ConfigurationError(f"GitHub: {error}; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE") from error

    def _read(self, response: requests.Response) -> bytes:
        deadline = self._clock.monotonic() + WHOLE_ANSWER_SECONDS
        chunks = []
        size = 0
        for chunk in response.iter_content(1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES or self._clock.monotonic() > deadline:
                raise _Fault(f"an answer of over {MAX_ANSWER_BYTES} bytes or {WHOLE_ANSWER_SECONDS} s", heavy=True)
        # urllib3 1.26, which boto3 needs on Python 3.8 and 3.9, does not compare these by itself.
        promised = response.headers.get("content-length", "")
        if promised.isdecimal() and response.status_code != 304 and response.raw.tell() != int(promised):
            raise _Fault("the answer was cut short", heavy=True)
        return b"".join(chunks)

    def _session(self) -> requests.Session:
        session = getattr(self._sessions, "session", None)
        if session is None:
            session = requests.Session()
            session.headers.update(
                {
                    "Accept": "application/vnd.github+json",
                    "User-Agent": self._user_agent,
                    "X-GitHub-Api-Version": API_VERSION,
                }
            )
            if self._token:
                session.headers["Authorization"] = f"Bearer {self._token}"
            # Proxy and certificates of the environment, once: requests would go through all variables for each request.
            # Nor does it look into ~/.netrc from here on, for a password that is not meant for this.
            found = session.merge_environment_settings(self.base_url, {}, stream=True, verify=None, cert=None)
            session.trust_env, session.proxies, session.verify = False, found["proxies"], found["verify"]
            self._sessions.session = session
        return session

    def _link(self, url: str, response: requests.Response, rel: str) -> str | None:
        link = response.links.get(rel, {}).get("url")
        if not link:
            return None
        absolute = _absolute(url, link)
        self.check_origin(absolute, source="Link header")
        return absolute

    def _refusal(self, kind: Kind, url: str, status: int, body: bytes) -> Exception:
        said = self._scrub(github_answers.message(body))
        if kind is Kind.UNAVAILABLE:
            return _Fault(f"status {status}", heavy=True)
        if kind is Kind.BAD_TOKEN:
            return ConfigurationError(f"GitHub rejects the token ({status} {said}); check GITHUB_TOKEN or GH_TOKEN")
        advice = github_answers.advice(status)
        return NotReadable(f"GitHub answers {status} {said} on {_shown(url)}; {advice}", status=status)

    def _parsed(self, body: bytes, parse: Callable[[str], Any]) -> Any:
        try:
            return self._parser.submit(lambda: parse(body.decode("utf-8"))).result()
        except ValueError as error:
            raise _Fault(f"status 200 with a body that can't be read ({str(error)[:80]})", heavy=True) from error

    def _scrub(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text


def _connection_reason(error: Exception) -> str:
    text = str(error)
    for sign, reason in (
        ("refused", "connection refused"),
        ("resolve", "the host name can't be resolved"),
        ("getaddrinfo", "the host name can't be resolved"),
        ("proxy", "the proxy can't be reached"),
    ):
        if sign in text:
            return reason
    return "the connection broke"


def _absolute(base: str, link: str) -> str:
    """The address that a link means; an empty one, which has no origin, when it means none."""
    try:
        return urljoin(base, link)
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        # A user name in a URL is a way to make one host look like another.
        host = "" if parts.username or parts.password else (parts.hostname or "")
    except ValueError:
        return ("", "", None)
    return (parts.scheme, host, port)


def _shown_origin(url: str) -> str:
    scheme, host, port = _origin(url)
    return repr(f"{scheme}://{host}:{port}")


def _shown(url: str) -> str:
    """A URL as a message may show it: no user name, no control characters."""
    parts = urlsplit(url)
    shown = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "".join(c for c in shown if c.isprintable())[:300]
