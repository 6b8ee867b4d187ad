"""Times, texts and addresses as GitHub writes them; one list's items and their order."""

import base64
import bisect
import calendar
import functools
import hashlib
import json
import time
from typing import NamedTuple

API = "https://api.github.com"  # in payloads, so that their bytes do not depend on a port
WEB = "https://github.com"


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@functools.lru_cache(maxsize=10_000)
def seconds(text):
    """Of a time as GitHub writes it."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def compact_json(payload):
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def node_id(kind, *numbers):
    """GraphQL's id of an object, as GitHub has made them since 2021: [0, repository, ..., id] in msgpack."""
    packed = bytes([0x91 + len(numbers), 0])
    for number in numbers:
        packed += b"\xcf" + number.to_bytes(8, "big") if number >> 32 else b"\xce" + number.to_bytes(4, "big")
    return kind + "_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")


class Served(NamedTuple):
    """One version of an item, as a list showed it. `sha256` is the one of its own characters in the page."""

    repo: str
    stream: str
    id: int
    number: int
    updated_at: str
    sha256: str


class Stream:
    """The items of one list: a render function by id, and the order by (updated_at, id)."""

    def __init__(self):
        self.order = []  # sorted (updated_at, id)
        self.items = {}  # id -> (updated_at, number, state, render)
        self.sorted_by = {}  # id -> what another order than that by time goes by, where the list has one

    def remove(self, item_id):
        self.order.remove((self.items.pop(item_id)[0], item_id))
        self.sorted_by.pop(item_id, None)

    def put(self, item_id, number, updated_at, state, render, sorted_by=None):
        if item_id in self.items:
            self.order.pop(bisect.bisect_left(self.order, (self.items[item_id][0], item_id)))
        self.items[item_id] = (updated_at, number, state, render)
        self.sorted_by[item_id] = sorted_by
        bisect.insort(self.order, (updated_at, item_id))

    def select(self, *, state, since, newest_first, first, count):
        """(ids of a page, how many there are in all)."""
        start = bisect.bisect_left(self.order, (since, -1)) if since else 0
        chosen = range(start, len(self.order))
        if state != "all":
            chosen = [at for at in chosen if self.items[self.order[at][1]][2] == state]
        chosen = chosen[::-1] if newest_first else chosen
        return [self.order[at][1] for at in chosen[first : first + count]], len(chosen)

    def after(self, key, count, newest_first=False):
        """From behind `key` on: ids, and whether there are more."""
        if newest_first:
            end = bisect.bisect_left(self.order, key)
            return [item_id for _, item_id in self.order[max(0, end - count) : end]][::-1], end > count
        start = bisect.bisect_right(self.order, key)
        return [item_id for _, item_id in self.order[start : start + count]], start + count < len(self.order)
