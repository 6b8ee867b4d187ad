"""Issues: https://docs.github.com/rest/issues/issues#list-repository-issues"""

from __future__ import annotations

import functools

from github.streams import items
from github.streams.stream import Stream

STREAM = Stream(
    name="issues",
    item_type="issue",
    folder="issues",
    title="Issues",
    takes_since=True,
    switch="has_issues",
    is_missing_when_off=False,  # 410, and it says so
    holds=lambda element: not element.is_pull_request,  # the list shows those, too, but not whole
    row=functools.partial(items.row, "issue"),
)
