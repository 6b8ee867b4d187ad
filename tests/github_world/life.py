"""A repository's life goes on: one random change at a time, of anything that it holds."""

from tests.github_world.history import CROWD, HAPPENED, SAID

KINDS = ("open", "touch", "close", "comment", "edit", "unsay", "review", "dismiss", "event", "meta", "delete")


def happen(repo, rng, kinds=KINDS, late=0):
    """Something happens, and is dated so many seconds back: replicas show new things late. Returns what it was."""
    kind = rng.choice(kinds)
    numbers = sorted(number for _, number in list(repo.known()))
    if not numbers or kind == "open":
        rng.choice([repo.add_issue, repo.add_pull])(updated_at=repo.when(late))
        return "open"
    ACTS[kind](repo, rng, rng.choice(numbers), repo.when(late))
    return kind


def _touch(repo, rng, number, at):
    if at >= repo.fields(repo.stream_of(number), number)["updated_at"]:
        labels = [{"id": 1, "name": name} for name in rng.sample(["bug", "slow", "docs"], rng.randrange(3))]
        repo.touch(repo.stream_of(number), number, updated_at=at, **rng.choice([{}, {"labels": labels}]))


def _close(repo, rng, number, at):
    if repo.fields(repo.stream_of(number), number).get("state") == "closed":
        repo.reopen(number, actor=rng.choice(CROWD))
    else:
        repo.close(number, actor=rng.choice(CROWD))


def _comment(repo, rng, number, at):
    said = {"author": rng.choice(CROWD), "body": rng.choice(SAID), "at": at}
    if repo.stream_of(number) == "pulls" and rng.random() < 0.5:
        repo.add_review_comment(number, **said)
    else:
        repo.add_comment(number, **said)


def _any_comment(repo, rng):
    there = sorted(repo.said)
    return rng.choice(there) if there else (None, None)


def _edit(repo, rng, number, at):
    kind, comment_id = _any_comment(repo, rng)
    edit = {"issue-comments": repo.edit_comment, "review-comments": repo.edit_review_comment}.get(kind)
    if edit:
        edit(comment_id, body=f"{rng.choice(SAID)} {rng.random()}")


def _unsay(repo, rng, number, at):
    kind, comment_id = _any_comment(repo, rng)
    unsay = {"issue-comments": repo.delete_comment, "review-comments": repo.delete_review_comment}.get(kind)
    if unsay:
        unsay(comment_id)


def _review(repo, rng, number, at):
    if repo.stream_of(number) == "pulls":
        state = rng.choice(["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "PENDING"])
        repo.add_review(number, state, author=rng.choice(CROWD), at=at)


def _dismiss(repo, rng, number, at):
    there = sorted(review_id for review_id, review in repo.reviews.items() if review["state"] != "PENDING")
    if there:
        repo.dismiss_review(rng.choice(there), actor=rng.choice(CROWD))


def _event(repo, rng, number, at):
    repo.add_event(number, actor=rng.choice(CROWD), at=at, **rng.choice(HAPPENED))


def _meta(repo, rng, number, at):
    name = "%x" % rng.getrandbits(32)
    rng.choice([repo.add_label, repo.add_milestone, repo.add_release])(name)
    for stream in ("labels", "milestones", "releases"):
        there = sorted(repo.streams[stream].items)
        if there and rng.random() < 0.5:
            changes = {"labels": {"color": name[:6]}, "milestones": {"title": name}, "releases": {"body": name}}
            repo.edit(stream, rng.choice(there), **changes[stream])


def _delete(repo, rng, number, at):
    if repo.stream_of(number) == "issues":  # a pull request can't be deleted
        repo.delete_issue(number)


ACTS = {
    "touch": _touch, "close": _close, "comment": _comment, "edit": _edit, "unsay": _unsay, "review": _review,
    "dismiss": _dismiss, "event": _event, "meta": _meta, "delete": _delete,
}  # fmt: skip
