"""The queue on real databases against a plain dict, under every order of steps that Hypothesis thinks of."""

import hashlib
import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import db
import queue_manager
from commands import figures
from foundation import timestamps
from foundation.records import Item
from queue_manager import Lease
from tests.test_queue_manager import prune

TOKENS = ["one", "two"]
MAX_ATTEMPTS = 3
LEASE_SECONDS = 60
START = 1_800_000_000


class Row:
    """What the model knows of a row."""

    def __init__(self, row_id, item):
        self.id, self.item = row_id, item
        self.status, self.owner, self.attempts, self.lease_until = "pending", None, 0, 0.0
        self.available_at, self.key, self.begun = 0.0, None, None
        self.finished_at, self.failures = None, 0

    def free(self, status="pending"):
        self.status, self.owner = status, None


class Queue(RuleBasedStateMachine):
    believed_seconds = float("inf")  # a lease that ends later is none

    def __init__(self):
        super().__init__()
        self.conn = self.connect()
        self.rows, self.seen, self.issues, self.pruned = {}, set(), {}, 0
        self.seconds = float(START)

    def connect(self):
        """To an empty database."""
        self.folder = tempfile.TemporaryDirectory()
        return db.connect(os.path.join(self.folder.name, "p.db"), synchronous="OFF")

    def teardown(self):
        self.conn.close()
        self.folder.cleanup()

    @property
    def now(self):
        return timestamps.from_epoch(self.seconds)

    def lease(self, token, suspects=True):
        return Lease(token, self.now, LEASE_SECONDS, suspects)

    def held(self, token):
        return [row for row in self.rows.values() if row.owner == token]

    # Steps.

    @initialize()
    def begin(self):
        for number in (1, 2, 3):
            for second in (0, 1, 2):
                self.enqueue(number, second, 0, number == 3)

    @rule(number=st.integers(1, 3), second=st.integers(0, 3), content=st.integers(0, 2), pull=st.booleans())
    def enqueue(self, number, second, content, pull):
        text = '{"number": %d, "content": %d, "at": %d}' % (number, content, second)
        item_type = "pull_request" if pull else "issue"
        day = 1 + number % 2
        item = Item(item_type, number, number, f"2026-01-0{day}T00:00:0{second}Z", text.encode(), _sha(text))
        with db.transaction(self.conn):
            added = queue_manager.enqueue(self.conn, repo="a/b", items=[item, item], now=self.now)
        identity = (item_type, number, item.payload_sha256)
        assert added == (identity not in self.seen)
        if added:
            self.seen.add(identity)
            row_id = self.conn.execute("SELECT max(id) FROM queue_items").fetchone()[0]
            assert row_id not in self.rows
            self.rows[row_id] = Row(row_id, item)
        else:
            self._take_up_again(item)

    def _take_up_again(self, item):
        """Bytes that are known and not the newest of their second become the newest."""

        def second(of):
            return of.item_type, of.item_id, of.updated_at

        versions = [row for row in self.rows.values() if second(row.item) == second(item)]
        (row,) = [row for row in versions if row.item == item]
        if row.id < max(version.id for version in versions):
            del self.rows[row.id]
            row.id = self.conn.execute("SELECT max(id) FROM queue_items").fetchone()[0]
            assert row.id > max(self.rows)
            self.rows[row.id] = row
            row.attempts = 0 if row.status == "done" else row.attempts
            row.free("failed" if row.status == "failed" else "pending")
            row.key = row.begun = None

    @rule(token=st.sampled_from(TOKENS), limit=st.integers(1, 4), suspects=st.booleans(), kind=st.integers(0, 3))
    def claim(self, token, limit, suspects, kind):
        lease = self.lease(token, suspects)
        with db.transaction(self.conn):
            queue_manager.release_expired(self.conn, now=self.now)
            for row in self.rows.values():
                if row.status == "processing" and not 0 <= row.lease_until - self.seconds <= self.believed_seconds:
                    row.free()
            claim = self._claim(lease, limit, kind)
        ids = [item.id for item in claim.items]
        assert ids == sorted(ids) or kind == 1
        assert len(ids) == len(set(ids))
        for item in claim.items:
            row = self.rows[item.id]
            assert row.status == "pending", "claimed although another has it, or it is finished"
            assert item.payload == row.item.payload
            assert item.attempts == row.attempts
            if row.begun is not None:
                assert claim.batch_key in (row.begun, None), "a begun row went into another object"
            if kind != 0:  # of a begun batch all rows come, also those that wait
                assert row.available_at <= self.seconds or row.available_at > self.seconds + 7200
            row.status, row.owner = "processing", token
            row.lease_until = self.seconds + LEASE_SECONDS
            row.begun = claim.batch_key if claim.batch_key else "" if kind > 1 else None
        if kind == 0 and claim.batch_key:
            members = [row.id for row in self.rows.values() if row.begun == claim.batch_key]
            assert sorted(ids) == sorted(members), "a batch came back without all of its rows"
        failures = {item.group_failures for item in claim.items}
        assert suspects or failures <= {0}
        assert len(failures) <= 1 or claim.batch_key, "suspects together with others"

    def _claim(self, lease, limit, kind):
        if kind == 0:
            return queue_manager.claim_begun(self.conn, lease, place="here", prefix="batch-")
        if kind == 1:
            return queue_manager.claim_archived(self.conn, lease, limit=limit)
        if kind == 2:
            return queue_manager.claim_single(self.conn, lease, limit=limit)
        return queue_manager.claim_batch(
            self.conn, lease, limit=limit, max_bytes=10**6, fetched_before=None,
            place="here", key_of=lambda items: "batch-" + "-".join(str(item.id) for item in items),
        )  # fmt: skip

    @rule(data=st.data())
    def complete(self, data):
        row, token = self._some_row(data)
        key = row.key or row.begun or f"object-{row.id}"
        whole = [r for r in self.rows.values() if row.begun and r.begun == row.begun] or [row]
        with db.transaction(self.conn):
            ids = [member.id for member in whole]
            ours = queue_manager.complete(self.conn, s3_keys=dict.fromkeys(ids, key), token=token, now=self.now)
            expected = {member.id for member in whole if member.owner == token}
            assert ours == expected, "a row of another's was completed, or one of its own was not"
            for member in whole:
                if member.id in ours:
                    self._upsert(member)
                    member.free("done")
                    member.key, member.begun, member.finished_at = key, None, self.seconds

    def _upsert(self, row):
        item = row.item
        version = (item.updated_at, f"{row.id:012d}", item.payload_sha256)
        fields = dict.fromkeys(db.FILLED["issues"].columns, "x")
        fields.update(
            id=item.item_id, item_type=item.item_type, updated_at=version[0], fetched_order=version[1],
            payload_sha256=version[2], number=1, draft=None, comments=None, lead_time_hours=None,
        )  # fmt: skip
        db.upsert(self.conn, "issues", [fields])
        identity = (item.item_type, item.item_id)
        self.issues[identity] = max(self.issues.get(identity, version), version)

    @rule(archived=st.booleans(), data=st.data())
    def fail(self, archived, data):
        row, token = self._some_row(data)
        if self._shares_a_batch(row):
            return
        key = f"object-{row.id}" if archived else None
        with db.transaction(self.conn):
            ours = queue_manager.fail(self.conn, item_id=row.id, token=token, s3_key=key, error="e", now=self.now)
        assert ours == (row.owner == token)
        if ours:
            row.free("failed")
            row.attempts += 1
            row.key, row.begun = (key, None) if archived else (row.key, row.begun)

    @rule(seconds=st.integers(1, 5400), data=st.data())
    def put_off(self, seconds, data):
        row, token = self._some_row(data)
        if self._shares_a_batch(row):
            return
        until = self.seconds + seconds
        with db.transaction(self.conn):
            ours = queue_manager.put_off(
                self.conn, item_id=row.id, token=token, error="e", available_at=timestamps.from_epoch(until)
            )
        assert ours == (row.owner == token)
        if ours:
            row.free()
            row.attempts += 1
            row.available_at = until

    @rule(token=st.sampled_from(TOKENS), archived=st.booleans(), data=st.data())
    def part_or_archive_a_batch(self, token, archived, data):
        begun = [row for row in self.held(token) if row.begun]
        if not begun:
            return
        key = data.draw(st.sampled_from(sorted({row.begun for row in begun})))
        with db.transaction(self.conn):
            for row in [row for row in begun if row.begun == key]:
                if archived:
                    assert queue_manager.note_archived(self.conn, item_id=row.id, token=token, s3_key=key)
                    row.key = key
                else:
                    assert queue_manager.part(self.conn, item_id=row.id, token=token)
                    row.failures += 1
                row.free()
                row.begun = None

    @rule(token=st.sampled_from(TOKENS))
    def release(self, token):
        held = self.held(token)
        with db.transaction(self.conn):
            assert queue_manager.release(self.conn, token=token) == len(held)
        for row in held:
            row.free()

    @rule(token=st.sampled_from(TOKENS))
    def die(self, token):
        held = self.held(token)
        with db.transaction(self.conn):
            freed = queue_manager.bury(self.conn, token=token, now=self.now, max_attempts=MAX_ATTEMPTS, jitter=0)
        assert freed == len(held)
        suspects = [row for row in held if row.key and row.failures]
        for row in held:
            row.free()
            row.failures += 1
        if len(suspects) == 1:
            (row,) = suspects
            row.attempts += 1
            if row.attempts >= MAX_ATTEMPTS:
                row.status = "failed"
            else:
                row.available_at = self.seconds + queue_manager.backoff_seconds(attempts=row.attempts, jitter=0)

    @rule(token=st.sampled_from(TOKENS))
    def extend(self, token):
        with db.transaction(self.conn):
            assert queue_manager.extend_leases(self.conn, self.lease(token)) == len(self.held(token))
        for row in self.held(token):
            row.lease_until = self.seconds + LEASE_SECONDS

    @rule(data=st.data(), everything=st.booleans())
    def retry(self, data, everything):
        failed = [row.id for row in self.rows.values() if row.status == "failed"]
        chosen = failed if everything else data.draw(st.lists(st.integers(1, 12), max_size=3, unique=True))
        with db.transaction(self.conn):
            retried = queue_manager.retry(self.conn, item_ids=None if everything else chosen)
        expected = [self.rows[row_id] for row_id in chosen if row_id in failed]
        assert retried == len(expected)
        for row in expected:
            row.free()
            row.attempts, row.available_at = 0, 0.0

    @rule(age=st.integers(0, 100_000))
    def prune(self, age):
        before = timestamps.from_epoch(self.seconds - age)
        gone = [r for r in self.rows.values() if r.status == "done" and timestamps.from_epoch(r.finished_at) < before]
        with db.transaction(self.conn):
            assert prune(self.conn, before=before) == len(gone)
        for row in gone:
            del self.rows[row.id]
            self.seen.discard((row.item.item_type, row.item.item_id, row.item.payload_sha256))

    @rule(seconds=st.one_of(st.integers(1, 120), st.integers(-90_000, 90_000)))
    def time_passes_or_jumps(self, seconds):
        self.seconds += seconds

    def _some_row(self, data):
        """A row, mostly one in hand, and the token of who speaks of it: its owner, or at times a late worker."""
        in_hand = sorted(row.id for row in self.rows.values() if row.owner)
        chosen = in_hand if in_hand and data.draw(st.integers(0, 4)) else sorted(self.rows)
        row = self.rows[data.draw(st.sampled_from(chosen))] if chosen else Row(10**6, None)
        late = data.draw(st.integers(0, 4)) == 0
        return row, data.draw(st.sampled_from(TOKENS)) if late or not row.owner else row.owner

    def _shares_a_batch(self, row):
        """Rows of a batch of several are never failed one by one before they are archived."""
        return bool(row.begun) and sum(other.begun == row.begun for other in self.rows.values()) > 1

    # What holds after every step.

    @invariant()
    def every_row_is_as_the_model_says(self):
        found = {row["id"]: row for row in self.conn.execute("SELECT * FROM queue_items")}
        assert found.keys() == self.rows.keys()
        for row_id, row in self.rows.items():
            stored = found[row_id]
            assert (stored["status"], stored["claim_token"], stored["attempts"]) == (
                row.status, row.owner, row.attempts
            )  # fmt: skip
            assert (stored["lease_until"] is None) == (row.owner is None) == (stored["claim_token"] is None)
            assert (stored["s3_key"], stored["batch_key"] or None) == (row.key, row.begun or None)
            assert stored["payload"] == row.item.payload.decode()

    @invariant()
    def counts_add_up(self):
        counts = queue_manager.counts(self.conn)
        assert sum(counts) == len(self.rows)
        assert counts.failed == sum(row.status == "failed" for row in self.rows.values())

    @invariant()
    def issues_holds_the_newest_version_that_was_completed(self):
        stored = {
            (row["item_type"], row["id"]): (row["updated_at"], row["fetched_order"], row["payload_sha256"])
            for row in self.conn.execute("SELECT * FROM issues")
        }
        assert stored == self.issues
        assert figures.issues_count(self.conn) == len(self.issues)

    @invariant()
    def what_is_done_names_its_object(self):
        query = "SELECT count(*) FROM queue_items WHERE status = 'done' AND s3_key IS NULL"
        assert self.conn.execute(query).fetchone()[0] == 0


def _sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


class QueueOnPostgres(Queue):
    address = None
    believed_seconds = 7200  # the clock that gave it once stood far ahead

    def connect(self):
        conn = db.connect(self.address, synchronous="OFF")
        conn.execute(f"TRUNCATE {', '.join(db.TABLES)} RESTART IDENTITY")
        return conn

    def teardown(self):
        self.conn.close()


@pytest.fixture(scope="module")
def address_for_the_model(postgres):
    QueueOnPostgres.address = postgres.url(postgres.migrated())


class QueueAtLength(Queue):
    """What fewer examples of the ordinary tests pass over."""


class QueueOnPostgresAtLength(QueueOnPostgres):
    pass


def runs(machine, examples):
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return machine.TestCase


EXAMPLES = int(os.environ.get("QUEUE_MODEL_EXAMPLES", "30"))
on_postgres = pytest.mark.usefixtures("address_for_the_model")
TestQueue = runs(Queue, EXAMPLES)
TestQueueOnPostgres = on_postgres(runs(QueueOnPostgres, max(1, EXAMPLES // 5)))  # each takes longer
TestQueueAtLength = pytest.mark.long(runs(QueueAtLength, 100))
TestQueueOnPostgresAtLength = pytest.mark.long(on_postgres(runs(QueueOnPostgresAtLength, 20)))
