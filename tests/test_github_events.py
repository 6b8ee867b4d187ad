"""The tests' own GitHub: events, milestones, labels, releases."""

import pytest

from tests.asking import NOW, ask, links, now, server, walk  # noqa: F401 - fixtures
from tests.openapi_shapes import misfits

EVENTS = "/repos/acme/widgets/issues/events"
# What GitHub sends, and the description leaves out or knows otherwise.
UNSEEN = ["issue", "performed_via_github_app"]
UNKNOWN = {"event.state_reason is unknown"}


@pytest.fixture
def repo(server):
    made = server.add_repo("acme/widgets")
    made.add_issue()
    made.add_pull(draft=True)
    return made


def told(repo, server):
    """Oldest first."""
    return [(event["issue"]["number"], event["event"]) for event in walk(server, EVENTS)][::-1]


def test_an_event_has_the_shape_that_github_describes(server, repo):
    repo.add_event(1, "labeled", label="bug", actor=None)
    repo.add_event(1, "assigned", assignee="cy", actor="renovate[bot]")
    repo.add_event(1, "milestoned", milestone="1.0")
    repo.add_event(1, "renamed", rename=("Old", "New"))
    repo.add_event(2, "review_requested", reviewer="bo")
    repo.add_event(2, "review_requested", team="core")
    repo.add_event(2, "locked", lock_reason="spam")
    repo.add_event(2, "closed", commit_id="1" * 40, state_reason=None)
    orphan = repo.add_event(1, "mentioned", orphan=True, at=NOW - 1)
    events = walk(server, EVENTS)
    assert (events.pop()["id"], repo.streams["events"].items[orphan][1]) == (orphan, 1)
    for event in events:
        assert set(misfits("event", event, unseen=UNSEEN)) <= UNKNOWN
    label = events[-1]["label"]
    assert (sorted(label), label["name"], events[-1]["actor"]) == (["color", "name"], "bug", None)
    assert events[-2]["actor"]["type"] == "Bot"
    assert events[0]["commit_url"].endswith("/commits/" + "1" * 40)


def test_a_change_of_an_item_makes_its_events(server, repo, now):
    repo.label(1, "bug", "slow")
    repo.label(1, "slow")
    repo.assign(1, "cy")
    repo.assign(1)
    repo.close(1, actor="bo", reason="not_planned")
    now[0] += 5
    repo.reopen(1)
    repo.touch("issues", 1, title="Before")
    repo.touch("issues", 1, title="After", milestone={"title": "1.0", "number": 1})
    repo.touch("issues", 1)
    repo.touch("pulls", 2, draft=False)
    repo.close(2, merged_at="2026-09-21T10:13:20Z")
    assert told(repo, server) == [
        (1, "labeled"), (1, "labeled"), (1, "unlabeled"), (1, "assigned"), (1, "unassigned"), (1, "closed"),
        (1, "reopened"), (1, "milestoned"), (1, "renamed"), (2, "ready_for_review"), (2, "merged"), (2, "closed"),
    ]  # fmt: skip
    closed = next(event for event in walk(server, EVENTS) if event["event"] == "closed" and event["actor"])
    assert closed["actor"]["login"] == "ada"
    assert [e["actor"]["login"] for e in walk(server, EVENTS) if e.get("state_reason") == "not_planned"] == ["bo"]


def test_an_event_shows_its_issue_as_that_is_now(server, repo, now):
    repo.close(1)
    before = ask(server, EVENTS)[2]
    now[0] += 5
    repo.touch("issues", 1, body="Otherwise")
    after = ask(server, EVENTS)[2]
    assert before[0]["id"] == after[0]["id"]
    assert (before[0]["issue"]["body"], after[0]["issue"]["body"]) == (None, "Otherwise")


def test_events_stand_newest_first_whatever_is_asked_and_a_deletion_moves_the_pages(server, repo):
    ids = [repo.add_event(number, "subscribed", at=NOW - 1000 + number) for number in [1, 2] * 3]
    query = "?sort=created&direction=asc&since=2026-12-01T00:00:00Z"
    newest_first = sorted(ids, key=lambda event: (ids.index(event) % 2, event), reverse=True)
    assert [event["id"] for event in walk(server, EVENTS + query)] == newest_first
    second = [event["id"] for event in ask(server, EVENTS + "?per_page=2&page=2")[2]]
    repo.delete_issue(2)
    assert second == newest_first[2:4]
    assert [event["id"] for event in ask(server, EVENTS + "?per_page=2&page=2")[2]] == newest_first[5:]


def test_only_so_many_pages_of_events_can_be_had(server, repo):
    server.event_pages = 3
    for _ in range(8):
        repo.add_event(1, "mentioned")
    assert len(walk(server, EVENTS + "?per_page=2")) == 6
    assert "page=3" in links(ask(server, EVENTS + "?per_page=2")[1])["last"]
    status, _, body = ask(server, EVENTS + "?per_page=2&page=4")
    assert (status, "pagination is limited" in body["message"]) == (422, True)


def test_what_belongs_to_a_repository_has_the_shapes_that_github_describes(server, repo):
    for title, state, due in (("1.0", "closed", "2026-01-01T00:00:00Z"), ("2.0", "open", None)):
        repo.add_milestone(title, state=state, due_on=due)
    repo.add_label("bug", default=True)
    repo.add_label("a b")
    repo.add_release("v1", name="First")
    repo.add_release("v2", draft=True, author="renovate[bot]")
    found = {
        name: walk(server, f"/repos/acme/widgets/{name}") for name in ("milestones?state=all", "labels", "releases")
    }
    for things, kind in zip(found.values(), ("milestone", "label", "release")):
        assert len(things) == 2
        for thing in things:
            assert misfits(kind, thing) == []
    assert [label["name"] for label in found["labels"]] == ["a b", "bug"]
    assert [milestone["title"] for milestone in walk(server, "/repos/acme/widgets/milestones")] == ["2.0"]


def test_a_milestone_counts_its_issues(server, repo):
    milestone = repo.milestone(repo.add_milestone("1.0"))
    for number, state in ((1, "open"), (2, "closed")):
        repo.touch(repo.stream_of(number), number, milestone=milestone, state=state)
    shown = walk(server, "/repos/acme/widgets/milestones")[0]
    assert (shown["open_issues"], shown["closed_issues"]) == (1, 1)


def test_a_whole_list_has_numbered_pages_each_with_an_etag_that_a_change_ends(server, repo):
    ids = [repo.add_label("l%03d" % at) for at in range(150)]
    path = "/repos/acme/widgets/labels?per_page=100"
    _, headers, first = ask(server, path, "t")
    assert (len(first), len(walk(server, path))) == (100, 150)
    assert ask(server, path, "t", **{"If-None-Match": headers["ETag"]})[0] == 304
    repo.edit("labels", ids[0], color="ffffff")
    assert ask(server, path, "t", **{"If-None-Match": headers["ETag"]})[0] == 200
    repo.delete("labels", ids[1])
    assert len(walk(server, path)) == 149
