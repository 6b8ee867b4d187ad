"""`retry`: failed rows are pending again."""

from __future__ import annotations

from typing import Sequence

import db
import queue_manager
from commands import reports, runs
from commands.context import Context
from foundation.errors import EXIT_OK, ConfigurationError


def run(
    context: Context,
    *,
    all_failed: bool,
    item_ids: Sequence[int] | None,
) -> int:
    conn = db.connect(context.db_path, must_exist=True)
    wanted = None if all_failed else sorted(set(item_ids or ()))
    runs.refuse_while_moved(conn, context.db_path)  # first: who moves keeps everybody waiting who writes
    with db.transaction(conn):
        runs.refuse_while_moved(conn, context.db_path)
        if wanted is None:
            retried = queue_manager.retry(conn, item_ids=None)
        else:
            others = [item for item in wanted if not queue_manager.retry(conn, item_ids=[item])]
            if others:
                raise ConfigurationError(reports.no_failed_rows(others))
            retried = len(wanted)
    conn.close()
    summary = {"command": "retry", "retried": retried}
    context.show(summary, [f"{retried} rows are pending again"])
    return EXIT_OK
