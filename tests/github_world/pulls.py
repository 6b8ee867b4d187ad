"""REST's answers about one pull request: itself, and its reviews."""

from tests.github_world.answers import BAD_GATEWAY, HTML, Answer, as_json, error
from tests.github_world.basics import Served, compact_json, sha256
from tests.github_world.lists import numbered


class Pulls:
    """The server's part."""

    def _pull(self, repo, number, part, query):
        if ("pulls", number) not in repo.known() or part not in ("", "reviews"):
            return error(404, "Not Found")
        if ("pull", number) in repo.broken:
            return Answer(502, BAD_GATEWAY, HTML)
        return self._reviews(repo, number, query) if part else self._alone(repo, number)

    def _alone(self, repo, number):
        pull = repo.pull(number)
        text = compact_json(pull)
        shown = Served(repo.full_name, "pull-details", pull["id"], number, pull["updated_at"], sha256(text))
        self.record(repo, "pull-details", [shown])
        return Answer(200, text.encode())

    def _reviews(self, repo, number, query):
        """Oldest first."""
        size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        with repo.lock:
            found = repo.reviews_of(number, self.login)
            shown = found[(page - 1) * size : page * size]
            served = [served_review(repo, review_id) for review_id, _ in shown]
            reviews = [repo.review(review_id) for review_id, _ in shown]
        self.record(repo, "reviews", served)
        address = "%s/repositories/%d/pulls/%d/reviews?" % (self.url, repo.id, number)
        return as_json(reviews, **numbered(address, query, page, len(found)))


def served_review(repo, review_id):
    fields = repo.reviews[review_id]
    shown = sha256(compact_json(repo.review(review_id)))
    return Served(repo.full_name, "reviews", review_id, fields["of"], fields["updated_at"], shown)
