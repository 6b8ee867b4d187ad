"""`schema`: prints the statements that make the tables, for the owner of a PostgreSQL that runs may not change so."""

from __future__ import annotations

import textwrap

import db
from commands.context import Context
from foundation import settings
from foundation.errors import EXIT_OK, ConfigurationError


def run(context: Context, *, sql: bool) -> int:
    """Those that are still to be run, in one transaction; nothing is changed."""
    if not settings.is_postgres(context.db_path):
        raise ConfigurationError("schema is PostgreSQL's, SQLite's tables make themselves; give --db postgresql://...")
    statements = [textwrap.dedent(statement).strip() for statement in db.missing_statements(context.db_path)]
    lines = ["-- nothing to do: the tables are of this version"]
    if statements:
        lines = ["BEGIN;", *(f"{statement};" for statement in statements), "COMMIT;"]
    context.show({"command": "schema", "statements": statements}, lines, quiet=False)
    return EXIT_OK
