"""One HTTP exchange with GitHub's server: session, proxy, certificates, time-outs, the whole body, or a Fault.

Decides nothing of what an answer means (github_answers.py), nor whether to ask again (github_api.py).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import zlib
from typing import Any, Callable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import requests

from foundation import settings
from foundation.errors import ConfigurationError, PipelineError

API_VERSION = "2022-11-28"  # https://docs.github.com/rest/about-the-rest-api/api-versions
CONNECT_TIMEOUT_SECONDS = 10
WHOLE_ANSWER_SECONDS = 120  # a server that drips a byte now and then never trips a read time-out
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # 100 items of 64 KB bodies, escaped, are a tenth of this
PIECE_BYTES = 1 << 16


class Fault(Exception):
    """One attempt failed in a way that another may not. `heavy`: a smaller page may help.

    `lasting` is what it means when it is met `times` times in a row; None: an outage, however often.
    """

    def __init__(
        self, reason: str, *, heavy: bool = False, lasting: PipelineError | None = None, times: int = 2
    ) -> None:
        super().__init__(reason)
        self.heavy = heavy
        self.lasting = lasting
        self.times = times


class _Session(requests.Session):
    """Leaves redirects alone. requests looks at the next one also where it is not to follow it: it would read the body
    to its end, however slowly that comes, and fail on a port that is none (`Session.send`, for `Response.next`).
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class Transport:
    """Sends requests to one API. Safe to use from several threads. `has_secrets`: what it sends is not for all eyes."""

    def __init__(self, *, base_url: str, has_secrets: bool, user_agent: str, monotonic: Callable[[], float]) -> None:
        self._base_url = base_url
        self._has_secrets = has_secrets
        self._user_agent = user_agent
        self._monotonic = monotonic
        self._proxy = ""  # as messages call it; empty: none is used
        self._sessions = threading.local()  # a requests.Session is not documented as thread-safe

    def send(
        self, url: str, *, headers: Mapping[str, str], body: bytes | None, read_timeout_seconds: float
    ) -> tuple[requests.Response, bytes]:
        """The answer to one GET, or POST of a body, redirects not followed, and its own body.

        Raises Fault and ConfigurationError.
        """
        session = self._session()
        try:
            with session.request(
                "GET" if body is None else "POST",
                url,
                headers=headers,
                data=body,
                timeout=(CONNECT_TIMEOUT_SECONDS, read_timeout_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, self._body(response)
        except requests.exceptions.Timeout as error:
            raise _timed_out(error, read_timeout_seconds) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            raise self._not_connected(error, url) from error
        except OSError as error:  # requests' own check, before it connects
            raise ConfigurationError(f"GitHub: {error}; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE") from error

    def _body(self, response: requests.Response) -> bytes:
        """The whole body, or a Fault: what fails here had begun to arrive, so that less of it may pass."""
        source: http.client.HTTPResponse = response.raw._original_response  # type: ignore[assignment]
        deadline = self._monotonic() + WHOLE_ANSWER_SECONDS
        body = bytearray()
        try:
            for piece in _pieces(source, packed=response.headers.get("content-encoding") == "gzip"):
                body += piece
                if len(body) > MAX_ANSWER_BYTES or self._monotonic() > deadline:
                    raise Fault(f"an answer of over {MAX_ANSWER_BYTES} bytes or {WHOLE_ANSWER_SECONDS} s", heavy=True)
        except socket.timeout as error:
            raise Fault("the answer stopped in the middle", heavy=True) from error
        except (http.client.HTTPException, OSError, zlib.error) as error:
            raise Fault("the answer was cut short", heavy=True) from error
        source.close()
        response.raw.release_conn()  # whole, so that the connection can be used again
        return bytes(body)

    # What the environment says, and what it means when no connection comes about.

    def _session(self) -> requests.Session:
        session = getattr(self._sessions, "session", None)
        if session is None:
            session = _Session()
            session.headers.update(
                {
                    "Accept": "application/vnd.github+json",
                    "Accept-Encoding": "gzip",
                    "User-Agent": self._user_agent,
                    "X-GitHub-Api-Version": API_VERSION,
                }
            )
            # Proxy and certificates of the environment, once: requests would go through all variables for each request.
            # Nor does it look into ~/.netrc from here on, for a password that is not meant for this.
            found = session.merge_environment_settings(self._base_url, {}, stream=True, verify=None, cert=None)
            session.trust_env, session.verify = False, found["verify"]
            session.proxies = self._checked_proxies(found["proxies"])
            self._sessions.session = session
        return session

    def _checked_proxies(self, proxies: Any) -> Any:
        """None for a server on this machine. Raises ConfigurationError where the token could be read on the way."""
        parts = urlsplit(self._base_url)
        if settings.is_loopback(parts.hostname or ""):
            return {}
        proxy = requests.utils.select_proxy(self._base_url, proxies)
        if proxy is None:
            return {}
        if self._has_secrets and parts.scheme == "http":
            raise ConfigurationError(
                "GITHUB_API_URL is plain http: the proxy could read the token; use https, or unset HTTP_PROXY"
            )
        # Neither name nor password: what stands before the `@`.
        shown_proxy = proxy.rpartition("@")[2].rpartition("//")[2].rstrip("/")
        variable = f"{parts.scheme}_proxy" if proxies.get(parts.scheme) else "all_proxy"
        self._proxy = f"the proxy {shown_proxy} ({variable.upper()})"
        return proxies

    def proxy_fault(self, status: int | None) -> Fault:
        """The proxy's refusal, or that it can't be reached (None): nothing that GitHub said."""
        proxy = self._proxy or "a proxy on the way"
        if status is None or status >= 500:
            return Fault(f"{proxy} can't be reached" if status is None else f"{proxy} answers {status}")
        reason = f"{proxy} refuses, with {status}"
        return Fault(reason, lasting=ConfigurationError(f"{reason}; check its address, user name and password"))

    def _not_connected(self, error: Exception, url: str) -> Exception:
        host = urlsplit(self._base_url).hostname
        behind = list(_causes(error))
        untrusted = next((cause for cause in behind if isinstance(cause, ssl.SSLCertVerificationError)), None)
        if untrusted is not None:
            whose = self._proxy if isinstance(error, requests.exceptions.ProxyError) else host
            reason = f"the certificate of {whose} is not trusted ({untrusted.verify_message})"
            advice = "set REQUESTS_CA_BUNDLE to a file with the certificates of those who signed it"
            return Fault(reason, lasting=ConfigurationError(f"GitHub: {reason}; {advice}"))
        if isinstance(error, requests.exceptions.ProxyError):
            refused = re.search(r"Tunnel connection failed: (\d{3})", str(error))
            return self.proxy_fault(int(refused[1]) if refused else None)
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError)):
            if self._proxy:  # GITHUB_API_URL was looked at before, and so was every link
                return ConfigurationError(f"{self._proxy} is no address of a proxy; write http://HOST:PORT")
            return ConfigurationError(f"{shown(url)} is no URL that can be asked; check GITHUB_API_URL")
        if isinstance(error, requests.exceptions.SSLError):
            return Fault(f"no TLS connection to {host} can be made")
        if any(isinstance(cause, socket.gaierror) for cause in behind):
            return Fault(f"the host name {host} can't be resolved")
        if any(isinstance(cause, ConnectionRefusedError) for cause in behind):
            return Fault(f"connection refused by {urlsplit(self._base_url).netloc}")
        return Fault("the connection broke")


def _timed_out(error: Exception, read_timeout_seconds: float) -> Fault:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Fault(f"no connection within {CONNECT_TIMEOUT_SECONDS} s")
    return Fault(f"no answer within {read_timeout_seconds} s", heavy=True)


def _pieces(source: http.client.HTTPResponse, *, packed: bool) -> Iterator[bytes]:
    """The body as it arrives. urllib3 would wait for as many bytes as it asks for, however slowly they come."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed else None
    whole = True  # an answer without a body, such as 304, is
    for piece in iter(lambda: source.read1(PIECE_BYTES), b""):
        yield inflater.decompress(piece) if inflater else piece
        whole = inflater is None or inflater.eof
    if source.length or not whole:
        raise http.client.IncompleteRead(b"")


def _causes(error: object) -> Iterator[object]:
    """The error and what lies behind it: each version of requests and urllib3 wraps it in its own way."""
    todo, seen = [error], set()
    while todo:
        cause = todo.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            todo += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


# Addresses.


def absolute(base: str, link: str) -> str:
    """The address that a link means; an empty one, which has no origin, when it means none."""
    try:
        return urljoin(base, link)
    except ValueError:
        return ""


def origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        # A user name in a URL is a way to make one host look like another.
        host = "" if parts.username or parts.password else (parts.hostname or "")
    except ValueError:
        return ("", "", None)
    return (parts.scheme, host, port)


def shown_origin(url: str) -> str:
    scheme, host, port = origin(url)
    return repr(f"{scheme}://{host}:{port}")


def shown(url: str) -> str:
    """A URL as a message may show it: no user name, no control characters."""
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "".join(c for c in path if c.isprintable())[:300]
