"""Events as GraphQL shows them, item by item, in the spelling that REST has for the same ones. Pure.

https://docs.github.com/graphql/reference/unions#issuetimelineitems, and of the kinds those that
https://docs.github.com/rest/using-the-rest-api/issue-event-types says to be in REST's list of issue events. An event
does not say of which item it is, so that its payload is `{"number": ..., "repository": ..., "node": ...}` of GraphQL's
own characters.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

from foundation.records import Row
from github.fields import ExtractionError, as_text, in_rests_spelling, required_integer, required_time, text_in
from github.node_ids import event_id

# What is asked for of each event: QUERY_VERSION goes up by one with each change. It stands in the query's name.
QUERY_VERSION = 1
EVENTS_AT_ONCE = 100
_ASSIGNEE = "assignee { __typename ... on Actor { login } }"
_REVIEWER = "requestedReviewer { __typename ... on Actor { login } ... on Team { slug } }"
# GraphQL's type -> what it shows beside who did it and when.
OF_ALL = {
    "AssignedEvent": _ASSIGNEE,
    "ClosedEvent": "stateReason closer { __typename ... on Commit { oid } }",
    "ConnectedEvent": "",
    "ConvertedToDiscussionEvent": "",
    "DemilestonedEvent": "milestoneTitle",
    "DisconnectedEvent": "",
    "LabeledEvent": "label { name }",
    "LockedEvent": "lockReason",
    "MarkedAsDuplicateEvent": "",
    "MentionedEvent": "",
    "MilestonedEvent": "milestoneTitle",
    "PinnedEvent": "",
    "ReferencedEvent": "commit { oid }",
    "RenamedTitleEvent": "previousTitle currentTitle",
    "ReopenedEvent": "stateReason",
    "SubscribedEvent": "",
    "TransferredEvent": "",
    "UnassignedEvent": _ASSIGNEE,
    "UnlabeledEvent": "label { name }",
    "UnlockedEvent": "",
    "UnmarkedAsDuplicateEvent": "",
    "UnpinnedEvent": "",
    "UserBlockedEvent": "",
}
OF_PULLS = {
    "AutomaticBaseChangeFailedEvent": "",
    "AutomaticBaseChangeSucceededEvent": "",
    "BaseRefChangedEvent": "",
    "ConvertToDraftEvent": "",
    "DeployedEvent": "",
    "DeploymentEnvironmentChangedEvent": "",
    "HeadRefDeletedEvent": "",
    "HeadRefForcePushedEvent": "",
    "HeadRefRestoredEvent": "",
    "MergedEvent": "commit { oid }",
    "ReadyForReviewEvent": "",
    "ReviewDismissedEvent": "",
    "ReviewRequestRemovedEvent": _REVIEWER,
    "ReviewRequestedEvent": _REVIEWER,
}
_WORD = re.compile(r"[A-Z][a-z]+")
_LOCK_REASONS = {"OFF_TOPIC": "off-topic", "TOO_HEATED": "too heated"}
_OF_REVIEWS = ("review_requested", "review_request_removed")


def name_of(type_name: str) -> str:
    """`LabeledEvent` is REST's `labeled`."""
    if type_name == "RenamedTitleEvent":
        return "renamed"
    return "_".join(_WORD.findall(type_name)[:-1]).lower()


NAMES = {type_name: name_of(type_name) for type_name in (*OF_ALL, *OF_PULLS)}


def fragments(*, with_first: bool) -> str:
    """`...event` shows one; `...issue` and `...pull` show an item's first ones."""
    common = "createdAt actor { __typename login }"
    shown = "\n".join(f"  ... on {name} {{ {common} {more} }}" for name, more in {**OF_ALL, **OF_PULLS}.items())
    kinds = (("issue", "Issue"), ("pull", "PullRequest")) if with_first else ()
    first = "".join(f"fragment {name} on {kind} {{ {of_item(kind)} }}\n" for name, kind in kinds)
    return f"fragment event on Node {{\n  __typename id\n{shown}\n}}\n{first}"


def of_item(kind: str, after: str = "") -> str:
    """What is asked for of an item: of its events the first, or the first behind a cursor (a quoted one)."""
    types = {**OF_ALL, **OF_PULLS} if kind == "PullRequest" else OF_ALL
    wanted = " ".join("_".join(_WORD.findall(name)).upper() for name in types)
    behind = f", after: {after}" if after else ""
    return (
        f"number repository {{ nameWithOwner }} timelineItems(first: {EVENTS_AT_ONCE}{behind}, itemTypes: [{wanted}]) "
        "{ pageInfo { hasNextPage endCursor } nodes { ...event } }"
    )


def kind_of(payload: Mapping[str, Any]) -> str:
    """By REST's name of it, or GraphQL's where REST has none."""
    node = payload.get("node")
    shown = text_in(payload.get("event"), "event") if node is None else text_in(node, "__typename")
    return NAMES.get(shown or "", shown or "")


def id_in(payload: Mapping[str, Any]) -> int | None:
    node_id = text_in(payload.get("node"), "id")
    return None if node_id is None else event_id(node_id)


def rows(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    node, number = payload["node"], required_integer(payload, "number")
    found, event = id_in(payload), NAMES.get(text_in(node, "__typename") or "")
    if found is None or event is None:
        raise ExtractionError("field 'node' is no event that has REST's number and name")
    actor, reviewer = in_rests_spelling(node.get("actor")), node.get("requestedReviewer")
    created_at = required_time(node, "createdAt")
    reason, lock_reason = as_text(node.get("stateReason")), as_text(node.get("lockReason"))
    columns = {
        "id": found,
        "repo": repo,
        "number": number,
        "event": event,
        "actor": actor["login"],
        "actor_type": actor["type"],
        "created_at": created_at,
        "updated_at": created_at,
        "label": text_in(node.get("label"), "name"),
        "assignee": in_rests_spelling(node.get("assignee"))["login"],
        "requested_reviewer": in_rests_spelling(reviewer)["login"],
        "requested_team": text_in(reviewer, "slug"),
        "review_requester": actor["login"] if event in _OF_REVIEWS else None,
        "milestone": as_text(node.get("milestoneTitle")),
        "rename_from": as_text(node.get("previousTitle")),
        "rename_to": as_text(node.get("currentTitle")),
        "commit_id": text_in(node.get("commit"), "oid") or text_in(node.get("closer"), "oid"),
        "state_reason": None if reason is None else reason.lower(),
        "lock_reason": lock_reason and _LOCK_REASONS.get(lock_reason, lock_reason.lower()),
    }
    return [Row("item_events", columns)]
