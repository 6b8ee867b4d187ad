"""Makes payloads of the shapes that GitHub's API returns, small enough to read in a test."""

import json


def issue(**changes):
    return {
        "id": 1,
        "number": 7,
        "title": "A title",
        "state": "open",
        "user": {"login": "ada"},
        "labels": [{"name": "bug"}],
        "assignees": [{"login": "bo"}],
        "milestone": None,
        "comments": 2,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z",
        "closed_at": None,
        "author_association": "OWNER",
        "state_reason": None,
        "body": None,
        "html_url": "https://github.com/acme/widgets/issues/7",
        "repository_url": "https://api.github.com/repos/acme/widgets",
        **changes,
    }


def pull(**changes):
    return {
        **issue(html_url="https://github.com/acme/widgets/pull/7"),
        "url": "https://api.github.com/repos/acme/widgets/pulls/7",
        "draft": False,
        "merged_at": None,
        "base": {"ref": "main"},
        "head": {"ref": "feature"},
        **changes,
    }


def as_text(payload):
    return json.dumps(payload, ensure_ascii=False)
