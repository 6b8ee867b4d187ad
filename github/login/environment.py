"""The App that the environment names, and its key, which may lie in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping, NamedTuple

from foundation import errors
from foundation.errors import ConfigurationError

ID, KEY, KEY_FILE, ONLY = (
    "GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_PRIVATE_KEY_FILE", "GITHUB_APP_INSTALLATION_ID",
)  # fmt: skip
LONGEST_PATH = 300  # that is shown in a message: a key in base64 has 2,000 characters


class AppSettings(NamedTuple):
    """`id`: the App's number, or its client id. `source`: where the key stands, as messages call it."""

    id: str
    key: str
    source: str
    key_file: str | None
    installation_id: int | None


def app(environ: Mapping[str, str]) -> AppSettings | None:
    """None where no App is meant. Raises ConfigurationError for half of one, and for a file that can't be read."""
    found = {name: environ.get(name, "").strip() for name in (ID, KEY, KEY_FILE, ONLY)}
    if not found[ID]:
        lone = next((name for name in (KEY, KEY_FILE, ONLY) if found[name]), None)
        if lone is not None:
            raise ConfigurationError(f"{lone} is set, and {ID} is not: set the App's id too, or unset it")
        return None
    if not re.match(r"[A-Za-z0-9._-]{1,39}\Z", found[ID], re.ASCII):  # 40: a client secret, which nobody may see
        raise ConfigurationError(f"{ID} is no App's id, nor its client id; its page in GitHub's settings shows both")
    if bool(found[KEY]) == bool(found[KEY_FILE]):
        given = f"both {KEY} and {KEY_FILE} are set" if found[KEY] else f"neither {KEY} nor {KEY_FILE} is set"
        raise ConfigurationError(f"{ID} is set, and {given}; set one of them")
    if not re.match(r"(\d{1,15})?\Z", found[ONLY], re.ASCII):
        raise ConfigurationError(f"{ONLY} is no number; the address of the installation's page ends with it")
    only = int(found[ONLY]) if found[ONLY] else None
    if found[KEY].startswith(("/", "./", "../", "~")) or found[KEY].endswith(".pem"):
        raise ConfigurationError(f"{KEY} holds no key, but the path of one, it seems; set {KEY_FILE} to that instead")
    if found[KEY]:
        return AppSettings(found[ID], found[KEY], KEY, None, only)
    if "-----BEGIN" in found[KEY_FILE] or len(found[KEY_FILE]) > LONGEST_PATH:
        raise ConfigurationError(f"{KEY_FILE} holds no path, but the key itself, it seems; set {KEY} to that instead")
    return AppSettings(found[ID], _read(found[KEY_FILE]), f"{KEY_FILE} {found[KEY_FILE]!r}", found[KEY_FILE], only)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise errors.of_system(error, f"{KEY_FILE} {path!r}") from error
    except ValueError as error:  # no text, or no path
        raise ConfigurationError(
            f"{KEY_FILE} {path!r} is no PEM file; give the one that GitHub's page downloads"
        ) from error
