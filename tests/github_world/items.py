"""REST's answers about one issue, one comment, one review, and the comments and events of one item.

https://docs.github.com/rest/issues/issues#get-an-issue: 301 for one that was transferred to where the token may read,
410 for one that was deleted, 404 for one that is hidden, or is nowhere.
"""

from tests.github_world.answers import BAD_GATEWAY, HTML, Answer, as_json, error
from tests.github_world.lists import numbered

KINDS = {"issues": "issue-comments", "pulls": "review-comments"}


class Items:
    """The server's part."""

    def _alone_of(self, repo, rest, query):
        """None for what is no question about one of these."""
        where, *more = rest
        if more[0] == "comments" and len(more) == 2:
            known = (KINDS[where], int(more[1])) in repo.said
            return as_json(repo.comment(KINDS[where], int(more[1]))) if known else error(404, "Not Found")
        if not more[0].isdecimal():
            return None
        number = int(more[0])
        if number in repo.absent:
            return self._absent(repo, where, number)
        if more[1:] == ["comments"]:
            return self._comments(repo, where, number, query)
        if where == "issues" and more[1:] == ["events"] and number in {known for _, known in repo.known()}:
            broken = ("item-events", number) in repo.broken
            return Answer(502, BAD_GATEWAY, HTML) if broken else self._events(repo, number, query)
        if more[1:2] == ["reviews"] and len(more) == 3:
            review = repo.reviews.get(int(more[2]))
            is_its = review is not None and review["of"] == number
            return as_json(repo.review(int(more[2]))) if is_its else error(404, "Not Found")
        if where == "issues" and len(more) == 1:
            return self._issue(repo, number)
        return None

    def _absent(self, repo, where, number):
        status, target = repo.absent[number]
        if status == 301 and where == "issues":
            if isinstance(target, str):
                return as_json({"message": "Moved Permanently"}, 301, Location=target)
            other, new = target
            if self.repos.get(other.full_name.lower()) is not other:  # not for this token
                return error(404, "Not Found")
            location = "%s/repositories/%d/issues/%d" % (self.url, other.id, new)
            return as_json({"message": "Moved Permanently", "url": location}, 301, Location=location)
        if status == 410 and where == "issues":
            is_off = target == "disabled"
            return error(410, "Issues has been disabled in this repository." if is_off else "This issue was deleted")
        return error(404, "Not Found")

    def _issue(self, repo, number):
        if number not in {known for _, known in repo.known()}:
            return error(404, "Not Found")
        if not repo.issues_enabled and repo.stream_of(number) == "issues":
            return error(410, "Issues has been disabled in this repository.")
        return Answer(200, repo.streams["issues"].items[repo.issue_id(number)][3]().encode())

    def _comments(self, repo, where, number, query):
        """Oldest first."""
        size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        ids = repo.comment_ids(number, KINDS[where])
        shown = [repo.comment(KINDS[where], item_id) for item_id in ids[(page - 1) * size : page * size]]
        address = "%s/repositories/%d/%s/%d/comments?" % (self.url, repo.id, where, number)
        return as_json(shown, **numbered(address, query, page, len(ids)))

    def _events(self, repo, number, query):
        """Oldest first, each without the item."""
        size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        found = [event_id for event_id, _ in repo.events_of(number)]
        shown = [repo.event_of_item(event_id) for event_id in found[(page - 1) * size : page * size]]
        address = "%s/repositories/%d/issues/%d/events?" % (self.url, repo.id, number)
        return as_json(shown, **numbered(address, query, page, len(found)))
