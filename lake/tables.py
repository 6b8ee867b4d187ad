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
        names = ", ".join(column.name for column in self.columns)
        return f"SELECT {names} FROM {self.name} ORDER BY {', '.join(self.order)}"


ISSUES = Table(
    "issues",
    "One row for each issue and pull request, its newest version",
    ("repo", "item_type", "number", "id"),
    (
        Column("id", Kind.INTEGER, "GitHub's id; issues and pull requests are numbered separately"),
        Column("item_type", Kind.TEXT, "issue or pull_request"),
        Column("repo", Kind.TEXT, "OWNER/NAME, as it is called at present"),
        Column("number", Kind.INTEGER, "the number within the repository"),
        Column("title", Kind.TEXT, "the title"),
        Column("state", Kind.TEXT, "open or closed"),
        Column("state_reason", Kind.TEXT, "why an issue was closed, such as completed or not_planned"),
        Column("draft", Kind.FLAG, "whether a pull request is a draft"),
        Column("author", Kind.TEXT, "login of who opened it; null where the account is gone"),
        Column("author_association", Kind.TEXT, "what the author is to the repository, such as MEMBER"),
        Column("assignees", Kind.NAMES, "logins of those it is assigned to"),
        Column("labels", Kind.NAMES, "names of its labels"),
        Column("milestone", Kind.TEXT, "title of its milestone"),
        Column("comments", Kind.INTEGER, "how many comments it has, where GitHub's list says so"),
        Column("created_at", Kind.TIME, "when it was opened"),
        Column("updated_at", Kind.TIME, "when it was changed last, on GitHub"),
        Column("closed_at", Kind.TIME, "when it was closed; null while it is open"),
        Column("merged_at", Kind.TIME, "when the pull request was merged"),
        Column("lead_time_hours", Kind.REAL, "hours from creation to merge or close; null while open"),
        Column("base_ref", Kind.TEXT, "the branch that a pull request is to go into"),
        Column("head_ref", Kind.TEXT, "the branch that a pull request comes from"),
        Column("html_url", Kind.TEXT, "its page on GitHub"),
        Column("s3_key", Kind.TEXT, "the object in the archive that holds GitHub's own text of it"),
        Column("payload_sha256", Kind.TEXT, "SHA-256 of that text"),
        Column("processed_at", Kind.TIME, "when the row was written"),
        Column("fetched_order", Kind.TEXT, "tells apart two versions of one updated_at: the greater one came later"),
    ),
    partition="item_type",
)

TABLES = {table.name: table for table in (ISSUES,)}
# The databases' other tables are the pipeline's own: the queue, and where each thing stands.
