"""How many items there are of many repositories at once: where that is as known, no list need be read.

No SQL, no printing.
"""

from __future__ import annotations

import logging
from typing import Iterable, Mapping, Sequence, Union

from foundation.errors import PipelineError
from github.api import GitHub
from github.clients import Clients
from github.login.logins import is_of_all
from github.refusals import HeavyAnswer, NotReadable
from scans import totals
from scans.totals import Totals

log = logging.getLogger("pipeline.sweep")

# What GitHub says of a repository; None: only its lists can tell, or how they are refused.
Counted = Union[Totals, PipelineError, None]
TOO_SLOW_IN_A_ROW = 3  # so many repositories that can't be counted alone are no fault of theirs
ATTEMPTS_ALONE = 2


class Counting:
    """`requests`: those that counted."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.requests = 0

    def of(self, repos: Sequence[str]) -> Iterable[Mapping[str, Counted]]:
        """50 at a time of those that share a login. Raises ConfigurationError that is of all."""
        lanes: dict[str, list[str]] = {}
        for repo in repos:
            lanes.setdefault(self._clients.lane(repo), []).append(repo)
        for lane in lanes.values():
            for first in range(0, len(lane), totals.REPOSITORIES_AT_ONCE):
                yield self._count(lane[first : first + totals.REPOSITORIES_AT_ONCE])

    def _count(self, repos: Sequence[str]) -> Mapping[str, Counted]:
        try:
            api = self._clients.of_repo(repos[0])
            if api.login.is_anonymous:
                return dict.fromkeys(repos)
            try:
                return dict(zip(repos, totals.count(api, repos, self._note_request)))
            except HeavyAnswer as error:
                return self._count_alone(api, repos, error)
        except NotReadable as error:  # an old Enterprise Server, or one without GraphQL
            log.debug("GraphQL can't be asked: %s", error)
            return dict.fromkeys(repos)
        except PipelineError as error:
            if is_of_all(error):
                raise
            return dict.fromkeys(repos, error)

    def _count_alone(self, api: GitHub, repos: Sequence[str], error: HeavyAnswer) -> Mapping[str, Counted]:
        """One that takes GitHub too long keeps back no other; of that one the lists can tell."""
        counted: dict[str, Counted] = dict.fromkeys(repos, error)
        in_a_row = 0
        for repo in repos:
            try:
                counted[repo] = totals.count(api, [repo], self._note_request, attempts=ATTEMPTS_ALONE)[0]
                in_a_row = 0
            except HeavyAnswer:
                counted[repo] = None
                in_a_row += 1
            if in_a_row == TOO_SLOW_IN_A_ROW:
                break
        return counted

    def _note_request(self, status: int) -> None:
        self.requests += 1
