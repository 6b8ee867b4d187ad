"""A year of some repositories, made up: rows as the worker writes them, of all streams or of the two lists alone."""

import random

import db
from foundation import timestamps

NOW = "2026-11-27T10:00:00Z"
HOUR, DAY = 3600, 86400
PEOPLE = ("ada", "bo", "cy", "dana", "eli", "fay")
REPOS = ("acme/widgets", "acme/gadgets", "acme/gears", "acme/docs")
WORDS = ("crash", "slow", "option", "docs", "cache", "retry", "page", "cursor", "upload", "empty", "Windows", "test")
STREAMS = ("issues", "pulls", "issue-comments", "review-comments", "pull-details", "events", "meta")


def row_of(table, **values):
    """A row with what the tables want beside."""
    known = dict.fromkeys(("s3_key", "payload_sha256", "processed_at", "fetched_order"), "x")
    return {**dict.fromkeys(db.FILLED[table].columns), **known, "updated_at": NOW, **values}


def item(number, *, kind="issue", created_at, closed_at=None, merged=False, repo=REPOS[0], **more):
    hours = None if closed_at is None else timestamps.hours_between(created_at, closed_at)
    path = "pull" if kind == "pull_request" else "issues"
    return row_of("issues", **{
        "id": number, "number": number, "item_type": kind, "repo": repo, "title": f"item {number}",
        "state": "open" if closed_at is None else "closed", "author": "ada", "assignees": "[]", "labels": "[]",
        "draft": 0 if kind == "pull_request" else None, "created_at": created_at, "closed_at": closed_at,
        "merged_at": closed_at if merged else None, "lead_time_hours": hours,
        "html_url": f"https://github.com/{repo}/{path}/{number}", **more,
    })  # fmt: skip


def year(conn, *, items=400, repos=REPOS, seed=1, now=NOW, streams=STREAMS, days=420):
    """Fills the database, and returns the rows of `issues`."""
    rng = random.Random(seed)
    ends = timestamps.to_epoch(now)
    made = {table: [] for table in ("issues", "comments", "reviews", "item_events", "pull_details")}
    for number in range(1, items + 1):
        begins = ends - rng.random() ** 0.8 * days * DAY
        _add(made, rng, number, begins, ends, repos[min(int(rng.expovariate(0.9)), len(repos) - 1)])
    kept = {"comments": "issue-comments", "reviews": "pull-details", "pull_details": "pull-details",
            "item_events": "events"}  # fmt: skip
    with db.transaction(conn):
        for table, rows in made.items():
            if table == "issues" or kept[table] in streams:
                db.upsert(conn, table, rows)
        conn.executemany(
            "INSERT INTO ingest_state (repo, stream, cursor, covered_since, last_run_at, last_success_at) "
            "VALUES (?, ?, ?, '1970-01-01T00:00:00Z', ?, ?)",
            [(repo, stream, now, now, timestamps.shift(now, seconds=-1200)) for repo in repos for stream in streams],
        )
    return made["issues"]


def _add(made, rng, number, begins, ends, repo):
    at = timestamps.from_epoch
    is_pull, author = rng.random() < 0.45, rng.choice(PEOPLE)
    others = [person for person in PEOPLE if person != author]
    takes = rng.lognormvariate(3.2 if is_pull else 4.3, 1.3) * HOUR
    is_done = rng.random() < (0.93 if is_pull else 0.82) and begins + takes < ends
    lines = int(rng.lognormvariate(4, 1.5)) + 1
    made["issues"].append(item(
        number, kind="pull_request" if is_pull else "issue", created_at=at(begins), repo=repo, author=author,
        closed_at=at(begins + takes) if is_done else None, merged=is_pull and is_done and rng.random() < 0.85,
        title=" ".join(rng.choices(WORDS, k=5)).capitalize(), draft=int(rng.random() < 0.1) if is_pull else None,
    ))  # fmt: skip
    here = {"repo": repo, "number": number}
    until = begins + takes if is_done else ends
    answered = begins + rng.betavariate(1, 6) * (until - begins)
    base = number * 100
    if rng.random() < 0.85:
        made["comments"].append(row_of(
            "comments", id=base, kind="issue", author=rng.choice(others), author_type="User", created_at=at(answered),
            **here,
        ))  # fmt: skip
    if is_pull:
        asked = rng.choice(others)
        made["pull_details"].append(row_of("pull_details", id=number, additions=lines, deletions=lines // 3, **here))
        made["item_events"].append(row_of(
            "item_events", id=base, event="review_requested", actor=author, requested_reviewer=asked,
            created_at=at(begins + 60), **here,
        ))  # fmt: skip
        if is_done or rng.random() < 0.4:
            steps = sorted(begins + rng.betavariate(2, 3) * (until - begins) for _ in range(2))
            for at_, state in zip(steps, ("CHANGES_REQUESTED" if rng.random() < 0.4 else "APPROVED", "APPROVED")):
                made["reviews"].append(row_of(
                    "reviews", id=base + len(made["reviews"]) % 90, author=asked, author_type="User", state=state,
                    submitted_at=at(at_), **here,
                ))  # fmt: skip
    for again in range(rng.choices((0, 1, 2), (0.93, 0.06, 0.01))[0]):
        made["item_events"].append(row_of(
            "item_events", id=base + 10 + again, event="reopened", actor=author, created_at=at(until - 60 * again),
            **here,
        ))  # fmt: skip
