import json

import pytest

from github import by_number, fields, pages, timeline_reader
from github.by_number import Ask
from github.streams import KINDS, timeline
from github.timeline_reader import FORM, UnknownIds
from github.transport import Fault
from tables.columns import FILLED
from tests.github_world.basics import node_id

NODE = {
    "__typename": "LabeledEvent", "id": node_id("LE", 5, 6, 9876543210), "createdAt": "2026-11-20T10:00:00Z",
    "actor": {"__typename": "Bot", "login": "renovate"}, "label": {"name": "bug"},
}  # fmt: skip
OF_REST = {
    "id": 9876543210, "event": "labeled", "created_at": "2026-11-20T10:00:00Z", "label": {"name": "bug"},
    "actor": {"login": "renovate[bot]", "type": "Bot"},
    "url": "https://api.github.com/repos/Acme/Widgets/issues/events/9876543210",
}  # fmt: skip
REPOSITORY = {"nameWithOwner": "Acme/Widgets"}
PAYLOAD = {"number": 7, "repository": REPOSITORY, "node": NODE}


def shown(*nodes, **item):
    listed = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": list(nodes)}
    return {"number": 7, "repository": REPOSITORY, "timelineItems": listed, **item}


def batch(item, *asks):
    body = {"data": {"repository": {"databaseId": 5, "nameWithOwner": "Acme/Widgets", "p7": item}}}
    return by_number.parse(json.dumps(body, indent=1), form=FORM, asks=asks or [Ask(7)])


def test_each_event_keeps_its_own_characters_beside_the_item_and_the_repository():
    (item,) = batch(shown({**NODE, "label": {"name": "ü [{,"}})).shown[7].items
    assert item[:4] == ("event", 9876543210, 7, "2026-11-20T10:00:00Z")
    assert json.loads(item.payload) == {**PAYLOAD, "node": {**NODE, "label": {"name": "ü [{,"}}}
    assert b'"name": "\\u00fc [{,"\n' in item.payload
    assert KINDS["event"].id_in(json.loads(item.payload)) == 9876543210


def test_an_item_without_events_has_none():
    assert batch(shown()).shown[7] == by_number.Shown([], None)


@pytest.mark.parametrize(
    "item",
    [None, {}, shown(None), shown(1), shown(NODE, timelineItems=None), shown(NODE, number=8),
     shown(NODE, repository=None),
     shown(timelineItems={"pageInfo": {"hasNextPage": True, "endCursor": "c0"}, "nodes": [NODE]})],
)  # fmt: skip
def test_what_is_not_shown_whole_or_leads_nowhere_is_a_fault(item):
    with pytest.raises(Fault, match="item 7"):
        batch(item, Ask(7, "c0"))


@pytest.mark.parametrize("wrong", [None, 7, "", "LE_kwDOA", "MDU6SXNzdWU3"])
def test_an_event_whose_number_can_not_be_read_is_refused_and_not_guessed(wrong):
    with pytest.raises(UnknownIds, match="says no number"):
        batch(shown({**NODE, "id": wrong}))


def test_rows_have_the_columns_of_their_table():
    (row,) = KINDS["event"].rows("acme/widgets", PAYLOAD)
    of_archive = {"s3_key", "payload_sha256", "processed_at", "fetched_order"}
    assert set(row.columns) == set(FILLED["item_events"].columns) - of_archive
    assert (row.columns["actor"], row.columns["actor_type"]) == ("renovate[bot]", "Bot")


@pytest.mark.parametrize(
    "node, said",
    [({**NODE, "id": "x"}, "node"), ({**NODE, "__typename": "IssueComment"}, "node"), (None, "node"), ([], "node"),
     ({**NODE, "createdAt": "soon"}, "createdAt")],
)  # fmt: skip
def test_a_payload_without_what_a_row_needs_says_what_it_lacks(node, said):
    with pytest.raises(fields.ExtractionError, match=said):
        timeline.rows("acme/widgets", {**PAYLOAD, "node": node})
    with pytest.raises(fields.ExtractionError, match="number"):
        timeline.rows("acme/widgets", {**PAYLOAD, "number": None})


def test_no_fragment_stands_in_a_query_that_does_not_use_it():
    first, later = (by_number.query(FORM, "acme/widgets", [ask]) for ask in (Ask(7), Ask(7, 'Y3"')))
    assert "p7: issueOrPullRequest(number: 7) { ...issue ...pull }" in first
    assert ("fragment issue on Issue" in first, "fragment issue on Issue" in later) == (True, False)
    assert 'timelineItems(first: 100, after: "Y3\\"", itemTypes: [' in later


def test_what_rest_and_graphql_show_of_an_item_is_compared_kind_by_kind():
    (item,) = batch(shown(NODE)).shown[7].items
    assert timeline_reader.ids_by_event([item]) == {"labeled": {9876543210}}
    (element,) = pages.cut(json.dumps([OF_REST]), pages.Shape(time_in=("created_at",)))
    item = timeline_reader._rest_item(7, element)
    assert timeline_reader.ids_by_event([item]) == {"labeled": {9876543210}}
    assert item[:4] == ("event", 9876543210, 7, "2026-11-20T10:00:00Z")
    payload = json.loads(item.payload)
    assert (KINDS["event"].id_in(payload), pages.repo_name(payload)) == (9876543210, "Acme/Widgets")
    assert KINDS["event"].rows("acme/widgets", payload) == KINDS["event"].rows("acme/widgets", PAYLOAD)
