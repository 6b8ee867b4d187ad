"""Log lines for people and for collectors: to stderr, one line an event, UTC, without secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from typing import Callable, ContextManager, Mapping, NamedTuple

from foundation import settings


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


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes beside whatever else is shown on the terminal."""

    beside: Callable[[], ContextManager[object]] = contextlib.nullcontext

    def emit(self, record: logging.LogRecord) -> None:
        with self.beside():
            super().emit(record)


def share_terminal(beside: Callable[[], ContextManager[object]] | None) -> None:
    """While a line of the log is written, `beside()` holds: it clears a bar away, and shows it again. None: no bar."""
    for handler in logging.getLogger("pipeline").handlers:
        if isinstance(handler, _Handler):
            handler.beside = beside or contextlib.nullcontext


def set_up(chosen: Choice, environ: Mapping[str, str]) -> None:
    """Show the project's own log. Libraries stay silent even at DEBUG: they log headers, and so secrets."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Json(environ) if chosen.as_json else _OneLine(environ))
    logger = logging.getLogger("pipeline")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(chosen.level)
