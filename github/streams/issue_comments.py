"""Comments on issues and pull requests: https://docs.github.com/rest/issues/comments

Without `sort` GitHub orders them by id, whatever the direction (airbytehq/airbyte #19682).
"""

from __future__ import annotations

import functools

from github.pages import Shape
from github.streams import comments
from github.streams.stream import KEYSET, Kind, Stream

STREAM = Stream(
    name="issue-comments",
    path="issues/comments",
    kinds=(Kind("issue_comment", "issue-comments", functools.partial(comments.rows, "issue", "issue_url")),),
    scan=KEYSET,
    title="Comments",
    permissions=("Issues",),
    switch="has_issues",
    is_missing_when_off=True,  # or 410, as for issues; GitHub does not say which
    shape=Shape(number_in=("issue_url",)),
)
