"""Pull requests: https://docs.github.com/rest/pulls/pulls#list-pull-requests"""

from __future__ import annotations

import functools

from github.streams import items
from github.streams.stream import PAGES, Kind, Stream

STREAM = Stream(
    name="pulls",
    path="pulls",
    query={"state": "all"},
    kinds=(Kind("pull_request", "pulls", functools.partial(items.rows, "pull_request")),),
    scan=PAGES,
    title="Pull requests",
    permission="Pull requests",
    switch="has_pull_requests",
    is_missing_when_off=True,  # augurlabs/augur #3731, kenn-io/forge #819
    notes_work=True,
)
