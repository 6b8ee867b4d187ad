"""Which tables there are, and the columns and keys of those that payloads fill. A migration that adds a column adds it
here."""

from __future__ import annotations

from typing import NamedTuple


class Marked(NamedTuple):
    """Where the rows of a kind of items are, and what of a tombstone stands with them. `told_by`: the column, and its
    value, that tell them from other kinds in that table."""

    table: str
    told_by: tuple[str, str] | None
    columns: tuple[str, ...]


class Filled(NamedTuple):
    """A table with a row for each item, its newest version. `key`: what tells one item from all others."""

    key: tuple[str, ...]
    columns: tuple[str, ...]


_OF_ARCHIVE = ("s3_key", "payload_sha256", "processed_at", "fetched_order")


def _keyed_by(*key: str, columns: str) -> Filled:
    return Filled(key, (*columns.split(), *_OF_ARCHIVE))


FILLED = {
    "issues": _keyed_by(
        "item_type", "id",
        columns="id item_type repo number title state state_reason draft author author_association assignees labels "
        "milestone comments created_at updated_at closed_at merged_at lead_time_hours base_ref head_ref html_url",
    ),
    "comments": _keyed_by(
        "kind", "id",
        columns="kind id repo number author author_type author_association created_at updated_at review_id "
        "in_reply_to_id path html_url",
    ),
    "reviews": _keyed_by(
        "id",
        columns="id repo number author author_type author_association state submitted_at updated_at commit html_url",
    ),
    "item_events": _keyed_by(
        "id",
        columns="id repo number event actor actor_type created_at updated_at label assignee requested_reviewer "
        "requested_team review_requester milestone rename_from rename_to commit_id state_reason lock_reason",
    ),
    "pull_details": _keyed_by(
        "id",
        columns="id repo number additions deletions changed_files commits merged_by merged_by_type merge_commit "
        "review_decision reviews updated_at",
    ),
    "milestones": _keyed_by(
        "id",
        columns="id repo number title state due_on open_issues closed_issues creator created_at updated_at closed_at "
        "html_url",
    ),
    "labels": _keyed_by("id", columns="id repo name color description is_default updated_at"),
    # Not of GitHub's payloads: of tombstones (github/streams/gone.py), the last of each item.
    "gone": _keyed_by("kind", "id", columns="kind id repo number gone_at gone_reason moved_to updated_at"),
    "releases": _keyed_by(
        "id",
        columns="id repo tag name target author author_type is_draft is_prerelease created_at published_at updated_at "
        "html_url",
    ),
}  # fmt: skip
_OF_TOMBSTONE = ("gone_at", "gone_reason", "moved_to")
# A tombstone's kind -> what it marks. These columns come of no payload of the item's own, so no upsert sets them.
MARKED = {
    "issue": Marked("issues", ("item_type", "issue"), _OF_TOMBSTONE),
    "pull_request": Marked("issues", ("item_type", "pull_request"), _OF_TOMBSTONE),
    "issue_comment": Marked("comments", ("kind", "issue"), ("gone_at",)),
    "review_comment": Marked("comments", ("kind", "review"), ("gone_at",)),
    "review": Marked("reviews", None, ("gone_at",)),
}
TABLES = (
    "queue_items",
    *FILLED,
    "ingest_state",
    "repo_aliases",
    "runs",
    "rebuild_read",
    "archives",
    "copies",
    "locks",
    "pull_work",
    "ignored_users",
)
