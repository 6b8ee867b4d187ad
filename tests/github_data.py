"""Repositories and items for the tests' GitHub: made, loaded, changed. Holds what the API shows; no HTTP.

An issue and a pull request have ids from separate number spaces; a pull request also stands in the issues list.
"""

import json
import random
import threading

from tests.github_world import history
from tests.github_world.basics import API, Served, Stream, compact_json, node_id, seconds, sha256, utc
from tests.github_world.comments import Comments
from tests.github_world.events import NOTICED, Events
from tests.github_world.meta import Meta
from tests.github_world.reviews import Reviews

STREAMS = ("issues", "pulls")  # what has a number; a pull request stands in both
OTHERS = ("issue-comments", "review-comments", "events", "milestones", "labels", "releases")
AS_ISSUE = 5 * 10**11  # between a pull request's id and that of the same as an issue


class Repo(Comments, Events, Meta, Reviews):
    """One repository. `touch` changes an item now, by the server's clock."""

    def __init__(
        self, full_name, repo_id, clock, *, issues_enabled=True, pulls_enabled=True, archived=False, fork=False,
        private=False, cursors=True,
    ):  # fmt: skip
        self.full_name, self.id, self._clock = full_name, repo_id, clock
        self.issues_enabled, self.pulls_enabled = issues_enabled, pulls_enabled
        self.archived, self.fork, self.private, self.cursors = archived, fork, private, cursors
        self.broken = set()  # (stream, number or id) of items that make each page that holds them a 502
        self.denied = set()  # streams that the token may not read by GraphQL
        self.unlisted = set()  # numbers that GraphQL counts and does not list
        self.nulls = set()  # numbers that it lists as null
        self.streams = {name: Stream() for name in STREAMS + OTHERS}
        self.lock = threading.RLock()
        self._fields = {}  # (stream, number) -> the fields given, for `touch`
        self.absent = {}  # number -> how it is answered: a status, and where it is now
        self._hidden = {}
        self._next_number = 1
        self._begin_comments()
        self._begin_events()
        self._begin_meta()
        self._begin_reviews()

    def payload(self):
        return {
            "id": self.id, "full_name": self.full_name, "name": self.full_name.split("/")[1],
            "owner": {"login": self.full_name.split("/")[0], "id": 1}, "private": self.private,
            "archived": self.archived, "fork": self.fork, "has_issues": self.issues_enabled,
            "has_pull_requests": self.pulls_enabled, "url": f"{API}/repos/{self.full_name}",
            "license": None,
        }  # fmt: skip

    def add_issue(self, **fields):
        return self._add("issues", fields)

    def add_pull(self, **fields):
        """Stands in the pulls list, and with an id of its own in the issues list too."""
        return self._add("pulls", fields)

    def add_raw(self, stream, text, *, item_id, number, updated_at, state="open", sorted_by=None):
        """Whatever text it is, to any list; `sorted_by`: what its other order goes by (created_at, due_on, name)."""
        with self.lock:
            self.streams[stream].put(item_id, number, updated_at, state, lambda: text, sorted_by or updated_at)

    def render_all(self):
        """Make, once, the text of each item: a list then costs the server little."""
        with self.lock:
            for stream in self.streams.values():
                for item_id, (*what, render) in stream.items.items():
                    text = render()
                    stream.items[item_id] = (*what, lambda text=text: text)

    def known(self):
        """(stream, number) of each issue and pull request."""
        return self._fields.keys()

    def fields(self, stream, number):
        """What was said of it when it was made or touched."""
        return self._fields[stream, number]

    def stream_of(self, number):
        return next(stream for stream in STREAMS if (stream, number) in self._fields)

    def touch(self, stream, number, *, actor="ada", **changes):
        """An edit, by `actor`; what changes of state, labels and so on is noted as events, too."""
        with self.lock:
            before = self._fields[stream, number]
            fields = {**before, "updated_at": utc(self._clock()), **changes}
            fields["edits"] = fields.get("edits", 0) + 1
            if changes.keys() & NOTICED:
                self._notice(number, before, fields, actor)
            return self._put(stream, number, fields)

    def close(self, number, *, actor="ada", reason="completed", **changes):
        now = utc(self._clock())
        reason = None if self.stream_of(number) == "pulls" else reason
        self._changed(number, actor, state="closed", closed_at=now, state_reason=reason, **changes)

    def reopen(self, number, *, actor="ada"):
        self._changed(number, actor, state="open", closed_at=None, state_reason=None)

    def label(self, number, *names, actor="ada"):
        """These are its labels from now on."""
        self._changed(number, actor, labels=[{"id": 1, "name": name} for name in names])

    def assign(self, number, *logins, actor="ada"):
        """These are its assignees from now on."""
        self._changed(number, actor, assignees=[_user(login) for login in logins])

    def delete_issue(self, number):
        """With all that was said of it and happened to it: later pages move up."""
        with self.lock:
            for forget in (self._forget_comments, self._forget_events, self._forget_reviews):
                forget(number)
            self._unlist(number)
            self.absent[number] = (410, None)

    def transfer(self, number, other):
        """To another repository, where it has a new number, which is returned; a pull request can't be."""
        with self.lock:
            fields = {**self._fields["issues", number], "updated_at": utc(self._clock())}
            self.delete_issue(number)
            new = other.add_issue(**{name: value for name, value in fields.items() if name not in ("id", "number")})
            self.absent[number] = (301, (other, new))
        return new

    def hide(self, number):
        """By GitHub's staff, or as its author's account is flagged; `show` brings it back as it was."""
        with self.lock:
            self._hidden[number] = self._unlist(number)
            self.absent[number] = (404, None)

    convert = hide  # to a discussion: GitHub answers no other way

    def show(self, number):
        with self.lock:
            self._put(*self._hidden.pop(number))
            del self.absent[number]

    def _unlist(self, number):
        for stream in STREAMS:
            items = self.streams[stream]
            for item_id in [item_id for item_id, item in items.items.items() if item[1] == number]:
                items.remove(item_id)
        stream = self.stream_of(number)
        return stream, number, self._fields.pop((stream, number))

    def _changed(self, number, actor, **changes):
        self.touch(self.stream_of(number), number, actor=actor, **changes)

    def _moved(self, number, at, **changes):
        """Something happened to it: it was updated then, if nothing came later."""
        stream = self.stream_of(number)
        self.touch(stream, number, updated_at=max(at, self._fields[stream, number]["updated_at"]), **changes)

    def _quietly(self, number, **changes):
        """Shown otherwise from now on, without a new time."""
        stream = self.stream_of(number)
        self._put(stream, number, {**self._fields[stream, number], **changes})

    def _count(self, number, name):
        return self._fields[self.stream_of(number), number].get(name, 0)

    def _when(self, at):
        """A time given in seconds, as text, or not at all: now."""
        return at if isinstance(at, str) else utc(self._clock() if at is None else at)

    def when(self, late=0):
        """The server's time, or so many seconds before."""
        return utc(self._clock() - late)

    def versions(self):
        """What can be seen now: stream -> {id: updated_at}; an event's time is that of its making, a label has none."""
        with self.lock:
            found = {
                name: {item_id: item[0] for item_id, item in stream.items.items()}
                for name, stream in self.streams.items()
            }  # fmt: skip
            found["pull-details"] = {
                self.pull_id(number): fields["updated_at"]
                for (stream, number), fields in self._fields.items() if stream == "pulls"
            }  # fmt: skip
            found["reviews"] = {
                review_id: review["updated_at"]
                for review_id, review in self.reviews.items() if review["state"] != "PENDING"
            }  # fmt: skip
        return found

    def node_id(self, kind, *numbers):
        return node_id(kind, self.id, *numbers)

    def pull_id(self, number):
        return self._fields["pulls", number].get("id", self.id * 10**6 + number)

    def issue_id(self, number):
        """A pull request's, too: as an issue it has another."""
        if ("pulls", number) in self._fields:
            return self.pull_id(number) + AS_ISSUE
        return self._fields["issues", number].get("id", self.id * 10**6 + number)

    def item_node_id(self, number):
        """A pull request has the same in both lists."""
        is_pull = ("pulls", number) in self._fields
        return self.node_id("PR", self.pull_id(number)) if is_pull else self.node_id("I", self.issue_id(number))

    def issue(self, number):
        """As it is now."""
        stream = self.stream_of(number)
        fields = self._fields[stream, number]
        return json.loads(self._issue(self.issue_id(number), number, fields, stream == "pulls"))

    def make(self, count, *, pulls=0.4, start=None, step_seconds=60.0, same_second=False, body_bytes=200, seed=1,
             **talk):  # fmt: skip
        """`count` items, the last of them updated now (or `step_seconds` apart from `start` on).

        `talk`: how many `comments`, `review_comments`, `events` and `reviews` there are of them in all.
        """
        rng, made = random.Random(seed), []
        start = self._clock() - count * step_seconds if start is None else start
        for at in range(count):
            updated = utc(start + (0 if same_second else at * step_seconds))
            fields = {"updated_at": updated, "body": "x" * body_bytes, **_variety(rng, updated)}
            made.append(self._add("pulls" if rng.random() < pulls else "issues", fields))
        if talk:
            history.scatter(self, made, history.a_rng(seed), **talk)
        return self

    def _add(self, stream, fields):
        with self.lock:
            number = fields.pop("number", self._next_number)
            self._next_number = max(self._next_number, number) + 1
            fields.setdefault("updated_at", utc(self._clock()))
            return self._put(stream, number, fields)

    def _put(self, stream, number, fields):
        self._fields[stream, number] = fields
        updated_at, state = fields["updated_at"], fields.get("state", "open")
        is_pull = stream == "pulls"
        item_id = fields.get("id", self.id * 10**6 + number)
        issue_id = item_id + AS_ISSUE if is_pull else item_id
        if is_pull:
            self.streams["pulls"].put(item_id, number, updated_at, state, lambda: self._pull(item_id, number, fields))
        self.streams["issues"].put(
            issue_id, number, updated_at, state, lambda: self._issue(issue_id, number, fields, is_pull)
        )
        return number

    def _common(self, item_id, number, fields, kind):
        path = "https://github.com/%s/%s/%d" % (self.full_name, kind, number)
        return {
            "id": item_id, "node_id": self.item_node_id(number), "number": number, "html_url": path,
            "title": fields.get("title", "Item %d: ☃ \U0001f600" % number), "user": fields.get("user", _user("ada")),
            "labels": fields.get("labels", [{"id": 1, "name": "bug"}]), "state": fields.get("state", "open"),
            "locked": False, "active_lock_reason": None, "assignee": next(iter(fields.get("assignees", [])), None),
            "assignees": fields.get("assignees", []), "milestone": fields.get("milestone"),
            "created_at": fields.get("created_at", "2020-01-01T00:00:00Z"), "updated_at": fields["updated_at"],
            "closed_at": fields.get("closed_at"), "author_association": "CONTRIBUTOR",
            "body": fields.get("body"), "edits": fields.get("edits", 0),
        }  # fmt: skip

    def _issue(self, item_id, number, fields, is_pull):
        url = "%s/repos/%s/issues/%d" % (API, self.full_name, number)
        payload = {
            "url": url, "repository_url": f"{API}/repos/{self.full_name}",
            **self._common(item_id, number, fields, "pull" if is_pull else "issues"),
            "comments": fields.get("comments", 0), "state_reason": fields.get("state_reason"),
            "reactions": {"url": url + "/reactions", "total_count": 0},
        }  # fmt: skip
        if is_pull:
            payload["draft"] = fields.get("draft", False)
            payload["pull_request"] = {"url": url.replace("/issues/", "/pulls/"), "merged_at": fields.get("merged_at")}
        return compact_json(payload)

    def _pull(self, item_id, number, fields):
        branch = {"label": "x:main", "sha": "0" * 40, "user": _user("ada"), "repo": self.payload()}
        return compact_json(
            {
                "url": "%s/repos/%s/pulls/%d" % (API, self.full_name, number),
                **self._common(item_id, number, fields, "pull"),
                "merged_at": fields.get("merged_at"),
                "draft": fields.get("draft", False),
                "_links": {"html": {"href": "https://github.com/%s/pull/%d" % (self.full_name, number)}},
                "head": {**branch, "ref": "feature"},
                "base": {**branch, "ref": "main"},
            }  # fmt: skip
        )

    def served(self, stream, item_id, text):
        updated_at, number = self.streams[stream].items[item_id][:2]
        return Served(self.full_name, stream, item_id, number, updated_at, sha256(text))


def _user(login):
    return {"login": login, "id": 1, "type": "User", "url": f"{API}/users/{login}", "site_admin": False}


def _variety(rng, updated):
    """Open and closed, merged and not, drafts, deleted users, missing bodies."""
    fields = {"user": rng.choice([_user("ada"), _user("bo"), None]), "draft": rng.random() < 0.1}
    if rng.random() < 0.5:
        fields.update(state="closed", closed_at=updated, state_reason="completed")
        fields["merged_at"] = rng.choice([updated, None])
    if rng.random() < 0.2:
        fields.update(milestone={"title": "1.0", "number": 1}, assignees=[_user("cy")], body=None)
    return fields


PEOPLE = ["ada", "bo", "cy", "dee", "eli", "fay", "gus", "hana"]
LABELS = ["bug", "documentation", "enhancement", "good first issue", "performance", "security"]
WHAT = ["Crash", "Wrong count", "Time-out", "Typo", "Missing option", "Slow start", "Flaky test", "Unclear error"]
WHERE = ["in the parser", "on Windows", "with large files", "after an upgrade", "in the docs", "behind a proxy"]


def populate(repo, count, now, seed=1):
    """A year of a project's life: people, labels, what they said, and lead times from minutes to weeks."""
    rng, talk = random.Random(seed), history.a_rng(seed)
    for created in sorted(now - rng.random() * 365 * 86400 for _ in range(count)):
        is_pull = rng.random() < 0.4
        hours = rng.lognormvariate(*((2.5, 1.8) if is_pull else (4.0, 2.0)))  # medians of 12 and 55 hours
        finished = created + hours * 3600
        fields = {
            "title": f"{rng.choice(WHAT)} {rng.choice(WHERE)}", "created_at": utc(created),
            "user": _user(rng.choice(PEOPLE)), "body": "It happens " + rng.choice(WHERE) + ".",
            "labels": [{"id": LABELS.index(name) + 1, "name": name} for name in rng.sample(LABELS, rng.randrange(4))],
            "assignees": [_user(name) for name in rng.sample(PEOPLE, rng.randrange(2))],
        }  # fmt: skip
        comments = int(rng.expovariate(0.3))
        if finished < now and rng.random() < 0.85:
            fields.update(state="closed", closed_at=utc(finished), updated_at=utc(finished))
            if is_pull:
                fields["merged_at"] = utc(finished) if rng.random() < 0.8 else None
            else:
                fields["state_reason"] = rng.choice(["completed", "completed", "not_planned"])
        else:
            fields.update(
                updated_at=utc(min(now, created + rng.expovariate(1 / (5 * 86400)))), draft=rng.random() < 0.1
            )
        number = repo._add("pulls" if is_pull else "issues", fields)
        end = seconds(fields["updated_at"])
        history.Tale(repo, number, int(created), end, PEOPLE, talk).told(fields, comments)
    history.belongings(repo, LABELS, now - 365 * 86400, now)


def load(repo, lines):
    """Serve the payloads of JSON lines `{"item_type", "payload"}`; of several versions of an item, the newest."""
    newest = {}
    for line in lines:
        record = json.loads(line)
        stream = "pulls" if record["item_type"] == "pull_request" else "issues"
        payload = record["payload"]
        found = newest.get((stream, payload["id"]))
        if found is None or payload["updated_at"] >= found["updated_at"]:
            newest[stream, payload["id"]] = payload
    for (stream, item_id), payload in newest.items():
        repo.add_raw(
            stream, compact_json(payload), item_id=item_id, number=payload["number"], updated_at=payload["updated_at"],
            state=payload["state"],
        )  # fmt: skip
