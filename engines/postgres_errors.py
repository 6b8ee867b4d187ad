"""What PostgreSQL's errors mean for the person who runs a command. Imports no driver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from foundation.errors import ConfigurationError, Outage

if TYPE_CHECKING:
    import psycopg

# Of https://www.postgresql.org/docs/current/errcodes-appendix.html: what passes, or can be mended beside the program.
_PASSING_CLASSES = ("08", "53", "58", "40", "55")
_PASSING = {
    "57P01": "its connection was ended by the server",
    "57P02": "the server crashed",
    "57P03": "the server can't take connections now",
    "53100": "the server's disk is full; make room there",
    "55P03": "another session kept what was asked for locked for longer than lock_timeout",
    "57014": "a statement was cancelled, by a time-out perhaps",
    "25006": "it only reads, as a standby does; name the primary, or add target_session_attrs=read-write",
}
_OF_THE_CONNECTION = ("OperationalError", "ConnectionTimeout", "AnswerMissing")
# A refused connection has no code: libpq reads the server's, and keeps the text (psycopg/psycopg #242). libpq's own
# texts are English, since no Python calls setlocale for messages; a server's are in its lc_messages, which is not ours
# to set before it knows who we are. What these words are not in may pass: to wait is the smaller mistake.
_NEEDS_A_PERSON = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba.conf entry|not permitted to log in|"
    r"permission denied|certificate|does not support SSL|unrecognized configuration parameter|"
    r"unsupported startup parameter|invalid value for parameter|definition of service"
)
# In any language a server's error begins with a word, a colon and two blanks (libpq, pqBuildErrorMessage3).
_OF_A_SERVER = re.compile(r"(\A|: )[^\s:]+:  ")


def explain(error: psycopg.Error, where: str) -> ConfigurationError | Outage:
    state, said = error.sqlstate, error.diag.message_primary or " ".join(str(error).split())
    if state is None:
        return _explain_connection(error, said, where)
    if state in _PASSING:
        return Outage(f"database {where}: {_PASSING[state]} ({said}); run again later")
    if state.startswith(_PASSING_CLASSES):
        return Outage(f"database {where}: {said}; run again later")
    if state == "42501":
        return ConfigurationError(
            f"database {where}: {said}; the role needs rights that docs/OPERATIONS.md names, and tables are made by "
            "their owner: python main.py schema --sql prints the statements"
        )
    if state in ("22021", "22P05"):
        return ConfigurationError(f"database {where}: what is to be stored is no text that PostgreSQL holds ({said})")
    return ConfigurationError(f"database {where} can't be used: {said} (SQLSTATE {state})")


def _explain_connection(error: psycopg.Error, said: str, where: str) -> ConfigurationError | Outage:
    if type(error).__name__ not in _OF_THE_CONNECTION or _NEEDS_A_PERSON.search(said):
        return ConfigurationError(f"database {where} can't be used: {said}; check the address (--db, PIPELINE_DB)")
    if _OF_A_SERVER.search(str(error)):
        hint = "run again later, or check the address (--db, PIPELINE_DB) where it stays so"
        return Outage(f"database {where} refuses the connection: {said}; {hint}")
    return Outage(f"database {where} can't be reached: {said}; see that it runs, then run again")
