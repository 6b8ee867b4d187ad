"""The views: what teams ask for, defined once. docs/METRICS.md says in words what each figure is, and whose definition.

The figures are asked for item by item, by index: who asks for one repository, or one figure, pays for that alone.
A later migration drops and makes anew what it changes.
"""

from __future__ import annotations

from typing import Callable

# Seconds from one of our times to another; SQLite's julianday would round.
_SQLITE_SECONDS = "(CAST(strftime('%s', {end}) AS INTEGER) - CAST(strftime('%s', {start}) AS INTEGER))"
_POSTGRES_SECONDS = (
    "CAST(extract(epoch FROM CAST({end} AS timestamptz) - CAST({start} AS timestamptz)) AS double precision)"
)

_IS_PULL = "i.item_type = 'pull_request'"
# 'ghost' is who GitHub shows for deleted users, where it shows anybody.
_LOGIN = "coalesce(nullif(lower({0}.author), 'ghost'), '')"
# Does what {0} says count as an answer to the item?
_COUNTS = f"""
    coalesce({{0}}.author_type, '') <> 'Bot' AND lower(coalesce({{0}}.author, '')) NOT LIKE '%[bot]'
    AND {_LOGIN.format("{0}")} <> {_LOGIN.format("i")}
    AND NOT EXISTS (SELECT 1 FROM ignored_users u WHERE u.login = lower({{0}}.author))
"""
_READY_AT = """
    SELECT min(e.created_at) FROM item_events e
    WHERE e.repo = i.repo AND e.number = i.number AND e.event IN ('ready_for_review', 'convert_to_draft')
        AND e.event = 'ready_for_review'
"""
# What is said on code is written before its review is submitted: where that is known, it speaks for its comments.
_COMMENTED_AT = f"""
    SELECT c.created_at AS said_at FROM comments c
    WHERE c.repo = i.repo AND c.number = i.number AND c.created_at >= i.start_at AND {_COUNTS.format("c")}
        AND NOT (c.kind = 'review' AND EXISTS (SELECT 1 FROM reviews r WHERE r.id = c.review_id))
"""
_REVIEWED_AT = f"""
    SELECT r.submitted_at AS said_at FROM reviews r
    WHERE r.repo = i.repo AND r.number = i.number AND r.submitted_at >= i.start_at AND r.state <> 'PENDING'
        AND {_COUNTS.format("r")}
"""
_APPROVED_AT = f"{_REVIEWED_AT} AND r.state = 'APPROVED'"
# From event to event, the first from creation and the last to the close: was it a draft all the while? What came last
# says whether it is still one; where nothing came, the pull request itself does.
_DRAFT_SECONDS = """
    SELECT CASE WHEN i.closed_at IS NULL AND max(is_open) = 1 THEN NULL
        ELSE sum(CASE WHEN was_draft = 1 AND ended_at > started_at THEN {seconds} ELSE 0 END) END
    FROM (
        SELECT coalesce(lag(e.created_at) OVER w, i.created_at) AS started_at, e.created_at AS ended_at, 0 AS is_open,
            CASE coalesce(lag(e.event) OVER w, CASE e.event WHEN 'ready_for_review' THEN 'convert_to_draft' END)
                WHEN 'convert_to_draft' THEN 1 ELSE 0 END AS was_draft
        FROM item_events e
        WHERE e.repo = i.repo AND e.number = i.number AND e.event IN ('ready_for_review', 'convert_to_draft')
        WINDOW w AS (ORDER BY e.created_at, e.id)
        UNION ALL
        SELECT coalesce(i.drafted_at, i.created_at), i.closed_at, i.is_draft, i.is_draft
    ) spans
"""
_LAST_OF_DRAFT = """
    SELECT {0} FROM item_events e
    WHERE e.repo = i.repo AND e.number = i.number AND e.event IN ('ready_for_review', 'convert_to_draft')
    ORDER BY e.created_at DESC, e.id DESC LIMIT 1
"""
_IS_DRAFT_BY_EVENT = "CASE e.event WHEN 'convert_to_draft' THEN 1 ELSE 0 END"
_TIMES_REOPENED = """
    SELECT count(*) FROM item_events e WHERE e.repo = i.repo AND e.number = i.number AND e.event = 'reopened'
"""


def _is_read(stream: str, what: str) -> str:
    """Was it read to its end, from the item's creation on? Or did `rebuild` bring of it, where no run knows it?"""
    return f"""
        CASE WHEN EXISTS (SELECT 1 FROM ingest_state s WHERE s.repo = i.repo AND s.stream = '{stream}')
            THEN EXISTS (SELECT 1 FROM ingest_state s WHERE s.repo = i.repo AND s.stream = '{stream}'
                         AND s.last_success_at IS NOT NULL AND s.covered_since <= i.created_at)
            ELSE EXISTS (SELECT 1 FROM {what} AND t.repo = i.repo) END
    """


_HAS_COMMENTS = _is_read("issue-comments", "comments t WHERE t.kind = 'issue'")
_HAS_EVENTS = _is_read("events", "item_events t WHERE t.id IS NOT NULL")
_HAS_DETAILS = "EXISTS (SELECT 1 FROM pull_details t WHERE t.id = i.id)"  # with all reviews that there were by then


def _with_once(source: str, **figures: str) -> str:
    """The rows `i` of a table or query, with further columns, each worked out once a row however often it is used."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in figures.items())
    return f"(SELECT i.*, {columns} FROM {source} i)"


def _with_once_on_postgres(source: str, **figures: str) -> str:
    """It would put the columns' queries in the place of each use; what has an OFFSET stays as it is."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in figures.items())
    return f"(SELECT i.*, once.* FROM {source} i CROSS JOIN LATERAL (SELECT {columns} OFFSET 0) once)"


def _item_metrics(seconds: str, with_once: Callable[..., str], last: str = "d.commits") -> str:
    def hours(start: str, end: str) -> str:
        return f"CASE WHEN {end} >= {start} THEN {seconds.format(start=start, end=end)} / 3600.0 END"

    draft_seconds = _DRAFT_SECONDS.format(seconds=seconds.format(start="started_at", end="ended_at"))
    started = with_once(
        "issues",
        start_at=f"""
            CASE WHEN NOT {_IS_PULL} THEN i.created_at
                WHEN {_HAS_EVENTS} THEN coalesce(({_READY_AT}), i.created_at) END
        """,
        is_draft=f"coalesce(({_LAST_OF_DRAFT.format(_IS_DRAFT_BY_EVENT)}), i.draft, 0)",
        drafted_at=f"({_LAST_OF_DRAFT.format('e.created_at')})",
    )
    answered = with_once(
        started,
        first_response_at=f"""
            CASE WHEN i.start_at IS NULL OR NOT {_HAS_COMMENTS} THEN NULL
                WHEN NOT {_IS_PULL} THEN (SELECT min(said_at) FROM ({_COMMENTED_AT}) said)
                WHEN {_HAS_DETAILS} THEN (SELECT min(said_at) FROM ({_COMMENTED_AT} UNION ALL {_REVIEWED_AT}) said) END
        """,
        first_review_at=f"""
            CASE WHEN {_IS_PULL} AND {_HAS_DETAILS} THEN (SELECT min(said_at) FROM ({_REVIEWED_AT}) said) END
        """,
        first_approval_at=f"""
            CASE WHEN {_IS_PULL} AND {_HAS_DETAILS} THEN (SELECT min(said_at) FROM ({_APPROVED_AT}) said) END
        """,
    )
    return f"""
    CREATE VIEW item_metrics AS
    SELECT i.id, i.item_type, i.repo, i.number, i.title, i.state, i.author, i.created_at, i.closed_at, i.merged_at,
        {seconds.format(start="i.start_at", end="i.first_response_at")} / 3600.0 AS first_response_hours,
        {seconds.format(start="i.start_at", end="i.first_review_at")} / 3600.0 AS first_review_hours,
        {seconds.format(start="i.first_review_at", end="i.first_approval_at")} / 3600.0 AS rework_hours,
        {hours("i.first_approval_at", "i.merged_at")} AS merge_wait_hours,
        {hours("i.start_at", "i.merged_at")} AS cycle_hours,
        i.lead_time_hours,
        CASE WHEN {_HAS_EVENTS} THEN ({_TIMES_REOPENED}) END AS times_reopened,
        CASE WHEN {_IS_PULL} AND {_HAS_EVENTS} THEN ({draft_seconds}) / 3600.0 END AS draft_hours,
        d.additions, d.deletions, d.changed_files, {last}
    FROM {answered} i
    LEFT JOIN pull_details d ON d.id = i.id AND {_IS_PULL}
    """


# What repeats the state before it says nothing new. An item that is closed lets go of its labels.
_LABEL_SPANS = """
    CREATE VIEW label_spans AS
    SELECT s.repo, s.number, i.item_type, s.label, s.labeled_at,
        CASE WHEN s.unlabeled_at IS NOT NULL THEN s.unlabeled_at
            WHEN i.closed_at >= s.labeled_at THEN i.closed_at END AS unlabeled_at
    FROM (
        SELECT repo, number, label, event, created_at AS labeled_at,
            lead(created_at) OVER (PARTITION BY repo, number, label ORDER BY created_at, id) AS unlabeled_at
        FROM (
            SELECT id, repo, number, label, event, created_at,
                lag(event) OVER (PARTITION BY repo, number, label ORDER BY created_at, id) AS event_before
            FROM item_events WHERE event IN ('labeled', 'unlabeled') AND label IS NOT NULL
        ) found
        WHERE event_before IS NULL OR event_before <> event
    ) s
    LEFT JOIN issues i
        ON i.repo = s.repo AND i.item_type IN ('issue', 'pull_request') AND i.number = s.number
    WHERE s.event = 'labeled'
"""

# Who was asked for a review and neither gave one since, nor was let off. Teams are asked as teams: not here.
_AWAITED_REVIEWS = """
    CREATE VIEW awaited_reviews AS
    SELECT e.requested_reviewer AS person, i.repo, i.number, i.title, max(e.created_at) AS asked_at
    FROM issues i JOIN item_events e ON e.repo = i.repo AND e.number = i.number
    WHERE i.item_type = 'pull_request' AND i.state = 'open' AND e.event = 'review_requested'
        AND e.requested_reviewer IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM item_events x
            WHERE x.repo = e.repo AND x.number = e.number AND x.created_at >= e.created_at
                AND x.event = 'review_request_removed' AND lower(x.requested_reviewer) = lower(e.requested_reviewer)
        )
        AND NOT EXISTS (
            SELECT 1 FROM reviews r
            WHERE r.repo = e.repo AND r.number = e.number AND r.submitted_at >= e.created_at
                AND lower(r.author) = lower(e.requested_reviewer)
        )
    GROUP BY e.requested_reviewer, i.repo, i.number, i.title
"""

SQLITE = (_item_metrics(_SQLITE_SECONDS, _with_once), _LABEL_SPANS, _AWAITED_REVIEWS)
POSTGRES = (_item_metrics(_POSTGRES_SECONDS, _with_once_on_postgres), _LABEL_SPANS, _AWAITED_REVIEWS)

# Since `sweep` tells what is gone: nobody is waited for there, and whoever asks for figures can leave it out.
_LAST = "d.commits, i.gone_at"
_STILL_AWAITED = _AWAITED_REVIEWS.replace("i.state = 'open'", "i.state = 'open' AND i.gone_at IS NULL")
SQLITE_WITH_GONE = (
    "DROP VIEW item_metrics",
    "DROP VIEW awaited_reviews",
    _item_metrics(_SQLITE_SECONDS, _with_once, _LAST),
    _STILL_AWAITED,
)
# In place of those before, whose rights stay so; further columns come last.
POSTGRES_WITH_GONE = tuple(
    view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
    for view in (_item_metrics(_POSTGRES_SECONDS, _with_once_on_postgres, _LAST), _STILL_AWAITED)
)
