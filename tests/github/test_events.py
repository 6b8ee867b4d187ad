import json

import pytest

from github import fields, pages
from github.streams import KINDS, STREAMS
from tables.columns import FILLED

EVENT = {
    "id": 31, "url": "https://api.github.com/repos/Acme/Widgets/issues/events/31", "event": "labeled",
    "actor": {"login": "bo", "type": "Bot"}, "created_at": "2026-11-20T10:00:00Z", "commit_id": None,
    "issue": {"id": 1, "number": 42, "updated_at": "2026-11-21T10:00:00Z"}, "label": {"name": "bug", "color": "d73a4a"},
}  # fmt: skip


def columns(**changes):
    (row,) = KINDS["event"].rows("acme/widgets", {**EVENT, **changes})
    assert row.table == "item_events"
    return row.columns


def test_what_a_row_has_is_what_its_table_has():
    archived = ("s3_key", "payload_sha256", "processed_at", "fetched_order")
    assert (*columns(), *archived) == FILLED["item_events"].columns


def test_an_event_says_who_did_what_to_which_item_and_when():
    names = ("id", "number", "event", "actor", "actor_type", "label", "created_at", "updated_at")
    assert [columns()[name] for name in names] == [
        31, 42, "labeled", "bo", "Bot", "bug", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "details, found",
    [
        ({"event": "assigned", "assignee": {"login": "cy"}}, {"assignee": "cy"}),
        (
            {"requested_reviewer": {"login": "cy"}, "review_requester": {"login": "ada"}},
            {"requested_reviewer": "cy", "review_requester": "ada", "requested_team": None},
        ),
        ({"requested_team": {"name": "The Core", "slug": "the-core"}}, {"requested_team": "the-core"}),
        ({"milestone": {"title": "1.0"}}, {"milestone": "1.0"}),
        ({"rename": {"from": "Before", "to": "After"}}, {"rename_from": "Before", "rename_to": "After"}),
        ({"commit_id": "1" * 40}, {"commit_id": "1" * 40}),
        ({"state_reason": "not_planned"}, {"state_reason": "not_planned"}),
        ({"lock_reason": "spam"}, {"lock_reason": "spam"}),
        ({"actor": None, "label": None}, {"actor": None, "actor_type": None, "label": None}),
    ],
)
def test_each_kind_of_event_has_its_own_details(details, found):
    assert found.items() <= columns(**details).items()


@pytest.mark.parametrize("issue", [{"issue": None}, {"issue": {}}, {"issue": {"number": "42"}}])
def test_an_event_without_its_issue_has_number_0(issue):
    assert columns(**issue)["number"] == 0
    (element,) = pages.cut(json.dumps([{**EVENT, **issue}]), STREAMS["events"].shape)
    assert element.item_id == 31


def test_an_event_is_of_its_own_time_whenever_its_issue_changed():
    (element,) = pages.cut(json.dumps([EVENT]), STREAMS["events"].shape)
    assert (element.number, element.updated_at, element.repo_name) == (42, "2026-11-20T10:00:00Z", "Acme/Widgets")


@pytest.mark.parametrize("lacking", ["id", "event", "created_at"])
def test_one_without_what_a_row_needs_says_what_it_lacks(lacking):
    with pytest.raises(fields.ExtractionError, match=lacking):
        KINDS["event"].rows("acme/widgets", {name: value for name, value in EVENT.items() if name != lacking})
