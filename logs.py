"""Log lines for people and for collectors: to stderr, one line an event, UTC, without secrets."""

from __future__ import annotations

import logging
import sys
import time
from typing import Mapping

import settings


class _OneLine(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment] # as the documentation of logging sets it

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self._environ = environ

    def format(self, record: logging.LogRecord) -> str:
        return settings.one_line(super().format(record).replace("\n", " | "), self._environ)


def level(*, verbose: bool, quiet: bool) -> int:
    return logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO


def set_up(*, level: int, environ: Mapping[str, str]) -> None:
    """Show the project's own log. Libraries stay silent even at DEBUG: they log headers, and so secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(environ))
    logger = logging.getLogger("pipeline")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
