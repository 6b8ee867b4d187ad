import socket
import sqlite3

import pytest

import queue_manager
from commands import figures, runs
from cursors import states
from foundation import timestamps
from foundation.records import Item, StreamState
from lake import notes
from queue_manager import Lease, NewBatch
from tests.queue_rows import LATER, NOW, enqueue, item


@pytest.fixture
def path(db_path):
    return db_path


def claim(conn, token="me", limit=10, now=NOW, **lease):
    queue_manager.release_expired(conn, now=now)
    return queue_manager.claim_single(conn, Lease(token, now, 60, **lease), limit=limit).items


def claim_archived(conn, token="me", limit=10, now=NOW):
    return queue_manager.claim_archived(conn, Lease(token, now, 60), limit=limit).items


def claim_batch(conn, token="me", limit=10, max_bytes=10**6, fetched_before=None, now=NOW, place="here", **lease):
    return queue_manager.claim_batch(
        conn, Lease(token, now, 60, **lease), limit=limit, max_bytes=max_bytes, fetched_before=fetched_before,
        place=place, key_of=lambda items: "batch-" + "-".join(str(item.id) for item in items),
    )  # fmt: skip


def claim_begun(conn, token="me", now=NOW, place="here"):
    return queue_manager.claim_begun(conn, Lease(token, now, 60), place=place, prefix="batch-")


def claim_next(conn, *, batches):
    new_batch = NewBatch(limit=1, max_bytes=10**6, fetched_before=None, key_of=lambda items: "batch-new")
    claimed = queue_manager.claim_next(
        conn, Lease("me", NOW, 60), place="here", prefix="batch-", limit=1, new_batch=new_batch if batches else None
    )
    return [item.id for item in claimed.items], claimed.batch_key


def prune(conn, *, before="2030-01-01T00:00:00Z", limit=1000):
    item_types = {"issues": ["issue"], "pulls": ["pull_request"]}
    return queue_manager.prune(conn, finished_before=before, overlap_seconds=60, limit=limit, item_types=item_types)


def archive_all(conn):
    for claimed in claim(conn):
        queue_manager.complete(conn, s3_keys=dict.fromkeys([claimed.id], "k"), token="me", now=NOW)


def put_off(conn, row_id=1, error="why", until=LATER):
    assert queue_manager.put_off(conn, item_id=row_id, token="me", error=error, available_at=until)


def fail(conn, row_id=1, s3_key=None, error="why", now=NOW):
    assert queue_manager.fail(conn, item_id=row_id, token="me", s3_key=s3_key, error=error, now=now)


def archived(conn, limit=9):
    return [(item.id, item.s3_key) for item in claim_archived(conn, limit=limit)]


def row(conn, row_id=1):
    return dict(conn.execute("SELECT * FROM queue_items WHERE id = ?", (row_id,)).fetchone())


def rows(conn):
    return [tuple(found) for found in conn.execute("SELECT * FROM queue_items ORDER BY id")]


def statuses(conn):
    return [row["status"] for row in conn.execute("SELECT status FROM queue_items ORDER BY id")]


def test_the_same_bytes_of_an_item_are_stored_once_and_other_bytes_again(conn):
    assert enqueue(conn, item(1), item(2), item(1)) == 2
    assert enqueue(conn, item(1), item(1, payload_sha256="f" * 64)) == 1
    assert enqueue(conn, item(1, item_type="pull_request")) == 1


BUG, DEFECT = item(1, payload_sha256="b" * 64), item(1, payload_sha256="d" * 64)


def test_of_two_contents_of_one_second_the_one_that_comes_back_is_the_last(conn):
    run(conn)
    for shown in (BUG, DEFECT):
        enqueue(conn, shown)
    archive_all(conn)
    assert enqueue(conn, BUG, item(2), now=LATER) == 1
    other, again = claim(conn, now=LATER)
    assert (again.payload_sha256, again.fetched_at, other.item_id) == (BUG.payload_sha256, LATER, 2)
    assert again.fetched_order > other.fetched_order > timestamps.with_order(NOW, 2)
    assert enqueue(conn, item(3)) == 1
    assert len({claimed.id for claimed in (again, other, *claim(conn))}) == 3
    assert run(conn) == 2  # runs have numbers of their own


def test_what_was_shown_last_changes_nothing_when_it_is_shown_again(conn):
    enqueue(conn, BUG, DEFECT, item(2), item(1, payload_sha256="e" * 64, updated_at=NOW))
    archive_all(conn)
    before = [row(conn, row_id) for row_id in (1, 2, 3, 4)]
    assert enqueue(conn, DEFECT, item(2), item(1, payload_sha256="e" * 64, updated_at=NOW), now=LATER) == 0
    assert [row(conn, row_id) for row_id in (1, 2, 3, 4)] == before


OLDER = item(1, payload_sha256="a" * 64, updated_at="2026-11-19T00:00:00Z")


@pytest.mark.parametrize("shown", [DEFECT, OLDER])
def test_a_content_is_taken_up_again_only_where_its_item_showed_another_later_in_that_second(conn, shown):
    enqueue(conn, OLDER, BUG, DEFECT, item(2), DEFECT._replace(item_type="pull_request"))
    archive_all(conn)
    before = rows(conn)
    assert enqueue(conn, shown, now=LATER) == 0
    assert rows(conn) == before


@pytest.mark.parametrize("done, attempts", [(True, 0), (False, 1)])
def test_what_is_shown_again_counts_its_attempts_anew_only_where_it_was_done(conn, done, attempts):
    enqueue(conn, BUG, DEFECT)
    claim(conn, limit=1)
    put_off(conn, until=NOW)
    if done:
        archive_all(conn)
    enqueue(conn, BUG, now=LATER)
    again = claim(conn, now=LATER)[-1]
    assert (again.payload_sha256, again.attempts) == (BUG.payload_sha256, attempts)
    fail(conn, again.id, now="2026-11-23T12:00:00Z")
    assert row(conn, again.id)["finished_at"] == "2026-11-23T12:00:00Z"


def test_more_rows_than_an_old_sqlite_takes_in_a_statement_are_handled_whole(conn):
    if hasattr(conn, "setlimit"):  # Python 3.11
        conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    first, then = ([item(n, payload_sha256=f"{half}{n:063x}") for n in range(700)] for half in "ab")
    assert (enqueue(conn, *first), enqueue(conn, *then), enqueue(conn, *first)) == (700, 700, 0)
    ids = [claimed.id for claimed in claim(conn, limit=1400)]
    assert (len(ids), min(ids)) == (1400, 701)
    assert queue_manager.complete(conn, s3_keys=dict.fromkeys(ids, "k"), token="me", now=NOW) == set(ids)
    assert queue_manager.counts(conn).done == 1400
    keys = [str(number) for number in range(2000)]
    notes.note_read(conn, "scope", keys[:1500])
    assert notes.unread(conn, "scope", keys) == keys[1500:]


def test_within_a_page_the_last_of_an_item_is_the_newest(conn):
    enqueue(conn, BUG, DEFECT)
    assert enqueue(conn, BUG, DEFECT, now=LATER) == 0
    assert [claimed.payload_sha256 for claimed in claim(conn)] == [BUG.payload_sha256, DEFECT.payload_sha256]
    enqueue(conn, DEFECT, BUG, now=LATER)
    assert [claimed.payload_sha256 for claimed in claim(conn)] == [BUG.payload_sha256]


def test_to_find_what_came_back_no_row_of_another_item_is_read(on_sqlite):
    conn = on_sqlite
    enqueue(conn, BUG, DEFECT)
    asked = []
    conn.set_trace_callback(asked.append)
    enqueue(conn, DEFECT, item(2))
    conn.set_trace_callback(None)
    (statement,) = [statement for statement in asked if "later.id" in statement]
    plan = [found["detail"] for found in conn.execute("EXPLAIN QUERY PLAN " + statement)]
    assert len([step for step in plan if "USING INDEX sqlite_autoindex_queue_items_1" in step]) == 2, plan


def test_a_row_that_is_shown_again_is_no_longer_its_workers(conn):
    enqueue(conn, BUG, DEFECT)
    claim(conn)
    enqueue(conn, BUG)
    assert queue_manager.complete(conn, s3_keys=dict.fromkeys([1, 2], "k"), token="me", now=NOW) == {2}
    assert [claimed.payload_sha256 for claimed in claim(conn, "another")] == [BUG.payload_sha256]


def test_a_row_that_is_shown_again_leaves_its_batch_and_the_others_keep_to_it(conn):
    enqueue(conn, BUG, DEFECT, item(2))
    begun = claim_batch(conn)
    queue_manager.release(conn, token="me")
    enqueue(conn, BUG)
    again = claim_begun(conn)
    assert (again.batch_key, [claimed.id for claimed in again.items]) == (begun.batch_key, [2, 3])
    assert [claimed.payload_sha256 for claimed in claim_batch(conn).items] == [BUG.payload_sha256]


def test_a_failed_row_that_is_shown_again_waits_for_retry_in_its_new_place(conn):
    enqueue(conn, BUG, DEFECT)
    claim(conn)
    fail(conn)
    enqueue(conn, BUG, now=LATER)
    assert statuses(conn) == ["processing", "failed"]
    (failed,) = figures.failed_items(conn, limit=9)
    assert (failed["id"] > 2, failed["last_error"]) == (True, "why")


def test_the_payload_can_be_asked_for_as_json(conn):
    enqueue(conn, item())
    title = "CAST(payload AS json) ->> 'title'" if conn.words.is_postgres else "json_extract(payload, '$.title')"
    assert conn.execute(f"SELECT {title} FROM queue_items").fetchone()[0] == "x"


def test_claims_take_the_oldest_first_and_nothing_twice(conn):
    enqueue(conn, *map(item, range(1, 6)))
    assert [claimed.id for claimed in claim(conn, "one", limit=2)] == [1, 2]
    assert [claimed.id for claimed in claim(conn, "two")] == [3, 4, 5]
    assert claim(conn, "three") == []


def test_a_claimed_row_has_everything_that_was_fetched_and_goes_to_its_own_object(conn):
    shown = item(7, item_type="pull_request", item_id=70, payload='{"title": "é"}'.encode())
    enqueue(conn, shown)
    claimed = queue_manager.claim_single(conn, Lease("me", NOW, 60), limit=1)
    assert (claimed.batch_key, claimed.is_suspect) == (None, False)
    (found,) = claimed.items
    assert tuple(getattr(found, name) for name in Item._fields) == shown
    assert (found.repo, found.fetched_at, found.attempts, found.s3_key) == ("a/b", NOW, 0, None)
    assert row(conn)["lease_until"] == "2026-11-23T10:01:00Z"


def test_an_expired_lease_is_claimed_again_without_counting_an_attempt(conn):
    enqueue(conn, item())
    claim(conn, "one")
    assert claim(conn, "two", now="2026-11-23T10:01:00Z") == []
    assert [(c.id, c.attempts) for c in claim(conn, "two", now="2026-11-23T10:01:01Z")] == [(1, 0)]


def test_an_extended_lease_holds(conn):
    enqueue(conn, item())
    claim(conn, "one")
    assert queue_manager.extend_leases(conn, Lease("one", "2026-11-23T10:01:00Z", 60)) == 1
    assert claim(conn, "two", now="2026-11-23T10:01:30Z") == []


def test_owners_are_told_apart(conn):
    enqueue(conn, *map(item, range(1, 7)))
    archive_all(conn)
    enqueue(conn, *map(item, range(7, 11)))
    for token in ("one", "two"):
        claim(conn, token, limit=2)
    assert sorted(queue_manager.claim_tokens(conn)) == ["one", "two"]
    assert queue_manager.extend_leases(conn, Lease("one", LATER, 60)) == 2
    assert queue_manager.release_expired(conn, now=LATER) == 2
    assert queue_manager.claim_tokens(conn) == ["one"]


@pytest.mark.parametrize(
    "late",
    [
        lambda conn: bool(queue_manager.complete(conn, s3_keys=dict.fromkeys([1], "k"), token="one", now=LATER)),
        lambda conn: queue_manager.fail(conn, item_id=1, token="one", s3_key=None, error="e", now=LATER),
        lambda conn: queue_manager.put_off(conn, item_id=1, token="one", error="e", available_at=LATER),
        lambda conn: queue_manager.release(conn, token="one") == 1,
        lambda conn: queue_manager.extend_leases(conn, Lease("one", LATER, 60)) == 1,
        lambda conn: queue_manager.note_archived(conn, item_id=1, token="one", s3_key="k"),
        lambda conn: queue_manager.part(conn, item_id=1, token="one"),
        lambda conn: bury(conn, "one") == 1,
    ],
)
def test_a_late_worker_changes_nothing_of_a_row_that_another_has_claimed(conn, late):
    enqueue(conn, item())
    claim(conn, "one")
    claim(conn, "two", now=LATER)
    before = row(conn)
    assert late(conn) is False
    assert row(conn) == before


@pytest.mark.parametrize(
    "end",
    [
        lambda conn: queue_manager.complete(conn, s3_keys=dict.fromkeys([1], "k"), token="me", now=LATER),
        fail,
        put_off,
        lambda conn: queue_manager.note_archived(conn, item_id=1, token="me", s3_key="k"),
        lambda conn: queue_manager.part(conn, item_id=1, token="me"),
        lambda conn: queue_manager.release(conn, token="me"),
        lambda conn: queue_manager.release_expired(conn, now=LATER),
        lambda conn: enqueue(conn, BUG),
    ],
)
def test_nothing_is_left_of_a_claim_that_has_ended(conn, end):
    enqueue(conn, BUG, DEFECT)
    claim(conn, limit=1)
    end(conn)
    left = conn.execute("SELECT count(*) FROM queue_items WHERE coalesce(claim_token, lease_until) IS NOT NULL")
    assert left.fetchone()[0] == 0


def test_completion_names_the_object_and_clears_the_claim(conn):
    enqueue(conn, item())
    claim(conn)
    assert queue_manager.complete(conn, s3_keys=dict.fromkeys([1, 2], "k"), token="me", now=LATER) == {1}
    found = row(conn)
    assert (found["status"], found["s3_key"], found["finished_at"], found["claim_token"]) == ("done", "k", LATER, None)
    assert not queue_manager.complete(conn, s3_keys=dict.fromkeys([1], "k"), token="me", now=LATER)


def test_completion_clears_the_reason_of_an_earlier_attempt_and_the_batch(conn):
    enqueue(conn, item())
    claim_batch(conn)
    put_off(conn, until=NOW)
    claim_begun(conn)
    queue_manager.complete(conn, s3_keys=dict.fromkeys([1], "k"), token="me", now=LATER)
    found = row(conn)
    assert (found["last_error"], found["batch_key"], found["attempts"]) == (None, None, 1)


def test_an_item_put_off_waits_and_keeps_its_reason(conn):
    enqueue(conn, item())
    claim(conn)
    assert queue_manager.put_off(conn, item_id=1, token="me", error="why", available_at=LATER)
    assert claim(conn) == []
    assert [c.attempts for c in claim(conn, now=LATER)] == [1]
    assert row(conn)["last_error"] == "why"


def test_a_backoff_set_by_a_clock_far_ahead_does_not_hold_the_item_for_as_long(conn):
    enqueue(conn, item())
    claim(conn)
    put_off(conn, until="2026-11-23T12:00:00Z")  # what the longest backoff may be, with half of it to spread
    assert claim(conn) == []
    assert len(claim(conn, now=timestamps.shift(NOW, seconds=-1))) == 1


def test_failed_leaves_only_by_retry_and_starts_counting_anew(conn):
    enqueue(conn, item(1), item(2))
    claim(conn)
    for row_id in (1, 2):
        assert queue_manager.fail(conn, item_id=row_id, token="me", s3_key=None, error="why", now=NOW)
    assert claim(conn, now="2030-01-01T00:00:00Z") == []
    assert [f["last_error"] for f in figures.failed_items(conn, limit=9)] == ["why", "why"]
    assert queue_manager.retry(conn, item_ids=[2, 99]) == 1
    assert statuses(conn) == ["failed", "pending"]
    assert queue_manager.retry(conn, item_ids=None) == 1
    assert [c.attempts for c in claim(conn)] == [0, 0]


def test_retry_makes_the_named_rows_available_at_once_and_no_others(conn):
    enqueue(conn, *map(item, range(1, 6)))
    claim(conn)
    for row_id in (1, 2, 3):
        put_off(conn, row_id)
    for claimed in claim(conn, now=LATER, limit=3):
        fail(conn, claimed.id, now=LATER)
    claim(conn, "another", now=LATER)
    assert [row(conn)[name] for name in ("attempts", "finished_at")] == [2, LATER]
    assert queue_manager.retry(conn, item_ids=[1, 4]) == 1
    assert queue_manager.retry(conn, item_ids=None) == 2
    assert (row(conn)["finished_at"], statuses(conn)) == (None, ["pending"] * 3 + ["processing"] * 2)
    assert [claimed.id for claimed in claim(conn)] == [1, 2, 3]


def test_only_failed_rows_can_be_dropped(conn):
    enqueue(conn, item(1), item(2), item(3))
    claim(conn)
    fail(conn, 1)
    fail(conn, 3)
    assert queue_manager.drop(conn, item_ids=[1, 2, 99]) == 1
    assert statuses(conn) == ["processing", "failed"]


def test_what_failed_is_listed_by_age_and_by_frequency_of_its_reason(conn):
    enqueue(conn, *map(item, range(1, 8)))
    claim(conn)
    for row_id, error in enumerate(("c", "b", "a", "b", "c"), 1):
        fail(conn, row_id, error=error)
    put_off(conn, 6)
    reasons = figures.failed_reasons(conn, limit=2)
    assert [tuple(reason.values()) for reason in reasons] == [("b", 2), ("c", 2)]
    assert figures.failed_reasons(conn, limit=9)[2:] == [{"reason": "a", "rows": 1}]
    assert [found["id"] for found in figures.failed_items(conn, limit=9)] == [1, 2, 3, 4, 5]
    assert figures.failed_items(conn, limit=1) == [
        {"id": 1, "repo": "a/b", "number": 1, "item_type": "issue", "attempts": 1, "last_error": "c"}
    ]


def test_release_hands_back_only_the_tokens_own_rows_with_attempts_untouched(conn):
    enqueue(conn, item(1), item(2))
    claim(conn, "one", limit=1)
    claim(conn, "two")
    assert queue_manager.release(conn, token="one") == 1
    assert statuses(conn) == ["pending", "processing"]
    assert row(conn)["attempts"] == 0


def test_backoff_doubles_to_an_hour_and_is_spread_by_half():
    plain = [queue_manager.backoff_seconds(attempts=n, jitter=0) for n in (1, 2, 3, 9, 500)]
    assert plain == [30, 60, 120, 3600, 3600]
    assert queue_manager.backoff_seconds(attempts=1, jitter=1) == 45


def test_counts_and_the_oldest_pending_row(conn):
    assert figures.oldest_pending(conn) is None
    enqueue(conn, item(1), now=NOW)
    enqueue(conn, item(2), item(3), now=LATER)
    enqueue(conn, *map(item, range(4, 9)), now="2026-11-23T12:00:00Z")
    claim(conn, limit=4)
    fail(conn, 4)
    queue_manager.complete(conn, s3_keys=dict.fromkeys([1, 2], "k"), token="me", now=NOW)
    queue_manager.note_archived(conn, item_id=3, token="me", s3_key="k")
    claim(conn, "another", limit=1)
    assert queue_manager.counts(conn) == (4, 1, 2, 1)
    assert figures.oldest_pending(conn) == LATER


def test_the_queue_is_empty_when_all_is_done_or_failed(conn):
    assert queue_manager.is_empty(conn)
    enqueue(conn, item(1), item(2))
    assert not queue_manager.is_empty(conn)
    claim(conn)
    assert not queue_manager.is_empty(conn)
    fail(conn, 1)
    assert not queue_manager.is_empty(conn)
    queue_manager.complete(conn, s3_keys={2: "key"}, token="me", now=NOW)
    assert queue_manager.is_empty(conn)


def test_what_waits_for_its_backoff_is_counted_until_its_time_comes(conn):
    assert figures.waiting(conn, now=NOW) == (0, None, None)
    enqueue(conn, *map(item, range(1, 6)))
    claim(conn, limit=4)
    first, last = "2026-11-23T10:30:00Z", LATER
    for row_id, until in ((1, first), (2, last), (3, last)):
        put_off(conn, row_id, until=until)
    assert figures.waiting(conn, now=NOW) == (3, first, last)
    claim(conn, now=first, limit=1)
    fail(conn, 1)
    assert figures.waiting(conn, now=NOW) == (2, last, last)
    assert figures.waiting(conn, now=last) == (0, None, None)


def bury(conn, token="me", max_attempts=5, now=NOW):
    return queue_manager.bury(conn, token=token, now=now, max_attempts=max_attempts, jitter=0)


def test_a_group_whose_process_died_goes_on_in_smaller_groups_and_nobody_is_blamed(conn):
    enqueue(conn, *map(item, range(1, 21)))
    groups = []
    for _ in range(3):
        groups.append([claimed.id for claimed in claim(conn, limit=12)])
        bury(conn)
    assert groups == [list(range(1, 13)), list(range(1, 9)), [1]]
    assert row(conn, 2)["attempts"] == row(conn, 12)["attempts"] == 0


def test_a_death_is_no_matter_of_the_rows_of_others(conn):
    enqueue(conn, item(1), item(2), item(3))
    claim(conn, "one", limit=1)
    claim(conn, "two")
    assert bury(conn, "one") == 1
    assert [row(conn, row_id)["group_failures"] for row_id in (1, 2, 3)] == [1, 0, 0]
    assert statuses(conn) == ["pending", "processing", "processing"]


def test_an_item_that_kills_its_process_while_alone_and_archived_is_failed_in_the_end_with_the_reason(conn):
    enqueue(conn, item(1), item(2))
    deaths, now = 0, NOW
    while row(conn, 1)["status"] != "failed":
        taken = [claimed.id for claimed in claim_archived(conn, now=now) or claim(conn, now=now)]
        if taken == [1] and row(conn, 1)["s3_key"] is None:
            queue_manager.note_archived(conn, item_id=1, token="me", s3_key="k")
        elif 1 in taken:
            deaths += 1
            bury(conn, max_attempts=3, now=now)
        else:
            queue_manager.complete(conn, s3_keys=dict.fromkeys([2], "k"), token="me", now=now)
        now = timestamps.shift(now, seconds=20)
        assert now < "2026-11-23T11:00:00Z"
    assert (deaths, row(conn, 1)["attempts"], "died" in row(conn, 1)["last_error"]) == (5, 3, True)
    assert row(conn, 1)["finished_at"] == timestamps.shift(now, seconds=-20)
    assert row(conn, 2)["status"] == "done"


def test_a_process_killed_again_and_again_before_its_only_item_was_archived_blames_nobody(conn):
    """As `timeout -s KILL` does while the archive does not answer."""
    enqueue(conn, item())
    for _ in range(10):
        assert len(claim(conn)) == 1
        assert bury(conn) == 1
    assert (row(conn)["status"], row(conn)["attempts"]) == ("pending", 0)


def test_of_several_archived_suspects_none_is_blamed_and_the_one_that_is_alone_is_beside_refused_ones(conn):
    enqueue(conn, *map(item, range(1, 4)))
    claim(conn)
    bury(conn)
    claim(conn)
    for row_id in (1, 2):
        queue_manager.note_archived(conn, item_id=row_id, token="me", s3_key="k")
    claim_archived(conn)
    bury(conn)
    assert [row(conn, row_id)["attempts"] for row_id in (1, 2, 3)] == [0, 0, 0]
    claim(conn)
    claim_archived(conn)
    bury(conn)
    assert [row(conn, row_id)["attempts"] for row_id in (1, 2, 3)] == [1, 0, 0]


def test_suspects_have_no_others_beside_them_and_hold_up_nobody(conn):
    enqueue(conn, item(1), item(2))
    claim(conn)
    bury(conn)
    enqueue(conn, item(3), item(4))
    assert [claimed.id for claimed in claim(conn, "other", suspects=False)] == [3, 4]
    assert [claimed.id for claimed in claim(conn, "other")] == [1, 2]


def test_what_is_known_by_its_id_is_taken_once_in_whatever_bytes_it_is_shown(conn):
    def take(*items):
        return queue_manager.enqueue(conn, repo="a/b", items=items, now=NOW, known_by_id={"event"})

    first, again = item(1, item_type="event"), item(1, item_type="event", payload_sha256="other")
    assert take(first, again, item(2)) == 2
    assert take(again, item(2, payload_sha256="other"), item(3, item_type="event")) == 2
    assert [row[0] for row in conn.execute("SELECT item_id FROM queue_items WHERE item_type = 'event' ORDER BY 1")] == [
        1, 3,
    ]  # fmt: skip


def test_what_the_queue_has_not_is_told_by_its_bytes(conn):
    enqueue(conn, item(1), item(2))
    other = item(2, payload_sha256="f" * 64)
    assert queue_manager.not_queued(conn, items=[item(1), other, item(3)]) == [other, item(3)]
    assert queue_manager.not_queued(conn, items=[]) == []


def test_a_batch_is_one_item_type_and_one_day_of_the_oldest_row(conn):
    enqueue(
        conn,
        item(1, updated_at="2026-11-20T23:59:59Z"),
        item(2, updated_at="2026-11-21T00:00:00Z"),
        item(3, item_type="pull_request", updated_at="2026-11-20T00:00:00Z"),
        item(4, updated_at="2026-11-20T00:00:00Z"),
    )
    batches = [[claimed.id for claimed in claim_batch(conn).items] for _ in range(4)]
    assert batches == [[1, 4], [2], [3], []]


@pytest.mark.parametrize(
    "held_up",
    [
        put_off,
        lambda conn, row_id: queue_manager.note_archived(conn, item_id=row_id, token="me", s3_key="k"),
        lambda conn, row_id: queue_manager.release(conn, token="me"),
    ],
)
def test_what_a_batch_may_not_have_neither_decides_its_day_nor_comes_into_it(conn, held_up):
    """Rows that wait, that are archived, that are to have an object of their own."""
    enqueue(conn, item(1, updated_at="2026-11-21T00:00:00Z"), item(2))
    for claimed in claim(conn):
        held_up(conn, claimed.id)
    enqueue(conn, item(3))
    assert [claimed.id for claimed in claim_batch(conn).items] == [3]
    assert claim_batch(conn) == ([], None)


def test_a_batch_without_suspects_passes_over_them_and_their_day(conn):
    enqueue(conn, item(1, updated_at="2026-11-21T00:00:00Z"), item(2))
    for claimed in (*claim_batch(conn).items, *claim_batch(conn).items):
        queue_manager.part(conn, item_id=claimed.id, token="me")
    enqueue(conn, item(3))
    assert [claimed.id for claimed in claim_batch(conn, suspects=False).items] == [3]
    assert claim_batch(conn).is_suspect


def test_a_begun_batch_waits_for_its_backoff_and_the_first_of_several_comes_first(conn):
    enqueue(conn, item(1), item(2), item(3))
    for _ in (1, 2, 3):
        claim_batch(conn, limit=1)
    put_off(conn)
    queue_manager.release(conn, token="me")
    assert [claim_begun(conn).batch_key for _ in (1, 2, 3)] == ["batch-2", "batch-3", None]
    assert claim_begun(conn, now=LATER).batch_key == "batch-1"


@pytest.mark.parametrize("place, prefix", [("there", "batch-"), ("here", "another/batch-")])
def test_a_batch_for_another_place_is_begun_anew_but_for_what_another_has_in_hand(conn, place, prefix):
    enqueue(conn, *map(item, range(1, 7)))
    for token in ("me", "another"):
        claim_batch(conn, token, limit=3)
    queue_manager.release(conn, token="me")
    queue_manager.put_off(conn, item_id=4, token="another", error="e", available_at=NOW)
    assert queue_manager.claim_begun(conn, Lease("me", NOW, 60), place=place, prefix=prefix) == ([], None)
    assert [row(conn, row_id)["batch_key"] for row_id in (1, 4, 5)] == [None, None, "batch-4-5-6"]
    assert claim_begun(conn).items == []
    assert [claimed.id for claimed in claim_batch(conn).items] == [1, 2, 3, 4]


def test_a_begun_batch_of_which_another_has_a_part_in_hand_is_left_and_the_next_one_taken(conn):
    enqueue(conn, *map(item, range(1, 5)))
    claim_batch(conn, limit=2)
    claim_batch(conn, "gone", limit=2)
    put_off(conn, until=NOW)
    queue_manager.release(conn, token="gone")
    assert claim_begun(conn, "another").batch_key == "batch-3-4"
    assert claim_begun(conn, "another").items == []
    queue_manager.release(conn, token="me")
    assert [claimed.id for claimed in claim_begun(conn, "another").items] == [1, 2]


def test_a_row_that_was_freed_while_the_rest_of_its_batch_was_completed_is_in_its_object_too(conn):
    enqueue(conn, *map(item, range(1, 4)))
    key = claim_batch(conn).batch_key
    put_off(conn, until=NOW)
    s3_keys = dict.fromkeys([1, 2, 3], key)
    ours = queue_manager.complete(conn, s3_keys=s3_keys, token="me", now=NOW)
    assert (ours, queue_manager.note_rest_archived(conn, s3_keys=s3_keys, completed=ours)) == ({2, 3}, 1)
    assert (claim_begun(conn).items, archived(conn)) == ([], [(1, key)])


def test_a_batch_belongs_to_the_place_for_which_it_was_begun_last(conn):
    enqueue(conn, *map(item, range(1, 5)))
    claim_batch(conn, limit=2, place="there")
    here = claim_batch(conn)
    queue_manager.release(conn, token="me")
    assert claim_begun(conn) == here
    assert [claimed.id for claimed in claim_batch(conn).items] == [1, 2]
    queue_manager.release(conn, token="me")
    assert [claim_begun(conn).batch_key for _ in (1, 2)] == ["batch-1-2", "batch-3-4"]
    queue_manager.release(conn, token="me")
    assert claim_begun(conn, place="there").items == []


def test_a_batch_ends_at_its_limits_of_rows_and_of_bytes(conn):
    enqueue(conn, *(item(n, payload=('"%s"' % ("é" * 50)).encode()) for n in range(1, 8)))
    assert len(claim_batch(conn, limit=3).items) == 3
    assert len(claim_batch(conn, max_bytes=204).items) == 2  # 102 bytes each
    assert len(claim_batch(conn, max_bytes=1).items) == 1


def test_a_batch_that_is_not_full_waits_for_more_only_so_long(conn):
    enqueue(conn, item(1), item(2), now="2026-11-23T09:59:30Z")
    assert claim_batch(conn, fetched_before="2026-11-23T09:59:00Z").items == []
    assert len(claim_batch(conn, max_bytes=1, fetched_before="2026-11-23T09:59:00Z").items) == 1
    enqueue(conn, item(5), now="2026-11-23T09:59:30Z")
    assert len(claim_batch(conn, limit=2, fetched_before="2026-11-23T09:59:00Z").items) == 2
    enqueue(conn, item(3), now="2026-11-23T09:59:00Z")
    assert len(claim_batch(conn, fetched_before="2026-11-23T09:59:00Z").items) == 1
    enqueue(conn, item(4), now=NOW)
    assert claim_batch(conn, fetched_before="2026-11-23T09:59:00Z").items == []
    before = timestamps.shift(NOW, seconds=-1)  # of a row from the future nobody knows how long it has waited
    assert len(claim_batch(conn, fetched_before="2026-11-23T09:59:00Z", now=before).items) == 1


def test_a_begun_batch_comes_back_whole_with_its_key_however_it_was_dropped(conn):
    enqueue(conn, *map(item, range(1, 6)))
    begun = claim_batch(conn, limit=3)
    for drop in (
        lambda: queue_manager.release(conn, token="me"),
        lambda: bury(conn),
        lambda: queue_manager.release_expired(conn, now="2026-11-23T10:01:01Z"),
    ):
        assert drop() == 3
        enqueue(conn, item(9))
        again = claim_begun(conn)
        assert (again.batch_key, [i.id for i in again.items]) == (begun.batch_key, [1, 2, 3])
    assert claim_begun(conn).items == []


def test_rows_of_a_begun_batch_are_taken_by_no_other_kind_of_claim(conn):
    enqueue(conn, item(1), item(2))
    claim_batch(conn)
    queue_manager.release(conn, token="me")
    assert claim(conn) == claim_batch(conn).items == []


@pytest.mark.parametrize("batches, new_key", [(True, "batch-new"), (False, None)], ids=["batch", "object"])
def test_what_was_begun_is_claimed_first_and_as_it_was_begun_whatever_the_layout(conn, batches, new_key):
    enqueue(conn, *map(item, range(1, 6)))
    claim(conn, limit=3)
    queue_manager.note_archived(conn, item_id=3, token="me", s3_key="k")
    claim_batch(conn, limit=2)
    queue_manager.release(conn, token="me")
    conn.execute("UPDATE queue_items SET batch_key = NULL WHERE id = 1")  # a new row, and older than the others
    claims = [claim_next(conn, batches=batches) for _ in range(5)]
    singles = [([2], None), ([1], new_key)] if batches else [([1], None), ([2], None)]  # without batches they are alike
    assert claims == [([4, 5], "batch-4-5"), ([3], None), *singles, ([], None)]


def test_a_row_that_may_have_an_object_of_its_own_comes_into_no_batch(conn):
    """Its upload may have got there although the answer was lost: in a batch it would be in the archive twice."""
    enqueue(conn, item(1), item(2), item(3))
    claim(conn, limit=2)
    queue_manager.release(conn, token="me")
    assert claim_begun(conn).items == []
    assert [claimed.id for claimed in claim_batch(conn).items] == [3]
    enqueue(conn, item(4))
    single = queue_manager.claim_single(conn, Lease("me", NOW, 60), limit=9, begun_only=True)
    assert ([claimed.id for claimed in single.items], single.batch_key) == ([1, 2], None)


def test_prune_leaves_what_changed_on_github_since_whatever_the_workers_clock_said(conn):
    enqueue(conn, item(1), item(2, updated_at=NOW))
    for claimed in claim(conn):
        queue_manager.complete(conn, s3_keys=dict.fromkeys([claimed.id], "k"), token="me", now="2026-11-21T00:00:00Z")
    assert prune(conn, before="2026-11-22T00:00:00Z", limit=9) == 1
    assert [r["id"] for r in conn.execute("SELECT id FROM queue_items")] == [2]


def test_prune_takes_the_first_that_were_finished_and_nothing_of_that_very_second(conn):
    enqueue(conn, *map(item, range(1, 5)), item(5, updated_at="2026-11-24T00:00:00Z"))
    claim(conn)
    for row_id, day in ((1, 26), (2, 24), (3, 25), (5, 23)):
        moment = f"2026-11-{day}T00:00:00Z"
        queue_manager.complete(conn, s3_keys=dict.fromkeys([row_id], "k"), token="me", now=moment)
    fail(conn, 4, s3_key="k")
    assert prune(conn, before="2026-11-24T00:00:00Z", limit=9) == 0
    assert prune(conn, before="2026-11-27T00:00:00Z", limit=2) == 2
    assert [found["id"] for found in conn.execute("SELECT id FROM queue_items ORDER BY id")] == [1, 3, 4]


def done_at(conn, *moments, repo="acme/old", **changes):
    """Rows that were last updated then, and done long ago."""
    first = conn.execute("SELECT count(*) FROM queue_items").fetchone()[0] + 1
    items = [item(number, updated_at=moment, **changes) for number, moment in enumerate(moments, first)]
    queue_manager.enqueue(conn, repo=repo, items=items, now=NOW)
    archive_all(conn)


def left_after_prune(conn, **options):
    prune(conn, **options)
    return [(r["repo"], r["updated_at"][11:]) for r in conn.execute("SELECT * FROM queue_items ORDER BY id")]


def test_prune_leaves_what_the_next_ordinary_run_looks_at_again_however_old_it_is(conn):
    state = StreamState("2026-01-01T00:02:00Z", "2025-01-01T00:00:00Z")
    states.save(conn, repo="Acme/New", stream="issues", state=state)
    states.save(conn, repo="acme/unread", stream="issues", state=StreamState())
    conn.execute("INSERT INTO repo_aliases (alias, repo) VALUES ('acme/old', 'Acme/New')")
    times = [f"2026-01-01T00:0{minute}" for minute in ("0:59Z", "1:00Z", "2:00Z", "2:01Z")]
    for repo in ("acme/new", "Acme/Old", "acme/other", "acme/unread"):
        done_at(conn, *times, repo=repo)
    done_at(conn, *times, repo="acme/new", item_type="pull_request")
    kept = [time[11:] for time in times]
    assert left_after_prune(conn) == [
        *(("acme/new", time) for time in kept[1:]),
        *(("Acme/Old", time) for time in kept[1:]),
        *(("acme/unread", time) for time in kept),
    ]


def test_what_was_copied_lies_in_both_places_and_is_missed_in_neither(conn):
    def elsewhere(here):
        return notes.archived_elsewhere(conn, here=here)

    notes.count_archived(conn, place="a", items=7)
    notes.note_copied(conn, source="a", target="b")
    assert (elsewhere("a"), elsewhere("b"), elsewhere("c")) == ({}, {}, {"b": 7})
    notes.count_archived(conn, place="a", items=2)
    assert (elsewhere("a"), elsewhere("b")) == ({}, {"a": 2})
    notes.note_copied(conn, source="a", target="b")
    notes.count_archived(conn, place="b", items=1)
    assert (elsewhere("a"), elsewhere("b")) == ({"b": 1}, {})
    notes.note_copied(conn, source="b", target="a")
    assert (elsewhere("a"), elsewhere("b"), elsewhere("c")) == ({}, {}, {"a": 10})


def test_an_archive_is_known_once_something_was_counted_or_copied_there(conn):
    notes.count_archived(conn, place="a", items=1)
    notes.count_archived(conn, place="b", items=3)
    for source in ("nothing", "a"):
        notes.note_copied(conn, source=source, target="c")
    for place in ("b", "c"):
        notes.count_archived(conn, place=place, items=2)
    assert [notes.is_known_archive(conn, place) for place in ("0", "a", "b", "c")] == [False, True, True, True]
    assert list(notes.archived_elsewhere(conn, here="x").items()) == [("b", 5), ("c", 3)]
    notes.note_copied(conn, source="b", target="c")
    missed = [notes.archived_elsewhere(conn, here=place) for place in ("nothing", "a", "b", "c")]
    assert missed == [{"c": 8}, {"c": 7}, {"c": 3}, {}]


def test_a_refused_batch_is_parted_into_smaller_ones(conn):
    enqueue(conn, *map(item, range(1, 21)))
    sizes = []
    for _ in range(3):
        taken = claim_batch(conn, limit=20).items
        sizes.append(len(taken))
        for claimed in taken:
            assert queue_manager.part(conn, item_id=claimed.id, token="me")
    assert sizes == [20, 8, 1]


def test_an_archived_row_waits_for_its_extraction_only(conn):
    enqueue(conn, item(1), item(2))
    claim_batch(conn)
    assert queue_manager.note_archived(conn, item_id=1, token="me", s3_key="k")
    assert claim(conn) == claim_batch(conn).items == claim_begun(conn).items == []
    archived = queue_manager.claim_archived(conn, Lease("me", NOW, 60), limit=9).items
    assert [(claimed.id, claimed.s3_key) for claimed in archived] == [(1, "k")]


def test_a_failed_row_that_was_archived_is_not_uploaded_again_by_retry(conn):
    enqueue(conn, item(1), item(2))
    for row_id, key in ((1, "k"), (2, None)):
        claim_batch(conn, limit=1)
        queue_manager.fail(conn, item_id=row_id, token="me", s3_key=key, error="e", now=NOW)
    queue_manager.retry(conn, item_ids=None)
    assert claim_begun(conn).batch_key == "batch-2"  # whether that object got there is not known
    assert archived(conn) == [(1, "k")]


def test_archived_rows_come_object_by_object_and_keep_to_it_whatever_becomes_of_them(conn):
    enqueue(conn, *map(item, range(1, 6)))
    claim(conn)
    for row_id, key in ((1, "b"), (2, "a"), (3, "b"), (4, "a")):
        assert queue_manager.note_archived(conn, item_id=row_id, token="me", s3_key=key)
    queue_manager.release(conn, token="me")
    assert archived(conn, limit=3) == [(2, "a"), (4, "a"), (1, "b")]
    fail(conn, 2)
    fail(conn, 4, s3_key="c")
    put_off(conn, 1, until=NOW)
    queue_manager.retry(conn, item_ids=None)
    assert archived(conn) == [(2, "a"), (1, "b"), (3, "b"), (4, "c")]
    assert [claimed.id for claimed in claim(conn)] == [5]


def test_what_a_rebuild_has_read_is_remembered_for_each_scope_until_it_is_forgotten(conn):
    for scope in ("a", "b"):
        notes.note_read(conn, scope, ["x", "y"])
    notes.note_read(conn, "b", ["y", "z"])
    assert notes.unread(conn, "a", ["z", "y", "w"]) == ["z", "w"]
    assert [notes.read_count(conn, scope) for scope in ("0", "a", "b")] == [0, 2, 3]
    notes.forget_read(conn, "a")
    assert [notes.read_count(conn, scope) for scope in ("a", "b")] == [0, 3]


def run(conn, command="worker", ended=True, note=None):
    run_id = runs.start_run(conn, command=command, owner=f"token {command}", now=NOW)
    if ended:
        runs.end_run(conn, run_id=run_id, now=LATER, exit_code=run_id, note=note)
    return run_id


def test_of_runs_the_last_of_each_command_is_shown_and_those_without_end(conn):
    run(conn)
    waits, works = (run(conn, ended=False) for _ in (1, 2))
    run(conn, "ingest")
    run(conn, "ingest", note="404")
    run(conn, note="done")
    runs.note_run(conn, run_id=waits, note="waits")
    names = ("command", "owner", "started_at", "ended_at", "exit_code", "note", "host")
    assert runs.runs(conn) == [
        dict(zip(names, (*values, socket.gethostname())))
        for values in [
            ("ingest", "token ingest", NOW, LATER, 5, "404"),
            ("worker", "token worker", NOW, None, None, "waits"),
            ("worker", "token worker", NOW, None, None, None),
            ("worker", "token worker", NOW, LATER, 6, "done"),
        ]
    ]
    runs.end_run(conn, run_id=works, now=LATER, exit_code=0, note=None)
    assert [found["note"] for found in runs.runs(conn)] == ["404", "waits", "done"]
    last = run(conn, ended=False)
    runs.note_run(conn, run_id=last, note="waits, too")
    runs.end_run(conn, run_id=last, now=LATER, exit_code=0, note=None)
    assert [found["note"] for found in runs.runs(conn)] == ["404", "waits", None]


def test_so_many_runs_are_remembered_and_no_more(conn):
    for _ in range(runs.RUNS_KEPT + 2):
        run(conn, ended=False)
    kept = [number for (number,) in conn.execute("SELECT id FROM runs ORDER BY id")]
    assert kept == list(range(2, runs.RUNS_KEPT + 3))


def test_a_lock_names_its_last_owner_until_that_one_drops_it(conn):
    assert runs.lock_owner(conn, "x") is None
    for name, owner in (("x", "one"), ("y", "one"), ("z", "two"), ("y", "two")):
        runs.take_lock(conn, name, owner=owner, now=NOW if owner == "one" else LATER)
    assert runs.lock_owner(conn, "x") == ("one", NOW)
    runs.drop_locks(conn, owner="one")
    found = [runs.lock_owner(conn, name) for name in ("x", "y", "z", "a")]
    assert found == [None, ("two", LATER), ("two", LATER), None]


LEASE = {"now": NOW, "latest": LATER, "suspects": 1, "own_object": ""}
AVAILABLE = queue_manager._AVAILABLE
PLANS = {
    "claim": (f"SELECT id, payload FROM queue_items WHERE {AVAILABLE} AND s3_key IS NULL "
              "AND coalesce(batch_key, :own_object) = :own_object ORDER BY id LIMIT 5", "queue_items_pending"),
    "single": (f"SELECT id FROM queue_items WHERE {AVAILABLE} AND s3_key IS NULL AND batch_key = :own_object "
               "ORDER BY id LIMIT 5", "queue_items_begun"),
    "archived": (f"SELECT id FROM queue_items WHERE {AVAILABLE} AND s3_key > '' ORDER BY s3_key, id LIMIT 5",
                 "queue_items_archived"),
    "begun": (f"SELECT batch_key FROM queue_items WHERE {AVAILABLE} AND batch_key > :own_object "
              "ORDER BY batch_key LIMIT 1", "queue_items_begun"),
    "members": ("SELECT id FROM queue_items WHERE status = 'pending' AND batch_key = 'x' ORDER BY id",
                "queue_items_begun"),
    "day": (f"SELECT id FROM queue_items WHERE {AVAILABLE} AND s3_key IS NULL AND batch_key IS NULL "
            "AND item_type = 'issue' AND substr(updated_at, 1, 10) = 'x' ORDER BY id LIMIT 5", "queue_items_by_day"),
    "expired": ("UPDATE queue_items SET status = 'pending' WHERE status = 'processing' AND lease_until < 'a'",
                "queue_items_processing"),
    "tokens": ("SELECT DISTINCT claim_token FROM queue_items WHERE status = 'processing'", "queue_items_processing"),
    "held": ("SELECT id FROM queue_items WHERE status = 'processing' AND claim_token = 'x' LIMIT 2",
             "queue_items_processing"),
    "done": ("SELECT count(*) FROM queue_items WHERE status = 'done'", "COVERING INDEX queue_items_done"),
    "prune": ("SELECT id FROM queue_items WHERE status = 'done' AND finished_at < 'x' AND updated_at < 'x' "
              "ORDER BY finished_at LIMIT 5", "INDEX queue_items_done"),
    "failed": ("SELECT id FROM queue_items WHERE status = 'failed' ORDER BY id LIMIT 5", "queue_items_failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_no_query_walks_the_whole_table(on_sqlite, name):
    statement, index = PLANS[name]
    plan = [row["detail"] for row in on_sqlite.execute("EXPLAIN QUERY PLAN " + statement, LEASE)]
    assert index in plan[0], plan
    assert not [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step], plan
