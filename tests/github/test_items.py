import json

import pytest

from github import fields
from github.streams import items
from tests import payloads


def row(payload, item_type="issue"):
    return items.row(item_type, "acme/widgets", payload)


def test_an_open_issue_has_every_column_of_the_contract_and_no_lead_time():
    assert row(payloads.issue()) == {
        "id": 1,
        "item_type": "issue",
        "repo": "acme/widgets",
        "number": 7,
        "title": "A title",
        "state": "open",
        "state_reason": None,
        "draft": None,
        "author": "ada",
        "author_association": "OWNER",
        "assignees": '["bo"]',
        "labels": '["bug"]',
        "milestone": None,
        "comments": 2,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z",
        "closed_at": None,
        "merged_at": None,
        "lead_time_hours": None,
        "base_ref": None,
        "head_ref": None,
        "html_url": "https://github.com/acme/widgets/issues/7",
    }


def test_a_merged_pull_request_counts_to_the_merge_and_a_closed_item_to_its_end():
    merged = payloads.pull(state="closed", merged_at="2026-01-01T12:30:00Z", closed_at="2026-01-03T00:00:00Z")
    assert row(merged, "pull_request")["lead_time_hours"] == 12.5
    assert row(payloads.pull(state="closed", closed_at="2026-01-02T00:00:00Z"))["lead_time_hours"] == 24
    assert row(payloads.issue(state="closed", closed_at="2026-01-01T00:00:00Z"))["lead_time_hours"] == 0


def test_a_clock_oddity_gives_no_lead_time_rather_than_a_negative_one():
    assert row(payloads.issue(closed_at="2025-12-31T00:00:00Z"))["lead_time_hours"] is None


def test_a_pull_request_keeps_its_branches_and_draft_flag():
    found = row(payloads.pull(draft=True), "pull_request")
    assert (found["base_ref"], found["head_ref"], found["draft"]) == ("main", "feature", 1)


def test_a_deleted_user_and_missing_newer_fields_become_null():
    old = payloads.issue(user=None, assignee={"login": "cy"}, milestone={"title": "1.0"})
    for name in ("author_association", "state_reason", "assignees", "comments"):
        del old[name]
    found = row(old)
    assert (found["author"], found["author_association"], found["comments"]) == (None, None, None)
    assert (found["assignees"], found["milestone"]) == ('["cy"]', "1.0")


def test_labels_may_be_plain_strings_or_nameless():
    assert row(payloads.issue(labels=["a", {"name": "b"}, {"name": None}, 3]))["labels"] == '["a", "b"]'


def test_text_that_no_database_holds_is_made_harmless():
    payload = fields.parse_payload(b'{"title": "a\\ud800b\\u0000c \\ud83d\\ude00"}')
    assert row(payloads.issue(title=payload["title"]))["title"] == "a\ufffdb\ufffdc \U0001f600"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "1"},
        {"id": True},
        {"id": 2**63},
        {"number": 1.5},
        {"title": None},
        {"state": 3},
        {"created_at": "yesterday"},
        {"updated_at": None},
        {"closed_at": "2026-13-01T00:00:00Z"},
    ],
)
def test_a_field_that_must_be_there_and_is_not_is_named(changes):
    with pytest.raises(fields.ExtractionError, match=next(iter(changes))):
        row(payloads.issue(**changes))


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100000, '"x"'])
def test_a_payload_that_is_no_object_is_refused(text):
    with pytest.raises(fields.ExtractionError, match="payload (is no JSON object|can't be parsed)"):
        fields.parse_payload(text.encode())


def test_a_nul_in_whole_text_is_made_harmless_too():
    assert row(payloads.issue(title="a\0b"))["title"] == "a\ufffdb"


def test_fields_of_another_kind_than_they_should_be_are_left_out():
    found = row(payloads.issue(comments="3", labels={"name": "bug"}, assignees="ada", state_reason=["x"]))
    assert (found["comments"], found["labels"], found["assignees"], found["state_reason"]) == (None, "[]", "[]", None)
    assert row(payloads.issue(state_reason="not_planned"))["state_reason"] == "not_planned"


@pytest.mark.parametrize("value, is_one", [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)])
def test_an_integer_is_what_a_column_of_64_bits_holds(value, is_one):
    assert fields.is_integer(value) is is_one


def test_names_in_arrays_are_json():
    assert json.loads(row(payloads.issue(labels=[{"name": 'a"b,'}]))["labels"]) == ['a"b,']
