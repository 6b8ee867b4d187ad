"""Labels, milestones, releases: what belongs to a repository as a whole.

https://docs.github.com/rest/issues/labels#list-labels-for-a-repository, .../issues/milestones, .../releases/releases
"""

from __future__ import annotations

from typing import Any, Mapping

from foundation import timestamps
from foundation.records import Row
from github.fields import (
    ExtractionError,
    as_count,
    as_flag,
    as_text,
    optional_time,
    required_integer,
    required_text,
    required_time,
    text_in,
)
from github.pages import Shape
from github.streams.stream import WHOLE, Kind, Stream

# A release says since 2025 when it was changed, a draft was never published, and a label has no times at all.
_TIMES = ("updated_at", "published_at", "created_at")


def labels(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    columns = {
        "id": required_integer(payload, "id"),
        "repo": repo,
        "name": required_text(payload, "name"),
        "color": as_text(payload.get("color")),
        "description": as_text(payload.get("description")),
        "is_default": as_flag(payload.get("default")),
        "updated_at": timestamps.EPOCH,  # of two contents the one that was fetched later counts
    }
    return [Row("labels", columns)]


def milestones(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    columns = {
        "id": required_integer(payload, "id"),
        "repo": repo,
        "number": required_integer(payload, "number"),
        "title": required_text(payload, "title"),
        "state": required_text(payload, "state"),
        "due_on": optional_time(payload, "due_on"),
        "open_issues": as_count(payload.get("open_issues")),
        "closed_issues": as_count(payload.get("closed_issues")),
        "creator": text_in(payload.get("creator"), "login"),
        "created_at": required_time(payload, "created_at"),
        "updated_at": required_time(payload, "updated_at"),
        "closed_at": optional_time(payload, "closed_at"),
        "html_url": as_text(payload.get("html_url")),
    }
    return [Row("milestones", columns)]


def releases(repo: str, payload: Mapping[str, Any]) -> list[Row]:
    times = [optional_time(payload, name) for name in _TIMES]
    updated_at = next(filter(None, times), None)
    if updated_at is None:
        raise ExtractionError("fields 'updated_at', 'published_at' and 'created_at' hold no time")
    columns = {
        "id": required_integer(payload, "id"),
        "repo": repo,
        "tag": required_text(payload, "tag_name"),
        "name": as_text(payload.get("name")),
        "target": as_text(payload.get("target_commitish")),
        "author": text_in(payload.get("author"), "login"),
        "author_type": text_in(payload.get("author"), "type"),
        "is_draft": as_flag(payload.get("draft")),
        "is_prerelease": as_flag(payload.get("prerelease")),
        "created_at": required_time(payload, "created_at"),
        "published_at": optional_time(payload, "published_at"),
        "updated_at": updated_at,
        "html_url": as_text(payload.get("html_url")),
    }
    return [Row("releases", columns)]


STREAM = Stream(
    name="meta",
    path="labels",
    kinds=(
        Kind("label", "labels", labels, path="labels"),
        Kind("milestone", "milestones", milestones, path="milestones", query={"state": "all"}),
        Kind("release", "releases", releases, path="releases"),
    ),
    scan=WHOLE,
    title="Labels, milestones and releases",
    permissions=("Issues", "Contents"),  # the second: of releases
    switch="has_issues",
    is_missing_when_off=False,  # none of the three can be switched off
    shape=Shape(time_in=_TIMES),
)
