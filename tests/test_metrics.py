"""The view `item_metrics` against a calculation of its own in plain Python, on histories that are made up."""

import contextlib
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import db
from tests.conftest import ROOT

REPO = "acme/widgets"
STREAMS = ("events", "issue-comments")
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
PEOPLE = (("ada", "User"), ("Bo", "User"), ("bo", "User"), ("cy", "User"), ("ghost", "User"), (None, None),
          ("helper", "Bot"), ("fixer[bot]", None), ("Fixer[Bot]", "User"))  # fmt: skip
DRAFT = ("ready_for_review", "convert_to_draft")


def at(minutes):
    return (BEGIN + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


minutes = st.integers(0, 40)
person = st.sampled_from(PEOPLE)
comment = st.fixed_dictionaries({
    "at": minutes, "by": person, "kind": st.sampled_from(["issue", "review"]),
    "review": st.sampled_from([None, 0, 1, 9]),
})  # fmt: skip
review = st.fixed_dictionaries({
    "at": st.none() | minutes, "by": person,
    "state": st.sampled_from(["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]),
})  # fmt: skip
event = st.fixed_dictionaries({"at": minutes, "event": st.sampled_from([*DRAFT, *DRAFT, "reopened", "labeled"])})
item = st.fixed_dictionaries({
    "is_pull": st.booleans(), "by": person, "created": st.integers(0, 20), "closed": st.none() | minutes,
    "is_merged": st.booleans(), "draft": st.booleans(), "comments": st.lists(comment, max_size=5),
    "reviews": st.lists(review, max_size=4), "events": st.lists(event, max_size=5),
    "has_details": st.sampled_from([True, True, False]),
})  # fmt: skip
history = st.fixed_dictionaries({
    "items": st.lists(item, min_size=1, max_size=3),
    # How far back each stream was read, where it was, and whether to its end.
    "read": st.just(dict.fromkeys(STREAMS, (0, True)))
    | st.dictionaries(st.sampled_from(STREAMS), st.tuples(st.integers(0, 20), st.booleans())),
    "ignored": st.sets(st.sampled_from(["bo", "cy"])),
})  # fmt: skip


def row_of(table, **values):
    """A row with what the tables want beside."""
    known = dict.fromkeys(("s3_key", "payload_sha256", "processed_at", "fetched_order", "updated_at"), "x")
    return {**dict.fromkeys(db.FILLED[table].columns), **known, "repo": REPO, **values}


def fill(conn, told):
    for table in ("issues", "comments", "reviews", "item_events", "pull_details", "ingest_state", "ignored_users"):
        conn.execute(f"DELETE FROM {table}")
    for stream, (since, is_whole) in told["read"].items():
        conn.execute(
            "INSERT INTO ingest_state (repo, stream, covered_since, last_success_at) VALUES (?, ?, ?, ?)",
            (REPO, stream, at(since), "x" if is_whole else None),
        )
    for login in told["ignored"]:
        conn.execute("INSERT INTO ignored_users VALUES (?)", (login,))
    for number, one in enumerate(told["items"]):
        for table, rows in rows_of(number, one).items():
            if rows:
                db.upsert(conn, table, rows)


def rows_of(number, one):
    closed = None if one["closed"] is None else at(one["closed"])
    base = number * 10
    return {
        "issues": [row_of(
            "issues", id=number, number=number, item_type="pull_request" if one["is_pull"] else "issue", title="t",
            state="open" if closed is None else "closed", author=one["by"][0], assignees="[]", labels="[]",
            draft=int(one["draft"]) if one["is_pull"] else None, created_at=at(one["created"]), closed_at=closed,
            merged_at=closed if one["is_pull"] and one["is_merged"] else None,
        )],
        "comments": [row_of(
            "comments", id=base + n, number=number, kind=said["kind"], author=said["by"][0],
            author_type=said["by"][1], created_at=at(said["at"]),
            review_id=base + said["review"] if said["kind"] == "review" and said["review"] is not None else None,
        ) for n, said in enumerate(one["comments"])],
        "reviews": [row_of(
            "reviews", id=base + n, number=number, author=said["by"][0], author_type=said["by"][1],
            state=said["state"], submitted_at=None if said["at"] is None else at(said["at"]),
        ) for n, said in enumerate(one["reviews"])],
        "item_events": [row_of(
            "item_events", id=base + n, number=number, event=done["event"], created_at=at(done["at"]),
        ) for n, done in enumerate(one["events"])],
        "pull_details": [row_of("pull_details", id=number, number=number)] if one["has_details"] else [],
    }  # fmt: skip


def expected(told, number):
    """By number of minutes; None where the figure is null."""
    one = told["items"][number]
    seen = {  # by `rebuild`, where no run has read the stream
        "events": any(each["events"] for each in told["items"]),
        "issue-comments": any(said["kind"] == "issue" for each in told["items"] for said in each["comments"]),
    }
    read = {"pull-details"} if one["has_details"] else set()
    for stream in STREAMS:
        since, is_whole = told["read"].get(stream, (0, seen[stream]))
        read |= {stream} if is_whole and since <= one["created"] else set()
    events, pull = sorted(one["events"], key=lambda done: done["at"]), one["is_pull"]
    start = one["created"]
    if pull:
        ready = [done["at"] for done in events if done["event"] == "ready_for_review"]
        start = (ready[0] if ready else start) if "events" in read else None
    merged = one["closed"] if pull and one["is_merged"] else None

    def counts(said):
        login, kind = (said["by"][0] or "").lower(), said["by"][1]
        own = (one["by"][0] or "").lower()
        same = ("" if login == "ghost" else login) == ("" if own == "ghost" else own)
        if said["at"] is None or start is None or said["at"] < start:
            return False
        return not (kind == "Bot" or login.endswith("[bot]") or same or login in told["ignored"])

    def is_of_known_review(said):
        return said["kind"] == "review" and said["review"] is not None and said["review"] < len(one["reviews"])

    reviews = [said for said in one["reviews"] if counts(said) and said["state"] != "PENDING"]
    comments = [said["at"] for said in one["comments"] if counts(said) and not is_of_known_review(said)]
    reviewed = min((said["at"] for said in reviews), default=None)
    approved = min((said["at"] for said in reviews if said["state"] == "APPROVED"), default=None)
    if not pull or "pull-details" not in read:
        reviewed = approved = None
    answers = comments + ([reviewed] if reviewed is not None else [])
    answered = min(answers, default=None)
    if "issue-comments" not in read or (pull and "pull-details" not in read):
        answered = None
    return {
        "first_response_hours": between(start, answered),
        "first_review_hours": between(start, reviewed),
        "rework_hours": between(reviewed, approved),
        "merge_wait_hours": between(approved, merged),
        "cycle_hours": between(start, merged) if pull else None,
        "times_reopened": sum(d["event"] == "reopened" for d in events) if "events" in read else None,
        "draft_hours": draft_minutes(one, events) if pull and "events" in read else None,
    }


def between(start, end):
    return None if start is None or end is None or end < start else end - start


def draft_minutes(one, events):
    """Minute by minute is too simple for clocks that go back: from change to change."""
    changes = [done for done in events if done["event"] in DRAFT]
    is_draft = changes[0]["event"] == "ready_for_review" if changes else one["draft"]
    since, total = one["created"], 0
    for change in changes:
        total += max(0, change["at"] - since) if is_draft else 0
        since, is_draft = change["at"], change["event"] == "convert_to_draft"
    if is_draft and one["closed"] is None:
        return None
    return total + (max(0, one["closed"] - since) if is_draft else 0)


def check(conn, told):
    fill(conn, told)
    found = {row["number"]: row for row in conn.execute("SELECT * FROM item_metrics")}
    assert len(found) == len(told["items"])
    for number in found:
        wanted = expected(told, number)
        got = {name: found[number][name] for name in wanted}
        for name in wanted:
            if name.endswith("_hours") and got[name] is not None:
                got[name] = round(got[name] * 60, 6)
        assert got == wanted


@pytest.fixture(params=["sqlite", "postgresql"])
def conn(request, tmp_path):
    path = str(tmp_path / "p.db") if request.param == "sqlite" else request.getfixturevalue("postgres_db")
    with contextlib.closing(db.connect(path)) as made:
        yield made


def spans_of(conn, *events, closed=None):
    """Spans of item 1's labels by minutes, after (minute, event, label)."""
    issue = row_of(
        "issues", id=1, number=1, item_type="issue", title="t", state="open", assignees="[]", labels="[]",
        created_at=at(0), closed_at=closed and at(closed),
    )  # fmt: skip
    rows = [
        row_of("item_events", id=n, number=1, event=event, label=label, created_at=at(minute))
        for n, (minute, event, label) in enumerate(events)
    ]
    db.upsert(conn, "issues", [issue])
    db.upsert(conn, "item_events", rows)
    minutes = {at(minute): minute for minute in range(60)}
    asked = "SELECT label, labeled_at, unlabeled_at FROM label_spans WHERE item_type = 'issue' ORDER BY 1, 2"
    return [(row[0], minutes[row[1]], minutes.get(row[2])) for row in conn.execute(asked)]


def test_a_label_has_a_span_each_time_that_it_is_there(conn):
    events = [(1, "labeled", "bug"), (2, "labeled", "ui"), (3, "unlabeled", "bug"), (5, "labeled", "bug")]
    assert spans_of(conn, *events) == [("bug", 1, 3), ("bug", 5, None), ("ui", 2, None)]


def test_a_span_that_is_open_ends_at_the_close_but_not_before_it_began(conn):
    events = [(1, "labeled", "bug"), (9, "labeled", "late")]
    assert spans_of(conn, *events, closed=7) == [("bug", 1, 7), ("late", 9, None)]


def test_what_says_again_what_was_said_before_changes_no_span(conn):
    events = [(0, "unlabeled", "bug"), (1, "labeled", "bug"), (2, "labeled", "bug"), (3, "unlabeled", "bug"),
              (4, "unlabeled", "bug")]  # fmt: skip
    assert spans_of(conn, *events) == [("bug", 1, 3)]


def compare(path, examples):
    with contextlib.closing(db.connect(path)) as conn:

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(history)
        def run(told):
            with db.transaction(conn):
                check(conn, told)

        run()


def test_the_figures_are_those_of_a_calculation_of_its_own(tmp_path):
    compare(str(tmp_path / "p.db"), 100)


@pytest.mark.long
def test_the_figures_are_those_of_a_calculation_of_its_own_at_length(tmp_path):
    compare(str(tmp_path / "p.db"), 2000)


@pytest.mark.long
def test_the_figures_of_postgresql_are_those_of_a_calculation_of_its_own(postgres_db):
    compare(postgres_db, 300)


# What the documents ask


def questions(document, behind):
    text = (ROOT / document).read_text(encoding="utf-8").partition(behind)[2]
    return text.partition("```sql\n")[2].partition("```")[0].split(";\n")[:-1]


WHERE = {"sqlite": ("README.md", "`item_metrics`"), "postgresql": ("docs/REFERENCE.md", "### Metrics")}


def test_the_questions_of_the_documents_have_answers(conn):
    asked = {"is_pull": True, "closed": None, "is_merged": False, "draft": False, "comments": [], "reviews": [],
             "has_details": True}  # fmt: skip
    items = [
        {**asked, "by": ("ada", "User"), "created": 0, "events": [],
         "comments": [{"at": minute, "by": ("bo", "User"), "kind": "issue", "review": None}]}
        for minute in (60, 120, 600, 720)
    ]  # fmt: skip
    items[3]["events"] = [{"at": 5, "event": "reopened"}, {"at": 7, "event": "reopened"}]
    fill(conn, {"items": items, "read": dict.fromkeys(STREAMS, (0, True)), "ignored": []})
    requests = [
        row_of("item_events", id=90 + n, number=n, event="review_requested", requested_reviewer="Bo", created_at=at(9))
        for n in (0, 1)
    ]
    db.upsert(conn, "item_events", requests)
    done = row_of("reviews", id=90, number=0, author="bo", author_type="User", state="APPROVED", submitted_at=at(700))
    db.upsert(conn, "reviews", [done])
    median, waiting, reopened = questions(*WHERE["postgresql" if conn.words.is_postgres else "sqlite"])
    assert [(row[0], row[1], float(row[2])) for row in conn.execute(median)] == [("2026-01", 4, 6.0)]
    assert [tuple(row) for row in conn.execute(waiting)] == [("Bo", REPO, 1, at(9))]
    conn.execute("UPDATE issues SET gone_at = '2026-02-01T00:00:00Z' WHERE number = 1")
    assert conn.execute(waiting).fetchall() == []
    assert [row[0] for row in conn.execute("SELECT number FROM item_metrics WHERE gone_at IS NOT NULL")] == [1]
    assert [(row[1], row[3]) for row in conn.execute(reopened)] == [(3, 2)]


def test_those_who_are_ignored_are_those_of_the_last_list_given(run_main, tmp_path):
    def ignored(*words, env=None):
        path = str(tmp_path / "p.db")
        code, _, err = run_main("worker", "--archive-dir", "archive", *words, env={"PIPELINE_DB": path, **(env or {})})
        assert code == 0, err
        with contextlib.closing(db.connect(path)) as conn:
            return [row[0] for row in conn.execute("SELECT login FROM ignored_users ORDER BY login")]

    assert ignored("--ignore-users", "Bo, ci") == ["bo", "ci"]
    assert ignored() == ["bo", "ci"]
    assert ignored(env={"PIPELINE_IGNORE_USERS": "deploy-user"}) == ["deploy-user"]
    assert ignored("--ignore-users", "") == []


def test_what_is_no_login_is_named(run_main, tmp_path):
    code, _, err = run_main("worker", "--ignore-users", "a b", env={"PIPELINE_DB": str(tmp_path / "p.db")})
    assert (code, "'a b' is no login" in err) == (2, True)
