import json
import random

import pytest

from foundation.clock import SYSTEM_CLOCK
from foundation.errors import ConfigurationError, Outage
from github import listing, repositories
from github.api import GitHub
from github.clients import Clients
from github.login import logins
from github.rate_limit import RateLimits


@pytest.fixture
def api(github):
    limits = RateLimits(now=SYSTEM_CLOCK.now, monotonic=SYSTEM_CLOCK.monotonic, max_wait_seconds=0)
    clock = SYSTEM_CLOCK._replace(sleep=lambda seconds: None)
    return GitHub(
        base_url=github.url, login=logins.of("t"), user_agent="test", limits=limits, clock=clock, rng=random.Random(1)
    )


def test_a_file_has_a_name_a_line_and_comments(tmp_path):
    path = tmp_path / "repos.txt"
    path.write_bytes(b"\xef\xbb\xbf# ours\r\nacme/widgets # the main one\r\n\r\n  acme/gadgets\r\n")
    assert repositories.from_file(str(path), {}) == ["acme/widgets", "acme/gadgets"]


@pytest.mark.parametrize("content, said", [(b"a/b\nfoo", "line 2"), (b"\xff", "UTF-8"), (None, "No such file")])
def test_a_file_that_cannot_be_used_is_a_clear_error(tmp_path, content, said):
    path = tmp_path / "repos.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        repositories.from_file(str(path), {})


def test_an_organisation_is_read_to_its_last_page(github, api):
    for number in range(250):
        github.add_repo(f"acme/r{number}")
    github.add_repo("other/r")
    assert len(repositories.of_organisation(api, "acme", include_archived=True, include_forks=False)) == 250
    assert len(github.journal) == 3


def test_archived_and_forked_repositories_are_a_choice(github, api):
    github.add_repo("acme/plain")
    github.add_repo("acme/old", archived=True)
    github.add_repo("acme/fork", fork=True)

    def names(**choice):
        return list(repositories.of_organisation(api, "acme", **choice))

    assert names(include_archived=True, include_forks=False) == ["acme/plain", "acme/old"]
    assert names(include_archived=False, include_forks=True) == ["acme/plain", "acme/fork"]


def test_a_user_can_stand_for_an_organisation(github, api):
    github.add_repo("ada/plain")
    github.users.add("ada")
    assert list(repositories.of_organisation(api, "ada", include_archived=True, include_forks=True)) == ["ada/plain"]


def test_the_tokens_owner_gets_the_private_repositories_too(github, api):
    github.add_repo("ada/plain")
    github.add_repo("ada/secret", private=True)
    github.add_repo("bo/secret", private=True)
    github.users |= {"ada", "bo"}
    choice = {"include_archived": True, "include_forks": True}
    assert list(repositories.of_organisation(api, "Ada", **choice)) == ["ada/plain", "ada/secret"]
    assert list(repositories.of_organisation(api, "bo", **choice)) == []


@pytest.mark.parametrize("fault", ["no_items", "no_link"])
@pytest.mark.parametrize("page", [1, 2])
def test_one_odd_answer_hides_no_repository(github, api, fault, page):
    for number in range(250):
        github.add_repo(f"acme/r{number}")
    github.fail_next(fault, match="repos?type=all&per_page=100" + ("&page=2" if page == 2 else ""))
    assert len(repositories.of_organisation(api, "acme", include_archived=True, include_forks=False)) == 250


def test_a_list_may_be_as_long_as_it_is(github, api, monkeypatch):
    monkeypatch.setattr(listing, "ODD_PAGES", 2)
    for number in range(350):
        github.add_repo(f"acme/r{number}")
    assert len(repositories.of_organisation(api, "acme", include_archived=True, include_forks=False)) == 350


def test_a_list_that_does_not_end_is_an_outage(github, api):
    github.add_repo("acme/plain")
    owned = github._owned

    def endless(path, owner, query, *, private):
        answer = owned(path, owner, query, private=private)
        assert len(github.journal) < 50
        return answer._replace(headers={"Link": f'<{github.url}/x>; rel="next"'})

    github._owned = endless
    with pytest.raises(Outage, match="nothing new"):
        repositories.of_organisation(api, "acme", include_archived=True, include_forks=True)


def test_an_owner_whose_name_begins_with_a_hyphen_is_not_dropped(github, api, caplog):
    github.add_repo("-acme/plain")
    github.add_repo("-acme/..")
    found = repositories.of_organisation(api, "-acme", include_archived=True, include_forks=False)
    assert list(found) == ["-acme/plain"]
    assert "'-acme/..'" in caplog.text


@pytest.mark.parametrize("fault, code", [(404, 1), (502, 3)])
def test_an_organisation_that_cannot_be_read_does_not_end_the_others(github, api, fault, code):
    github.add_repo("acme/plain")
    github.fail_next(fault, match="/broken/", times=99)
    choice = {"include_archived": True, "include_forks": True}
    names, failures = repositories.of_organisations(
        Clients(api, [api.login], lambda: api.limits), ["broken", "acme"], **choice
    )
    assert (list(names), [failure.exit_code for failure in failures]) == (["acme/plain"], [code])


def test_an_organisations_failure_is_in_the_exit_code(github, run_main):
    github.add_repo("acme/plain")
    code, out, err = run_main("ingest", "--org", "gone", "--org", "acme", env={"GITHUB_API_URL": github.url})
    assert (code, "acme/plain" in out) == (1, True), err


def test_an_organisation_in_which_a_name_was_used_again_is_read_whole(github, run_main, tmp_path):
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    old = github.add_repo("acme/app").make(7, pulls=0)
    assert run_main("ingest", "--org", "acme", "--all", env=env)[0] == 0
    github.rename("acme/app", "acme/app-legacy")
    github.add_repo("acme/app").make(6, pulls=0, step_seconds=3600, seed=2)
    old.touch("issues", 1)
    code, out, err = run_main("ingest", "--org", "acme", "--json", env=env)
    # The new six, the changed one, and of the old ones what lies in the overlap, with new URLs.
    assert (code, json.loads(out)["enqueued"] in range(7, 10)) == (0, True), err
    cursors = {(row["repo"], row["stream"]): row["cursor"] for row in json.loads(out)["repos"]}
    assert len(cursors) == 4
    assert json.loads(run_main("ingest", "--org", "acme", "--json", env=env)[1])["requests"] == 4


def test_names_that_differ_in_case_are_one_repository():
    assert repositories.unique(["Acme/b", "x/y", "acme/B"]) == ["Acme/b", "x/y"]


def test_fifty_unchanged_repositories_cost_a_hundred_requests_and_no_point(github, run_main, tmp_path):
    for number in range(50):
        github.add_repo(f"acme/r{number}").make(3)
    (tmp_path / "repos.txt").write_text("\n".join(f"acme/r{number}" for number in range(50)))
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    assert run_main("ingest", "--org", "acme", env=env)[0] == 0
    points = github.points_used
    result = json.loads(run_main("ingest", "--repos-file", "repos.txt", "--jobs", "4", "--json", env=env)[1])
    assert (result["requests"], result["not_modified"], github.points_used - points) == (100, 100, 0)
