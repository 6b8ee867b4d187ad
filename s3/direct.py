"""Small objects to and from S3, each by one signed request over a kept-open connection.

It takes a sixth of the SDK's CPU (python -m benchmarks steps). Anything but a whole answer that says that all went well
is nothing here (None), and the SDK's turn: retries, redirects, regions, throttling and every word about them stay its
own.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
import urllib.parse
import zlib
from typing import Any, Callable, Mapping

import botocore.httpsession
import botocore.utils
from urllib3.util import ssl_

from s3 import checksums, signing
from s3.plan import NotPlain, Plan
from s3.wire import Answer, Odd, Proxy, Wire

log = logging.getLogger("pipeline.s3")

# With each miss the SDK does twice as many requests by itself, up to so many, with each success half as many: where
# nothing else helps (the bucket is in another region), trying costs next to nothing.
LONGEST_PAUSE = 1024
# The SDK waits before it asks a store again that has too much to do; here nobody does. So such an answer counts more.
MISSES_OF_A_THROTTLING = 5
_THROTTLING = {"429", "503"}
ENCRYPTION = "x-amz-server-side-encryption"
_SPELLING = {
    "host": "Host", "authorization": "Authorization", "content-type": "Content-Type", "content-md5": "Content-MD5",
    "x-amz-date": "X-Amz-Date", "x-amz-content-sha256": "X-Amz-Content-SHA256",
    "x-amz-security-token": "X-Amz-Security-Token",
}  # fmt: skip


class Direct:
    """Safe to use from several threads.

    `credentials`: botocore's, which renews them by itself, one thread at a time. `ca_bundle`: None for the SDK's own.
    `endpoint`: the client's, by which it chooses a proxy. `now()`: seconds since 1970.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        credentials: Any,
        connect_seconds: float,
        read_seconds: float,
        ca_bundle: str | None,
        endpoint: str,
        now: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._credentials = credentials
        self._now = now
        self._host = plan.host
        self._to_sign = {name: value for name, value in plan.headers.items() if name != "user-agent"}
        self._unsigned = {"Accept-Encoding": "identity"}
        if "user-agent" in plan.headers:
            self._unsigned["User-Agent"] = plan.headers["user-agent"]
        self._signer: tuple[Any, signing.Signer] | None = None
        self._pause = _Pause()
        is_secure = plan.origin.startswith("https:")
        self._wire = Wire(
            plan.origin,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
            context=_context(ca_bundle) if is_secure else None,
            proxy=_proxy(plan.origin, endpoint),
        )

    def put(self, key: str, body: bytes, *, body_sha256: str, headers: Mapping[str, str]) -> Answer | None:
        """Upload; the answer names what was sent. `headers`: of this object, names in lower case."""
        md5 = checksums.md5(body)
        if md5 is None:
            return None
        headers = {**headers, **self._to_sign, "content-md5": checksums.base64_text(md5)}
        if self._plan.has_crc32:
            headers["x-amz-checksum-crc32"] = checksums.base64_text(zlib.crc32(body).to_bytes(4, "big"))
            headers["x-amz-sdk-checksum-algorithm"] = "CRC32"
        asked = headers.get(ENCRYPTION)
        # A 200 may hold an error: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html has no body.
        return self._ask(
            "PUT", key, headers, body_sha256, body, lambda answer: not answer.body and _is_named(answer, md5, asked)
        )

    def get(self, key: str) -> Answer | None:
        return self._ask("GET", key, {}, signing.NOTHING_SHA256, None, _is_got)

    def _ask(
        self,
        method: str,
        key: str,
        headers: dict[str, str],
        body_sha256: str,
        body: bytes | None,
        is_proved: Callable[[Answer], bool],
    ) -> Answer | None:
        level = self._pause.level()
        if level is None:
            return None
        misses = 1
        try:
            path = self._plan.path + urllib.parse.quote(key, safe="/~")
            answer = self._wire.ask(method, path, self._signed(method, path, headers, body_sha256), body)
            if is_proved(answer):
                self._pause.succeeded()
                return answer
            reason = "no proof of what was sent, or got"
        except Odd as error:
            reason = str(error)
            misses = MISSES_OF_A_THROTTLING if error.status in _THROTTLING else 1
        except Exception as error:  # whatever it is, the SDK meets it too, and has the words for it
            reason = type(error).__name__
        log.debug("%s %s: %s; the SDK is asked", method, key, reason)
        self._pause.missed(level, misses)
        self._wire.close_idle()  # the SDK opens its own
        return None

    def _signed(self, method: str, path: str, headers: Mapping[str, str], body_sha256: str) -> dict[str, str]:
        frozen = self._credentials.get_frozen_credentials()
        signed = {
            **headers,
            "host": self._host,
            "x-amz-content-sha256": body_sha256,
            "x-amz-date": signing.moment(self._now()),
        }
        if frozen.token:
            signed["x-amz-security-token"] = frozen.token
        signed["authorization"] = self._signer_for(frozen).authorization(method, path, signed)
        return self._spelt(signed)

    def _spelt(self, headers: Mapping[str, str]) -> dict[str, str]:
        """As the SDK spells them: a store may be more particular than HTTP."""
        return {**{_SPELLING.get(name, name): value for name, value in headers.items()}, **self._unsigned}

    def _signer_for(self, frozen: Any) -> signing.Signer:
        known = self._signer
        if known is None or known[0] != frozen:
            known = (frozen, signing.Signer(frozen.access_key, frozen.secret_key, self._plan.region))
            self._signer = known
        return known[1]


def _is_named(answer: Answer, md5: bytes | None, asked_encryption: str | None) -> bool:
    return checksums.names(
        answer.headers.get("etag"),
        md5,
        encryption={answer.headers.get(ENCRYPTION), asked_encryption},
        has_other_rules=ENCRYPTION + "-customer-algorithm" in answer.headers,
    )


def _is_got(answer: Answer) -> bool:
    """By an ETag that is the body's MD5, or by the SHA-256 that was stored with it."""
    md5 = checksums.md5(answer.body)
    if md5 is not None and answer.headers.get("etag") == f'"{md5.hex()}"':
        return True
    return (
        answer.headers.get("x-amz-meta-sha256") == hashlib.sha256(answer.body).hexdigest() and "etag" in answer.headers
    )


class _Pause:
    """So many requests are left to the SDK, twice as many with each miss; of those under way only the first counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._level = 0
        self._left = 0

    def level(self) -> int | None:
        """For `missed`; None: this one is left to the SDK."""
        with self._lock:
            if self._left == 0:
                return self._level
            self._left -= 1
            return None

    def succeeded(self) -> None:
        if self._level:
            with self._lock:
                self._level = max(0, self._level - 1)

    def missed(self, level: int, misses: int) -> None:
        with self._lock:
            if level == self._level:
                self._level = min(level + misses, LONGEST_PAUSE.bit_length() - 1)
                self._left = 2**self._level


def _context(ca_bundle: str | None) -> ssl.SSLContext:
    """As the SDK makes it."""
    made = ssl_.create_urllib3_context()
    made.check_hostname = True
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(botocore.httpsession.get_cert_path(ca_bundle or True))
    return made


def _proxy(origin: str, endpoint: str) -> Proxy | None:
    """The one that the SDK would use. Raises NotPlain where that is asked in another way than in clear."""
    chosen = botocore.httpsession.ProxyConfiguration(botocore.utils.get_environ_proxies(endpoint))
    url = chosen.proxy_url_for(origin)
    if url is None:
        return None
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise NotPlain("a proxy of another kind")
    return Proxy(parts.hostname, parts.port or 80, chosen.proxy_headers_for(url))
