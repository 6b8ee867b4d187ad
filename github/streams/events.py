"""What happened to issues and pull requests: https://docs.github.com/rest/issues/events

Newest first, and nothing else can be asked for. An event shows its issue as that is now, so that it is known by its id.
Of those beyond the list's end the payload is another, which gives the same row: one of GraphQL's (timeline.py), or
`{"number": ..., "event": ...}`, since REST does not show the item with an event where it was asked for.
"""

from __future__ import annotations

from typing import Any, Mapping

from foundation.records import Row
from github.fields import as_count, as_text, required_integer, required_text, required_time, text_in
from github.pages import Shape
from github.streams import timeline
from github.streams.stream import EVENTS, Kind, Stream


def id_in(payload: Mapping[str, Any]) -> Any:
    if "node" in payload:
        return timeline.id_in(payload)
    event = payload.get("event")
    return (event if isinstance(event, dict) else payload).get("id")


def rows(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    if "node" in payload:
        return timeline.rows(repo, payload)
    event = payload.get("event")
    return _of_rest(repo, {**event, "issue": payload} if isinstance(event, dict) else payload)


def _of_rest(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    issue, rename = payload.get("issue"), payload.get("rename")
    created_at = required_time(payload, "created_at")
    columns = {
        "id": required_integer(payload, "id"),
        "repo": repo,
        # 0: it is of an item that GitHub does not show any more
        "number": (as_count(issue.get("number")) if isinstance(issue, dict) else None) or 0,
        "event": required_text(payload, "event"),
        "actor": text_in(payload.get("actor"), "login"),
        "actor_type": text_in(payload.get("actor"), "type"),
        "created_at": created_at,
        "updated_at": created_at,
        "label": text_in(payload.get("label"), "name"),
        "assignee": text_in(payload.get("assignee"), "login"),
        "requested_reviewer": text_in(payload.get("requested_reviewer"), "login"),
        "requested_team": text_in(payload.get("requested_team"), "slug"),
        "review_requester": text_in(payload.get("review_requester"), "login"),
        "milestone": text_in(payload.get("milestone"), "title"),
        "rename_from": text_in(rename, "from"),
        "rename_to": text_in(rename, "to"),
        "commit_id": as_text(payload.get("commit_id")),
        "state_reason": as_text(payload.get("state_reason")),
        "lock_reason": as_text(payload.get("lock_reason")),
    }
    return [Row("item_events", columns)]


STREAM = Stream(
    name="events",
    path="issues/events",
    kinds=(Kind("event", "events", rows, is_known_by_id=True, id_in=id_in),),
    scan=EVENTS,
    title="Events",
    permissions=("Issues", "Pull requests", "Contents"),  # the last two: of what GraphQL shows beyond the list's end
    switch="has_issues",
    is_missing_when_off=True,
    shape=Shape(number_in=("issue",), time_in=("created_at",)),
)
