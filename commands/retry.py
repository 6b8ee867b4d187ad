"""`retry`: failed rows are pending again."""

from __future__ import annotations

from typing import Mapping, Sequence

import db
import queue_manager
import reports
from clock import Clock
from errors import EXIT_OK


def run(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    db_path: str,
    quiet: bool,
    as_json: bool,
    no_progress: bool,
    all_failed: bool,
    item_ids: Sequence[int] | None,
) -> int:
    conn = db.connect(db_path)
    with db.transaction(conn):
        retried = queue_manager.retry(conn, item_ids=None if all_failed else item_ids)
    conn.close()
    summary = {"command": "retry", "retried": retried}
    reports.show(summary, [f"{retried} rows are pending again"], as_json=as_json, quiet=quiet)
    return EXIT_OK
