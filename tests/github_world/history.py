"""What was said and done in the past of a repository that is made for a trial or a test."""

import random

from tests.github_world.basics import seconds, utc

DAY = 86400
CROWD = ["ada", "bo", "cy", "dee", "eli", "renovate[bot]", None]
SAID = ["I see it, too.", "Thanks!", "Which version?", "☃ \U0001f600", "", "Fixed by the change before."]
STATES = ["APPROVED", "APPROVED", "CHANGES_REQUESTED", "COMMENTED", "COMMENTED", "DISMISSED", "PENDING"]
HAPPENED = [
    {"event": "labeled", "label": "bug"}, {"event": "unlabeled", "label": "bug"}, {"event": "mentioned"},
    {"event": "assigned", "assignee": "cy"}, {"event": "milestoned", "milestone": "1.0"}, {"event": "subscribed"},
    {"event": "renamed", "rename": ("Before", "After")}, {"event": "closed", "state_reason": None},
    {"event": "reopened"}, {"event": "referenced", "commit_id": "1" * 40}, {"event": "locked", "lock_reason": "spam"},
]  # fmt: skip


def scatter(repo, numbers, rng, *, comments=0, review_comments=0, events=0, reviews=0):
    """So many of each, over these items, by anyone, at any time in the month before an item's last update."""
    pulls = [number for number in numbers if repo.stream_of(number) == "pulls"]

    def before(number):
        return _seconds(repo, number) - rng.randrange(30 * DAY)

    for _ in range(events):
        number = rng.choice(numbers)
        repo.add_event(number, actor=rng.choice(CROWD), at=before(number), **rng.choice(HAPPENED))
    for _ in range(comments):
        number = rng.choice(numbers)
        repo.add_comment(number, body=rng.choice(SAID), author=rng.choice(CROWD), at=before(number))
    for _ in range(reviews if pulls else 0):
        number = rng.choice(pulls)
        repo.add_review(number, rng.choice(STATES), author=rng.choice(CROWD), at=before(number))
    for _ in range(review_comments if pulls else 0):
        number = rng.choice(pulls)
        repo.add_review_comment(number, body=rng.choice(SAID), author=rng.choice(CROWD), at=before(number))


def _seconds(repo, number):
    return seconds(repo.fields(repo.stream_of(number), number)["updated_at"])


class Tale:
    """What a project's people say and do about one item, from `begin` to `end`, each at its time."""

    def __init__(self, repo, number, begin, end, people, rng):
        self._repo, self._number, self._begin, self._end = repo, number, begin, end
        self._people, self._rng = people, rng

    def told(self, fields, comments):
        """The events that made it what its fields say; so many comments; of a pull request its reviews."""
        repo, number, rng = self._repo, self._number, self._rng
        for label in fields["labels"]:
            repo.add_event(number, "labeled", label=label["name"], actor=self._anyone(), at=self._at(0, 0.2))
        for assignee in fields["assignees"]:
            repo.add_event(number, "assigned", assignee=assignee["login"], actor=self._anyone(), at=self._at(0, 0.3))
        for _ in range(comments):
            repo.add_comment(number, body=rng.choice(SAID), author=rng.choice([*self._people, "renovate[bot]"]),
                             at=self._at(0, 1))  # fmt: skip
        if repo.stream_of(number) == "pulls":
            self._reviewed(fields)
        elif rng.random() < 0.05 and fields.get("state") == "closed":
            for event, share in (("closed", 0.5), ("reopened", 0.7)):
                repo.add_event(number, event, actor=self._anyone(), at=self._at(share, share + 0.1))
        if fields.get("merged_at"):
            repo.add_event(number, "merged", actor=self._anyone(), at=self._end)
        if fields.get("state") == "closed":
            reason = fields.get("state_reason")
            repo.add_event(number, "closed", actor=self._anyone(), at=self._end, state_reason=reason)

    def _reviewed(self, fields):
        """Somebody else is asked, has something to say, and approves."""
        repo, number, rng = self._repo, self._number, self._rng
        reviewer = rng.choice([name for name in self._people if name != fields["user"]["login"]])
        if rng.random() < 0.15 and not fields.get("draft"):
            repo.add_event(number, "ready_for_review", actor=fields["user"]["login"], at=self._at(0, 0.1))
        if rng.random() < 0.6:
            repo.add_event(number, "review_requested", reviewer=reviewer, actor=self._anyone(), at=self._at(0.1, 0.2))
        if rng.random() < 0.4:
            review = repo.add_review(number, "CHANGES_REQUESTED", author=reviewer, at=self._at(0.3, 0.5))
            for _ in range(rng.randrange(4)):
                repo.add_review_comment(number, author=reviewer, review=review, at=self._at(0.3, 0.5))
        if fields.get("merged_at") or rng.random() < 0.2:
            repo.add_review(number, "APPROVED", author=reviewer, at=self._at(0.6, 0.9))

    def _anyone(self):
        return self._rng.choice(self._people)

    def _at(self, least, most):
        return utc(self._begin + (self._end - self._begin) * self._rng.uniform(least, most))


def belongings(repo, labels, begin, end):
    """Labels, milestones and releases of a project's year."""
    for name in labels:
        repo.add_label(name, default=name in ("bug", "documentation", "enhancement"))
    for at in range(4):
        when = begin + (end - begin) * (at + 1) / 5
        repo.add_milestone("%d.0" % (at + 1), state="open" if at == 3 else "closed", due_on=utc(when), at=begin)
        repo.add_release("v%d.0" % (at + 1), name="Release %d" % (at + 1), prerelease=at == 3, at=when)


def a_rng(seed):
    """Apart from the one that makes the items, so that these stay as they are."""
    return random.Random(f"history {seed}")
