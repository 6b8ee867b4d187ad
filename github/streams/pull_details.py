"""What a pull request shows by itself alone: its size, who merged it, and its reviews.

https://docs.github.com/graphql/reference/objects#pullrequest, or https://docs.github.com/rest/pulls/pulls and
https://docs.github.com/rest/pulls/reviews. Its payload is one of two: GraphQL's own characters of the pull request, or
`{"pull_request": ..., "reviews": [...]}` of REST's own characters. Both give the same rows, in REST's spelling; but
`review_decision` only GraphQL knows.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from foundation.records import Row
from github.fields import (
    ExtractionError,
    as_count,
    as_text,
    in_rests_spelling,
    optional_time,
    required_integer,
    required_text,
    required_time,
    text_in,
)
from github.streams.stream import WORK, Kind, Stream

# What is asked for of each pull request: QUERY_VERSION goes up by one with each change. It stands in the query's name;
# which fields a payload has, its own names tell.
QUERY_VERSION = 1
REVIEWS_AT_ONCE = 100
FIELDS = """
  fullDatabaseId number updatedAt url repository { nameWithOwner }
  additions deletions changedFiles commits { totalCount }
  merged mergedBy { __typename login } mergeCommit { oid } reviewDecision
"""
REVIEW_FIELDS = """
  totalCount pageInfo { hasNextPage endCursor }
  nodes {
    fullDatabaseId author { __typename login } authorAssociation state submittedAt createdAt updatedAt
    commit { oid } url body
  }
"""


def rows(repo: str, payload: Mapping[str, Any]) -> Sequence[Row]:
    """The pull request's row, and one for each review that the payload holds: of over 100, each payload has a part."""
    return _of_rest(repo, payload) if "pull_request" in payload else _of_graphql(repo, payload)


def _of_graphql(repo: str, pull: Mapping[str, Any]) -> list[Row]:
    reviews, nodes = pull.get("reviews"), None
    if isinstance(reviews, dict):
        nodes = reviews.get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise ExtractionError("field 'reviews' holds no list of reviews")
    number, updated_at = required_integer(pull, "number"), required_time(pull, "updatedAt")
    columns = {
        "id": _full_id(pull),
        "repo": repo,
        "number": number,
        "additions": as_count(pull.get("additions")),
        "deletions": as_count(pull.get("deletions")),
        "changed_files": as_count(pull.get("changedFiles")),
        "commits": _count_in(pull.get("commits")),
        **_person("merged_by", in_rests_spelling(pull.get("mergedBy"))),
        "merge_commit": text_in(pull.get("mergeCommit"), "oid"),
        "review_decision": as_text(pull.get("reviewDecision")),
        "reviews": _count_in(reviews),
        "updated_at": updated_at,
    }
    of_reviews = [
        {
            "id": _full_id(review),
            **_person("author", in_rests_spelling(review.get("author"))),
            "author_association": as_text(review.get("authorAssociation")),
            "state": required_text(review, "state"),
            "submitted_at": optional_time(review, "submittedAt"),
            "commit": text_in(review.get("commit"), "oid"),
            "html_url": as_text(review.get("url")),
        }
        for review in nodes
    ]
    return _rows(columns, of_reviews)


def _of_rest(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    pull, reviews = payload.get("pull_request"), payload.get("reviews")
    if not isinstance(pull, dict) or not isinstance(reviews, list) or not all(isinstance(r, dict) for r in reviews):
        raise ExtractionError("fields 'pull_request' and 'reviews' are no pull request with a list of its reviews")
    columns = {
        "id": required_integer(pull, "id"),
        "repo": repo,
        "number": required_integer(pull, "number"),
        **{name: as_count(pull.get(name)) for name in ("additions", "deletions", "changed_files", "commits")},
        **_person("merged_by", pull.get("merged_by")),
        # Before that it is a commit of GitHub's own, made to try the merge.
        "merge_commit": as_text(pull.get("merge_commit_sha")) if pull.get("merged_at") else None,
        "review_decision": None,
        "reviews": len(reviews),
        "updated_at": required_time(pull, "updated_at"),
    }
    of_reviews = [
        {
            "id": required_integer(review, "id"),
            **_person("author", review.get("user")),
            "author_association": as_text(review.get("author_association")),
            "state": required_text(review, "state"),
            "submitted_at": optional_time(review, "submitted_at"),
            "commit": as_text(review.get("commit_id")),
            "html_url": as_text(review.get("html_url")),
        }
        for review in reviews
    ]
    return _rows(columns, of_reviews)


def _rows(pull: dict[str, Any], reviews: Sequence[dict[str, Any]]) -> list[Row]:
    """A review is of the version of the pull request that showed it: REST does not tell when a review was changed."""
    of_all = {name: pull[name] for name in ("repo", "number", "updated_at")}
    return [Row("pull_details", pull), *(Row("reviews", {**review, **of_all}) for review in reviews)]


def _full_id(fields: Mapping[str, Any]) -> int:
    """A BigInt, which is a text there: https://docs.github.com/graphql/reference/scalars#bigint"""
    value = fields.get("fullDatabaseId")
    is_text = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19
    return int(value) if is_text else required_integer(fields, "fullDatabaseId")  # type: ignore[arg-type]


def _person(name: str, user: Any) -> dict[str, Any]:
    return {name: text_in(user, "login"), f"{name}_type": text_in(user, "type")}


def _count_in(connection: Any) -> int | None:
    return as_count(connection.get("totalCount")) if isinstance(connection, dict) else None


STREAM = Stream(
    name="pull-details",
    path="pulls",
    kinds=(Kind("pull_detail", "pull-details", rows),),
    scan=WORK,
    title="Pull requests by themselves",
    permissions=("Pull requests", "Contents"),  # the second: of the commits that GraphQL names
    switch="has_pull_requests",
    is_missing_when_off=True,
    needs=("pulls",),
)
