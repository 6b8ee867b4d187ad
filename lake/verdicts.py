"""Whose fault it is that an upload came to nothing. Pure."""

from __future__ import annotations

from foundation.errors import ConfigurationError
from lake.uploads import Ending, JobResult, Outcome

# So many surprises, or refusals for the same reason, with nothing in between that went well, are not the items' fault.
FAULTS_IN_TURN = 3


class Faults:
    """Surprises and refusals since something went well last. What comes after them tells whose they are.

    Many in turn would fail a whole queue for one fault of the program, of the machine or of a setting: those are
    nobody's, and have a common cause instead.
    """

    def __init__(self) -> None:
        self._jobs: list[JobResult] = []

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def are_many(self) -> bool:
        return len(self._jobs) >= FAULTS_IN_TURN

    def followed_by(self, result: JobResult) -> list[Outcome]:
        """Take in how one more job ended; returns the outcomes that are certain by that."""
        endings = {outcome.ending for outcome in result.outcomes}
        if endings & {Ending.SURPRISED, Ending.REFUSED, Ending.PARTED}:
            self._jobs.append(result)
            return []
        return [] if Ending.STOPPED in endings else [*self.blame_the_items(), *result.outcomes]

    def blame_the_items(self) -> list[Outcome]:
        """The outcomes of the faults so far. A batch is parted, until the one at fault is alone."""
        outcomes: list[Outcome] = []
        for result in self._jobs:
            ending = Ending.REFUSED if len(result.outcomes) == 1 else Ending.PARTED
            outcomes += [outcome._replace(ending=ending) for outcome in result.outcomes]
        self._jobs = []
        return outcomes

    def common_cause(self) -> ConfigurationError | None:
        """What the faults have in common, if they are many."""
        if not self.are_many:
            return None
        first = [result.outcomes[0] for result in self._jobs]
        said = f"{first[-1].error}, {len(first)} times in turn with no success in between: no item is blamed"
        if all(outcome.ending is Ending.SURPRISED for outcome in first):
            return ConfigurationError(f"unexpected {said}; undo what changed on this machine, or report it")
        if len({outcome.error for outcome in first}) == 1:
            return ConfigurationError(f"{said}; check --prefix, and what the archive or a proxy before it takes")
        return None
