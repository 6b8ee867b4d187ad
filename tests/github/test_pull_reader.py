import json

import pytest

from github import by_number, fields, pages
from github.by_number import Ask
from github.pull_reader import FORM
from github.streams import KINDS, pull_details
from github.transport import Fault
from tables.columns import FILLED

REVIEW = {
    "fullDatabaseId": "8000000001", "author": {"__typename": "Bot", "login": "dependabot"}, "state": "APPROVED",
    "authorAssociation": "NONE", "submittedAt": "2026-11-20T10:00:00Z", "commit": {"oid": "c0"}, "url": "https://x/1",
}  # fmt: skip
PULL = {
    "fullDatabaseId": "3000000001", "number": 7, "updatedAt": "2026-11-20T11:00:00Z", "additions": 3, "deletions": 2,
    "changedFiles": 1, "commits": {"totalCount": 4}, "mergedBy": None, "mergeCommit": None,
    "reviewDecision": "APPROVED", "repository": {"nameWithOwner": "Acme/Widgets"},
    "reviews": {"totalCount": 1, "pageInfo": {}, "nodes": [REVIEW]},
}  # fmt: skip
OF_REST = {
    "pull_request": {
        "id": 3000000001, "number": 7, "updated_at": "2026-11-20T11:00:00Z", "additions": 3, "deletions": 2,
        "changed_files": 1, "commits": 4, "merged_by": None, "merged_at": None, "merge_commit_sha": "tried",
        "url": "https://api.github.com/repos/Acme/Widgets/pulls/7",
    },
    "reviews": [{
        "id": 8000000001, "user": {"login": "dependabot[bot]", "type": "Bot"}, "author_association": "NONE",
        "state": "APPROVED", "submitted_at": "2026-11-20T10:00:00Z", "commit_id": "c0", "html_url": "https://x/1",
    }],
}  # fmt: skip


def batch(pull, *asks, **repository):
    body = {"data": {"repository": {"databaseId": 5, "nameWithOwner": "Acme/Widgets", **repository, "p7": pull}}}
    return by_number.parse(json.dumps(body), form=FORM, asks=asks or [Ask(7)])


def test_both_shapes_of_a_payload_give_the_same_rows():
    by_graphql, by_rest = ([*pull_details.rows("acme/widgets", payload)] for payload in (PULL, OF_REST))
    assert by_graphql[0].columns.pop("review_decision") == "APPROVED"
    assert by_rest[0].columns.pop("review_decision") is None
    assert by_graphql == by_rest
    assert by_rest[1].columns["author"] == "dependabot[bot]"


@pytest.mark.parametrize("payload", [PULL, OF_REST], ids=["graphql", "rest"])
def test_rows_have_the_columns_of_their_tables_and_the_payload_says_of_which_repository_it_is(payload):
    of_archive = {"s3_key", "payload_sha256", "processed_at", "fetched_order"}
    for row in KINDS["pull_detail"].rows("acme/widgets", payload):
        assert set(row.columns) == set(FILLED[row.table].columns) - of_archive
    assert pages.repo_name(payload) == "Acme/Widgets"


@pytest.mark.parametrize(
    "payload, said",
    [({**PULL, "reviews": None}, "reviews"), ({**PULL, "fullDatabaseId": None}, "fullDatabaseId"),
     ({**PULL, "updatedAt": "soon"}, "updatedAt"), ({**OF_REST, "reviews": [None]}, "reviews")],
)  # fmt: skip
def test_a_payload_without_what_a_row_needs_says_what_it_lacks(payload, said):
    with pytest.raises(fields.ExtractionError, match=said):
        pull_details.rows("acme/widgets", payload)


def test_what_was_shown_keeps_its_own_characters_and_says_where_its_reviews_go_on():
    more = {**PULL["reviews"], "pageInfo": {"hasNextPage": True, "endCursor": "c1"}}
    found = batch({**PULL, "reviews": more})
    (shown,) = found.shown.values()
    (item,) = shown.items
    assert (found.repo_id, found.repo, shown.more) == (5, "Acme/Widgets", "c1")
    assert json.loads(item.payload) == {**PULL, "reviews": more}
    assert item[:4] == ("pull_detail", 3000000001, 7, "2026-11-20T11:00:00Z")


@pytest.mark.parametrize(
    "reviews",
    [None, {"nodes": None}, {"nodes": [None]}, {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": None}},
     {"nodes": [REVIEW], "pageInfo": {"hasNextPage": True, "endCursor": "c0"}}],
)  # fmt: skip
def test_what_is_not_shown_whole_or_leads_nowhere_is_a_fault(reviews):
    with pytest.raises(Fault, match="not show all of pull request 7"):
        batch({**PULL, "reviews": reviews}, Ask(7, "c0"))


def test_a_null_that_no_error_explains_is_a_fault_and_so_is_a_repository_without_its_id():
    with pytest.raises(Fault, match="pull request 7"):
        batch(None)
    with pytest.raises(Fault, match="which repository"):
        batch(PULL, databaseId=None)


def test_one_query_names_all_pull_requests_and_where_each_one_s_reviews_go_on():
    text = by_number.query(FORM, "acme/widgets", [Ask(7), Ask(8, 'Y3"')])
    assert 'repository(owner: "acme", name: "widgets")' in text
    assert "p7: pullRequest(number: 7) { ...fields reviews(first: 100) { ...reviews } }" in text
    assert 'p8: pullRequest(number: 8) { ...fields reviews(first: 100, after: "Y3\\"") { ...reviews } }' in text
