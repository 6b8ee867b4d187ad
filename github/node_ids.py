"""GraphQL's ids of objects, and the numbers that REST knows them by, which stand within. Pure.

https://docs.github.com/graphql/guides/using-global-node-ids says that REST's `node_id` is GraphQL's `id`, and not what
one is made of. What is read here was compared with ids of both kinds (docs/ARCHITECTURE.md, "Older events"): whatever
is made otherwise has no number, rather than a wrong one.
"""

from __future__ import annotations

import base64
import re

from github.fields import MAX_INTEGER

# Until 2021: base64 of the length of the type's name, that name, and the number.
_OLD = re.compile(r"0(\d{2}):([A-Za-z]+)([1-9]\d{0,18})\Z", re.ASCII)
_NEW = re.compile(r"[A-Z]+_([A-Za-z0-9_-]+)\Z", re.ASCII)
_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # of unsigned integers: https://github.com/msgpack/msgpack


def event_id(node_id: str) -> int | None:
    """The number of an event of an issue's or pull request's; None where it can't be read without a doubt."""
    found = _NEW.match(node_id)
    number = _old_number(node_id) if found is None else _new_number(found[1])
    return number if number is not None and 0 < number <= MAX_INTEGER else None


def _old_number(node_id: str) -> int | None:
    try:
        found = _OLD.match(base64.b64decode(node_id, validate=True).decode("ascii"))
    except ValueError:
        return None
    if found is None or int(found[1]) != len(found[2]) or not found[2].endswith("Event"):
        return None
    return int(found[3])


def _new_number(packed: str) -> int | None:
    """The last of [0, repository, issue, event] in msgpack."""
    numbers = _unpacked(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))) if len(packed) % 4 != 1 else []
    return numbers[3] if len(numbers) == 4 and numbers[0] == 0 else None


def _unpacked(packed: bytes) -> list[int]:
    """A list of integers; an empty one where it holds anything else."""
    numbers: list[int] = []
    at = 1
    while at < len(packed):
        width = _WIDTHS.get(packed[at], 0)
        value = packed[at + 1 : at + 1 + width] if width else packed[at : at + 1]
        if len(value) < width or (not width and packed[at] > 0x7F):
            return []
        numbers.append(int.from_bytes(value, "big"))
        at += 1 + width
    return numbers if packed[:1] == bytes([0x90 + len(numbers)]) else []
