"""What happened to issues and pull requests: events, made of themselves by changes, or added."""

import collections
import itertools
import zlib

from tests.github_world.basics import API, compact_json
from tests.github_world.people import person

# event -> (GraphQL's type, the beginning of its node id: nothing reads that).
KINDS = {
    "closed": ("ClosedEvent", "CE"), "reopened": ("ReopenedEvent", "REE"), "merged": ("MergedEvent", "ME"),
    "labeled": ("LabeledEvent", "LE"), "unlabeled": ("UnlabeledEvent", "UNLE"),
    "assigned": ("AssignedEvent", "AE"), "unassigned": ("UnassignedEvent", "UNAE"),
    "milestoned": ("MilestonedEvent", "MIE"), "demilestoned": ("DemilestonedEvent", "DEME"),
    "renamed": ("RenamedTitleEvent", "RTE"), "locked": ("LockedEvent", "LOE"), "unlocked": ("UnlockedEvent", "UNLOE"),
    "review_requested": ("ReviewRequestedEvent", "RRE"),
    "review_request_removed": ("ReviewRequestRemovedEvent", "RRRE"),
    "review_dismissed": ("ReviewDismissedEvent", "RDE"),
    "ready_for_review": ("ReadyForReviewEvent", "RFRE"), "convert_to_draft": ("ConvertToDraftEvent", "CTDE"),
    "head_ref_deleted": ("HeadRefDeletedEvent", "HRDE"), "head_ref_force_pushed": ("HeadRefForcePushedEvent", "HRFPE"),
    "pinned": ("PinnedEvent", "PINE"), "unpinned": ("UnpinnedEvent", "UNPINE"),
    "referenced": ("ReferencedEvent", "REFE"), "mentioned": ("MentionedEvent", "MEE"),
    "subscribed": ("SubscribedEvent", "SE"), "transferred": ("TransferredEvent", "TE"),
}  # fmt: skip

# Changes of these make events.
NOTICED = {"labels", "assignees", "milestone", "title", "draft", "merged_at", "state"}


class Events:
    """A repository's part. An event shows its issue as that is now, whenever it is asked for."""

    def _begin_events(self):
        self.happened = {}  # id -> fields
        self._happened_to = collections.defaultdict(list)  # number -> ids
        self._event_ids = itertools.count(self.id * 10**7 + 1)

    def add_event(self, number, event, *, actor="ada", at=None, label=None, assignee=None, milestone=None,
                  rename=None, reviewer=None, team=None, orphan=False, **more):  # fmt: skip
        """An event by itself, now or `at` a time of the past; `rename`: (from, to); an `orphan` shows no issue.

        Returns its id. Neither the item nor its time changes: `touch` makes the events that belong to its changes.
        """
        details = dict(more)
        if label is not None:
            details["label"] = {"name": label, "color": self.color_of(label)}
        if assignee is not None:
            details.update(assignee=person(assignee), assigner=person(actor))
        if milestone is not None:
            details["milestone"] = {"title": milestone}
        if rename is not None:
            details["rename"] = {"from": rename[0], "to": rename[1]}
        if reviewer is not None or team is not None:
            details["review_requester"] = person(actor)
            details.update({"requested_reviewer": person(reviewer)} if reviewer else {"requested_team": _team(team)})
        with self.lock:
            event_id = next(self._event_ids)
            created_at = self._when(at)
            self._happened_to[number].append(event_id)
            self.happened[event_id] = {
                "of": number, "event": event, "actor": person(actor), "created_at": created_at, "details": details,
                "orphan": orphan,
            }  # fmt: skip
            self.streams["events"].put(event_id, number, created_at, "", lambda: compact_json(self._event(event_id)))
        return event_id

    def events_of(self, number):
        """(id, fields), oldest first."""
        found = [(event_id, self.happened[event_id]) for event_id in list(self._happened_to.get(number, ()))]
        return sorted(found, key=lambda one: (one[1]["created_at"], one[0]))

    def event_node_id(self, event_id):
        fields = self.happened[event_id]
        prefix = KINDS.get(fields["event"], ("", "E"))[1]
        return self.node_id(prefix, self.issue_id(fields["of"]), event_id)

    def color_of(self, label):
        return "%06x" % (zlib.crc32(label.encode()) & 0xFFFFFF)

    def _forget_events(self, number):
        for event_id in self._happened_to.pop(number, ()):
            del self.happened[event_id]
            self.streams["events"].remove(event_id)

    def _notice(self, number, before, now, actor):
        """The events of one change of an item."""
        at = now["updated_at"]
        for event, details in _differences(before, now):
            self.add_event(number, event, actor=actor, at=at, **details)

    def event_of_item(self, event_id):
        """As it is shown where the item was asked for."""
        return {name: value for name, value in self._event(event_id).items() if name != "issue"}

    def _event(self, event_id):
        fields = self.happened[event_id]
        commit = fields["details"].get("commit_id")
        details = {name: value for name, value in fields["details"].items() if name != "commit_id"}
        return {
            "id": event_id, "node_id": self.event_node_id(event_id),
            "url": "%s/repos/%s/issues/events/%d" % (API, self.full_name, event_id),
            "actor": fields["actor"], "event": fields["event"], "commit_id": commit,
            "commit_url": commit and "%s/repos/%s/commits/%s" % (API, self.full_name, commit),
            "created_at": fields["created_at"], **details,
            "issue": None if fields["orphan"] else self.issue(fields["of"]), "performed_via_github_app": None,
        }  # fmt: skip


def _team(slug):
    url = f"{API}/organizations/1/team/1"
    return {
        "id": 1, "node_id": "T_1", "name": slug, "slug": slug, "description": None, "privacy": "closed",
        "notification_setting": "notifications_enabled", "permission": "pull", "url": url, "type": "organization",
        "html_url": f"https://github.com/orgs/acme/teams/{slug}", "members_url": url + "/members{/member}",
        "repositories_url": url + "/repos", "parent": None,
    }  # fmt: skip


def _differences(before, now):
    """(event, what belongs to it) for each thing that differs, in the order in which GitHub would note them."""
    for name, by, event, undone in (
        ("labels", "name", "labeled", "unlabeled"), ("assignees", "login", "assigned", "unassigned"),
    ):  # fmt: skip
        if name in now:
            had, has = ([one[by] for one in fields.get(name, ())] for fields in (before, now))
            detail = "label" if name == "labels" else "assignee"
            yield from ((undone, {detail: each}) for each in had if each not in has)
            yield from ((event, {detail: each}) for each in has if each not in had)
    old, new = before.get("milestone"), now.get("milestone")
    if old != new:
        yield from (("demilestoned", {"milestone": old["title"]}) for _ in [0] if old)
        yield from (("milestoned", {"milestone": new["title"]}) for _ in [0] if new)
    if "title" in before and before["title"] != now["title"]:
        yield "renamed", {"rename": (before["title"], now["title"])}
    if bool(before.get("draft")) != bool(now.get("draft")):
        yield ("convert_to_draft" if now.get("draft") else "ready_for_review"), {}
    if now.get("merged_at") and not before.get("merged_at"):
        yield "merged", {"commit_id": now.get("merge_commit")}
    if before.get("state", "open") != now.get("state", "open"):
        is_closed = now.get("state") == "closed"
        yield ("closed", {"state_reason": now.get("state_reason")}) if is_closed else ("reopened", {})
