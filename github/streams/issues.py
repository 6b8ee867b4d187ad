"""Issues: https://docs.github.com/rest/issues/issues#list-repository-issues"""

from __future__ import annotations

import functools

from github.streams import items
from github.streams.stream import KEYSET, Kind, Stream

STREAM = Stream(
    name="issues",
    path="issues",
    query={"state": "all"},
    kinds=(Kind("issue", "issues", functools.partial(items.rows, "issue")),),
    scan=KEYSET,
    title="Issues",
    permissions=("Issues",),
    switch="has_issues",
    is_missing_when_off=False,  # 410, and it says so
    holds=lambda element: not element.is_pull_request,  # the list shows those, too, but not whole
)
