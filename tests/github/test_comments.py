import json

import pytest

from github import fields, pages, streams
from github.streams import KINDS, STREAMS
from tables.columns import FILLED

ISSUE_COMMENT = {
    "id": 11, "url": "https://api.github.com/repos/Acme/Widgets/issues/comments/11",
    "user": {"login": "bo", "type": "Bot"},
    "issue_url": "https://api.github.com/repos/Acme/Widgets/issues/42", "author_association": "MEMBER",
    "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T11:00:00Z", "html_url": "https://github.com/x",
}  # fmt: skip
REVIEW_COMMENT = {
    **ISSUE_COMMENT, "url": "https://api.github.com/repos/Acme/Widgets/pulls/comments/11", "path": "a.py", "user": None,
    "pull_request_url": "https://api.github.com/repos/Acme/Widgets/pulls/43", "pull_request_review_id": 5,
    "in_reply_to_id": 10,
}  # fmt: skip
del REVIEW_COMMENT["issue_url"]


def row(item_type, payload):
    (found,) = KINDS[item_type].rows("acme/widgets", payload)
    return found


def test_a_comment_on_an_item_becomes_a_row():
    assert row("issue_comment", ISSUE_COMMENT) == (
        "comments",
        {
            "kind": "issue", "id": 11, "repo": "acme/widgets", "number": 42, "author": "bo", "author_type": "Bot",
            "author_association": "MEMBER", "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T11:00:00Z",
            "review_id": None, "in_reply_to_id": None, "path": None, "html_url": "https://github.com/x",
        },
    )  # fmt: skip


def test_a_comment_on_code_says_on_which_file_and_in_which_review():
    columns = row("review_comment", REVIEW_COMMENT).columns
    names = ("kind", "number", "author", "author_type", "review_id", "in_reply_to_id", "path")
    assert [columns[name] for name in names] == ["review", 43, None, None, 5, 10, "a.py"]


@pytest.mark.parametrize(
    "changes, field",
    [({"issue_url": None}, "issue_url"), ({"issue_url": "https://x/issues/0"}, "issue_url"), ({"id": "1"}, "id"),
     ({"updated_at": None}, "updated_at")],
)  # fmt: skip
def test_a_comment_without_what_a_row_needs_says_what_it_lacks(changes, field):
    with pytest.raises(fields.ExtractionError, match=field):
        row("issue_comment", {**ISSUE_COMMENT, **changes})


@pytest.mark.parametrize(
    "stream, payload, number", [("issue-comments", ISSUE_COMMENT, 42), ("review-comments", REVIEW_COMMENT, 43)]
)
def test_a_comment_is_cut_with_the_number_of_its_item(stream, payload, number):
    (element,) = pages.cut(json.dumps([payload]), STREAMS[stream].shape)
    assert (element.item_id, element.number, element.repo_name) == (11, number, "Acme/Widgets")


@pytest.mark.parametrize("item_type", KINDS)
def test_each_type_of_items_has_a_folder_of_its_own(item_type):
    assert [kind.folder for kind in KINDS.values()].count(KINDS[item_type].folder) == 1


@pytest.mark.parametrize("item_type, payload", [("issue_comment", ISSUE_COMMENT), ("review_comment", REVIEW_COMMENT)])
def test_a_row_has_the_columns_of_its_table(item_type, payload):
    found = row(item_type, payload)
    of_archive = {"s3_key", "payload_sha256", "processed_at", "fetched_order"}
    assert set(found.columns) == set(FILLED[found.table].columns) - of_archive


def test_streams_are_named_in_any_order_and_read_in_their_own():
    assert streams.named("pulls, issues,pulls") == ("issues", "pulls")
    assert streams.named("all") == streams.named("issues,all") == tuple(STREAMS)


@pytest.mark.parametrize(
    "text, said", [("issues,x", "no stream 'x'; give some of issues,"), ("", "no stream is named")]
)
def test_a_stream_that_there_is_not_is_named(text, said):
    with pytest.raises(ValueError, match=said):
        streams.named(text)


def test_a_stream_without_another_that_it_needs_says_so(monkeypatch):
    needy = STREAMS["issue-comments"]._replace(needs=("pulls",))
    monkeypatch.setitem(STREAMS, "issue-comments", needy)
    assert streams.named("issue-comments,pulls") == ("pulls", "issue-comments")
    with pytest.raises(ValueError, match="needs pulls beside it: give pulls,issue-comments"):
        streams.named("issue-comments")
