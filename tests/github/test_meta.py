import json

import pytest

from github import fields, pages
from github.streams import KINDS, STREAMS
from tables.columns import FILLED

LABEL = {"id": 3, "url": "https://api.github.com/repos/Acme/Widgets/labels/bug", "name": "bug", "color": "d73a4a",
         "description": None, "default": True}  # fmt: skip
MILESTONE = {
    "id": 4, "number": 2, "title": "1.0", "state": "closed", "due_on": None, "open_issues": 1, "closed_issues": 8,
    "creator": None, "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-21T10:00:00Z",
    "closed_at": "2026-11-21T10:00:00Z", "html_url": "https://github.com/x",
}  # fmt: skip
RELEASE = {
    "id": 5, "tag_name": "v1", "name": "One", "target_commitish": "main", "author": {"login": "bo", "type": "Bot"},
    "draft": False, "prerelease": True, "created_at": "2026-11-20T10:00:00Z", "published_at": "2026-11-21T10:00:00Z",
    "html_url": "https://github.com/x",
}  # fmt: skip
PAYLOADS = {"label": LABEL, "milestone": MILESTONE, "release": RELEASE}


def row(item_type, payload):
    (found,) = KINDS[item_type].rows("acme/widgets", payload)
    return found


@pytest.mark.parametrize("item_type", PAYLOADS)
def test_what_a_row_has_is_what_its_table_has(item_type):
    found = row(item_type, PAYLOADS[item_type])
    archived = ("s3_key", "payload_sha256", "processed_at", "fetched_order")
    assert (*found.columns, *archived) == FILLED[found.table].columns


def test_a_label_has_no_time_of_its_own():
    columns = row("label", LABEL).columns
    assert (columns["name"], columns["is_default"], columns["updated_at"]) == ("bug", 1, "1970-01-01T00:00:00Z")


def test_a_milestone_tells_its_progress():
    columns = row("milestone", MILESTONE).columns
    assert [columns[name] for name in ("number", "open_issues", "closed_issues", "creator")] == [2, 1, 8, None]


@pytest.mark.parametrize(
    "changes, time",
    [({}, "2026-11-21T10:00:00Z"), ({"updated_at": "2026-11-22T10:00:00Z"}, "2026-11-22T10:00:00Z"),
     ({"published_at": None, "draft": True}, "2026-11-20T10:00:00Z")],
)  # fmt: skip
def test_a_release_is_of_its_last_change_or_publication_or_making(changes, time):
    payload = {**RELEASE, **changes}
    (element,) = pages.cut(json.dumps([payload]), STREAMS["meta"].shape)
    assert (row("release", payload).columns["updated_at"], element.updated_at, element.number) == (time, time, 0)


@pytest.mark.parametrize(
    "item_type, lacking, field",
    [("label", "name", "name"), ("milestone", "number", "number"), ("release", "tag_name", "tag_name")],
)
def test_one_without_what_a_row_needs_says_what_it_lacks(item_type, lacking, field):
    with pytest.raises(fields.ExtractionError, match=field):
        row(item_type, {name: value for name, value in PAYLOADS[item_type].items() if name != lacking})
