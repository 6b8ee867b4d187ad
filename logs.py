"""Log lines for people and for collectors: to stderr, one line an event, UTC, without secrets."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Mapping, NamedTuple

import settings


class _OneLine(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment] # as the documentation of logging sets it

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self._environ = environ

    def format(self, record: logging.LogRecord) -> str:
        return settings.one_line(super().format(record).replace("\n", " | "), self._environ)


class _Json(_OneLine):
    """One object a line, for collectors: `time`, `level`, `logger`, `message`, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        message = record.getMessage()
        if record.exc_info:
            message += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        message = settings.one_line(message, self._environ)
        fields = {"time": moment, "level": record.levelname, "logger": record.name, "message": message}
        return json.dumps(fields, ensure_ascii=False)


class Choice(NamedTuple):
    """What is shown, and how."""

    level: int
    as_json: bool


def choice(*, verbose: bool, quiet: bool, log_format: str) -> Choice:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    return Choice(level, log_format == "json")


def current() -> Choice:
    """What `set_up` was called with, for processes that are to do the same."""
    logger = logging.getLogger("pipeline")
    return Choice(logger.level, any(isinstance(handler.formatter, _Json) for handler in logger.handlers))


def set_up(chosen: Choice, environ: Mapping[str, str]) -> None:
    """Show the project's own log. Libraries stay silent even at DEBUG: they log headers, and so secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(environ) if chosen.as_json else _OneLine(environ))
    logger = logging.getLogger("pipeline")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(chosen.level)
