import random

import pytest

import db
import ingest
from commands import figures
from fetcher import ALL_HISTORY
from foundation import timestamps
from foundation.errors import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK, EXIT_OUTAGE, ConfigurationError, Outage
from github import outages
from github.api import GitHub
from github.login import logins
from github.rate_limit import RateLimits
from tests.conftest import started_main
from tests.github_server import GitHubServer
from tests.ingesting import START, Killed, github, missing, queued, run, time, versions  # noqa: F401 - fixtures


def test_a_first_run_takes_seven_days_and_the_next_goes_on_for_free(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(30, step_seconds=86400)
    first = run()
    assert {number for _, number, _ in queued(tmp_path)} == set(range(24, 31))
    points = github.points_used
    assert [result.requests for result in run()] == [1, 1]
    assert github.points_used == points
    repo.touch("issues", next(n for kind, n in versions(repo) if kind == "issue"))
    second = run()
    assert sum(result.enqueued for result in second) == 1
    assert first[0].cursor < second[0].cursor


def test_all_history_is_fetched_with_few_requests_and_no_since(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(1000)
    results = run(since=ALL_HISTORY)
    assert missing(tmp_path, repo, versions(repo)) == []
    items = {"issues": 1000, "pulls": len(repo.streams["pulls"].items)}
    for result in results:
        assert result.requests <= items[result.stream] / 100 * 1.05 + 4
    assert [result.requests for result in run()] == [1, 1]


def test_reaching_back_happens_once_and_never_moves_the_cursor_back(run, github, tmp_path):
    github.add_repo("acme/widgets").make(300, step_seconds=3600)
    cursors = [result.cursor for result in run()]
    back = run(since="2026-11-13T00:00:00Z")
    assert sum(result.enqueued for result in back) > 0
    assert [result.cursor for result in back] == cursors
    assert [result.requests for result in run(since="2026-11-13T00:00:00Z")] == [1, 1]
    assert sum(result.enqueued for result in run(since=ALL_HISTORY)) > 0
    assert len(queued(tmp_path)) == 300


def test_the_cursor_stays_when_the_newest_item_goes_away(run, github):
    stream = github.add_repo("acme/widgets").make(5, pulls=0).streams["issues"]
    cursor = run(only="issues")[0].cursor
    stream.remove(stream.order[-1][1])
    (again,) = run(only="issues")
    assert (again.cursor, again.requests, again.error) == (cursor, 1, None)


def test_an_item_that_github_showed_late_is_still_found(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(5, pulls=0)
    cursor = run()[0].cursor
    repo.add_issue(updated_at=timestamps.shift(cursor, seconds=-50))
    assert run()[0].enqueued == 1


def test_an_empty_repository_saves_the_point_that_it_looked_from(run, github, time):
    github.add_repo("acme/widgets")
    assert {result.cursor for result in run()} == {timestamps.from_epoch(START - 7 * 86400)}
    assert [result.not_modified for result in run()] == [1, 1]


@pytest.mark.parametrize("count, same_second", [(5000, False), (1500, True)])
@pytest.mark.parametrize("cursors", [False, True])
def test_items_that_change_while_the_scan_goes_on_are_not_missed(
    run, github, time, tmp_path, count, same_second, cursors
):
    repo = github.add_repo("acme/widgets", cursors=cursors).make(count, same_second=same_second)
    before = versions(repo)
    time.seconds += 600
    rng = random.Random(3)

    def touch_one(repo, stream, served):
        time.seconds += 1
        if served and len(github.journal) < 200:
            found = rng.choice(served)
            kind = "pulls" if ("pull_request", found.number) in before else "issues"
            repo.touch(kind, found.number)

    github.after_page = touch_one
    assert [result.error for result in run(since=ALL_HISTORY)] == [None, None]
    assert missing(tmp_path, repo, before) == []


def test_a_scan_killed_after_every_page_still_ends_complete(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(700, same_second=False)
    dense = github.add_repo("acme/dense").make(698, same_second=True)
    dense.add_issue()
    dense.add_pull()  # newer than the dense second, or each run would have to look through that again
    for name, made in (("acme/widgets", repo), ("acme/dense", dense)):
        for stream in ("issues", "pulls"):
            for _ in range(40):
                time.seconds += 1
                try:
                    run(since=ALL_HISTORY, only=stream, repo=name, pages=1)
                    break
                except Killed:
                    continue
            else:
                pytest.fail("the scan makes no progress")
        assert len(versions(made)) == 700
    stored = {(kind, number) for kind, number, _ in queued(tmp_path)}
    assert len(queued(tmp_path)) == 1400
    assert stored == set(versions(repo)) | set(versions(dense))


@pytest.mark.parametrize("fault", [500, 502, 503, 504, "reset", "close", "truncate", "invalid_json", "html"])
def test_a_passing_fault_is_survived(run, github, time, tmp_path, fault):
    github.add_repo("acme/widgets").make(250)
    github.fail_next(fault, times=3)
    results = run(since=ALL_HISTORY)
    assert [result.error for result in results] == [None, None]
    assert len(queued(tmp_path)) == 250
    assert len(time.slept) == 3
    assert 1 <= time.slept[0] < time.slept[1] < time.slept[2] <= 6


def test_a_hang_is_a_passing_fault_too(run, github, monkeypatch):
    monkeypatch.setattr(outages, "READ_TIMEOUT_SECONDS", 0.2)
    github.add_repo("acme/widgets").make(5)
    github.fail_next("hang", seconds=1)
    assert [result.error for result in run()] == [None, None]


@pytest.mark.parametrize("same_second", [False, True])
def test_with_a_third_of_the_requests_failing_in_every_way_nothing_is_missed(
    run, github, time, tmp_path, monkeypatch, same_second
):
    monkeypatch.setattr(outages, "READ_TIMEOUT_SECONDS", 0.2)
    repo = github.add_repo("acme/widgets").make(1500, same_second=same_second)
    before = versions(repo)
    faults = [500, 502, 503, 504, "reset", "close", "hang", "truncate", "invalid_json", "html", "secondary_403"]
    github.fail_randomly(0.3, faults, random.Random(7))
    for _ in range(20):
        results = run(since=ALL_HISTORY, max_wait_seconds=10**6)
        if ingest.exit_code(results) == EXIT_OK:
            break
    assert ingest.exit_code(results) == EXIT_OK
    assert missing(tmp_path, repo, before) == []
    assert len(time.slept) > 10


def test_ten_changes_cost_one_request_a_stream(run, github, time, tmp_path):
    repo = github.add_repo("acme/widgets").make(300)
    run(since=ALL_HISTORY)
    time.seconds += 3600
    for kind, number in sorted(versions(repo))[:10]:
        repo.touch("pulls" if kind == "pull_request" else "issues", number)
    results = run()
    assert sum(result.enqueued for result in results) == 10
    assert [result.requests for result in results] == [1, 1]


def test_a_heavy_page_is_asked_for_in_smaller_pieces(run, github, tmp_path):
    github.add_repo("acme/widgets").make(250)
    github.fail_next(502, times=10**6, match="per_page=100")
    assert [result.error for result in run(since=ALL_HISTORY)] == [None, None]
    assert len(queued(tmp_path)) == 250


def test_a_lasting_fault_stops_its_stream_only_and_the_next_run_goes_on(run, github, tmp_path):
    github.add_repo("acme/widgets").make(250)
    github.fail_next(502, times=10**6, match="/pulls")
    results = run(since=ALL_HISTORY)
    assert [bool(result.error) for result in results] == [False, True]
    assert ingest.exit_code(results) == EXIT_OUTAGE
    github._faults.clear()
    assert ingest.exit_code(run()) == EXIT_OK
    assert len(queued(tmp_path)) == 250


@pytest.mark.parametrize("fault", ["secondary_403", "secondary_429"])
def test_a_secondary_limit_is_waited_for_as_github_asks(run, github, time, tmp_path, fault):
    github.add_repo("acme/widgets").make(20)
    github.fail_next(fault, retry_after=7)
    github.fail_next(fault)
    assert [result.error for result in run()] == [None, None]
    assert time.slept == [7, 60]


def test_a_primary_limit_beyond_max_wait_stops_the_run_and_the_next_goes_on(run, github, time, tmp_path):
    github.rate_limit = 5
    github.add_repo("acme/widgets").make(1000)
    results = run(since=ALL_HISTORY, max_wait_seconds=60)
    assert ingest.exit_code(results) == EXIT_OUTAGE
    assert "2026-11-23T04:00" in results[0].error
    assert github.points_used == 5
    stored = len(queued(tmp_path))
    assert stored > 100
    github.rate_limit = 5000
    assert ingest.exit_code(run()) == EXIT_OK
    assert len(queued(tmp_path)) == 1000


@pytest.mark.parametrize("rate_limit", [None, 0])
def test_a_server_without_limits_just_works(run, github, time, rate_limit):
    github.rate_limit = rate_limit
    github.add_repo("acme/widgets").make(10)
    assert [result.error for result in run()] == [None, None]
    assert time.slept == []


@pytest.mark.parametrize(
    "fault, code", [(404, EXIT_FAILED), (451, EXIT_FAILED), ("blocked", EXIT_FAILED), (403, EXIT_FAILED)]
)
def test_a_refusal_is_that_repositorys_error_and_not_retried(run, github, time, fault, code):
    github.add_repo("acme/widgets").make(10)
    github.fail_next(fault, match="/issues", message="Resource not accessible by personal access token")
    results = run()
    assert [bool(result.error) for result in results] == [True, False]
    assert ingest.exit_code(results) == EXIT_FAILED
    assert time.slept == []


def test_disabled_issues_are_no_failure(run, github, tmp_path):
    github.add_repo("acme/widgets", issues_enabled=False).make(10)
    results = run()
    assert ingest.exit_code(results) == EXIT_OK
    assert results[1].enqueued > 0


def test_a_renamed_repository_goes_on_under_its_new_name(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(250)
    run(since=ALL_HISTORY)
    github.rename("acme/widgets", "acme/gadgets")
    number = next(n for kind, n in versions(repo) if kind == "issue")
    repo.touch("issues", number)
    results = run()
    assert {result.repo for result in results} == {"acme/gadgets"}
    assert len(queued(tmp_path)) < 250 + 10  # what lies within the overlap has new URLs, and so new bytes
    assert [result.requests for result in run()] == [2, 2]  # a redirect each: the old name was asked for
    assert [result.requests for result in run(repo="acme/gadgets")] == [1, 1]


def test_the_name_is_stored_as_github_spells_it(run, github, tmp_path):
    github.add_repo("Acme/Widgets").make(5)
    assert {result.repo for result in run(repo="acme/widgets")} == {"Acme/Widgets"}
    conn = db.connect(str(tmp_path / "p.db"))
    assert [tuple(row) for row in conn.execute("SELECT DISTINCT repo FROM queue_items")] == [("Acme/Widgets",)]
    assert {row["repo"] for row in figures.streams(conn)} == {"Acme/Widgets"}
    conn.close()


@pytest.mark.parametrize("fault, source", [("link", "Link header"), ("redirect", "redirect")])
def test_the_token_never_goes_to_another_origin(run, github, fault, source):
    github.add_repo("acme/widgets").make(300)
    with GitHubServer() as other:
        other.add_repo("acme/widgets")
        github.fail_next(fault, url=other.url + "/repos/acme/widgets/issues?page=2")
        results = run(since=ALL_HISTORY)
        assert other.journal == []
    assert ingest.exit_code(results) == EXIT_CONFIGURATION
    assert f"GitHub's {source} points to another origin, '{other.url}'" in results[0].error


@pytest.mark.parametrize("url", ["http://[", "//other.example/x", "javascript:alert(1)", "http://u:p@127.0.0.1/"])
def test_a_link_that_is_no_address_of_the_api_is_a_clear_error(run, github, url):
    github.add_repo("acme/widgets").make(300)
    github.fail_next("link", url=url)
    results = run(since=ALL_HISTORY)
    assert ingest.exit_code(results) == EXIT_CONFIGURATION
    assert "u:p" not in results[0].error


def test_a_saved_link_that_github_no_longer_accepts_starts_the_scan_over(run, github, tmp_path):
    github.add_repo("acme/widgets").make(500, pulls=1.0)
    with pytest.raises(Killed):
        run(since=ALL_HISTORY, only="pulls", pages=2)
    github.fail_next(422, match="page=3")
    assert run(only="pulls")[0].error is None
    assert len(queued(tmp_path)) == 500


def test_parallel_streams_store_the_same(run, github, tmp_path):
    github.add_repo("acme/widgets").make(250)
    results = run(since=ALL_HISTORY, jobs=8)
    assert [result.stream for result in results] == ["issues", "pulls"]
    assert len(queued(tmp_path)) == 250


def test_a_date_in_the_future_does_not_move_the_cursor_past_the_present(run, github, tmp_path):
    repo = github.add_repo("acme/widgets").make(5, pulls=0)
    repo.add_issue(updated_at="9999-12-31T23:59:59Z")
    assert run()[0].cursor <= timestamps.from_epoch(START)


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, pytest.param(2, marks=pytest.mark.long)])  # and every second one from there
def test_a_process_killed_at_each_page_in_turn_loses_nothing(tmp_path, first):
    with GitHubServer() as github:
        repo = github.add_repo("acme/widgets").make(500)
        arguments = ["ingest", "--repo", "acme/widgets", "--all"]
        env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
        pages = 20
        for page in range(first, pages + 1, 2):
            folder = tmp_path / str(page)
            folder.mkdir()
            github.journal.clear()
            with started_main(*arguments, env=env, cwd=folder) as process:

                def kill(repo, stream, served, process=process, page=page):
                    if len(github.journal) == page - 1:
                        process.kill()

                github.after_page = kill
                process.communicate(timeout=60)
            github.after_page = None
            if process.returncode == 0:
                break
            with started_main(*arguments, env=env, cwd=folder) as process:
                process.communicate(timeout=60)
            assert process.returncode == 0
            conn = db.connect(str(folder / "pipeline.db"))
            stored = [(row["item_type"], row["number"]) for row in conn.execute("SELECT * FROM queue_items")]
            conn.close()
            assert sorted(stored) == sorted(versions(repo))
        assert page > 8, "the run ended before it could be killed often enough"


def api_at(base_url, time):
    limits = RateLimits(now=time.clock.now, monotonic=time.clock.monotonic, max_wait_seconds=1)
    return GitHub(
        base_url=base_url, login=logins.of(None), user_agent="t", limits=limits, clock=time.clock, rng=random.Random(1)
    )


def test_a_dead_host_is_an_outage(time):
    with pytest.raises(Outage, match="refused"):
        api_at("http://127.0.0.1:9", time).get("/x", parse=str, on_request=print)
    assert len(time.slept) == 4


def test_requests_go_through_the_proxy_of_the_environment(github, time, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", github.url)
    github.add_repo("acme/widgets")
    api = api_at("http://github.invalid", time)
    for _ in range(2):
        assert '"acme/widgets"' in api.get("/repos/acme/widgets", parse=str, on_request=print).body


def test_certificates_that_are_not_there_are_a_configuration_error(time, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match="/nowhere/ca.pem.*REQUESTS_CA_BUNDLE"):
        api_at("https://127.0.0.1:9", time).get("/x", parse=str, on_request=print)
