"""The tests' own GitHub: the lists of comments."""

import pytest

from tests.asking import NOW, ask, links, now, server, walk  # noqa: F401 - fixtures
from tests.openapi_shapes import misfits

LISTS = ["issues/comments", "pulls/comments"]


@pytest.fixture
def repo(server):
    made = server.add_repo("acme/widgets")
    made.add_issue()
    made.add_pull()
    return made


def ids(page):
    return [comment["id"] for comment in page]


def say(repo, address, **fields):
    """A comment that stands in this list."""
    return repo.add_comment(1, **fields) if address == LISTS[0] else repo.add_review_comment(2, **fields)


def edit(repo, address, comment_id):
    (repo.edit_comment if address == LISTS[0] else repo.edit_review_comment)(comment_id, body="Never mind.")


def test_a_comment_has_the_shape_that_github_describes(server, repo):
    for author in ("bo", "renovate[bot]", None):
        repo.add_comment(2, author=author)
        first = repo.add_review_comment(2, author=author)
        repo.add_review_comment(2, author=author, reply_to=first, outdated=author is None)
    for address, kind in zip(LISTS, ("issue_comment", "review_comment")):
        for comment in walk(server, f"/repos/acme/widgets/{address}"):
            # GitHub sends null there, too, whatever the description says.
            unseen = ["start_side", "performed_via_github_app", "position", "line"]
            assert misfits(kind, comment, unseen=unseen) == []
    shown = walk(server, "/repos/acme/widgets/issues/comments")
    assert [comment["user"] and comment["user"]["type"] for comment in shown] == ["User", "Bot", None]


@pytest.mark.parametrize("address", LISTS)
def test_without_sort_comments_stand_by_id_whatever_the_direction(server, repo, now, address):
    said = [say(repo, address, at=NOW - ago) for ago in (50, 90, 10)]
    edit(repo, address, said[1])
    for query in ("", "?direction=desc", "?direction=asc"):
        assert ids(walk(server, f"/repos/acme/widgets/{address}{query}")) == said
    orders = {"updated": [said[0], said[2], said[1]], "created": [said[1], said[0], said[2]]}
    for sort, oldest_first in orders.items():
        query = f"/repos/acme/widgets/{address}?sort={sort}&direction="
        assert ids(walk(server, query + "asc")) == oldest_first
        assert ids(walk(server, query + "desc")) == oldest_first[::-1]


@pytest.mark.parametrize("address", LISTS)
def test_since_is_inclusive_and_goes_by_the_last_edit(server, repo, now, address):
    old, young = say(repo, address, at="2026-01-01T00:00:00Z"), say(repo, address, at="2026-01-02T00:00:00Z")
    path = f"/repos/acme/widgets/{address}?sort=updated&direction=asc&since="
    assert ids(walk(server, path + "2026-01-02T00:00:00Z")) == [young]
    assert ids(walk(server, path + "2026-01-02T00:00:01Z")) == []
    edit(repo, address, old)
    assert ids(walk(server, path + "2026-01-02T00:00:00Z")) == [young, old]


@pytest.mark.parametrize("address", LISTS)
def test_pages_have_numbers_links_and_etags_and_end_somewhere(server, repo, address):
    said = [say(repo, address, at=NOW - 500 + at) for at in range(250)]
    path = f"/repos/acme/widgets/{address}?sort=updated&direction=asc&per_page=100"
    status, headers, page = ask(server, path, "t")
    assert (status, ids(page)) == (200, said[:100])
    found = links(headers)
    assert found["next"].startswith(f"{server.url}/repositories/{repo.id}/{address}?")
    assert ("page=2" in found["next"], "page=3" in found["last"]) == (True, True)
    assert ask(server, path, "t", **{"If-None-Match": headers["ETag"]})[0] == 304
    assert ids(walk(server, path)) == said
    assert len(ask(server, path.replace("=100", "=500"), "t")[2]) == 100
    server.deepest = dict.fromkeys(server.deepest, 200)
    assert [ask(server, f"{path}&page={at}", "t")[0] for at in (2, 3)] == [200, 422]


def test_what_is_said_moves_the_issue_and_what_is_edited_or_deleted_does_not(server, repo, now):
    def issue():
        found = walk(server, "/repos/acme/widgets/issues?state=all")
        return next((one["updated_at"], one["comments"]) for one in found if one["number"] == 1)

    begun = issue()
    now[0] += 60
    comment = repo.add_comment(1)
    heard = issue()
    assert (heard > begun, heard[1]) == (True, 1)
    now[0] += 60
    repo.edit_comment(comment, body="Oh.")
    assert issue() == heard
    repo.delete_comment(comment)
    assert issue() == (heard[0], 0)
    assert walk(server, "/repos/acme/widgets/issues/comments") == []


def test_every_version_that_was_shown_is_on_record(server, repo, now):
    comment = repo.add_comment(1)
    walk(server, "/repos/acme/widgets/issues/comments")
    repo.edit_comment(comment, body="Within the same second.")
    walk(server, "/repos/acme/widgets/issues/comments")
    shown = [one for one in server.served if one.stream == "issue-comments"]
    assert {(one.id, one.number) for one in shown} == {(comment, 1)}
    assert len({one.sha256 for one in shown}) == 2


def test_a_page_with_a_broken_comment_is_a_502(server, repo):
    said = [repo.add_comment(1) for _ in range(3)]
    repo.broken = {("issue-comments", said[1])}
    path = "/repos/acme/widgets/issues/comments?per_page=1&page="
    assert [ask(server, path + page)[0] for page in "123"] == [200, 502, 200]
