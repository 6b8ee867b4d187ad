"""What the contestants work on: issues and pull requests of about 6 KB each, as GitHub shows them."""

import hashlib
import json
import random
import time

import db
import queue_manager
from foundation import records, timestamps
from github.pages import cut, to_item
from tests.github_data import Repo

LONG_AGO = "2026-01-01T00:00:00Z"
STEP_SECONDS = 20  # between two items' updated_at: a day holds 4,320
START = 1_700_000_000
USER_LINKS = (
    "followers", "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "subscriptions", "orgs",
    "repos", "events{/privacy}", "received_events",
)  # fmt: skip

LABEL = {"id": 1, "name": "bug", "color": "d73a4a", "default": True, "description": "Something isn't working"}


def user(login):
    """Every user in GitHub's payloads comes with all of these."""
    url = f"https://api.github.com/users/{login}"
    links = {name.split("{")[0] + "_url": f"{url}/{name}" for name in USER_LINKS}
    avatar = f"https://avatars.example/u/{login}"
    return {
        "login": login,
        "id": int.from_bytes(login.encode(), "big") % 10**8,
        "avatar_url": avatar,
        "url": url,
        **links,
    }


class Writer:
    """Makes the fields of items: many links, and words as often as in prose. The same ones in every run."""

    def __init__(self, seed=1):
        self._rng = random.Random(seed)
        self._words = ["".join(self._rng.choices("aeioubcdlmnprst", k=self._rng.randint(2, 9))) for _ in range(5000)]
        self._weights = [1 / rank for rank in range(1, len(self._words) + 1)]
        self._logins = self._rng.sample(self._words, 500)

    def fields(self, at, *, body_bytes=2500):
        body = " ".join(self._rng.choices(self._words, self._weights, k=body_bytes // 6))
        people = [user(self._rng.choice(self._logins)) for _ in range(3)]
        moment = timestamps.from_epoch(START + STEP_SECONDS * at)
        return {"user": people[0], "assignees": people[1:], "labels": [LABEL], "body": body, "updated_at": moment}


def fill_repo(repo, count):
    """`count` items, two of five of them pull requests; what the lists show of them is made once, now."""
    writer = Writer()
    for at in range(count):
        add = repo.add_pull if at % 5 in (1, 3) else repo.add_issue
        add(**writer.fields(at))
    repo.render_all()


def payloads(count):
    """The texts of so many issues."""
    repo, writer = Repo("acme/widgets", 1, time.time), Writer()
    for at in range(count):
        repo.add_issue(**writer.fields(at))
    return [render() for _, _, _, render in repo.streams["issues"].items.values()]


def fill_queue(path, texts):
    conn = db.connect(str(path))
    items = [to_item(element, "issue") for element in cut("[" + ",".join(texts) + "]")]
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo="acme/widgets", items=items, now=LONG_AGO)
    conn.close()


def fill_with_years(path, count):
    """`count` rows that differ in number and time only: of a hundred, one has failed and five were done long ago."""
    template = json.loads(payloads(1)[0])
    conn = db.connect(str(path), synchronous="OFF")
    for first in range(1, count + 1, 10_000):
        items = [_variant(template, number) for number in range(first, min(first + 10_000, count + 1))]
        with db.transaction(conn):
            queue_manager.enqueue(conn, repo="acme/widgets", items=items, now=LONG_AGO)
            conn.execute(
                "UPDATE queue_items SET status = 'failed', last_error = 'bad', attempts = 5 "
                "WHERE id >= ? AND id % 100 = 0",
                (first,),
            )
            conn.execute(
                "UPDATE queue_items SET status = 'done', s3_key = 'k', finished_at = ? "
                "WHERE id >= ? AND id % 100 BETWEEN 1 AND 5",
                (LONG_AGO, first),
            )
    conn.close()


def _variant(template, number):
    moment = timestamps.from_epoch(START + STEP_SECONDS * number)
    payload = json.dumps({**template, "id": number, "number": number, "updated_at": moment}).encode()
    return records.Item("issue", number, number, moment, payload, hashlib.sha256(payload).hexdigest())
