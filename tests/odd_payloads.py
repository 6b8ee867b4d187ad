"""The oddest texts of items that GitHub might send, as an archive and those who read it meet them."""

import hashlib
import json
import re

from foundation.records import Item
from tests import payloads

DEEP = "[" * 900 + "]" * 900
HUGE = "9" * 400
# By name: the fields that differ from an ordinary item's, as JSON text.
FIELDS = {
    "ordinary": "",
    "NUL": '"title": "a\\u0000b"',
    "emoji": '"title": "a 😀 \\ud83d\\ude00 \u2028 é", "body": "😀"',
    "CRLF in a text": '"body": "a\\r\\nb\\tc"',
    "deep": f'"deep": {DEEP}',
    "huge numbers": f'"huge": {HUGE}, "tiny": 1e-400, "float": 1e400',
    "deleted user": '"user": null, "labels": [], "milestone": null',
    "closed": '"state": "closed", "closed_at": "2026-01-03T10:00:00Z"',
    "quotes": '"title": "%s {} \'); DROP TABLE issues;-- \\"\\\\", "labels": [{"name": "a, \\"b\\""}, {"name": "c"}]',
    "long": '"title": "' + "é" * 100_000 + '"',
    "lone surrogate": '"title": "a\\ud83db"',
}
# JSON allows it, and DuckDB does not read it.
UNREADABLE = {"lone surrogate"}


LATER = "2026-02-01T00:00:00Z"
# Of these a second version: one was closed meanwhile, one opened again.
CHANGED = {"ordinary": '"state": "closed", "closed_at": "2026-02-01T00:00:00Z"', "closed": '"state": "open"'}
MAKERS = {"issue": payloads.issue, "pull_request": payloads.pull}


def number(name):
    return list(FIELDS).index(name) + 1


def item(item_type, name, fields, updated_at):
    payload = _text(MAKERS[item_type](id=number(name), number=number(name), updated_at=updated_at), fields).encode()
    return Item(item_type, number(name), number(name), updated_at, payload, hashlib.sha256(payload).hexdigest())


def items():
    """Every odd issue and pull request, of three days, and the later versions."""
    found = []
    for item_type in MAKERS:
        for name, fields in FIELDS.items():
            at = number(name)
            found.append(item(item_type, name, fields, f"2026-01-{1 + at % 3:02d}T{at:02d}:00:00Z"))
        found += [item(item_type, name, fields, LATER) for name, fields in CHANGED.items()]
    return found


def _text(payload, fields):
    """The payload with these fields in place of its own: as text, which no program has read and written again."""
    names = re.findall(r'(?:^|, )"(\w+)": ', fields)
    plain = json.dumps({name: value for name, value in payload.items() if name not in names}, ensure_ascii=False)
    return plain[:-1] + (f", {fields}" if fields else "") + "}"
