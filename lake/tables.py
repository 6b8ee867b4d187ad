"""The tables that people ask questions of, as engines beside the database are to see them. Pure.

The one list of what `publish` brings into the lake: a table, or a view, is published once it stands in TABLES.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a column holds. The database has texts and numbers for all of them (db.py)."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    FLAG = "flag"  # 0 or 1 in the database
    TIME = "time"  # UTC text there
    NAMES = "names"  # there a JSON array of texts


class Column(NamedTuple):
    name: str
    kind: Kind
    comment: str


class Table(NamedTuple):
    """`order`: its rows come in this order, which tells each from all others: the same rows, the same text of them.

    What is asked for together should lie together: engines pass over parts of a file by what is least and greatest
    there. `partition`: the column by which rows are parted into files, one of few values.
    """

    name: str
    comment: str
    order: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: str | None = None

    @property
    def query(self) -> str:
        names = ", ".join(f'{self.name}."{column.name}"' for column in self.columns)  # one of them is a word of SQL's
        return f"SELECT {names} FROM {self.name} ORDER BY {', '.join(self.order)}"


_ID = Column("id", Kind.INTEGER, "GitHub's id")
_REPO = Column("repo", Kind.TEXT, "OWNER/NAME, as it is called at present")
_NUMBER = Column("number", Kind.INTEGER, "the number of the issue or pull request within the repository")
_PAGE = Column("html_url", Kind.TEXT, "its page on GitHub")
_UPDATED_AT = Column("updated_at", Kind.TIME, "when it was changed last, on GitHub")
_ASSOCIATION = Column("author_association", Kind.TEXT, "what the author is to the repository, such as MEMBER")
_OF_ARCHIVE = (
    Column("s3_key", Kind.TEXT, "the object in the archive that holds GitHub's own text of it"),
    Column("payload_sha256", Kind.TEXT, "SHA-256 of that text"),
    Column("processed_at", Kind.TIME, "when the row was written"),
    Column("fetched_order", Kind.TEXT, "tells apart two versions of one updated_at: the greater one came later"),
)

_GONE_AT = Column("gone_at", Kind.TIME, "when GitHub was seen to show it no more; null where it shows it")
_GONE = (
    _GONE_AT,
    Column("gone_reason", Kind.TEXT, "why, as far as GitHub says: deleted, transferred, converted or missing"),
    Column("moved_to", Kind.TEXT, "where one that was transferred is now"),
)


def _who(name: str, did: str) -> tuple[Column, Column]:
    return (
        Column(name, Kind.TEXT, f"login of who {did}; null where nobody did, or the account is gone"),
        Column(f"{name}_type", Kind.TEXT, f"User, Bot or Organization: what {name} is"),
    )


ISSUES = Table(
    "issues",
    "One row for each issue and pull request, its newest version",
    ("repo", "item_type", "number", "id"),
    (
        Column("id", Kind.INTEGER, "GitHub's id; issues and pull requests are numbered separately"),
        Column("item_type", Kind.TEXT, "issue or pull_request"),
        _REPO,
        Column("number", Kind.INTEGER, "the number within the repository"),
        Column("title", Kind.TEXT, "the title"),
        Column("state", Kind.TEXT, "open or closed"),
        Column("state_reason", Kind.TEXT, "why an issue was closed, such as completed or not_planned"),
        Column("draft", Kind.FLAG, "whether a pull request is a draft"),
        Column("author", Kind.TEXT, "login of who opened it; null where the account is gone"),
        _ASSOCIATION,
        Column("assignees", Kind.NAMES, "logins of those it is assigned to"),
        Column("labels", Kind.NAMES, "names of its labels"),
        Column("milestone", Kind.TEXT, "title of its milestone"),
        Column("comments", Kind.INTEGER, "how many comments it has, where GitHub's list says so"),
        Column("created_at", Kind.TIME, "when it was opened"),
        _UPDATED_AT,
        Column("closed_at", Kind.TIME, "when it was closed; null while it is open"),
        Column("merged_at", Kind.TIME, "when the pull request was merged"),
        Column("lead_time_hours", Kind.REAL, "hours from creation to merge or close; null while open"),
        Column("base_ref", Kind.TEXT, "the branch that a pull request is to go into"),
        Column("head_ref", Kind.TEXT, "the branch that a pull request comes from"),
        _PAGE,
        *_GONE,
        *_OF_ARCHIVE,
    ),
    partition="item_type",
)

COMMENTS = Table(
    "comments",
    "One row for each comment, its newest version",
    ("repo", "number", "kind", "id"),
    (
        Column("kind", Kind.TEXT, "issue: on an issue or pull request; review: on code"),
        Column("id", Kind.INTEGER, "GitHub's id; the two kinds are numbered separately"),
        _REPO,
        _NUMBER,
        *_who("author", "wrote it"),
        _ASSOCIATION,
        Column("created_at", Kind.TIME, "when it was written"),
        _UPDATED_AT,
        Column("review_id", Kind.INTEGER, "id of the review that a comment on code belongs to"),
        Column("in_reply_to_id", Kind.INTEGER, "id of the comment on code that it answers"),
        Column("path", Kind.TEXT, "the file that a comment on code is about"),
        _PAGE,
        _GONE_AT,
        *_OF_ARCHIVE,
    ),
)

REVIEWS = Table(
    "reviews",
    "One row for each review of a pull request, its newest version",
    ("repo", "number", "id"),
    (
        _ID,
        _REPO,
        _NUMBER,
        *_who("author", "reviewed"),
        _ASSOCIATION,
        Column("state", Kind.TEXT, "APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED or PENDING"),
        Column("submitted_at", Kind.TIME, "when it was submitted; null while it is pending"),
        Column("updated_at", Kind.TIME, "when the pull request's version was changed that showed it"),
        Column("commit", Kind.TEXT, "SHA of the commit that was reviewed"),
        _PAGE,
        _GONE_AT,
        *_OF_ARCHIVE,
    ),
)

ITEM_EVENTS = Table(
    "item_events",
    "One row for each thing that happened to an issue or pull request",
    ("repo", "number", "id"),
    (
        _ID,
        _REPO,
        Column("number", Kind.INTEGER, "the number of what it happened to; 0 where GitHub shows none"),
        Column("event", Kind.TEXT, "what happened, such as closed, labeled or review_requested"),
        *_who("actor", "did it"),
        Column("created_at", Kind.TIME, "when it happened"),
        Column("updated_at", Kind.TIME, "the same: an event does not change"),
        Column("label", Kind.TEXT, "labeled, unlabeled: name of the label"),
        Column("assignee", Kind.TEXT, "assigned, unassigned: login of whom"),
        Column("requested_reviewer", Kind.TEXT, "review_requested, review_request_removed: login of whom"),
        Column("requested_team", Kind.TEXT, "the same, of a team"),
        Column("review_requester", Kind.TEXT, "login of who asked for the review"),
        Column("milestone", Kind.TEXT, "milestoned, demilestoned: title of the milestone"),
        Column("rename_from", Kind.TEXT, "renamed: the title before"),
        Column("rename_to", Kind.TEXT, "renamed: the title since"),
        Column("commit_id", Kind.TEXT, "SHA of the commit that did it"),
        Column("state_reason", Kind.TEXT, "closed: why, such as completed or not_planned"),
        Column("lock_reason", Kind.TEXT, "locked: why"),
        *_OF_ARCHIVE,
    ),
)

PULL_DETAILS = Table(
    "pull_details",
    "One row for each pull request: its size, and who merged it",
    ("repo", "number", "id"),
    (
        Column("id", Kind.INTEGER, "GitHub's id, as in issues"),
        _REPO,
        _NUMBER,
        Column("additions", Kind.INTEGER, "lines added"),
        Column("deletions", Kind.INTEGER, "lines deleted"),
        Column("changed_files", Kind.INTEGER, "files changed"),
        Column("commits", Kind.INTEGER, "how many commits it has"),
        *_who("merged_by", "merged it"),
        Column("merge_commit", Kind.TEXT, "SHA of the commit that merged it; null until then"),
        Column("review_decision", Kind.TEXT, "what GitHub makes of its reviews; null where REST was asked"),
        Column("reviews", Kind.INTEGER, "how many reviews it has"),
        _UPDATED_AT,
        *_OF_ARCHIVE,
    ),
)

MILESTONES = Table(
    "milestones",
    "One row for each milestone, its newest version",
    ("repo", "number", "id"),
    (
        _ID,
        _REPO,
        Column("number", Kind.INTEGER, "the milestone's number within the repository"),
        Column("title", Kind.TEXT, "the title"),
        Column("state", Kind.TEXT, "open or closed"),
        Column("due_on", Kind.TIME, "when it is due"),
        Column("open_issues", Kind.INTEGER, "how many open issues and pull requests are in it"),
        Column("closed_issues", Kind.INTEGER, "how many closed ones"),
        Column("creator", Kind.TEXT, "login of who made it"),
        Column("created_at", Kind.TIME, "when it was made"),
        _UPDATED_AT,
        Column("closed_at", Kind.TIME, "when it was closed; null while it is open"),
        _PAGE,
        *_OF_ARCHIVE,
    ),
)

LABELS = Table(
    "labels",
    "One row for each label of a repository, its newest version",
    ("repo", "id"),
    (
        _ID,
        _REPO,
        Column("name", Kind.TEXT, "the label's name"),
        Column("color", Kind.TEXT, "its colour, as six hexadecimal digits"),
        Column("description", Kind.TEXT, "what it is for"),
        Column("is_default", Kind.FLAG, "whether GitHub made it with the repository"),
        Column("updated_at", Kind.TIME, "1970-01-01: GitHub gives labels no times"),
        *_OF_ARCHIVE,
    ),
)

RELEASES = Table(
    "releases",
    "One row for each release, its newest version",
    ("repo", "id"),
    (
        _ID,
        _REPO,
        Column("tag", Kind.TEXT, "the tag that it is of"),
        Column("name", Kind.TEXT, "its name"),
        Column("target", Kind.TEXT, "the branch or commit that the tag was made from"),
        *_who("author", "made it"),
        Column("is_draft", Kind.FLAG, "whether it is a draft"),
        Column("is_prerelease", Kind.FLAG, "whether it is a prerelease"),
        Column("created_at", Kind.TIME, "of its commit, says GitHub"),
        Column("published_at", Kind.TIME, "when it was published; null for a draft"),
        _UPDATED_AT,
        _PAGE,
        *_OF_ARCHIVE,
    ),
)

GONE = Table(
    "gone",
    "One row for each thing that was found to be gone from GitHub, or there again: the last that was found",
    ("repo", "kind", "id"),
    (
        Column("kind", Kind.TEXT, "issue, pull_request, issue_comment, review_comment or review"),
        Column("id", Kind.INTEGER, "its id, as in the table of its kind"),
        _REPO,
        Column("number", Kind.INTEGER, "its number, or that of the item on which it was said"),
        *_GONE,
        Column("updated_at", Kind.TIME, "when GitHub was seen to show it or not, by GitHub's clock"),
        *_OF_ARCHIVE,
    ),
)

ITEM_METRICS = Table(
    "item_metrics",
    "One row for each issue and pull request: how long what took; docs/METRICS.md defines each figure",
    ("repo", "item_type", "number", "id"),
    (
        Column("id", Kind.INTEGER, "GitHub's id, as in issues"),
        Column("item_type", Kind.TEXT, "issue or pull_request"),
        _REPO,
        _NUMBER,
        Column("title", Kind.TEXT, "the title"),
        Column("state", Kind.TEXT, "open or closed"),
        Column("author", Kind.TEXT, "login of who opened it; null where the account is gone"),
        Column("created_at", Kind.TIME, "when it was opened"),
        Column("closed_at", Kind.TIME, "when it was closed; null while it is open"),
        Column("merged_at", Kind.TIME, "when the pull request was merged"),
        Column("first_response_hours", Kind.REAL, "hours from its start to the first answer"),
        Column("first_review_hours", Kind.REAL, "hours from its start to the first review"),
        Column("rework_hours", Kind.REAL, "hours from the first review to the first approval"),
        Column("merge_wait_hours", Kind.REAL, "hours from the first approval to the merge"),
        Column("cycle_hours", Kind.REAL, "hours from its start to the merge"),
        Column("lead_time_hours", Kind.REAL, "hours from creation to merge or close; null while open"),
        Column("times_reopened", Kind.INTEGER, "how often it was reopened"),
        Column("draft_hours", Kind.REAL, "hours as a draft; null while it is one"),
        Column("additions", Kind.INTEGER, "lines added"),
        Column("deletions", Kind.INTEGER, "lines deleted"),
        Column("changed_files", Kind.INTEGER, "files changed"),
        Column("commits", Kind.INTEGER, "how many commits it has"),
        _GONE_AT,
    ),
    partition="item_type",
)

LABEL_SPANS = Table(
    "label_spans",
    "One row for each time that an issue or pull request had a label",
    ("repo", "number", "label", "labeled_at", "unlabeled_at"),
    (
        _REPO,
        _NUMBER,
        Column("item_type", Kind.TEXT, "issue or pull_request; null where its list was not read"),
        Column("label", Kind.TEXT, "the label's name"),
        Column("labeled_at", Kind.TIME, "from when it had the label"),
        Column("unlabeled_at", Kind.TIME, "until when, or until it was closed; null while it has it"),
    ),
)

AWAITED_REVIEWS = Table(
    "awaited_reviews",
    "One row for each person whose review an open pull request waits for",
    ("repo", "number", "person"),
    (
        Column("person", Kind.TEXT, "login of who was asked"),
        _REPO,
        _NUMBER,
        Column("title", Kind.TEXT, "the pull request's title"),
        Column("asked_at", Kind.TIME, "when the person was asked last"),
    ),
)

_PAYLOADS = (ISSUES, COMMENTS, REVIEWS, ITEM_EVENTS, PULL_DETAILS, MILESTONES, LABELS, RELEASES, GONE)
_VIEWS = (ITEM_METRICS, LABEL_SPANS, AWAITED_REVIEWS)
TABLES = {table.name: table for table in (*_PAYLOADS, *_VIEWS)}
# The databases' other tables are the pipeline's own: the queue, and where each thing stands.
