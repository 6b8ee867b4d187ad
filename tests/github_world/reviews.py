"""Reviews of pull requests, and what a pull request shows by itself alone: its size, and who merged it."""

import collections
import hashlib
import itertools
import json

from tests.github_world.basics import API, WEB, utc
from tests.github_world.people import person


class Reviews:
    """A repository's part. A pending review is seen by nobody but its author, and has no `submitted_at`."""

    def _begin_reviews(self):
        self.reviews = {}  # id -> fields
        self._reviewed = collections.defaultdict(list)  # number -> ids, oldest first
        self._review_ids = itertools.count(self.id * 10**7 + 1)

    def add_review(self, number, state="APPROVED", *, author="bo", body="", at=None, **fields):
        """Submitted now, or `at` a time of the past; returns its id."""
        with self.lock:
            review_id = next(self._review_ids)
            now = self._when(at)
            self._reviewed[number].append(review_id)
            self.reviews[review_id] = {
                "of": number, "state": state, "user": person(author), "body": body, "created_at": now,
                "submitted_at": None if state == "PENDING" else now, "updated_at": now, **fields,
            }  # fmt: skip
            if state != "PENDING":
                self._moved(number, now)
        return review_id

    def edit_review(self, review_id, **changes):
        """Moves nothing but the review's own time, which REST does not show."""
        with self.lock:
            before = self.reviews[review_id]
            self.reviews[review_id] = {**before, "updated_at": utc(self._clock()), **changes}

    def submit_review(self, review_id, state="COMMENTED"):
        with self.lock:
            self.edit_review(review_id, state=state, submitted_at=utc(self._clock()))
            self._moved(self.reviews[review_id]["of"], utc(self._clock()))

    def dismiss_review(self, review_id, *, actor="ada", message="It was changed since."):
        with self.lock:
            before = self.reviews[review_id]
            self.edit_review(review_id, state="DISMISSED")
            dismissed = {
                "state": before["state"].lower(), "review_id": review_id, "dismissal_message": message
            }  # fmt: skip
            self.add_event(before["of"], "review_dismissed", actor=actor, dismissed_review=dismissed)
            self._moved(before["of"], utc(self._clock()))

    def _forget_reviews(self, number):
        for review_id in self._reviewed.pop(number, ()):
            del self.reviews[review_id]

    def reviews_of(self, number, viewer):
        """(id, fields) of those that this one may see, oldest first."""
        found = [(review_id, self.reviews[review_id]) for review_id in list(self._reviewed.get(number, ()))]
        return [
            (review_id, fields) for review_id, fields in found
            if fields["state"] != "PENDING" or (fields["user"] or {}).get("login") == viewer
        ]  # fmt: skip

    def review(self, review_id):
        """As REST has it."""
        fields = self.reviews[review_id]
        pull = "%s/repos/%s/pulls/%d" % (API, self.full_name, fields["of"])
        page = "%s/%s/pull/%d#pullrequestreview-%d" % (WEB, self.full_name, fields["of"], review_id)
        shown = {
            "id": review_id, "node_id": self.node_id("PRR", review_id), "user": fields["user"],
            "body": fields["body"], "state": fields["state"], "html_url": page, "pull_request_url": pull,
            "author_association": fields.get("association", "NONE"),
            "_links": {"html": {"href": page}, "pull_request": {"href": pull}},
        }  # fmt: skip
        if fields["submitted_at"]:
            shown["submitted_at"] = fields["submitted_at"]
        return {**shown, "commit_id": fields.get("commit", sha(self.full_name, fields["of"]))}

    def decision(self, number):
        """What the last word of each reviewer comes to; None where nobody had one."""
        last = {}
        for _, fields in self.reviews_of(number, None):
            if fields["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
                last[json.dumps(fields["user"])] = fields["state"]
        return next((state for state in ("CHANGES_REQUESTED", "APPROVED") if state in last.values()), None)

    def size(self, number):
        """What a pull request shows by itself alone, by REST's names; as it was given, or made up."""
        fields = self._fields["pulls", number]
        is_merged = bool(fields.get("merged_at"))
        made_up = {
            "additions": number * 37 % 501, "deletions": number * 17 % 211, "changed_files": number % 13 + 1,
            "commits": number % 7 + 1, "merge_commit_sha": fields.get("merge_commit") or sha("merge", number),
            "merged_by": person("ada") if is_merged else None,
        }  # fmt: skip
        found = {name: fields.get(name, value) for name, value in made_up.items()}
        return {**found, "merged_by": person(found["merged_by"]), "merged": is_merged}

    def pull(self, number):
        """One pull request by itself, which shows more than the list does; None where there is none."""
        with self.lock:
            if ("pulls", number) not in self._fields:
                return None
            more = {
                "review_comments": len(self.comment_ids(number, "review-comments")), "maintainer_can_modify": False,
                "comments": self._count(number, "comments"), "mergeable": None, "mergeable_state": "unknown",
                "requested_reviewers": [], "requested_teams": [], "auto_merge": None,
            }  # fmt: skip
            pull = json.loads(self._pull(self.pull_id(number), number, self._fields["pulls", number]))
            return {**pull, **_addresses(pull), **more, **self.size(number)}


def _addresses(pull):
    url, page = pull["url"], pull["html_url"]
    issue = url.replace("/pulls/", "/issues/")
    found = {
        "issue": issue, "commits": url + "/commits", "review_comments": url + "/comments",
        "comments": issue + "/comments", "review_comment": url.rsplit("/", 1)[0] + "/comments{/number}",
        "statuses": url.rsplit("/", 2)[0] + "/statuses/" + "0" * 40,
    }  # fmt: skip
    links = {name: {"href": address} for name, address in found.items()}
    return {
        "diff_url": page + ".diff", "patch_url": page + ".patch",
        **{name + "_url": address for name, address in found.items()},
        "_links": {"self": {"href": url}, **pull["_links"], **links},
    }  # fmt: skip


def sha(*what):
    return hashlib.sha1(repr(what).encode()).hexdigest()
