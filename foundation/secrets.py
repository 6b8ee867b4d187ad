"""Secrets that no message may show: those that came during the run, and whatever looks like one of GitHub's.

Those of the environment are in settings.py. What is remembered is the process's, since so is its output.
"""

from __future__ import annotations

import re
import threading

HIDDEN = "***"
SHORTEST = 4  # less is no secret, and would be found in ordinary words
# https://github.blog/changelog/2026-04-24-notice-about-upcoming-new-format-for-github-app-installation-tokens/: of any
# length, with a whole JWT in it.
_TOKEN = re.compile(r"\b(?:gh[oprsu]_|github_pat_)[A-Za-z0-9_.-]{16,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)

_minted: set[str] = set()
_lock = threading.Lock()


def remember(secret: str) -> None:
    """From here on no message shows it."""
    if len(secret) >= SHORTEST:
        with _lock:
            _minted.add(secret)


def masked(text: str) -> str:
    with _lock:
        minted = sorted(_minted, key=len, reverse=True)
    for secret in minted:
        text = text.replace(secret, HIDDEN)
    for shape in (_PEM, _TOKEN, _JWT):
        text = shape.sub(HIDDEN, text)
    return text
