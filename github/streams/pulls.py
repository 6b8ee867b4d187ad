"""Pull requests: https://docs.github.com/rest/pulls/pulls#list-pull-requests"""

from __future__ import annotations

import functools

from github.streams import items
from github.streams.stream import Stream

STREAM = Stream(
    name="pulls",
    item_type="pull_request",
    folder="pulls",
    title="Pull requests",
    takes_since=False,
    switch="has_pull_requests",
    is_missing_when_off=True,  # augurlabs/augur #3731, kenn-io/forge #819
    holds=lambda element: True,
    row=functools.partial(items.row, "pull_request"),
)
