"""What comes from options and the environment, checked: names, dates, the token, the API's address.

Reads the environment only when asked to, and only from the mapping that it is given.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from foundation import secrets, timestamps
from foundation.errors import ConfigurationError

DEFAULT_API_URL = "https://api.github.com"
DEFAULT_DATABASE = "pipeline.db"
DEFAULT_PREFIX = "raw/github/"
DAY_SECONDS = 86400
# A hundred years.
MAX_DAYS = 36500
SECRET_VARIABLES = (
    "GITHUB_TOKEN", "GH_TOKEN", "GITHUB_APP_PRIVATE_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD",
)  # fmt: skip
# Of these the parts are secrets, too: from so many characters on.
SECRET_LISTS = {"GITHUB_TOKEN": secrets.SHORTEST, "GH_TOKEN": secrets.SHORTEST, "GITHUB_APP_PRIVATE_KEY": 32}
# Seconds of silence after which a process on another host counts as dead; it says that it lives six times in that time.
DEFAULT_LEASE_SECONDS = 120
MAX_LEASE_SECONDS = 3600

# GitHub: letters, digits and hyphens for an owner (underscores for managed users), those and dots for a repository.
_REPO_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,99}/(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}\Z", re.ASCII)
# Of a server: https://HOST/, git@HOST:, ssh://git@HOST/; clones have USER:TOKEN@ in it, too.
_SERVER = r"(?:https?://|git://|ssh://)?(?:[^\s/@]+@)?(?P<host>[A-Za-z0-9.-]+)(?::\d+)?[/:]"
# ... then OWNER/NAME and what lies below it, or the page of an owner.
_PASTED_REPO = re.compile(_SERVER + r"(?P<owner>[A-Za-z0-9_-]+)/(?P<name>[A-Za-z0-9_.-]+)(?:[/?#].*)?\Z", re.ASCII)
_PASTED_OWNER = re.compile(
    _SERVER + r"(?P<orgs>orgs/)?(?P<owner>[A-Za-z0-9_-]+)(?(orgs)(?:/.*)?|/?)(?:[?#].*)?\Z", re.ASCII
)
_BUCKET = re.compile(r"(?:s3://|arn:aws[a-z-]*:s3:::)?([^/]+)/?\Z")
_POSTGRES = re.compile(r"\s*postgres(?:ql)?://", re.IGNORECASE)
UNREADABLE_ADDRESS = "postgresql://***"
# Too much is masked, and never too little: up to the last @, whatever lies between; where there is none, all behind a
# colon that no port follows. What is masked already stays, and so does the rest of a message that holds it.
_PASSWORD = re.compile(
    r"(postgres(?:ql)?://(?![^:/?]*:\*{3}@)(?:[^:/?]*:|[^:\s]*:(?!\s))).*@"
    r"|(postgres(?:ql)?://[^:/?\[@]*(?:@[^:/?\[]*)?:)(?!\d*(?:[,/?\s'\";]|\Z)|\*{3}@)\S*",
    re.IGNORECASE | re.DOTALL,
)
_QUERY_VALUE = re.compile(r"([?&]([^=&\s?]+)=)([^&\s]*)")
_PASSWORD_WORD = re.compile(r"(password\s*=\s*)[^&\s]+", re.IGNORECASE)
# Every other value is masked, those that libpq does not know among them.
_HARMLESS = {
    "schema", "sslmode", "options", "application_name", "fallback_application_name", "connect_timeout",
    "target_session_attrs", "host", "hostaddr", "port", "user", "dbname", "client_encoding", "sslrootcert",
    "channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout", "load_balance_hosts",
}  # fmt: skip
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


def is_repo_name(name: str) -> bool:
    """OWNER/NAME as GitHub allows it; safe as a part of a URL, of an archive key and of a path."""
    return _REPO_NAME.match(name) is not None


def repo_name(text: str, hosts: frozenset[str] = frozenset({"github.com"})) -> str:
    """OWNER/NAME, from that or from what people paste: an address of the web or of git, also one within the repository.

    `hosts`: whose addresses these are. ValueError with what to do for anything else.
    """
    name = text.strip()
    pasted = _PASTED_REPO.match(name)
    if pasted and pasted["host"].lower() in hosts:
        name = f"{pasted['owner']}/{pasted['name']}"
    name = name[:-1] if name.endswith("/") else name
    # No repository is called so: GitHub takes it off (github/docs #44518).
    name = name[: -len(".git")] if name.endswith(".git") else name
    if not is_repo_name(name):
        raise ValueError(f"{_shown(text)} is no repository name; write OWNER/NAME, such as octocat/Hello-World")
    return name


def _shown(text: str) -> str:
    """Fit for a message: an address may hold a password."""
    return repr(re.sub(r"[^\s/]+@", "***@", text))


def web_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """Where repositories are looked at: github.com, and the server of GITHUB_API_URL."""
    try:
        own = urlsplit(environ.get("GITHUB_API_URL") or DEFAULT_API_URL).hostname or ""
    except ValueError:  # said where it is used
        own = ""
    own = own[len("api.") :] if own.startswith("api.") else own
    return frozenset({"github.com", "www.github.com", own}) - {""}


def bucket(text: str) -> str:
    """A bucket's name, also from `s3://name` and from its ARN; ValueError for one with a path, and for none."""
    match = _BUCKET.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no name of a bucket; write one such as my-lake, and a path in it as --prefix")
    return match[1]


def owner_name(text: str, hosts: frozenset[str] = frozenset({"github.com"})) -> str:
    """The name of an organisation or user, also from the address of its page; ValueError for anything else."""
    pasted = _PASTED_OWNER.match(text.strip())
    if pasted and pasted["host"].lower() in hosts:
        text = pasted["owner"]
    if not is_repo_name(text + "/x"):
        raise ValueError(f"{_shown(text)} is no name of an organisation; write one such as octocat")
    return text


def logins(text: str) -> tuple[str, ...]:
    """Those of `ada,Bo`, each once and in lower case; none for an empty text. ValueError for what is no login."""
    names = sorted({name.strip().lower() for name in text.split(",")} - {""})
    for name in names:
        if not re.match(r"[a-z0-9_-]+(\[bot\])?\Z", name, re.ASCII):
            raise ValueError(f"{_shown(name)} is no login; write some such as ci,deploy-user")
    return tuple(names)


def days(text: str) -> int:
    number = int(text) if re.match(r"\d{1,9}\Z", text, re.ASCII) else 0
    if not 1 <= number <= MAX_DAYS:
        raise ValueError(f"{text!r} is no number of days from 1 to {MAX_DAYS}")
    return number


def date(text: str) -> str:
    """UTC text for `2026-11-23` (its first second) or `2026-11-23T03:50:00Z`; ValueError for anything else."""
    moment = timestamps.normalise(text + "T00:00:00Z" if _DATE.match(text) else text)
    if moment is None:
        raise ValueError(f"{text!r} is no date; write 2026-11-23 or 2026-11-23T03:50:00Z")
    return moment


def database(text: str) -> str:
    """A path, or the address of a PostgreSQL.

    SQLite takes other texts for a database that is gone at the end: https://sqlite.org/inmemorydb.html
    """
    if is_postgres(text):
        scheme, separator, rest = text.strip().partition("://")
        if re.search(r"\s", rest):
            raise ValueError(f"{UNREADABLE_ADDRESS} has a space in it; write it as %20")
        return f"{scheme.lower()}{separator}{rest}"  # libpq knows no other case
    if re.match(r"\s*[a-z][a-z0-9+]*://", text, re.IGNORECASE):
        raise ValueError(
            f"{_shown(text)} is no database; write a path, such as {DEFAULT_DATABASE}, or postgresql://..."
        )
    if not text.strip() or text.startswith((":", "file:")):
        raise ValueError(f"{text!r} is no path of a database; write one such as {DEFAULT_DATABASE}")
    return text


def is_postgres(database: str) -> bool:
    return _POSTGRES.match(database) is not None


def masked(text: str) -> str:
    """The text without the passwords of PostgreSQL's addresses in it."""
    text = _PASSWORD.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)
    if _POSTGRES.search(text):
        text = _QUERY_VALUE.sub(lambda found: found[0] if _is_harmless(found[2]) else f"{found[1]}***", text)
    return _PASSWORD_WORD.sub(r"\1***", text)


def _is_harmless(key: str) -> bool:
    return unquote(key).casefold() in _HARMLESS


def lease_seconds(environ: Mapping[str, str]) -> int:
    """PIPELINE_LEASE_SECONDS. Raises ConfigurationError for what is no whole number from 1 to an hour."""
    text = environ.get("PIPELINE_LEASE_SECONDS") or str(DEFAULT_LEASE_SECONDS)
    seconds = int(text) if re.match(r"\d{1,4}\Z", text, re.ASCII) else 0
    if not 1 <= seconds <= MAX_LEASE_SECONDS:
        raise ConfigurationError(f"PIPELINE_LEASE_SECONDS is no whole number from 1 to {MAX_LEASE_SECONDS}: {text!r}")
    return seconds


_SWITCHED = {"": True, "1": True, "true": True, "yes": True, "on": True,
             "0": False, "false": False, "no": False, "off": False}  # fmt: skip


def switch(environ: Mapping[str, str], name: str) -> bool:
    """On unless it says otherwise. Raises ConfigurationError for what says neither."""
    said = environ.get(name, "").strip().lower()
    if said not in _SWITCHED:
        raise ConfigurationError(f"{name} says neither on nor off; set it to 1 or 0")
    return _SWITCHED[said]


_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS}


def age(text: str) -> int:
    """Seconds of `90s`, `15m`, `2h` or `3d`; ValueError for anything else."""
    match = re.match(r"(\d{1,6})([smhd])\Z", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is no age; write one such as 90s, 15m, 2h or 3d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def count(text: str) -> int:
    """A whole number from 1 to 9999, for threads, jobs, attempts."""
    if not re.match(r"[1-9]\d{0,3}\Z", text, re.ASCII):
        raise ValueError(f"{text!r} is no whole number from 1 to 9999")
    return int(text)


def amount(text: str) -> int:
    """A whole number from 0, for seconds, points and limits."""
    if not re.match(r"\d{1,9}\Z", text, re.ASCII):
        raise ValueError(f"{text!r} is no whole number from 0 to 999999999")
    return int(text)


def tag(text: str) -> tuple[str, str]:
    """KEY=VALUE, as S3 takes them: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""
    key, separator, value = text.partition("=")
    if not separator or not re.match(r"[\w .:/=+@-]{1,128}\Z", key) or not re.match(r"[\w .:/=+@-]{0,256}\Z", value):
        raise ValueError(f"{text!r} is no tag; write KEY=VALUE with letters, digits, spaces and . : / = + - @ _")
    return key, value


def prefix(text: str) -> str:
    """An archive prefix: relative, and with no part that a path would take for something else."""
    parts = text.split("/")
    if text.startswith("/") or {".", ".."} & set(parts) or "" in parts[:-1] or not text.isprintable():
        raise ValueError(f"{text!r} is no archive prefix; write one such as {DEFAULT_PREFIX}")
    return text


def tokens(environ: Mapping[str, str]) -> list[str]:
    """GITHUB_TOKEN, else GH_TOKEN, else none: one, or several with commas between, each once.

    Raises ConfigurationError for one that no header can carry.
    """
    found = (environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or "").strip()
    each = [token.strip() for token in found.split(",") if token.strip()]
    if (found and not each) or not all(re.match(r"[\x21-\x7e]+\Z", token) for token in each):
        said = "holds characters that no token has; set it anew, several with commas between"
        raise ConfigurationError(f"GITHUB_TOKEN or GH_TOKEN {said}")
    return list(dict.fromkeys(each))


def api_url(environ: Mapping[str, str], *, with_token: bool) -> str:
    """GITHUB_API_URL. Raises ConfigurationError for no http(s) URL, and for one that would show the token in clear."""
    url = (environ.get("GITHUB_API_URL") or DEFAULT_API_URL).rstrip("/")
    valid = is_http_url(url)
    parts = urlsplit(url if valid else "")
    if re.match(r"[A-Za-z0-9.-]+(:\d+)?(/|\Z)", url, re.ASCII):
        raise ConfigurationError("GITHUB_API_URL has no scheme; write https:// (or http://) in front of it")
    if not valid or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("GITHUB_API_URL is no URL such as https://api.github.com (no user name, no query)")
    if with_token and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError("GITHUB_API_URL is plain http: the token would be readable on the way; use https")
    return url


def one_line(text: str, environ: Mapping[str, str]) -> str:
    """Text fit for a terminal or a log: one line, no control characters, none of the environment's secrets."""
    for secret in _secrets(environ):
        text = text.replace(secret, secrets.HIDDEN)
    return "".join(c if c.isprintable() else " " for c in masked(secrets.masked(text))).strip()


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Each whole, and then in the parts that a message may show alone: one of several tokens, a line of a key."""
    for name in SECRET_VARIABLES:
        secret = environ.get(name, "").strip()
        parts = re.split(r"\\[rn]|[\s,]+", secret) if name in SECRET_LISTS else ()
        yield from (part for part in (secret, *parts) if len(part) >= SECRET_LISTS.get(name, secrets.SHORTEST))


def is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0  # `port` raises for what is none
    except ValueError:
        return False
    return has_host and parts.scheme in ("http", "https") and url.isprintable() and " " not in url


def is_aws(url: str) -> bool:
    """Is the endpoint one of AWS's own? An empty one is: the SDK's default."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # said where it is used
        return False
    return not url or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def is_loopback(host: str) -> bool:
    """Is this a name of the machine itself, so that nothing sent there leaves it?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
