"""Compares what is in the archive with what the database says: the promises, looked at from outside.

Shares no code with the pipeline: an error in it must not hide itself here.
"""

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


def problems(db_path, objects):
    """What is wrong, in words; an empty list after everything has been brought home."""
    found = []
    conn = sqlite3.connect(db_path)
    conn.row_factory = sqlite3.Row
    try:
        for status, count in conn.execute("SELECT status, count(*) FROM queue_items WHERE status <> 'done' GROUP BY 1"):
            found.append(f"{count} rows are {status}")
        archived = sorted((key, payload) for key, payloads in contents(objects).items() for payload in payloads)
        queued = sorted((row["s3_key"] or "", row["payload"]) for row in conn.execute("SELECT * FROM queue_items"))
        if archived != queued:
            missing, extra = set(queued) - set(archived), set(archived) - set(queued)
            found.append(f"archive: {len(archived)} payloads for {len(queued)} rows")
            found.append(f"missing {sorted(missing)[:2]}, extra {sorted(extra)[:2]}")
        if len({payload for _, payload in archived}) != len(archived):
            found.append("a payload is in the archive twice")
        found += _issues(conn)
        found += [row[0] for row in conn.execute("PRAGMA integrity_check") if row[0] != "ok"]
    finally:
        conn.close()
    return found


def _issues(conn):
    newest = {}
    for row in conn.execute("SELECT * FROM queue_items WHERE status = 'done'"):
        key, version = (row["item_type"], row["item_id"]), (row["updated_at"], row["payload_sha256"], row["s3_key"])
        newest[key] = max(version, newest.get(key, version))
    stored = {
        (row["item_type"], row["id"]): (row["updated_at"], row["payload_sha256"], row["s3_key"])
        for row in conn.execute("SELECT * FROM issues")
    }
    titles = {row[0]: row[1] for row in conn.execute("SELECT payload_sha256, title FROM issues")}
    wrong = [
        row["payload_sha256"]
        for row in conn.execute("SELECT payload_sha256, payload FROM queue_items")
        if row[0] in titles and json.loads(row[1])["title"] != titles[row[0]]
    ]
    found = [] if stored == newest else [f"issues: {len(stored)} rows, {len(newest)} items, or not the newest versions"]
    return found + ([f"issues: {len(wrong)} rows with another title than their payload"] if wrong else [])
