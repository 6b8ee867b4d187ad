"""Comments on the code of pull requests: https://docs.github.com/rest/pulls/comments"""

from __future__ import annotations

import functools

from github.pages import Shape
from github.streams import comments
from github.streams.stream import KEYSET, Kind, Stream

STREAM = Stream(
    name="review-comments",
    path="pulls/comments",
    kinds=(Kind("review_comment", "review-comments", functools.partial(comments.rows, "review", "pull_request_url")),),
    scan=KEYSET,
    title="Review comments",
    permissions=("Pull requests",),
    switch="has_pull_requests",
    is_missing_when_off=True,
    shape=Shape(number_in=("pull_request_url",)),
)
