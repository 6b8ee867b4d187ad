import pytest

import db
import queue_manager
from commands import figures
from foundation import timestamps
from foundation.records import Item, StreamState
from lake import notes
from queue_manager import Lease

NOW = "2026-11-23T10:00:00Z"
LATER = "2026-11-23T11:00:00Z"


@pytest.fixture
def conn(tmp_path):
    connection = db.connect(str(tmp_path / "p.db"))
    yield connection
    connection.close()


def item(number=1, **changes):
    fields = {
        "item_type": "issue", "item_id": number, "number": number, "updated_at": "2026-11-20T00:00:00Z",
        "payload": b'{"title": "x"}', "payload_sha256": f"{number:064x}",
    }  # fmt: skip
    return Item(**{**fields, **changes})


def enqueue(conn, *items, now=NOW):
    return queue_manager.enqueue(conn, repo="a/b", items=items, now=now)


def claim(conn, token="me", limit=10, now=NOW, **lease):
    queue_manager.release_expired(conn, now=now)
    return queue_manager.claim_single(conn, Lease(token, now, 60, **lease), limit=limit).items


def claim_archived(conn, token="me", limit=10, now=NOW):
    return queue_manager.claim_archived(conn, Lease(token, now, 60), limit=limit).items


def claim_batch(conn, token="me", limit=10, max_bytes=10**6, fetched_before=None, now=NOW):
    return queue_manager.claim_batch(
        conn, Lease(token, now, 60), limit=limit, max_bytes=max_bytes, fetched_before=fetched_before,
        place="here", key_of=lambda items: "batch-" + "-".join(str(item.id) for item in items),
    )  # fmt: skip


def claim_begun(conn, token="me", now=NOW, place="here"):
    return queue_manager.claim_begun(conn, Lease(token, now, 60), place=place, prefix="batch-")


def prune(conn, *, before="2030-01-01T00:00:00Z", limit=1000):
    item_types = {"issues": "issue", "pulls": "pull_request"}
    return queue_manager.prune(conn, finished_before=before, overlap_seconds=60, limit=limit, item_types=item_types)


def archive_all(conn):
    for claimed in claim(conn):
        queue_manager.complete(conn, item_ids=[claimed.id], token="me", s3_key="k", now=NOW)


def row(conn, row_id=1):
    return dict(conn.execute("SELECT * FROM queue_items WHERE id = ?", (row_id,)).fetchone())


def statuses(conn):
    return [row["status"] for row in conn.execute("SELECT status FROM queue_items ORDER BY id")]


def test_the_same_bytes_of_an_item_are_stored_once_and_other_bytes_again(conn):
    assert enqueue(conn, item(1), item(2), item(1)) == 2
    assert enqueue(conn, item(1), item(1, payload_sha256="f" * 64)) == 1
    assert enqueue(conn, item(1, item_type="pull_request")) == 1


BUG, DEFECT = item(1, payload_sha256="b" * 64), item(1, payload_sha256="d" * 64)


def test_of_two_contents_of_one_second_the_one_that_comes_back_is_the_last(conn):
    for shown in (BUG, DEFECT):
        enqueue(conn, shown)
    archive_all(conn)
    assert enqueue(conn, BUG, item(2), now=LATER) == 1
    other, again = claim(conn, now=LATER)
    assert (again.payload_sha256, again.fetched_at, other.item_id) == (BUG.payload_sha256, LATER, 2)
    assert again.fetched_order > other.fetched_order > timestamps.with_order(NOW, 2)
    assert enqueue(conn, item(3)) == 1
    assert len({claimed.id for claimed in (again, other, *claim(conn))}) == 3


def test_what_was_shown_last_changes_nothing_when_it_is_shown_again(conn):
    enqueue(conn, BUG, DEFECT, item(2), item(1, payload_sha256="e" * 64, updated_at=NOW))
    archive_all(conn)
    before = [row(conn, row_id) for row_id in (1, 2, 3, 4)]
    assert enqueue(conn, DEFECT, item(2), item(1, payload_sha256="e" * 64, updated_at=NOW), now=LATER) == 0
    assert [row(conn, row_id) for row_id in (1, 2, 3, 4)] == before


def test_within_a_page_the_last_of_an_item_is_the_newest(conn):
    enqueue(conn, BUG, DEFECT)
    assert enqueue(conn, BUG, DEFECT, now=LATER) == 0
    assert [claimed.payload_sha256 for claimed in claim(conn)] == [BUG.payload_sha256, DEFECT.payload_sha256]
    enqueue(conn, DEFECT, BUG, now=LATER)
    assert [claimed.payload_sha256 for claimed in claim(conn)] == [BUG.payload_sha256]


def test_to_find_what_came_back_no_row_of_another_item_is_read(conn):
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
    assert queue_manager.complete(conn, item_ids=[1, 2], token="me", s3_key="k", now=NOW) == {2}
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
    queue_manager.fail(conn, item_id=1, token="me", s3_key=None, error="why", now=NOW)
    enqueue(conn, BUG, now=LATER)
    assert statuses(conn) == ["processing", "failed"]
    (failed,) = figures.failed_items(conn, limit=9)
    assert (failed["id"] > 2, failed["last_error"]) == (True, "why")


def test_the_payload_can_be_asked_for_as_json(conn):
    enqueue(conn, item())
    assert conn.execute("SELECT json_extract(payload, '$.title') FROM queue_items").fetchone()[0] == "x"


def test_claims_take_the_oldest_first_and_nothing_twice(conn):
    enqueue(conn, *map(item, range(1, 6)))
    assert [claimed.id for claimed in claim(conn, "one", limit=2)] == [1, 2]
    assert [claimed.id for claimed in claim(conn, "two")] == [3, 4, 5]
    assert claim(conn, "three") == []


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


@pytest.mark.parametrize(
    "late",
    [
        lambda conn: bool(queue_manager.complete(conn, item_ids=[1], token="one", s3_key="k", now=LATER)),
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


def test_completion_names_the_object_and_clears_the_claim(conn):
    enqueue(conn, item())
    claim(conn)
    assert queue_manager.complete(conn, item_ids=[1, 2], token="me", s3_key="k", now=LATER) == {1}
    found = row(conn)
    assert (found["status"], found["s3_key"], found["finished_at"], found["claim_token"]) == ("done", "k", LATER, None)
    assert not queue_manager.complete(conn, item_ids=[1], token="me", s3_key="k", now=LATER)


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
    queue_manager.put_off(conn, item_id=1, token="me", error="e", available_at="2027-11-23T00:00:00Z")
    assert len(claim(conn)) == 1


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
    claim(conn, limit=1)
    assert queue_manager.counts(conn) == (2, 1, 0, 0)
    assert figures.oldest_pending(conn) == LATER


def rename(conn, old, new, repo_id=None):
    queue_manager.settle_name(conn, repo=new, repo_id=repo_id, was=old, asked_for=old)


def test_a_stream_is_found_in_any_case_and_under_an_earlier_name(conn):
    state = StreamState("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "e", "u", {"since": "x"})
    queue_manager.save_stream(conn, repo="acme/Widgets", stream="issues", state=state)
    assert queue_manager.load_stream(conn, repo="ACME/widgets", stream="issues") == ("acme/Widgets", state)
    assert queue_manager.load_stream(conn, repo="acme/widgets", stream="pulls") == ("acme/widgets", StreamState())
    rename(conn, old="acme/Widgets", new="acme/gadgets")
    rename(conn, old="acme/gadgets", new="new/gadgets")
    for name in ("acme/widgets", "Acme/Gadgets", "new/gadgets"):
        assert queue_manager.load_stream(conn, repo=name, stream="issues") == ("new/gadgets", state)


def test_a_name_that_comes_back_is_no_alias_of_itself(conn):
    rename(conn, old="a/one", new="a/two")
    rename(conn, old="a/two", new="a/one")
    assert queue_manager.load_stream(conn, repo="a/one", stream="issues")[0] == "a/one"
    assert queue_manager.load_stream(conn, repo="a/two", stream="issues")[0] == "a/one"


def test_a_name_that_another_repository_takes_displaces_the_first_with_all_its_streams(conn):
    first, second = StreamState("2026-01-01T00:00:00Z", repo_id=1), StreamState("2026-02-01T00:00:00Z", repo_id=2)
    for stream in ("issues", "pulls"):
        queue_manager.save_stream(conn, repo="a/one", stream=stream, state=first)
        queue_manager.save_stream(conn, repo="a/two", stream=stream, state=second)
    rename(conn, old="a/two", new="A/one", repo_id=2)
    for stream in ("issues", "pulls"):
        assert queue_manager.load_stream(conn, repo="a/one", stream=stream) == ("A/one", second)
        assert queue_manager.load_stream(conn, repo="a/two", stream=stream) == ("A/one", second)
        assert queue_manager.load_stream(conn, repo="repositories/1", stream=stream)[1] == first
        assert queue_manager.load_stream(conn, repo="a/three", stream=stream, repo_id=1) == ("a/three", first)
        assert queue_manager.load_known(conn, stream=stream) == {1: first, 2: second}
    rename(conn, old="repositories/1", new="a/three", repo_id=1)
    assert {row["repo"] for row in figures.streams(conn)} == {"A/one", "a/three"}


def test_a_state_without_id_is_not_given_to_another_repository(conn):
    queue_manager.save_stream(conn, repo="a/one", stream="issues", state=StreamState("2026-01-01T00:00:00Z", repo_id=7))
    found = queue_manager.load_stream(conn, repo="a/one", stream="issues", repo_id=8)
    assert found == ("a/one", StreamState(repo_id=8))


def test_a_stream_remembers_its_last_success_through_a_failure(conn):
    queue_manager.record_stream_run(conn, repo="a/b", stream="issues", now=NOW, error=None)
    queue_manager.record_stream_run(conn, repo="a/b", stream="issues", now=LATER, error="down")
    (found,) = figures.streams(conn)
    assert (found["last_run_at"], found["last_success_at"], found["last_error"]) == (LATER, NOW, "down")


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
            queue_manager.complete(conn, item_ids=[2], token="me", s3_key="k", now=now)
        now = timestamps.shift(now, seconds=20)
        assert now < "2026-11-23T11:00:00Z"
    assert (deaths, row(conn, 1)["attempts"], "died" in row(conn, 1)["last_error"]) == (5, 3, True)
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


def test_a_batch_ends_at_its_limits_of_rows_and_of_bytes(conn):
    enqueue(conn, *(item(n, payload=('"%s"' % ("é" * 50)).encode()) for n in range(1, 8)))
    assert len(claim_batch(conn, limit=3).items) == 3
    assert len(claim_batch(conn, max_bytes=210).items) == 2
    assert len(claim_batch(conn, max_bytes=1).items) == 1


def test_a_batch_that_is_not_full_waits_for_more_only_so_long(conn):
    enqueue(conn, item(1), item(2), now="2026-11-23T09:59:30Z")
    assert claim_batch(conn, fetched_before="2026-11-23T09:59:00Z").items == []
    assert len(claim_batch(conn, limit=2, fetched_before="2026-11-23T09:59:00Z").items) == 2
    enqueue(conn, item(3), now="2026-11-23T09:59:00Z")
    assert len(claim_batch(conn, fetched_before="2026-11-23T09:59:00Z").items) == 1


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


def test_a_row_that_may_have_an_object_of_its_own_comes_into_no_batch(conn):
    """Its upload may have got there although the answer was lost: in a batch it would be in the archive twice."""
    enqueue(conn, item(1), item(2), item(3))
    claim(conn, limit=2)
    queue_manager.release(conn, token="me")
    assert [claimed.id for claimed in claim_batch(conn).items] == [3]
    single = queue_manager.claim_single(conn, Lease("me", NOW, 60), limit=9, begun_only=True)
    assert ([claimed.id for claimed in single.items], single.batch_key) == ([1, 2], None)


def test_prune_leaves_what_changed_on_github_since_whatever_the_workers_clock_said(conn):
    enqueue(conn, item(1), item(2, updated_at=NOW))
    for claimed in claim(conn):
        queue_manager.complete(conn, item_ids=[claimed.id], token="me", s3_key="k", now="2026-11-21T00:00:00Z")
    assert prune(conn, before="2026-11-22T00:00:00Z", limit=9) == 1
    assert [r["id"] for r in conn.execute("SELECT id FROM queue_items")] == [2]


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
    queue_manager.save_stream(conn, repo="Acme/New", stream="issues", state=state)
    queue_manager.save_stream(conn, repo="acme/unread", stream="issues", state=StreamState())
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
    assert [c.id for c in queue_manager.claim_archived(conn, Lease("me", NOW, 60), limit=9).items] == [1]
    assert claim_begun(conn).batch_key == "batch-2"  # whether that object got there is not known


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
def test_no_query_walks_the_whole_table(conn, name):
    statement, index = PLANS[name]
    plan = [row["detail"] for row in conn.execute("EXPLAIN QUERY PLAN " + statement, LEASE)]
    assert index in plan[0], plan
    assert not [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step], plan
