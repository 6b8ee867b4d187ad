"""The tests' own GitHub: one pull request by itself, its reviews, and GraphQL."""

import json
import random

import pytest

from tests.asking import ask, links, now, server, walk  # noqa: F401 - fixtures
from tests.github_world.basics import compact_json, sha256
from tests.github_world.graphql_objects import from_node_id
from tests.github_world.life import happen
from tests.openapi_shapes import misfits

PULL = "/repos/acme/widgets/pulls/2"
DETAILS = """
fragment details on PullRequest {
  fullDatabaseId number updatedAt additions deletions changedFiles commits { totalCount }
  author { login __typename } mergedBy { login __typename } mergeCommit { oid } reviewDecision
  reviews(first: 100) {
    totalCount pageInfo { hasNextPage endCursor }
    nodes { fullDatabaseId state submittedAt updatedAt author { login __typename } commit { oid } url
      authorAssociation }
  }
}
"""


@pytest.fixture
def repo(server):
    made = server.add_repo("acme/widgets")
    made.add_issue()
    made.add_pull(user={"login": "renovate[bot]", "id": 9, "type": "Bot"}, additions=10)
    return made


def query(server, text, token="t", **variables):
    return ask(server, "/graphql", token, body={"query": text, "variables": variables})


def details(numbers):
    pulls = " ".join(f"p{number}: pullRequest(number: {number}) {{ ...details }}" for number in numbers)
    return '{ repository(owner: "acme", name: "widgets") { %s } rateLimit { cost remaining } } %s' % (pulls, DETAILS)


def test_a_pull_request_by_itself_shows_its_size_and_who_merged_it(server, repo):
    repo.touch("pulls", 2, merged_at="2026-09-21T10:13:20Z", merged_by="merge[bot]", state="closed")
    pull = ask(server, PULL)[2]
    assert (pull["additions"], pull["merged"], pull["merged_by"]["login"]) == (10, True, "merge[bot]")
    assert misfits("pull_detail", pull, unseen=["base", "head", "user", "labels"]) == ["pull_detail.edits is unknown"]
    assert ask(server, "/repos/acme/widgets/pulls/1")[0] == 404


def test_reviews_stand_oldest_first_on_pages_with_the_shape_that_github_describes(server, repo):
    reviews = [repo.add_review(2, state, author=who) for state, who in (
        ("COMMENTED", "bo"), ("CHANGES_REQUESTED", None), ("APPROVED", "review[bot]"), ("PENDING", "ada"))]  # fmt: skip
    repo.add_review(2, "PENDING", author="bo")  # whose author does not ask
    found = walk(server, PULL + "/reviews?per_page=2")
    assert [review["id"] for review in found] == reviews
    for review in found:
        assert misfits("review", review) == []
    assert ["submitted_at" in review for review in found] == [True, True, True, False]
    assert "page=2" in links(ask(server, PULL + "/reviews?per_page=2")[1])["last"]
    repo.dismiss_review(reviews[1])
    assert walk(server, PULL + "/reviews")[1]["state"] == "DISMISSED"
    event = ask(server, "/repos/acme/widgets/issues/events")[2][0]
    assert (event["event"], event["dismissed_review"]["state"]) == ("review_dismissed", "changes_requested")


def test_one_request_brings_many_pull_requests_with_their_reviews_for_one_point(server, repo, now):
    for _ in range(24):
        repo.add_pull()
    first = repo.add_review(2, "APPROVED")
    pending = repo.add_review(2, "PENDING", author="ada")
    status, headers, body = query(server, details(range(2, 27)))
    assert (status, "errors" in body) == (200, False)
    found = body["data"]["repository"]["p2"]
    # A bot has no "[bot]" here.
    assert found["author"] == {"login": "renovate", "__typename": "Bot"}
    assert (found["additions"], found["reviewDecision"], found["mergeCommit"]) == (10, "APPROVED", None)
    assert found["fullDatabaseId"] == str(ask(server, PULL)[2]["id"])
    nodes = found["reviews"]["nodes"]
    assert [(int(one["fullDatabaseId"]), one["submittedAt"] is None) for one in nodes] == [
        (first, False),
        (pending, True),
    ]
    assert body["data"]["rateLimit"] == {"cost": 1, "remaining": 4999}
    assert (headers["x-ratelimit-resource"], headers["x-ratelimit-remaining"]) == ("graphql", "4999")
    assert (server.graphql_points_used, server.journal[0].points, server.journal[0].resource) == (1, 1, "graphql")
    assert server.points_used == 1  # REST's own


def test_what_graphql_showed_is_on_record_by_the_characters_of_each_pull_request(server, repo):
    review = repo.add_review(2, "APPROVED")
    body = query(server, details([2]))[2]
    shown = {one.stream: one for one in server.served}
    assert (shown["reviews"].id, shown["reviews"].number) == (review, 2)
    assert shown["pull-details"].sha256 == sha256(compact_json(body["data"]["repository"]["p2"]))


def test_what_is_not_there_is_null_and_an_error_beside_the_others(server, repo):
    status, _, body = query(server, details([1, 2, 77]))
    assert (status, body["data"]["repository"]["p1"], body["data"]["repository"]["p77"]) == (200, None, None)
    assert body["data"]["repository"]["p2"]["number"] == 2
    assert [(one["type"], one["path"]) for one in body["errors"]] == [
        ("NOT_FOUND", ["repository", "p1"]),
        ("NOT_FOUND", ["repository", "p77"]),
    ]
    assert body["errors"][1]["message"] == "Could not resolve to a PullRequest with the number of 77."
    status, _, body = query(server, '{ repository(owner: "acme", name: "gone") { id } }')
    assert (status, body["data"], body["errors"][0]["type"]) == (200, {"repository": None}, "NOT_FOUND")


def test_more_than_a_hundred_reviews_are_paged(server, repo):
    made = [repo.add_review(2, "COMMENTED") for _ in range(130)]
    text = """query($after: String) { repository(owner: "acme", name: "widgets") { pullRequest(number: 2) {
        reviews(first: 100, after: $after) { totalCount nodes { fullDatabaseId }
          pageInfo { hasNextPage endCursor } } } } }"""
    after, found = None, []
    for pages in (1, 2):
        page = query(server, text, after=after)[2]["data"]["repository"]["pullRequest"]["reviews"]
        found += [int(node["fullDatabaseId"]) for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (130, pages == 1)
    assert found == made


def test_issues_can_be_walked_and_counted(server, repo, now):
    for _ in range(3):
        now[0] += 1
        repo.add_issue()
    repo.add_comment(3)
    text = """{ repository(owner: "acme", name: "widgets") { pullRequests { totalCount }
        issues(first: 2, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount pageInfo { endCursor hasNextPage }
            nodes { number updatedAt comments { totalCount } } } } }"""
    found = query(server, text)[2]["data"]["repository"]
    assert (found["pullRequests"]["totalCount"], found["issues"]["totalCount"]) == (1, 4)
    assert [(node["number"], node["comments"]["totalCount"]) for node in found["issues"]["nodes"]] == [(5, 0), (3, 1)]


def test_a_timeline_holds_the_events_that_the_list_has_and_their_ids_stand_in_the_node_ids(server, repo, now):
    for number in (1, 2):
        repo.label(number, "bug")
        repo.assign(number, "cy")
        repo.close(number, actor=None)
    repo.add_event(2, "review_requested", reviewer="bo")
    repo.add_event(2, "review_requested", team="core")
    repo.add_event(2, "renamed", rename=("a", "b"))
    now[0] += 1
    repo.add_comment(2)
    repo.dismiss_review(repo.add_review(2, "APPROVED"))
    for number, name in ((1, "issue"), (2, "pullRequest")):
        text = """{ repository(owner: "acme", name: "widgets") { item: %s(number: %d) { timelineItems(first: 100) {
            totalCount nodes { __typename ... on Node { id }
              ... on LabeledEvent { createdAt actor { login } label { name } }
              ... on ClosedEvent { createdAt actor { login } stateReason }
              ... on AssignedEvent { assignee { ... on User { login } } }
              ... on ConvertedToDiscussionEvent { createdAt } } } } } }""" % (name, number)
        body = query(server, text)[2]
        nodes = body["data"]["repository"]["item"]["timelineItems"]["nodes"]
        listed = {
            event["id"]: event["node_id"] for event in walk(server, "/repos/acme/widgets/issues/events")
            if event["issue"]["number"] == number
        }  # fmt: skip
        events = {from_node_id(node["id"])[1][-1]: node["id"] for node in nodes if node["__typename"].endswith("Event")}
        assert events == listed
        kinds = [node["__typename"] for node in nodes]
        assert kinds[:3] == ["LabeledEvent", "AssignedEvent", "ClosedEvent"]
        assert (nodes[0]["label"]["name"], nodes[1]["assignee"]["login"], nodes[2]["actor"]) == ("bug", "cy", None)
    assert {"IssueComment", "PullRequestReview", "ReviewDismissedEvent", "RenamedTitleEvent"} <= set(kinds)
    text = """{ repository(owner: "acme", name: "widgets") { pullRequest(number: 2) { timelineItems(first: 100,
        itemTypes: [REVIEW_REQUESTED_EVENT]) { nodes { ... on ReviewRequestedEvent { requestedReviewer {
            ... on User { login } ... on Team { slug } } } } } } } }"""
    nodes = query(server, text)[2]["data"]["repository"]["pullRequest"]["timelineItems"]["nodes"]
    assert [node["requestedReviewer"] for node in nodes] == [{"login": "bo"}, {"slug": "core"}]


def test_nodes_are_found_by_the_ids_that_rest_shows(server, repo):
    review = repo.add_review(2, "APPROVED")
    comment = repo.add_comment(1)
    issue = next(one for one in ask(server, "/repos/acme/widgets/issues")[2] if one["number"] == 1)
    said = walk(server, "/repos/acme/widgets/issues/comments")[0]
    ids = [one["node_id"] for one in (ask(server, PULL)[2], repo.review(review), issue, said)]
    text = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on PullRequest { fullDatabaseId }
        ... on PullRequestReview { fullDatabaseId } ... on IssueComment { fullDatabaseId } } }"""
    body = query(server, text, ids=[*ids, "PR_kwDOAAAAAM4AAAAA"])[2]
    kinds = [node and node["__typename"] for node in body["data"]["nodes"]]
    assert kinds == ["PullRequest", "PullRequestReview", "Issue", "IssueComment", None]
    assert body["data"]["nodes"][1]["fullDatabaseId"] == str(review)
    assert body["data"]["nodes"][3]["fullDatabaseId"] == str(comment)
    assert (body["errors"][0]["type"], body["errors"][0]["path"]) == ("NOT_FOUND", ["nodes", 4])


def test_without_a_token_there_is_no_graphql(server, repo):
    assert query(server, details([2]), token=None)[0] == 401
    server.graphql_anonymous = 403
    status, headers, body = query(server, details([2]), token=None)
    assert (status, headers["x-ratelimit-limit"], headers["x-ratelimit-resource"]) == (403, "0", "graphql")
    server.tokens = ["good"]
    assert query(server, details([2]), token="bad")[0] == 401
    server.graphql_enabled = False
    assert query(server, details([2]), token="good")[0] == 404


def test_the_budget_is_graphqls_own_and_its_end_comes_as_a_200(server, repo, now):
    server.graphql_limit = 2
    assert [("data" in query(server, details([2]))[2]) for _ in range(3)] == [True, True, False]
    status, headers, body = query(server, details([2]))
    assert (status, body["errors"][0]["type"], headers["x-ratelimit-remaining"]) == (200, "RATE_LIMITED", "0")
    assert ask(server, PULL, "t")[1]["x-ratelimit-remaining"] == "4999"
    resources = ask(server, "/rate_limit", "t")[2]["resources"]
    assert (resources["graphql"]["remaining"], resources["core"]["remaining"]) == (0, 4999)
    now[0] = int(headers["x-ratelimit-reset"])
    assert "data" in query(server, details([2]))[2]


def test_what_asks_for_too_much_is_refused_or_takes_too_long(server, repo):
    for _ in range(60):
        repo.add_pull()
    status, _, body = query(server, details(range(2, 60)))
    assert (status, body["data"], "type" in body["errors"][0]) == (502, None, False)
    server.graphql_heaviest = 10_000
    assert query(server, details(range(2, 60)))[0] == 200
    for how, kind in (("first: 101", "EXCESSIVE_PAGINATION"), ("", "MISSING_PAGINATION_BOUNDARIES")):
        text = '{ repository(owner: "acme", name: "widgets") { issues%s { nodes { id } } } }' % (how and f"({how})")
        assert query(server, text)[2]["errors"][0]["type"] == kind
    text = """{ repository(owner: "acme", name: "widgets") { issues(first: 100) { nodes {
        timelineItems(first: 100) { nodes { __typename } } comments(first: 100) { nodes { id } } } } }
        rateLimit { cost nodeCount } }"""
    server.graphql_heaviest = 10**6
    assert query(server, text)[2]["data"]["rateLimit"] == {"cost": 2, "nodeCount": 20_100}
    assert "errors" in query(server, "{ nonsense }")[2]
    assert "errors" in query(server, "{")[2]


FAULTS = {
    "graphql_502": (502, [None]), "graphql_wrong": (200, [None]), "graphql_limited": (200, ["RATE_LIMITED"]),
    "graphql_forbidden": (200, ["FORBIDDEN"]), "graphql_slow": (502, []), "graphql_nulls": (200, []),
    "graphql_null_reviews": (200, []), "graphql_partly": (200, [None]), "graphql_secondary": (200, ["RATE_LIMITED"]),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_graphql_and_rest_show_the_same(server, repo, now, seed):
    rng = random.Random(seed)
    for _ in range(150):
        now[0] += rng.choice([0, 0, 1, 30])
        happen(repo, rng)
    numbers = [number for stream, number in repo.known() if stream == "pulls"][:25]
    found = query(server, details(numbers))[2]
    assert "errors" not in found
    for number in numbers:
        pull = ask(server, f"/repos/acme/widgets/pulls/{number}", "t")[2]
        reviews = walk(server, f"/repos/acme/widgets/pulls/{number}/reviews")
        shown = found["data"]["repository"][f"p{number}"]
        assert (int(shown["fullDatabaseId"]), shown["updatedAt"]) == (pull["id"], pull["updated_at"])
        names = {"additions": "additions", "deletions": "deletions", "changedFiles": "changed_files"}
        assert [shown[name] for name in names] == [pull[name] for name in names.values()]
        assert [
            (int(one["fullDatabaseId"]), one["state"], one["submittedAt"], one["commit"]["oid"], one["url"])
            for one in shown["reviews"]["nodes"]
        ] == [(one["id"], one["state"], one.get("submitted_at"), one["commit_id"], one["html_url"]) for one in reviews]


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_come_as_github_has_them(server, repo, kind):
    repo.add_pull()
    repo.add_review(2)
    server.fail_next(kind, match="pullRequest(number: 3)")
    assert "errors" not in query(server, details([2]))[2]
    status, _, body = query(server, details([2, 3]))
    assert (status, [one.get("type") for one in body.get("errors", [])]) == FAULTS[kind]
    if kind == "graphql_nulls":
        assert (body["data"]["repository"]["p2"]["number"], body["data"]["repository"]["p3"]) == (2, None)
    if kind == "graphql_partly":
        assert (body["data"]["repository"]["p3"]["number"], body["errors"][0]["path"]) == (3, ["repository", "p2"])
    if kind == "graphql_null_reviews":
        assert body["data"]["repository"]["p2"]["reviews"]["nodes"] == [None]
        assert body["data"]["repository"]["p3"]["reviews"] is None
    assert query(server, details([2, 3]))[2]["data"]["repository"]["p3"]["number"] == 3


def test_a_pull_request_that_is_too_much_spoils_every_answer_that_holds_it(server, repo):
    repo.add_pull()
    repo.broken = {("pull-details", 3)}
    assert query(server, details([2, 3]))[0] == 502
    assert query(server, details([2]))[0] == 200
    assert ask(server, "/repos/acme/widgets/pulls/3")[0] == 200
    repo.broken = {("pull", 3)}
    assert ask(server, "/repos/acme/widgets/pulls/3")[0] == 502


def test_a_name_that_it_had_is_followed_and_something_may_happen_before_each_request(server, repo):
    server.rename("acme/widgets", "acme/gadgets")
    seen = []
    server.on_request = lambda target: seen.append(target) or repo.touch("pulls", 2, additions=len(seen))
    found = [query(server, details([2]))[2]["data"]["repository"]["p2"]["additions"] for _ in range(2)]
    assert (found, [target.split(" ")[0] for target in seen]) == ([1, 2], ["/graphql", "/graphql"])
    assert json.loads(server.journal[0].body)["query"].startswith("{ repository")
