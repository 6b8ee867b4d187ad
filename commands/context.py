"""What every command has: the environment, the clock, the database, and how it is to speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ContextManager, Mapping, Sequence

import db
from commands import progress, reports, runs
from foundation.clock import Clock


@dataclass(frozen=True)
class Context:
    environ: Mapping[str, str]
    clock: Clock
    db_path: str
    quiet: bool
    as_json: bool
    no_progress: bool

    def bar(self, *, unit: str, total: int | None = None) -> progress.Progress:
        """A progress bar, where somebody can see one."""
        return progress.start(
            unit=unit, total=total, quiet=self.quiet, no_progress=self.no_progress, monotonic=self.clock.monotonic
        )

    def recorded(self, conn: db.Connection, *, command: str, what: str) -> ContextManager[runs.Run]:
        """The block as a run that `status` shows."""
        return runs.recorded(
            conn, db_path=self.db_path, command=command, what=what, clock=self.clock, environ=self.environ
        )

    def show(self, summary: Mapping[str, Any], lines: Sequence[str], *, quiet: bool | None = None) -> None:
        """The result: as JSON where that is wanted, else as lines, unless it is to be `quiet`."""
        reports.show(summary, lines, as_json=self.as_json, quiet=self.quiet if quiet is None else quiet)
