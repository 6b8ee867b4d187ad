"""Compares what is in the archive with what the database says: the promises, looked at from outside.

Shares no code with the pipeline: an error in it must not hide itself here.
"""

import contextlib
import gzip
import json
import sqlite3


def contents(objects):
    """{key: bytes} of an archive -> {key: [payload, ...]}."""
    return {
        key: gzip.decompress(body).decode("utf-8").split("\n")[:-1] if key.endswith(".gz") else [body.decode("utf-8")]
        for key, body in objects.items()
    }


def read_directory(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".incoming" not in path.parts
    }


@contextlib.contextmanager
def questions(db_path):
    """A function that answers a query with a list of dictionaries, in whichever engine the database lies."""
    if db_path.startswith("postgresql:"):
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(db_path, row_factory=dict_row) as conn:
            yield lambda query: conn.execute(query).fetchall()
        return
    with contextlib.closing(sqlite3.connect(db_path)) as conn:
        conn.row_factory = sqlite3.Row
        yield lambda query: [dict(row) for row in conn.execute(query)]


def problems(db_path, objects, get=None):
    """What is wrong, in words; an empty list after everything has been brought home.

    `get(key)`, where given, asks the store for an object that its listing left out; None: it is not there.
    """
    found = []
    with questions(db_path) as ask:
        for row in ask("SELECT status, count(*) AS rows FROM queue_items WHERE status <> 'done' GROUP BY status"):
            found.append(f"{row['rows']} rows are {row['status']}")
        archived = sorted((key, payload) for key, payloads in contents(objects).items() for payload in payloads)
        queued = sorted((row["s3_key"] or "", row["payload"]) for row in ask("SELECT * FROM queue_items"))
        if archived != queued:
            found.append(f"archive: {len(archived)} payloads for {len(queued)} rows")
            found += _differences({key for key, _ in queued}, objects, set(queued), set(archived), get)
        if len({payload for _, payload in archived}) != len(archived):
            found.append("a payload is in the archive twice")
        found += _issues(ask)
        if not db_path.startswith("postgresql:"):
            checked = [row["integrity_check"] for row in ask("PRAGMA integrity_check")]
            found += [said for said in checked if said != "ok"]
    return found


def _differences(keys, objects, queued, archived, get):
    """Which, by name: keys that are missing, whether only from the listing; keys that nobody knows; other contents."""
    missing, unknown = sorted(keys - set(objects)), sorted(set(objects) - keys)
    hidden = [key for key in missing if get is not None and get(key) is not None]
    lists = {
        "missing from the archive": [key for key in missing if key not in hidden],
        "there, but left out of the store's listing": hidden,
        "in the archive, but in no row": unknown,
        "with another content than their row": sorted({key for key, _ in queued ^ archived if key in objects})[:20],
    }
    return [f"{len(found)} keys {what}: {found}" for what, found in lists.items() if found]


def _issues(ask):
    newest = {}
    done = ask("SELECT * FROM queue_items WHERE status = 'done'")
    for row in (row for row in done if row["item_type"] in ("issue", "pull_request")):
        key, version = (row["item_type"], row["item_id"]), (row["updated_at"], row["payload_sha256"], row["s3_key"])
        newest[key] = max(version, newest.get(key, version))
    stored = {
        (row["item_type"], row["id"]): (row["updated_at"], row["payload_sha256"], row["s3_key"])
        for row in ask("SELECT * FROM issues")
    }
    titles = {row["payload_sha256"]: row["title"] for row in ask("SELECT payload_sha256, title FROM issues")}
    wrong = [
        row["payload_sha256"]
        for row in ask("SELECT payload_sha256, payload FROM queue_items")
        if row["payload_sha256"] in titles and json.loads(row["payload"])["title"] != titles[row["payload_sha256"]]
    ]
    found = [] if stored == newest else [f"issues: {len(stored)} rows, {len(newest)} items, or not the newest versions"]
    return found + ([f"issues: {len(wrong)} rows with another title than their payload"] if wrong else [])
