"""The queue: enqueue a page, claim, complete, fail, release, retry, counts.

Every function joins the caller's transaction and never commits. No HTTP, no S3, no printing.

A claimed row carries its owner's token. Each later change checks id *and* token, so that a process that was stopped
past its lease changes nothing that another one has claimed since.
"""

from __future__ import annotations

import itertools
from typing import AbstractSet, Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

import db
from foundation import timestamps
from foundation.records import ClaimedItem, Item

# Backoff of an item that failed through its own fault: 30 s, doubled each time, an hour at most, plus up to half.
FIRST_BACKOFF_SECONDS = 30
LONGEST_BACKOFF_SECONDS = 3600
LONGEST_LEASE_SECONDS = 3600
# Rows that were in a group that came to grief once; after the second time each goes alone.
SUSPECTS_AT_A_TIME = 8


class Claim(NamedTuple):
    """Rows that are ours now. `batch_key`: the object that all of them go into; None where each goes its own way."""

    items: list[ClaimedItem]
    batch_key: str | None = None

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def is_suspect(self) -> bool:
        """A group with one of these came to grief before: nothing else may be in hand while they are."""
        return any(item.group_failures for item in self.items)


class Lease(NamedTuple):
    """Who claims, at what time, for how long. `suspects`: also rows that must have no others beside them?"""

    token: str
    now: str
    seconds: float
    suspects: bool = True

    @property
    def until(self) -> str:
        return timestamps.shift(self.now, seconds=self.seconds)


class NewBatch(NamedTuple):
    """What a batch may hold, when one may be begun, and its key: see `claim_batch`."""

    limit: int
    max_bytes: int
    fetched_before: str | None
    key_of: Callable[[Sequence[ClaimedItem]], str]


class Counts(NamedTuple):
    pending: int
    processing: int
    done: int
    failed: int


def enqueue(
    conn: db.Connection, *, repo: str, items: Iterable[Item], now: str, known_by_id: AbstractSet[str] = frozenset()
) -> int:
    """Store the items that are not there yet; returns how many were new.

    `known_by_id`: types whose items are taken once, in whatever other bytes they are shown again.
    """
    items, added = _without_known(conn, items, known_by_id), 0
    for some in db.in_statements(items, parameters=len(Item._fields) + 2):
        rows = ", ".join([f"(?, ?, ?, ?, ?, {conn.words.text_of_bytes}, ?, ?)"] * len(some))
        added += conn.execute(
            f"""
            INSERT INTO queue_items (repo, item_type, item_id, number, updated_at, payload, payload_sha256, fetched_at)
            VALUES {rows} ON CONFLICT (item_type, item_id, payload_sha256) DO NOTHING
            """,
            [value for item in some for value in (repo, *item, now)],
        ).rowcount
    if added < len(items):
        _take_up_again(conn, items, now=now)
    return added


def _without_known(conn: db.Connection, items: Iterable[Item], known_by_id: AbstractSet[str]) -> list[Item]:
    """Without items of these types that the queue has, and without their repetitions."""
    by_id: dict[tuple[str, int], Item] = {}
    others = []
    for item in items:
        if item.item_type in known_by_id:
            by_id.setdefault((item.item_type, item.item_id), item)
        else:
            others.append(item)
    for some in db.in_statements(list(by_id), parameters=2):
        found = conn.execute(
            f"""
            WITH asked (item_type, item_id) AS (VALUES {", ".join(["(?, ?)"] * len(some))})
            SELECT item_type, item_id FROM asked
            {conn.words.join_in_order} queue_items USING (item_type, item_id)
            """,
            [value for identity in some for value in identity],
        )
        for item_type, item_id in found.fetchall():
            by_id.pop((item_type, item_id), None)
    events = [item_id for item_type, item_id in by_id if item_type == "event"]
    for ids in db.in_statements(events, parameters=1):
        # Pruned, or rebuilt: once more it would go to its key in other bytes, or to another key.
        for (item_id,) in conn.execute(f"SELECT id FROM item_events WHERE id IN {db.places(len(ids))}", ids):
            by_id.pop(("event", item_id), None)
    return [*others, *by_id.values()]


def not_queued(conn: db.Connection, *, items: Sequence[Item]) -> list[Item]:
    """Those whose very bytes the queue has not."""
    known: set[tuple[str, int, str]] = set()
    identities = [(item.item_type, item.item_id, item.payload_sha256) for item in items]
    for some in db.in_statements(identities, parameters=3):
        found = conn.execute(
            f"""
            WITH asked (item_type, item_id, payload_sha256) AS (VALUES {", ".join(["(?, ?, ?)"] * len(some))})
            SELECT item_type, item_id, payload_sha256 FROM asked
            {conn.words.join_in_order} queue_items USING (item_type, item_id, payload_sha256)
            """,
            [value for identity in some for value in identity],
        )
        known.update(tuple(row) for row in found.fetchall())
    return [item for item, identity in zip(items, identities) if identity not in known]


def _take_up_again(conn: db.Connection, items: Iterable[Item], *, now: str) -> None:
    """Of two contents with one `updated_at` the one fetched last is the newer: also where it was fetched before.

    A label that goes and comes back within a second is such a case. The row of the bytes that are back gets a new id,
    and with it the last place in the order of fetches; it is archived again, to the same key, with its new time.
    Whoever has it in hand finds that it is no longer theirs.
    """
    shown = {(item.item_type, item.item_id): item.payload_sha256 for item in items}  # the last of each item
    in_order = conn.words.join_in_order
    for some in db.in_statements([(*item, sha256) for item, sha256 in shown.items()], parameters=3):
        found = conn.execute(
            f"""
            WITH shown (item_type, item_id, payload_sha256) AS (VALUES {", ".join(["(?, ?, ?)"] * len(some))})
            SELECT DISTINCT known.id FROM shown
            {in_order} queue_items known USING (item_type, item_id, payload_sha256)
            {in_order} queue_items later
                ON later.item_type = known.item_type AND later.item_id = known.item_id AND later.id > known.id
            WHERE later.updated_at = known.updated_at
            """,
            [value for identity in some for value in identity],
        )
        for row_id in sorted(row_id for (row_id,) in found):
            conn.execute(
                f"""
                UPDATE queue_items SET id = {_next_id(conn)},
                    status = CASE status WHEN 'failed' THEN status ELSE 'pending' END,
                    attempts = CASE status WHEN 'done' THEN 0 ELSE attempts END, fetched_at = ?, s3_key = NULL,
                    batch_key = NULL, claim_token = NULL, lease_until = NULL
                WHERE id = ?
                """,
                (now, row_id),
            )


def _next_id(conn: db.Connection) -> str:
    """What is the next row's id in a statement; none is used twice."""
    if conn.words.is_postgres:
        return "DEFAULT"
    # SQLite gives the next one by itself only to a row that is inserted.
    conn.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'queue_items'")
    return "(SELECT seq FROM sqlite_sequence WHERE name = 'queue_items')"


# `batch_key` of a row that is to have an object of its own; NULL: not decided yet. It is decided once, at a claim:
# an upload whose answer was lost may have got there, and the payload would be in the archive twice.
OWN_OBJECT = ""
# A clock that once stood far ahead must not put rows off for as long: no backoff lasts beyond `latest`.
_AVAILABLE = """
    status = 'pending' AND (available_at <= :now OR available_at > :latest) AND (group_failures = 0 OR :suspects)
"""


def _claimed_columns(conn: db.Connection) -> str:
    return ", ".join(conn.words.bytes_of_payload if name == "payload" else name for name in ClaimedItem._fields)


def claim_next(
    conn: db.Connection, lease: Lease, *, place: str, prefix: str, limit: int, new_batch: NewBatch | None
) -> Claim:
    """What is to be worked on next; `new_batch` None: each new row is to have an object of its own.

    What was begun goes first, and on as it was begun, whatever the layout: its upload may have got there.
    """
    claim = (
        claim_begun(conn, lease, place=place, prefix=prefix)
        or claim_archived(conn, lease, limit=limit)
        or claim_single(conn, lease, limit=limit, begun_only=new_batch is not None)
    )
    if claim or new_batch is None:
        return claim
    return claim_batch(conn, lease, place=place, **new_batch._asdict())


def claim_begun(conn: db.Connection, lease: Lease, *, place: str, prefix: str) -> Claim:
    """The whole of a batch that an earlier run began and did not finish, if there is one.

    One that was to go to another place is begun anew: what became of it there is nothing to this one.
    """
    after = OWN_OBJECT
    while True:
        found = conn.execute(
            f"""
            SELECT batch_key, batch_place FROM queue_items
            WHERE {_AVAILABLE} AND batch_key > :after ORDER BY batch_key LIMIT 1
            """,
            {**_present(lease), "after": after},
        ).fetchone()
        if found is None:
            return Claim([])
        key = found["batch_key"]
        # None: begun before places were noted.
        if found["batch_place"] not in (place, None) or not key.startswith(prefix):
            conn.execute("UPDATE queue_items SET batch_key = NULL WHERE status = 'pending' AND batch_key = ?", (key,))
            continue
        # All or none: what another one claims at this moment is waited for, and gone then.
        rows = conn.execute(
            f"""
            SELECT {_claimed_columns(conn)} FROM queue_items
            WHERE status = 'pending' AND batch_key = ? ORDER BY {conn.words.queue_order} {conn.words.lock_rows}
            """,
            (key,),
        )
        items = [ClaimedItem(*row) for row in rows]
        # A part would overwrite the whole: whoever has the other rows in hand uploads them under this key, and who was
        # waited for may have handed back some of them meanwhile.
        pending, is_in_hand = conn.execute(
            """
            SELECT (SELECT count(*) FROM queue_items WHERE status = 'pending' AND batch_key = :key),
                EXISTS (SELECT 1 FROM queue_items WHERE status = 'processing' AND batch_key = :key)
            """,
            {"key": key},
        ).fetchone()
        if is_in_hand:
            after = key
        elif items and len(items) == pending:
            _take(conn, items, lease, batch_key=key, place=place)
            return Claim(items, key)


def claim_archived(conn: db.Connection, lease: Lease, *, limit: int) -> Claim:
    """Rows whose object is there already, and which lack only their row in `issues`: `retry` made them pending."""
    return _claim_first(conn, lease, "s3_key > ''", f"s3_key, {conn.words.queue_order}", limit, batch_key=None)


def claim_single(conn: db.Connection, lease: Lease, *, limit: int, begun_only: bool = False) -> Claim:
    """Up to `limit` available rows that are not archived yet, oldest first; each is to have an object of its own.

    `begun_only`: those that an earlier run wanted to upload so, and perhaps did; no batch may have them.
    """
    which = "batch_key = :own_object" if begun_only else "coalesce(batch_key, :own_object) = :own_object"
    return _claim_first(conn, lease, f"s3_key IS NULL AND {which}", conn.words.queue_order, limit, batch_key=OWN_OBJECT)


def claim_batch(
    conn: db.Connection,
    lease: Lease,
    *,
    limit: int,
    max_bytes: int,
    fetched_before: str | None,
    place: str,
    key_of: Callable[[Sequence[ClaimedItem]], str],
) -> Claim:
    """Begin a batch for `place`: rows of one item type and one day, those of the oldest row, with their common key.

    At most `limit` rows and, from the second on, `max_bytes` of payload. A batch that is not full is begun only when
    its oldest row was fetched at or before `fetched_before` (None: at once), or by a clock that was ahead. The caller
    must commit durably before it uploads: a repeat then writes the same key with the same rows.
    """
    first = conn.execute(
        f"""
        SELECT item_type, substr(updated_at, 1, 10) AS day, fetched_at FROM queue_items
        WHERE {_AVAILABLE} AND s3_key IS NULL AND batch_key IS NULL
        ORDER BY {conn.words.queue_order} LIMIT 1 {conn.words.lock_free_rows}
        """,
        _present(lease),
    ).fetchone()
    if first is None:
        return Claim([])
    rows = conn.execute(
        f"""
        SELECT {_claimed_columns(conn)} FROM queue_items
        WHERE {_AVAILABLE} AND s3_key IS NULL AND batch_key IS NULL
            AND item_type = :item_type AND substr(updated_at, 1, 10) = :day
        ORDER BY {conn.words.queue_order} LIMIT :limit {conn.words.lock_free_rows}
        """,
        {**_present(lease), "item_type": first["item_type"], "day": first["day"], "limit": limit},
    )
    items, is_full = _fill(map(ClaimedItem._make, rows), limit=limit, max_bytes=max_bytes)
    rows.close()  # what was read is enough; no statement may stay open over the commit
    if not is_full and fetched_before is not None and fetched_before < first["fetched_at"] <= lease.now:
        return Claim([])
    items = _alike(items)
    key = key_of(items)
    _take(conn, items, lease, batch_key=key, place=place)
    return Claim(items, key)


def _claim_first(
    conn: db.Connection, lease: Lease, which: str, order: str, limit: int, *, batch_key: str | None
) -> Claim:
    rows = conn.execute(
        f"""
        SELECT {_claimed_columns(conn)} FROM queue_items WHERE {_AVAILABLE} AND {which}
        ORDER BY {order} LIMIT :limit {conn.words.lock_free_rows}
        """,
        {**_present(lease), "limit": limit},
    )
    items = _alike([ClaimedItem(*row) for row in rows])
    _take(conn, items, lease, batch_key=batch_key)
    return Claim(items)


def _present(lease: Lease) -> dict[str, Any]:
    latest = timestamps.shift(lease.now, seconds=2 * LONGEST_BACKOFF_SECONDS)
    return {"now": lease.now, "latest": latest, "suspects": lease.suspects, "own_object": OWN_OBJECT}


def _fill(rows: Iterator[ClaimedItem], *, limit: int, max_bytes: int) -> tuple[list[ClaimedItem], bool]:
    """Rows until they are enough, and whether they are."""
    items: list[ClaimedItem] = []
    size = 0
    for item in rows:
        size += len(item.payload)
        if items and size > max_bytes:
            return items, True
        items.append(item)
    return items, len(items) == limit


def _alike(items: list[ClaimedItem]) -> list[ClaimedItem]:
    """The first of the items, as many as may go together: suspects only with suspects, and in ever smaller groups.

    An item that kills its process is found this way: in the end it is alone when that happens (see `bury`).
    """
    failures = items[0].group_failures if items else 0
    alike = list(itertools.takewhile(lambda item: item.group_failures == failures, items))
    if failures:
        return alike[: SUSPECTS_AT_A_TIME if failures == 1 else 1]
    return alike


def _take(
    conn: db.Connection,
    items: Sequence[ClaimedItem],
    lease: Lease,
    *,
    batch_key: str | None,
    place: str | None = None,
) -> None:
    # Where rows are locked they are still pending; to say so could let the planner look through all that are.
    still = "" if conn.words.is_postgres else "AND status = 'pending'"
    for some in db.in_statements([item.id for item in items], besides=4):
        conn.execute(
            f"""
            UPDATE queue_items SET status = 'processing', claim_token = ?, lease_until = ?, batch_key = ?,
                batch_place = ?
            WHERE id IN {db.places(len(some))} {still}
            """,
            (lease.token, lease.until, batch_key, place, *some),
        )


def release_expired(conn: db.Connection, *, now: str) -> int:
    """Rows whose owner let the lease run out become `pending` again; returns how many.

    All of a batch or, where its owner completes it at this moment, none: who has a part must not take it for the whole.
    """
    expired = ["status = 'processing' AND lease_until < :now"]
    if conn.words.is_postgres:  # a server's clock that once stood far ahead; elsewhere the kernel knows who lives
        expired.append("status = 'processing' AND lease_until > :latest")
    return conn.execute(
        f"""
        UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL
        WHERE {_locked(conn, *expired)}
        """,
        {"now": now, "latest": timestamps.shift(now, seconds=2 * LONGEST_LEASE_SECONDS)},
    ).rowcount


def _locked(conn: db.Connection, *which: str) -> str:
    """A condition for rows of any of these kinds; where rows are locked, all who change many do it in one order."""
    return conn.words.ids_of.format(_in_order(*which)) if conn.words.is_postgres else " OR ".join(which)


def _in_order(*which: str) -> str:
    """PostgreSQL: lock the rows in the order of their ids, so that no two wait for each other.

    They are looked up first: for the sake of the order the planner would go through the ids of the whole table.
    """
    found = " UNION ALL ".join(f"SELECT id FROM queue_items WHERE {each}" for each in which)
    return f"""
        SELECT id FROM queue_items WHERE id = ANY (ARRAY({found})) AND (({") OR (".join(which)}))
        ORDER BY id FOR UPDATE
    """


def lock(conn: db.Connection, *, token: str, item_ids: Sequence[int] | None = None) -> None:
    """Before several steps change rows of the token's: all of them (None), or these, in the order that all keep to."""
    if conn.words.is_postgres:
        ours = "status = 'processing' AND claim_token = :token"
        rows = _in_order(ours)
        if item_ids is not None:
            rows = (
                f"SELECT id FROM queue_items WHERE id = ANY (CAST(:ids AS bigint[])) AND {ours} ORDER BY id FOR UPDATE"
            )
        parameters = {"token": token, "ids": list(item_ids or ())}
        conn.execute(f"SELECT count(*) FROM ({rows}) AS locked", parameters)


def bury(conn: db.Connection, *, token: str, now: str, max_attempts: int, jitter: float) -> int:
    """Hand back the rows of a process that died; returns how many. They go on in smaller groups.

    Only a suspect that is archived already, and the only one, is what killed it: nothing else was done beside it. An
    attempt is counted, and the last makes it `failed`. Before that it may have been killed because the archive did not
    answer (by `timeout -s KILL`, say), and an outage blames nobody.
    """
    lock(conn, token=token)
    ours = "status = 'processing' AND claim_token = ?"
    suspects = conn.execute(
        f"SELECT id, attempts FROM queue_items WHERE {ours} AND s3_key > '' AND group_failures > 0 LIMIT 2", (token,)
    ).fetchall()
    conn.execute(f"UPDATE queue_items SET group_failures = group_failures + 1 WHERE {ours}", (token,))
    blamed = 0
    if len(suspects) == 1:
        blamed = _blame(conn, suspects[0], token=token, now=now, max_attempts=max_attempts, jitter=jitter)
    return blamed + release(conn, token=token)


def _blame(conn: db.Connection, row: Any, *, token: str, now: str, max_attempts: int, jitter: float) -> bool:
    """Count an attempt for a row that its process died over."""
    row_id, attempts = row["id"], row["attempts"] + 1
    error = f"the worker died while it had only this item in hand ({attempts} times); see the system's log of that time"
    if attempts >= max_attempts:
        return fail(conn, item_id=row_id, token=token, s3_key=None, error=error, now=now)
    available_at = timestamps.shift(now, seconds=backoff_seconds(attempts=attempts, jitter=jitter))
    return put_off(conn, item_id=row_id, token=token, error=error, available_at=available_at)


def claim_tokens(conn: db.Connection) -> list[str]:
    """The tokens that own a row at present."""
    rows = conn.execute("SELECT DISTINCT claim_token FROM queue_items WHERE status = 'processing'")
    return [row["claim_token"] for row in rows]


def extend_leases(conn: db.Connection, lease: Lease) -> int:
    which = _locked(conn, "status = 'processing' AND claim_token = :token")
    return conn.execute(
        f"UPDATE queue_items SET lease_until = :until WHERE {which}", {"until": lease.until, "token": lease.token}
    ).rowcount


def complete(conn: db.Connection, *, s3_keys: Mapping[int, str], token: str, now: str) -> set[int]:
    """`processing` -> `done` for rows whose payloads are in these objects; returns which of them were still ours."""
    if conn.words.is_postgres:  # one statement for all: each is a request to another host
        lock(conn, token=token, item_ids=list(s3_keys))
        found = conn.execute(
            """
            UPDATE queue_items SET status = 'done', s3_key = ended.s3_key, batch_key = NULL, last_error = NULL,
                finished_at = ?, claim_token = NULL, lease_until = NULL
            FROM unnest(CAST(? AS bigint[]), CAST(? AS text[])) AS ended (id, s3_key)
            WHERE queue_items.id = ended.id AND claim_token = ? AND status = 'processing'
            RETURNING queue_items.id
            """,
            (now, list(s3_keys), list(s3_keys.values()), token),
        )
        return {row_id for (row_id,) in found}
    ours: set[int] = set()
    for some in db.in_statements(list(s3_keys), besides=1):
        found = conn.execute(
            f"""
            SELECT group_concat(id) FROM queue_items
            WHERE id IN {db.places(len(some))} AND claim_token = ? AND status = 'processing'
            """,
            (*some, token),
        ).fetchone()[0]
        ours.update(map(int, found.split(",") if found else ()))
    # Neither a list nor RETURNING: old SQLite knows no table of values to join, nor the latter.
    conn.executemany(
        """
        UPDATE queue_items SET status = 'done', s3_key = ?, batch_key = NULL, last_error = NULL, finished_at = ?,
            claim_token = NULL, lease_until = NULL
        WHERE id = ?
        """,
        [(s3_key, now, row_id) for row_id, s3_key in s3_keys.items() if row_id in ours],
    )
    return ours


def note_rest_archived(conn: db.Connection, *, s3_keys: Mapping[int, str], completed: set[int]) -> int:
    """Rows of these that were freed while the rest of their batch was completed are in its object as well.

    Without this they would overwrite it. Returns how many.
    """
    objects = {s3_keys[row_id] for row_id in completed}
    return sum(
        conn.execute(
            """
            UPDATE queue_items SET s3_key = batch_key, batch_key = NULL
            WHERE status = 'pending' AND batch_key = ? AND id = ?
            """,
            (s3_key, row_id),
        ).rowcount
        for row_id, s3_key in sorted(s3_keys.items())
        if row_id not in completed and s3_key in objects
    )


def fail(conn: db.Connection, *, item_id: int, token: str, s3_key: str | None, error: str, now: str) -> bool:
    """`processing` -> `failed`, the dead letter that only `retry` brings back; False when no longer ours.

    `s3_key` None: it is not known to be archived.
    """
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'failed', attempts = attempts + 1, last_error = :error, finished_at = :now,
            s3_key = coalesce(:s3_key, s3_key), batch_key = CASE WHEN :s3_key IS NULL THEN batch_key END,
            claim_token = NULL, lease_until = NULL
        WHERE id = :id AND claim_token = :token AND status = 'processing'
        """,
        {"s3_key": s3_key, "error": error, "now": now, "id": item_id, "token": token},
    ).rowcount
    return changed == 1


def put_off(conn: db.Connection, *, item_id: int, token: str, error: str, available_at: str) -> bool:
    """`processing` -> `pending` after an attempt that failed; not claimed before `available_at`."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL,
            attempts = attempts + 1, last_error = ?, available_at = ?
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (error, available_at, item_id, token),
    ).rowcount
    return changed == 1


def note_archived(conn: db.Connection, *, item_id: int, token: str, s3_key: str) -> bool:
    """`processing` -> `pending`, its object being there: what is left is its row in `issues`."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'pending', s3_key = ?, batch_key = NULL, claim_token = NULL, lease_until = NULL
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (s3_key, item_id, token),
    ).rowcount
    return changed == 1


def part(conn: db.Connection, *, item_id: int, token: str) -> bool:
    """`processing` -> `pending` for a row of a batch that was refused as a whole: it goes on in a smaller group."""
    changed = conn.execute(
        """
        UPDATE queue_items SET status = 'pending', batch_key = NULL, group_failures = group_failures + 1,
            claim_token = NULL, lease_until = NULL
        WHERE id = ? AND claim_token = ? AND status = 'processing'
        """,
        (item_id, token),
    ).rowcount
    return changed == 1


def release(conn: db.Connection, *, token: str) -> int:
    """Hand back every row that `token` still owns, attempts untouched; returns how many."""
    which = _locked(conn, "status = 'processing' AND claim_token = :token")
    return conn.execute(
        f"UPDATE queue_items SET status = 'pending', claim_token = NULL, lease_until = NULL WHERE {which}",
        {"token": token},
    ).rowcount


def retry(conn: db.Connection, *, item_ids: Sequence[int] | None) -> int:
    """`failed` -> `pending` with a fresh count of attempts: the rows named, or all (None). Returns how many."""
    statement = """
        UPDATE queue_items SET status = 'pending', attempts = 0, available_at = :epoch, finished_at = NULL
        WHERE status = 'failed'
    """
    if item_ids is None:
        return conn.execute(statement, {"epoch": timestamps.EPOCH}).rowcount
    return sum(
        conn.execute(statement + " AND id = :id", {"epoch": timestamps.EPOCH, "id": item_id}).rowcount
        for item_id in item_ids
    )


def drop(conn: db.Connection, *, item_ids: Sequence[int]) -> int:
    """Delete those of the rows that are `failed`, for good; returns how many. What they had archived stays."""
    statement = "DELETE FROM queue_items WHERE status = 'failed' AND id = ?"
    return sum(conn.execute(statement, (item_id,)).rowcount for item_id in item_ids)


def backoff_seconds(*, attempts: int, jitter: float) -> float:
    """How long to put off an item that has failed `attempts` times; `jitter` from 0 to 1 spreads it by half."""
    doubled = FIRST_BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 20)
    return min(doubled, LONGEST_BACKOFF_SECONDS) * (1 + jitter / 2)


def counts(conn: db.Connection) -> Counts:
    """Rows by status, each counted in its own partial index."""
    statement = "SELECT count(*) FROM queue_items WHERE status = '{}'"
    return Counts(*(conn.execute(statement.format(status)).fetchone()[0] for status in Counts._fields))


def is_empty(conn: db.Connection) -> bool:
    """Is there no row that waits, and none in anybody's hand?"""
    none = "NOT EXISTS (SELECT 1 FROM queue_items WHERE status = '{}')"  # each has a partial index
    return bool(conn.execute(f"SELECT {none.format('pending')} AND {none.format('processing')}").fetchone()[0])


def prune(
    conn: db.Connection,
    *,
    finished_before: str,
    overlap_seconds: int,
    limit: int,
    item_types: Mapping[str, Sequence[str]],
    listed_whole: Sequence[str] = (),
) -> int:
    """Delete up to `limit` rows that are done, and archived, since before that time; returns how many.

    `item_types`: what each stream brings. `listed_whole`: types whose lists are read whole each time; of each item of
    these the newest version stays.

    Not what the next ordinary ingest looks at again, which would not know it as a duplicate: a stream is read from
    `overlap_seconds` before its cursor, however long ago that is, or from wherever, while it has none. Nor where
    GitHub's own clock says that the item changed since: `finished_at` comes from a worker's, which may have been wrong.
    """
    kinds = ", ".join(f"('{stream}', '{kind}')" for stream, of_it in item_types.items() for kind in of_it)
    since = "strftime('%Y-%m-%dT%H:%M:%SZ', cursor, :overlap)"
    if conn.words.is_postgres:
        since = """to_char(CAST(cursor AS timestamp) + CAST(:overlap AS interval), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    replaced = """
        AND (item_type NOT IN ({}) OR EXISTS (
            SELECT 1 FROM queue_items later WHERE later.item_type = queue_items.item_type
                AND later.item_id = queue_items.item_id AND later.id > queue_items.id
        ))
    """.format(", ".join(f"'{item_type}'" for item_type in listed_whole))
    chosen = f"""
        WITH kinds (stream, item_type) AS (VALUES {kinds}), streams (name, item_type, since) AS (
            SELECT lower(repo), item_type, coalesce({since}, '') FROM ingest_state JOIN kinds USING (stream)
        ), read_again (name, item_type, since) AS (
            SELECT name, item_type, since FROM streams
            UNION ALL SELECT alias, item_type, since FROM repo_aliases JOIN streams ON name = lower(repo)
        )
        SELECT id FROM queue_items WHERE status = 'done' AND finished_at < :before AND updated_at < :before
        AND NOT EXISTS (
            SELECT 1 FROM read_again
            WHERE name = lower(queue_items.repo) AND item_type = queue_items.item_type
                AND since <= queue_items.updated_at
        ) {replaced if listed_whole else ""}
        ORDER BY finished_at LIMIT :limit
    """
    return conn.execute(
        f"DELETE FROM queue_items WHERE status = 'done' AND s3_key IS NOT NULL AND {conn.words.ids_of.format(chosen)}",
        {"before": finished_before, "overlap": f"-{overlap_seconds} seconds", "limit": limit},
    ).rowcount
