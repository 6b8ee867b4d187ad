"""Whole runs with a GitHub App's login, against a server that looks closely at it."""

import json
import sqlite3
import time

import pytest

import main
from foundation.clock import SYSTEM_CLOCK
from tests.github_server import GitHubServer
from tests.github_world.apps import App, pem

MINUTES_OFF = 480
CLOCK = SYSTEM_CLOCK._replace(sleep=lambda seconds: None)


@pytest.fixture
def github():
    with GitHubServer() as server:
        yield with_app(server)


def with_app(server):
    server.app = App(server)
    for owner, items in {"acme": 250, "beta": 120, "gamma": 5}.items():
        server.add_repo(f"{owner}/widgets", private=True).make(items)
        server.app.install(owner)
    return server


def env_of(server, **more):
    return {"GITHUB_API_URL": server.url, "GITHUB_APP_ID": "12345", "GITHUB_APP_PRIVATE_KEY": pem(), **more}


@pytest.fixture
def run_here(tmp_path, capsys):
    """As `run_main`, in this process, which waits for nothing."""

    def run(command, *arguments, env):
        capsys.readouterr()
        code = main.main([command, "--db", str(tmp_path / "pipeline.db"), *arguments], {"HOME": "/", **env}, CLOCK)
        return (code, *capsys.readouterr())

    return run


def queued(tmp_path):
    with sqlite3.connect(str(tmp_path / "pipeline.db")) as conn:
        return dict(conn.execute("SELECT repo, count(*) FROM queue_items GROUP BY repo"))


def test_three_installations_whose_tokens_end_while_they_are_read_bring_everything_and_nothing_shows_a_secret(
    github, run_main, tmp_path
):
    pages, app = [], github.app

    def after_page(repo, stream, items):
        pages.append(repo)
        if len(pages) == 3:
            app.end_tokens()

    github.after_page, app.unknown_yet = after_page, 2
    ingested = run_main("ingest", "-v", "--json", "--installation", "--all", env=env_of(github))
    assert (ingested[0], json.loads(ingested[1])["enqueued"]) == (0, 375), ingested[2]
    assert queued(tmp_path) == {"acme/widgets": 250, "beta/widgets": 120, "gamma/widgets": 5}
    checked = run_main("check", "-v", "--repo", "acme/widgets", env=env_of(github))
    worked = run_main("worker", "-v", "--archive-dir", "archive", env=env_of(github))
    assert worked[0] == 0
    said = "".join(text for each in (ingested, checked, worked) for text in each[1:])
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode(errors="replace")
    asked = "".join(f"{request.path} {request.query}" for request in github.journal)
    secrets = {*app.minted, *app.jwts, *(line for line in pem().splitlines() if "-----" not in line)}
    assert len(app.minted) > 3 and app.jwts
    assert not [secret for secret in secrets for text in (said, written, asked) if secret[:40] in text]
    assert {need for _, _, permissions in app.minted.values() for need in permissions.items()} == {
        ("metadata", "read"), ("issues", "read"), ("pull_requests", "read"),
    }  # fmt: skip


def test_an_app_asks_graphql_and_reads_releases_with_no_more_rights_than_they_need(github, run_main, tmp_path):
    github.find("beta/widgets").add_release("v1.0")
    wanted = ("--all", "--repo", "beta/widgets", "--streams", "pulls,pull-details,meta")
    code, _, err = run_main("ingest", *wanted, env=env_of(github))
    assert code == 0, err
    with sqlite3.connect(str(tmp_path / "pipeline.db")) as conn:
        found = dict(conn.execute("SELECT item_type, count(*) FROM queue_items GROUP BY item_type"))
    assert found["pull_detail"] == found["pull_request"] > 0
    assert found["release"] == 1
    paths = [request.path for request in github.journal]
    assert "/graphql" in paths and not any(path.endswith("/reviews") for path in paths)
    ((_, _, rights),) = github.app.minted.values()
    assert set(rights) == {"metadata", "issues", "pull_requests", "contents"}


@pytest.mark.parametrize("off", [MINUTES_OFF, -MINUTES_OFF])
def test_a_clock_that_is_eight_minutes_off_costs_a_request_and_no_more(run_main, tmp_path, off):
    with GitHubServer(clock=lambda: time.time() + off) as server:
        with_app(server)
        code, out, err = run_main("ingest", "--json", "--all", "--repo", "acme/widgets", env=env_of(server))
        assert (code, json.loads(out)["enqueued"]) == (0, 250), err
        assert [request.status for request in server.journal].count(401) == (off < 0)  # the claims allow for the other
        assert len(server.app.minted) == 1


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("how", ["revoked", "suspended"])
def test_an_installation_that_is_no_more_is_the_error_of_its_owner_alone(github, run_here, tmp_path, how, when):
    beta = github.app.installations[1]

    def end(*page):
        if how == "suspended":
            beta.suspended_at = "2026-11-23T03:00:00Z"
        elif beta in github.app.installations:
            github.app.revoke(beta)

    if when == "before":
        end()
    else:
        github.after_page = lambda repo, stream, items: repo.full_name == "beta/widgets" and end()
    names = [f"--repo={owner}/widgets" for owner in ("beta", "acme", "gamma")]
    code, out, err = run_here("ingest", "--json", "--all", *names, env=env_of(github))
    results = {(each["repo"], each["error"] is None) for each in json.loads(out)["repos"]}
    assert code == 1, err
    assert results == {("beta/widgets", False), ("acme/widgets", True), ("gamma/widgets", True)}
    assert queued(tmp_path)["acme/widgets"] == 250
    assert "beta" in err and ("suspended" in err or "revoked" in err or "not installed" in err)


def test_an_enterprise_servers_address_is_enough(github, run_main):
    env = env_of(github, GITHUB_API_URL=github.url + "/api/v3")
    code, out, err = run_main("ingest", "--json", "--all", "--repo", "gamma/widgets", env=env)
    assert (code, json.loads(out)["enqueued"]) == (0, 5), err


def test_one_installation_can_be_named_and_reads_what_is_public_elsewhere_too(github, run_here):
    github.add_repo("octocat/Hello-World").make(3)
    arguments = ("ingest", "--json", "--all", "--repo", "octocat/Hello-World")
    code, out, err = run_here(*arguments, env=env_of(github))
    assert code == 1 and "not installed for octocat" in err and "GITHUB_APP_INSTALLATION_ID" in err
    code, out, err = run_here(*arguments, env=env_of(github, GITHUB_APP_INSTALLATION_ID="70"))
    assert (code, json.loads(out)["enqueued"]) == (0, 3), err
    code, out, err = run_here("ingest", "--json", "--installation", env=env_of(github, GITHUB_APP_INSTALLATION_ID="72"))
    assert {each["repo"] for each in json.loads(out)["repos"]} == {"gamma/widgets"}
    code, out, err = run_here(*arguments, env=env_of(github, GITHUB_APP_INSTALLATION_ID="7"))
    assert code == 2 and "GITHUB_APP_INSTALLATION_ID" in err


@pytest.mark.parametrize("times", [4, 7])
def test_an_outage_of_the_tokens_hides_no_item(github, run_here, tmp_path, times):
    """7: a page's attempts, and those for the first item of it alone, of which it would be said that it is broken."""

    def after_page(repo, stream, items):
        if not github.app.minted or items is None or github.after_page is None:
            return
        github.after_page = None
        github.app.end_tokens()
        github.fail_next(502, match="access_tokens", times=times)

    github.after_page = after_page
    arguments = ("ingest", "--json", "--all", "--only", "issues", "--repo", "acme/widgets")
    code, out, err = run_here(*arguments, env=env_of(github))
    assert (code, "does not give" in err) == (0 if times == 4 else 3, False), err
    if code:
        assert run_here(*arguments, env=env_of(github))[0] == 0
    wanted = sum(stream == "issues" for stream, _ in github.find("acme/widgets").known())
    assert queued(tmp_path) == {"acme/widgets": wanted}


def test_an_app_that_is_installed_nowhere_is_said(github, run_here):
    github.app.installations.clear()
    code, out, err = run_here("ingest", "--installation", env=env_of(github))
    assert code == 0 and "installed nowhere" in err


def test_a_sweep_goes_over_what_the_app_sees_and_what_is_known(github, run_here):
    github.add_repo("other/public").make(3)
    names = [f"--repo={name}" for name in ("acme/widgets", "gamma/widgets", "other/public")]
    as_token = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    app, github.app = github.app, None
    assert run_here("ingest", "--all", *names, env=as_token)[0] == 0
    github.app = app
    code, out, err = run_here("sweep", "--json", "--installation", env=env_of(github))
    assert code == 0, err
    assert {each["repo"] for each in json.loads(out)["repos"]} == {"acme/widgets", "gamma/widgets"}


def test_a_repository_that_was_not_selected_is_that_repositorys_error(github, run_here):
    github.add_repo("acme/hidden", private=True).make(3)
    github.app.installations[0].repos = {"acme/widgets"}
    names = ["--repo", "acme/hidden", "--repo", "acme/widgets"]
    code, out, err = run_here("ingest", "--json", "--all", *names, env=env_of(github))
    assert code == 1
    errors = {(each["repo"], each["error"] is None) for each in json.loads(out)["repos"]}
    assert errors == {("acme/hidden", False), ("acme/widgets", True)}
    assert json.loads(out)["enqueued"] == 250
    assert "that the App's installation 70 (acme) may read it" in err


def test_what_an_owner_did_not_grant_is_not_asked_for_and_its_stream_says_so(github, run_here):
    github.app.installations[2].granted = {"metadata": "read", "issues": "read"}
    code, out, err = run_here("ingest", "--json", "--all", "--repo", "gamma/widgets", env=env_of(github))
    errors = {each["stream"]: each["error"] for each in json.loads(out)["repos"]}
    assert code == 1 and errors["issues"] is None and "not accessible" in errors["pulls"]


def test_all_pages_of_what_an_installation_sees_are_read_without_forks(github, run_here):
    for number in range(120):
        github.add_repo(f"gamma/r{number}", private=True)
    code, out, err = run_here("ingest", "--json", "--all", "--installation", "--only", "issues", env=env_of(github))
    assert code == 0, err
    assert len(json.loads(out)["repos"]) == 123
    assert len(github.app.minted) == 3


def test_a_repository_that_goes_to_another_owner_is_found_there_with_its_cursor(github, run_here, tmp_path):
    assert run_here("ingest", "--all", "--installation", env=env_of(github))[0] == 0
    github.rename("beta/widgets", "acme/gears")
    code, out, err = run_here("ingest", "--json", "--installation", env=env_of(github))
    assert (code, json.loads(out)["enqueued"] < 10) == (0, True), err  # only the last minute's, under their new name
    assert {each["repo"] for each in json.loads(out)["repos"]} == {"acme/widgets", "acme/gears", "gamma/widgets"}


def test_an_owners_list_is_read_by_its_installation(github, run_main):
    code, out, err = run_main("ingest", "--json", "--all", "--org", "acme", env=env_of(github))
    assert (code, json.loads(out)["enqueued"]) == (0, 250), err


def test_a_wrong_key_or_id_ends_the_run_with_what_to_look_at(github, run_main):
    code, out, err = run_main("ingest", "--repo", "acme/widgets", env=env_of(github, GITHUB_APP_ID="777"))
    assert code == 2
    assert "GitHub rejects the App 777" in err and "GITHUB_APP_ID" in err


def test_without_the_package_one_line_says_what_to_install(github, run_main, tmp_path):
    (tmp_path / "cryptography.py").write_text("raise ImportError('not installed')")
    env = env_of(github, PYTHONPATH=str(tmp_path))
    code, out, err = run_main("ingest", "--repo", "acme/widgets", env=env)
    assert code == 2
    assert err.splitlines() == [
        "error: GITHUB_APP_ID needs the package cryptography; run pip install -r requirements-app.txt"
    ]


@pytest.mark.parametrize("mode, state", [(0o600, "ok"), (0o640, "warning"), (0o604, "warning")])
def test_check_says_which_login_is_used_with_its_limits_and_who_can_read_the_key(
    github, run_here, tmp_path, mode, state
):
    key = tmp_path / "app.pem"
    key.write_text(pem())
    key.chmod(mode)
    github.app.installations[1].suspended_at = "2026-11-23T03:00:00Z"
    env = env_of(github, GITHUB_APP_PRIVATE_KEY_FILE=str(key), GITHUB_TOKEN="unused")
    del env["GITHUB_APP_PRIVATE_KEY"]
    code, out, err = run_here("check", "--json", "--archive-dir", "archive", env=env)
    found = {each["name"]: each for each in json.loads(out)["checks"]}
    assert found["the App's key"]["state"] == state
    assert "12345 is used, which is the-pipeline; GITHUB_TOKEN is not" in found["GitHub App"]["detail"]
    assert found["installation of acme"]["detail"].startswith("5000 of 5000 left")
    assert (found["installation of beta"]["state"], code) == ("warning", 0)
    assert "suspended" in found["installation of beta"]["detail"]


# Several tokens.


def test_each_repository_stays_with_its_token_and_each_token_has_its_own_limit(run_here, tmp_path):
    tokens = ["first-token", "second-token", "third-token"]
    with GitHubServer(tokens=set(tokens)) as server:
        names = [f"acme/r{number}" for number in range(12)]
        for name in names:
            server.add_repo(name).make(3)
        arguments = ["ingest", "--json", *(f"--repo={name}" for name in names)]
        for order in (tokens, tokens[::-1]):
            env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": " , ".join(order)}
            code, out, err = run_here(*arguments, env=env)
            assert code == 0, err
        assert json.loads(out)["not_modified"] == json.loads(out)["requests"] == 24
        by_token = {request.headers["authorization"] for request in server.journal}
        assert len(by_token) == 3
        code, out, err = run_here("check", env=env)
        assert "token 1 of 3" in out and out.count("it is ada's, as token 1 of 3 is: they share their points") == 2


def test_one_of_several_tokens_that_is_rejected_stops_only_what_is_its_own(run_here):
    tokens = ["first-token", "second-token", "third-token"]
    with GitHubServer(tokens={"first-token", "third-token"}) as server:
        names = [f"acme/r{number}" for number in range(12)]
        for name in names:
            server.add_repo(name).make(3)
        env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": ",".join(tokens)}
        given = [f"--repo={name}" for name in names]
        code, out, err = run_here("ingest", "--json", *given, env=env)
        errors = [each["error"] for each in json.loads(out)["repos"]]
        assert code == 2 and 0 < sum(error is None for error in errors) < 24
        assert {error for error in errors if error} == {
            "GitHub rejects token 2 of 3 (401 Bad credentials); check GITHUB_TOKEN or GH_TOKEN"
        }
        assert [request.status for request in server.journal].count(401) == 2
        assert "second-token" not in out + err
        code, out, err = run_here("sweep", "--json", env=env)
        assert (code, {each["error"] is None for each in json.loads(out)["repos"]}) == (0, {True}), err  # what is known
        code, out, err = run_here("check", "--json", *given, "--archive-dir", "archive", env=env)
        found = {each["name"]: each["state"] for each in json.loads(out)["checks"]}
        assert code == 2 and found["GitHub token 2 of 3"] == "error" and found["GitHub token 1 of 3"] == "ok"
        assert [found[f"repository {name}"] for name in names].count("error") * 2 == sum(map(bool, errors))


def test_a_limit_that_is_met_stops_only_what_shares_it(run_here):
    with GitHubServer(rate_limit=40) as server:
        with_app(server)
        server.spend(server.app.installations[0].id, "core", 40)
        names = [f"--repo={owner}/widgets" for owner in ("acme", "beta", "gamma")]
        code, out, err = run_here("ingest", "--json", "--all", "--max-wait", "0", *names, env=env_of(server))
        errors = {(each["repo"], each["error"] is None) for each in json.loads(out)["repos"]}
        assert errors == {("acme/widgets", False), ("beta/widgets", True), ("gamma/widgets", True)}, err
        assert code == 3


def test_an_installation_is_no_tokens_business(github, run_main):
    github.app = None
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "some-token"}
    code, out, err = run_main("ingest", "--installation", env=env)
    assert code == 2 and "GITHUB_APP_ID" in err
