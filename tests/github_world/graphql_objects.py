"""What GraphQL shows of repositories, items, reviews, events: dictionaries by its names, functions where it asks on."""

import base64
import re

from tests.github_world.basics import WEB
from tests.github_world.events import KINDS
from tests.github_world.people import actor
from tests.github_world.reviews import sha


class NotFound(Exception):
    """What was asked for by its name or number is not there."""


class Forbidden(Exception):
    """The token may not read this."""


class TooHeavy(Exception):
    """GitHub can't bring this one home in time."""


class View:
    """One request's look at the repositories. `shown` gets (repo, id) of each review."""

    def __init__(self, find, find_by_id, login):
        self._find, self._find_by_id, self._login = find, find_by_id, login
        self.shown = []

    def query(self, rate_limit):
        return {
            "__typename": "Query", "id": "Q", "repository": self.repository, "node": self.node,
            "nodes": self.nodes,
            "rateLimit": rate_limit, "viewer": {"__typename": "User", "login": self._login, "id": "U_1"},
        }  # fmt: skip

    def repository(self, owner, name, followRenames=True):  # noqa: N803 - GraphQL's name of it
        repo = self._find(f"{owner}/{name}", follows=followRenames)
        if repo is None:
            raise NotFound(f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return {
            "__typename": "Repository", "id": repo.node_id("R"), "databaseId": repo.id,
            "nameWithOwner": repo.full_name,
            "pullRequest": lambda number: self._item(repo, "pulls", number),
            "issue": lambda number: self._item(repo, "issues", number),
            "issueOrPullRequest": lambda number: self._either(repo, number),
            "issues": lambda **how: self._items(repo, "issues", **how),
            "pullRequests": lambda **how: self._items(repo, "pulls", **how),
        }  # fmt: skip

    def node(self, id):
        """Whatever this node id stands for; an item, a review, a comment."""
        kind, numbers = from_node_id(id)
        repo = self._find_by_id(numbers[1]) if len(numbers) > 1 else None
        found = repo and self._by_id(repo, kind, numbers[-1])
        if found is None:
            raise NotFound(f"Could not resolve to a node with the global id of '{id}'")
        return found

    def nodes(self, ids):
        """One that is missing takes only its own place: an exception in the list is an error there."""
        found = []
        for each in ids:
            try:
                found.append(self.node(each))
            except NotFound as missing:
                found.append(missing)
        return found

    def _by_id(self, repo, kind, item_id):
        if kind in ("PR", "I"):
            for stream, number in list(repo.known()):
                if (repo.pull_id if stream == "pulls" else repo.issue_id)(number) == item_id:
                    return self._item(repo, stream, number)
        if kind == "PRR" and item_id in repo.reviews:
            return self.review(repo, item_id, repo.reviews[item_id])
        if kind == "IC" and ("issue-comments", item_id) in repo.said:
            return self.comment(repo, item_id)
        return self.event(repo, item_id) if item_id in repo.happened and kind not in ("PRR", "IC") else None

    def _items(self, repo, stream, **how):
        if stream in repo.denied:
            raise Forbidden("Resource not accessible by personal access token")
        states = [state.lower() for state in how.get("states") or ()]
        order = how.get("orderBy") or {"field": "CREATED_AT", "direction": "ASC"}
        since = (how.get("filterBy") or {}).get("since") or ""
        numbers = [
            number for of, number in list(repo.known())
            if of == stream and number not in repo.unlisted
            and (not states or _state(repo.fields(of, number)).lower() in states)
            and repo.fields(of, number)["updated_at"] >= since
        ]  # fmt: skip
        name = {"UPDATED_AT": "updated_at", "CREATED_AT": "created_at", "COMMENTS": "comments"}[order["field"]]
        default = 0 if name == "comments" else "2020-01-01T00:00:00Z"
        numbers.sort(key=lambda number: (repo.fields(stream, number).get(name, default), number))
        if order["direction"] == "DESC":
            numbers.reverse()
        kind = "PullRequest" if stream == "pulls" else "Issue"
        found = connection(
            kind, numbers, lambda number: None if number in repo.nulls else self._item(repo, stream, number), **how
        )
        found["totalCount"] += sum(of == stream and number in repo.unlisted for of, number in list(repo.known()))
        return found

    def _item(self, repo, stream, number):
        kind = "PullRequest" if stream == "pulls" else "Issue"
        with repo.lock:
            if (stream, number) not in repo.known():
                article = "a" if stream == "pulls" else "an"
                raise NotFound(f"Could not resolve to {article} {kind} with the number of {number}.")
            if ("pull-details", number) in repo.broken and stream == "pulls":
                raise TooHeavy
            fields = repo.fields(stream, number)
            item_id = repo.pull_id(number) if stream == "pulls" else repo.issue_id(number)
            found = {
                "__typename": kind, "repo": repo, "id": repo.item_node_id(number), "databaseId": small(item_id),
                "fullDatabaseId": str(item_id), "number": number, "title": fields.get("title", "Item %d" % number),
                "body": fields.get("body") or "", "state": _state(fields),
                "url": "%s/%s/%s/%d" % (WEB, repo.full_name, "pull" if kind[0] == "P" else "issues", number),
                "createdAt": fields.get("created_at", "2020-01-01T00:00:00Z"), "updatedAt": fields["updated_at"],
                "closedAt": fields.get("closed_at"), "author": actor(fields.get("user", {"login": "ada"})),
                "authorAssociation": "CONTRIBUTOR", "stateReason": (fields.get("state_reason") or "").upper() or None,
                "comments": lambda **how: connection(
                    "IssueComment", repo.comment_ids(number), lambda each: self.comment(repo, each), **how
                ),
                "timelineItems": lambda **how: self._timeline(repo, kind, number, **how),
                "repository": lambda: self.repository(*repo.full_name.split("/")),
            }  # fmt: skip
            return {**found, **self._pull_request(repo, number, fields)} if stream == "pulls" else found

    def _either(self, repo, number):
        stream = next((stream for stream in ("issues", "pulls") if (stream, number) in repo.known()), None)
        if stream is None:
            raise NotFound(f"Could not resolve to an issue or pull request with the number of {number}.")
        return self._item(repo, stream, number)

    def _pull_request(self, repo, number, fields):
        size = repo.size(number)
        return {
            "additions": size["additions"], "deletions": size["deletions"], "changedFiles": size["changed_files"],
            "commits": lambda **how: {"totalCount": size["commits"]}, "mergedBy": actor(size["merged_by"]),
            "mergeCommit": commit(repo, size["merge_commit_sha"]) if size["merged"] else None,
            "merged": size["merged"], "mergedAt": fields.get("merged_at"), "isDraft": bool(fields.get("draft")),
            "reviewDecision": repo.decision(number), "reviews": lambda **how: self._reviews(repo, number, **how),
        }  # fmt: skip

    def _reviews(self, repo, number, states=None, author=None, **how):
        found = [
            one for one in repo.reviews_of(number, self._login)
            if (not states or one[1]["state"] in states) and author in (None, (one[1]["user"] or {}).get("login"))
        ]  # fmt: skip
        return connection("PullRequestReview", found, lambda one: self.review(repo, *one), **how)

    def review(self, repo, review_id, fields):
        self.shown.append((repo, review_id))
        return {
            "__typename": "PullRequestReview", "id": repo.node_id("PRR", review_id), "databaseId": small(review_id),
            "fullDatabaseId": str(review_id), "author": actor(fields["user"]), "state": fields["state"],
            "authorAssociation": fields.get("association", "NONE"), "body": fields["body"],
            "createdAt": fields["created_at"], "submittedAt": fields["submitted_at"],
            "updatedAt": fields["updated_at"], "url": repo.review(review_id)["html_url"],
            "commit": commit(repo, repo.review(review_id)["commit_id"]),
        }  # fmt: skip

    def comment(self, repo, comment_id):
        shown = repo.comment("issue-comments", comment_id)
        return {
            "__typename": "IssueComment", "id": shown["node_id"], "databaseId": small(comment_id),
            "fullDatabaseId": str(comment_id), "author": actor(shown["user"]), "body": shown["body"],
            "authorAssociation": shown["author_association"], "createdAt": shown["created_at"],
            "updatedAt": shown["updated_at"], "url": shown["html_url"],
        }  # fmt: skip

    def _timeline(self, repo, kind, number, itemTypes=None, since=None, **how):  # noqa: N803
        """Events, comments and reviews in the order of their times; of other things there are none."""
        if ("timeline", number) in repo.broken:
            raise TooHeavy
        found = [(event["created_at"], at, "event") for at, event in repo.events_of(number) if event["event"] in KINDS]
        found += [(repo.said["issue-comments", at]["created_at"], at, "comment") for at in repo.comment_ids(number)]
        for at, review in repo.reviews_of(number, self._login):
            found.append((review["submitted_at"] or review["created_at"], at, "review"))
        wanted = set(itemTypes or ())
        found = [
            one for one in sorted(found)
            if (not wanted or _item_type(repo, one) in wanted) and one[0] >= (since or "")
        ]  # fmt: skip
        return connection(f"{kind}TimelineItems", found, lambda one: self._told(repo, one), **how)

    def _told(self, repo, one):
        _, item_id, kind = one
        if kind == "comment":
            return self.comment(repo, item_id)
        return self.event(repo, item_id) if kind == "event" else self.review(repo, item_id, repo.reviews[item_id])

    def event(self, repo, event_id):
        """Events have no databaseId here: theirs stands in the node id, which REST has as well."""
        fields = repo.happened[event_id]
        details = fields["details"]
        oid = commit(repo, details["commit_id"]) if details.get("commit_id") else None
        dismissed = details.get("dismissed_review", {})
        rename, lock_reason = details.get("rename", {}), details.get("lock_reason") or ""
        label = details.get("label")
        return {
            "__typename": KINDS[fields["event"]][0], "id": repo.event_node_id(event_id),
            "createdAt": fields["created_at"], "actor": actor(fields["actor"]),
            "label": label and {"__typename": "Label", "id": "LA_1", **label},
            "assignee": actor(details.get("assignee")), "milestoneTitle": details.get("milestone", {}).get("title"),
            "previousTitle": rename.get("from"), "currentTitle": rename.get("to"), "headRefName": "feature",
            "requestedReviewer": _reviewer(details), "lockReason": re.sub("[- ]", "_", lock_reason.upper()) or None,
            "stateReason": (details.get("state_reason") or "").upper() or None,
            "commit": oid, "closer": oid,
            "databaseId": small(event_id), "dismissalMessage": dismissed.get("dismissal_message"),
            "previousReviewState": dismissed.get("state", "").upper(),
            "review": lambda: self.review(repo, dismissed["review_id"], repo.reviews[dismissed["review_id"]]),
        }  # fmt: skip


def connection(kind, found, show, first=None, last=None, after=None, before=None, **other):
    """The part of `found` that the cursors and counts leave, as a connection of GitHub's."""
    begin = _from_cursor(after) if after else 0
    end = min(len(found), _from_cursor(before) - 1) if before else len(found)
    if first is not None:
        end = min(end, begin + first)
    elif last is not None:
        begin = max(begin, end - last)
    return {
        "__typename": f"{kind}Connection", "totalCount": len(found), "filteredCount": len(found),
        "nodes": lambda: [show(each) for each in found[begin:end]],
        "pageInfo": {
            "endCursor": _cursor(end) if end > begin else None, "hasNextPage": end < len(found),
            "startCursor": _cursor(begin + 1) if end > begin else None, "hasPreviousPage": begin > 0,
        },
    }  # fmt: skip


def _cursor(position):
    return base64.b64encode(b"cursor:v2:%d" % position).decode()


def _from_cursor(text):
    return int(base64.b64decode(text).rsplit(b":", 1)[1])


def from_node_id(text):
    """(its kind, the numbers packed in it)."""
    kind, _, packed = text.partition("_")
    data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    numbers, at = [], 1
    while at < len(data):
        size = {0xCF: 8, 0xCE: 4}.get(data[at])
        numbers.append(int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else data[at])
        at += 1 + (size or 0)
    return kind, numbers


def small(number):
    """What does not fit in GraphQL's Int is null."""
    return number if number < 2**31 else None


def commit(repo, oid):
    return {"__typename": "Commit", "id": repo.node_id("C") + sha(oid)[:8], "oid": oid}


def _state(fields):
    return "MERGED" if fields.get("merged_at") else fields.get("state", "open").upper()


def _item_type(repo, one):
    _, item_id, kind = one
    if kind == "event":
        name = KINDS[repo.happened[item_id]["event"]][0]
        return "".join("_" + letter if letter.isupper() else letter for letter in name).upper().lstrip("_")
    return {"comment": "ISSUE_COMMENT", "review": "PULL_REQUEST_REVIEW"}[kind]


def _reviewer(details):
    team = details.get("requested_team")
    if team:
        return {"__typename": "Team", "id": team["node_id"], "name": team["name"], "slug": team["slug"]}
    return actor(details.get("requested_reviewer"))
