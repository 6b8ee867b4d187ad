"""An App's private key, from whatever form people store it in, and what it signs: the JWT that says who the App is.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import base64
import json
import re
from typing import Callable

from foundation import secrets
from foundation.errors import ConfigurationError

BACKDATED_SECONDS = 60  # what GitHub advises, for clocks that are ahead
# GitHub takes 600; a clock that is ahead by a second would make that too many (octokit/auth-app.js #698).
LASTS_SECONDS = 540
SHORTEST_LINE = 32  # that tells anything of a key; shorter ones could stand in ordinary words
_PEM = re.compile(r"-----BEGIN ([A-Z ]*)-----(.*?)-----END \1-----", re.DOTALL)
_KINDS = ("RSA PRIVATE KEY", "PRIVATE KEY")  # PKCS#1, as GitHub gives it, and PKCS#8


class Key:
    """Signs for one App. Raises ConfigurationError for a text that is no key, and without the package."""

    def __init__(self, text: str, *, source: str) -> None:
        self._sign = _signer(_pem(text, source), source)

    def jwt(self, app: str, *, now: float) -> str:
        """A token that GitHub takes as this App's word for nine minutes. `now`: by GitHub's clock, in epoch seconds."""
        claims = {"iat": int(now) - BACKDATED_SECONDS, "exp": int(now) + LASTS_SECONDS, "iss": app}
        said = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return f"{said}.{_encoded(self._sign(said.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _pem(text: str, source: str) -> bytes:
    """The key's PEM, its lines as they should be: variables hold it with `\\n` written out, in one line, in base64."""
    if "-----BEGIN" not in text:
        try:
            text = base64.b64decode("".join(text.split()).strip("\"'"), validate=True).decode("ascii")
        except ValueError:
            text = ""
    found = _PEM.search(text)
    if found is None:
        raise ConfigurationError(f"{source} is no private key: it is to begin with -----BEGIN and to end with its END")
    if found[1] not in _KINDS or "ENCRYPTED" in found[2]:
        raise ConfigurationError(f"{source} is {_kind(found)}, not an App's private key; download a new one")
    body = re.sub(r"\\+[rn]|\s", "", found[2])
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    for line in lines:
        if len(line) >= SHORTEST_LINE:
            secrets.remember(line)
    return "\n".join([f"-----BEGIN {found[1]}-----", *lines, f"-----END {found[1]}-----", ""]).encode(
        "ascii", "replace"
    )


def _kind(found: re.Match[str]) -> str:
    return "an encrypted key" if "ENCRYPTED" in found[1] + found[2] else f"of the kind {found[1]!r}"


def _signer(pem: bytes, source: str) -> Callable[[bytes], bytes]:
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # here: only Apps need the package
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError as error:
        said = "GITHUB_APP_ID needs the package cryptography; run pip install -r requirements-app.txt"
        raise ConfigurationError(said) from error
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except Exception as error:  # ValueError, or one of its own, or a panic of its Rust; none shows the key
        said = "a private key that can't be read: a shell or a service manager may have changed it in a variable"
        raise ConfigurationError(f"{source} is {said}; give its file, or download a new one") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"{source} is no RSA key, which an App's is")
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())
