"""Comments: on issues and pull requests, and on lines of a pull request's changes."""

import collections
import itertools

from tests.github_world.basics import API, WEB, compact_json, utc
from tests.github_world.people import person

KINDS = ("issue-comments", "review-comments")
REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"


class Comments:
    """A repository's part. The ids of the two kinds are from number spaces of their own, and do coincide.

    To comment moves the issue's `updated_at`; to edit or to delete a comment moves nothing.
    """

    def _begin_comments(self):
        self.said = {}  # (kind, id) -> fields
        self._said_of = collections.defaultdict(list)  # (kind, number) -> ids, oldest first
        self._comment_ids = {kind: itertools.count(self.id * 10**7 + 1) for kind in KINDS}

    def add_comment(self, number, *, body="I see it, too.", author="bo", at=None, **fields):
        """On an issue or a pull request, now or `at` a time of the past; returns its id."""
        return self._say("issue-comments", number, {"body": body, "user": person(author), **fields}, at)

    def add_review_comment(self, number, *, body="Why?", author="bo", path="a.py", review=None, reply_to=None, at=None,
                           **fields):  # fmt: skip
        """On a line of a pull request's changes; `review`: the id of the one that it belongs to, which may be none."""
        given = {"body": body, "user": person(author), "path": path, "review": review, "reply_to": reply_to, **fields}
        return self._say("review-comments", number, given, at)

    def edit_comment(self, comment_id, **changes):
        self._edit("issue-comments", comment_id, changes)

    def edit_review_comment(self, comment_id, **changes):
        self._edit("review-comments", comment_id, changes)

    def delete_comment(self, comment_id):
        self._unsay("issue-comments", comment_id)

    def delete_review_comment(self, comment_id):
        self._unsay("review-comments", comment_id)

    def comment_ids(self, number, kind="issue-comments"):
        """Oldest first."""
        return list(self._said_of.get((kind, number), ()))

    def _forget_comments(self, number):
        for kind in KINDS:
            for item_id in self._said_of.pop((kind, number), ()):
                del self.said[kind, item_id]
                self.streams[kind].remove(item_id)

    def _say(self, kind, number, fields, at):
        with self.lock:
            created_at = self._when(at)
            item_id = next(self._comment_ids[kind])
            self._said_of[kind, number].append(item_id)
            self._put_comment(
                kind, item_id, {"created_at": created_at, "updated_at": created_at, **fields, "of": number}
            )
            counts = {"comments": self._count(number, "comments") + 1} if kind == "issue-comments" else {}
            self._moved(number, created_at, **counts)
        return item_id

    def _edit(self, kind, item_id, changes):
        with self.lock:
            before = self.said[kind, item_id]
            self._put_comment(kind, item_id, {**before, "updated_at": utc(self._clock()), **changes})

    def _unsay(self, kind, item_id):
        with self.lock:
            number = self.said.pop((kind, item_id))["of"]
            self.streams[kind].remove(item_id)
            self._said_of[kind, number].remove(item_id)
            if kind == "issue-comments":
                self._quietly(number, comments=self._count(number, "comments") - 1)

    def _put_comment(self, kind, item_id, fields):
        self.said[kind, item_id] = fields
        self.streams[kind].put(
            item_id, fields["of"], fields["updated_at"], "", lambda: compact_json(self.comment(kind, item_id)),
            sorted_by=fields["created_at"],
        )  # fmt: skip

    def comment(self, kind, item_id):
        """As REST has it."""
        shown = self._issue_comment if kind == "issue-comments" else self._review_comment
        return shown(item_id, self.said[kind, item_id])

    def _issue_comment(self, item_id, fields):
        url = "%s/repos/%s/issues/comments/%d" % (API, self.full_name, item_id)
        kind = "pull" if self.stream_of(fields["of"]) == "pulls" else "issues"
        return {
            "url": url,
            "html_url": "%s/%s/%s/%d#issuecomment-%d" % (WEB, self.full_name, kind, fields["of"], item_id),
            "issue_url": "%s/repos/%s/issues/%d" % (API, self.full_name, fields["of"]),
            "id": item_id, "node_id": self.node_id("IC", item_id), "user": fields["user"],
            "created_at": fields["created_at"], "updated_at": fields["updated_at"],
            "body": fields["body"], "author_association": fields.get("association", "NONE"),
            "reactions": reactions(url), "performed_via_github_app": None,
        }  # fmt: skip

    def _review_comment(self, item_id, fields):
        number = fields["of"]
        url = "%s/repos/%s/pulls/comments/%d" % (API, self.full_name, item_id)
        page = "%s/%s/pull/%d#discussion_r%d" % (WEB, self.full_name, number, item_id)
        pull = "%s/repos/%s/pulls/%d" % (API, self.full_name, number)
        shown = {
            "url": url, "pull_request_review_id": fields["review"], "id": item_id,
            "node_id": self.node_id("PRRC", item_id), "diff_hunk": "@@ -1,2 +1,2 @@\n-a\n+b", "path": fields["path"],
            "commit_id": fields.get("commit", SHA), "original_commit_id": SHA, "user": fields["user"],
            "body": fields["body"], "created_at": fields["created_at"], "updated_at": fields["updated_at"],
            "html_url": page, "pull_request_url": pull,
            "_links": {"self": {"href": url}, "html": {"href": page}, "pull_request": {"href": pull}},
            "author_association": fields.get("association", "NONE"), "reactions": reactions(url),
            "start_line": None, "original_start_line": None, "start_side": None, "line": 1, "original_line": 1,
            "side": "RIGHT", "original_position": 1, "position": 1, "subject_type": "line",
        }  # fmt: skip
        if fields.get("outdated"):  # its line is no more
            shown.update(position=None, line=None)
        return {**shown, "in_reply_to_id": fields["reply_to"]} if fields["reply_to"] else shown


def reactions(url):
    return {"url": url + "/reactions", "total_count": 0, **dict.fromkeys(REACTIONS, 0)}
