import pytest

from commands import figures
from cursors import repo_names, states, work_list
from foundation import records
from foundation.records import StreamState
from tests.queue_rows import LATER, NOW, enqueue, item


@pytest.fixture
def path(db_path):
    return db_path


def rename(conn, old, new, repo_id=None):
    repo_names.settle(conn, repo=new, repo_id=repo_id, was=old, asked_for=old)


def test_a_stream_is_found_in_any_case_and_under_an_earlier_name(conn):
    state = StreamState("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "e", "u", {"since": "x"})
    states.save(conn, repo="acme/Widgets", stream="issues", state=state)
    assert states.load(conn, repo="ACME/widgets", stream="issues") == ("acme/Widgets", state)
    assert states.load(conn, repo="acme/widgets", stream="pulls") == ("acme/widgets", StreamState())
    rename(conn, old="acme/Widgets", new="acme/Gadgets")
    rename(conn, old="acme/Gadgets", new="new/gadgets")
    for name in ("acme/widgets", "Acme/Gadgets", "new/gadgets"):
        assert states.load(conn, repo=name, stream="issues") == ("new/gadgets", state)


def test_a_name_that_comes_back_is_no_alias_of_itself(conn):
    rename(conn, old="a/one", new="a/two")
    rename(conn, old="a/two", new="a/one")
    assert states.load(conn, repo="a/one", stream="issues")[0] == "a/one"
    assert states.load(conn, repo="a/two", stream="issues")[0] == "a/one"


def test_a_state_from_before_ids_were_known_is_its_repositorys_in_any_case_of_its_name(conn):
    state = StreamState("2026-01-01T00:00:00Z", gaps=(records.Gap("s", 1, 2, "a", None),), newest_item_id=9)
    states.save(conn, repo="acme/One", stream="issues", state=state)
    states.save(conn, repo="acme/two", stream="pulls", state=StreamState(repo_id=2))
    assert states.known(conn, stream="issues") == {}
    assert states.load(conn, repo="ACME/one", stream="issues", repo_id=5)[1] == state._replace(repo_id=5)
    repo_names.settle(conn, repo="Acme/one", repo_id=5, was="acme/oNE", asked_for="acme/one")
    assert states.load(conn, repo="acme/one", stream="issues") == ("Acme/one", state)


def test_a_rename_is_no_matter_of_other_repositories(conn):
    for repo, repo_id in (("a/one", 1), ("a/two", None), ("a/three", 3)):
        states.save(conn, repo=repo, stream="issues", state=StreamState(repo, repo_id=repo_id))
    rename(conn, old="a/three", new="a/four", repo_id=4)  # its name had gone to another before
    rename(conn, old="a/ONE", new="a/five", repo_id=1)
    assert [found["repo"] for found in figures.streams(conn)] == ["a/five", "a/three", "a/two"]


def test_a_rename_takes_the_place_of_a_state_that_nobody_knows_the_id_of(conn):
    renamed = StreamState("2026-01-01T00:00:00Z", repo_id=1)
    states.save(conn, repo="a/one", stream="issues", state=renamed)
    states.save(conn, repo="a/two", stream="issues", state=StreamState("2026-02-01T00:00:00Z"))
    rename(conn, old="a/one", new="a/two", repo_id=1)
    assert states.load(conn, repo="a/two", stream="issues") == ("a/two", renamed)
    (kept,) = figures.streams(conn)
    assert (kept["cursor"], kept["unfinished"]) == (renamed.cursor, False)


def test_an_earlier_name_leads_to_whoever_was_found_under_it_last(conn):
    states.save(conn, repo="a/two", stream="issues", state=StreamState("2026-01-01T00:00:00Z", repo_id=1))
    rename(conn, old="a/one", new="a/two", repo_id=1)
    repo_names.settle(conn, repo="b/other", repo_id=2, was="b/other", asked_for="a/One")
    assert states.load(conn, repo="a/ONE", stream="issues") == ("b/other", StreamState())
    repo_names.settle(conn, repo="b/new", repo_id=2, was="B/other", asked_for="b/new")
    assert states.load(conn, repo="B/Other", stream="issues")[0] == "b/new"
    repo_names.settle(conn, repo="A/one", repo_id=3, was="A/one", asked_for="A/one")
    assert states.load(conn, repo="a/one", stream="issues") == ("a/one", StreamState())


def test_what_is_forgotten_of_a_repository_is_all_of_it_and_of_no_other(conn):
    for repo in ("Acme/Old", "acme/other"):
        for stream in ("issues", "pulls"):
            states.save(conn, repo=repo, stream=stream, state=StreamState("2026-01-01T00:00:00Z"))
    rename(conn, old="acme/before", new="acme/other")
    rename(conn, old="acme/Older", new="ACME/old")
    assert repo_names.forget(conn, repo="acme/older") == 2
    assert [found["repo"] for found in figures.streams(conn)] == ["acme/other"] * 2
    assert states.load(conn, repo="acme/older", stream="issues")[0] == "acme/older"
    assert states.load(conn, repo="acme/before", stream="pulls")[0] == "acme/other"


def test_a_name_that_another_repository_takes_displaces_the_first_with_all_its_streams(conn):
    first, second = StreamState("2026-01-01T00:00:00Z", repo_id=1), StreamState("2026-02-01T00:00:00Z", repo_id=2)
    for stream in ("issues", "pulls"):
        states.save(conn, repo="a/one", stream=stream, state=first)
        states.save(conn, repo="a/two", stream=stream, state=second)
    rename(conn, old="a/two", new="A/one", repo_id=2)
    for stream in ("issues", "pulls"):
        assert states.load(conn, repo="a/one", stream=stream) == ("A/one", second)
        assert states.load(conn, repo="a/two", stream=stream) == ("A/one", second)
        assert states.load(conn, repo="repositories/1", stream=stream)[1] == first
        assert states.load(conn, repo="a/three", stream=stream, repo_id=1) == ("a/three", first)
        assert states.known(conn, stream=stream) == {1: first, 2: second}
    rename(conn, old="repositories/1", new="a/three", repo_id=1)
    assert {row["repo"] for row in figures.streams(conn)} == {"A/one", "a/three"}


def test_a_state_without_id_is_not_given_to_another_repository(conn):
    states.save(conn, repo="a/one", stream="issues", state=StreamState("2026-01-01T00:00:00Z", repo_id=7))
    found = states.load(conn, repo="a/one", stream="issues", repo_id=8)
    assert found == ("a/one", StreamState(repo_id=8))


def test_a_stream_remembers_its_last_success_through_a_failure(conn):
    states.record_run(conn, repo="a/b", stream="issues", now=NOW, error=None)
    states.record_run(conn, repo="a/b", stream="issues", now=LATER, error="down")
    (found,) = figures.streams(conn)
    assert (found["last_run_at"], found["last_success_at"], found["last_error"]) == (LATER, NOW, "down")


def test_a_success_clears_the_error_before_it_and_leaves_the_cursor_and_other_streams(conn):
    states.save(conn, repo="a/b", stream="pulls", state=StreamState("2026-01-01T00:00:00Z", scan={"x": 1}))
    states.record_run(conn, repo="a/b", stream="pulls", now=NOW, error="down")
    states.record_run(conn, repo="a/b", stream="issues", now=NOW, error="down")
    for now in (NOW, LATER):
        states.record_run(conn, repo="a/a", stream="pulls", now=now, error=None)
    states.record_run(conn, repo="a/b", stream="pulls", now=LATER, error=None)
    names = (
        "repo", "stream", "cursor", "covered_since", "unfinished", "last_run_at", "last_success_at", "last_error",
    )  # fmt: skip
    of_what_lists_hide = dict.fromkeys(("truncated_at", "items_filled", "items_to_fill", "filled_before"))
    assert figures.streams(conn) == [
        {**dict(zip(names, values)), **of_what_lists_hide}
        for values in [
            ("a/a", "pulls", None, None, False, LATER, LATER, None),
            ("a/b", "issues", None, None, False, NOW, None, "down"),
            ("a/b", "pulls", "2026-01-01T00:00:00Z", None, True, LATER, LATER, None),
        ]
    ]


def test_the_work_list_keeps_the_newest_version_and_lets_go_of_what_was_asked_for(conn):
    def note(*versions, repo="a/b"):
        work_list.note(conn, repo=repo, versions=versions)

    note((1, "2026-01-01"), (2, "2026-01-05"), (2, "2026-01-04"))
    note((1, "2026-01-09"), repo="a/c")
    assert work_list.read(conn, repo="a/b") == [(1, "2026-01-01"), (2, "2026-01-05")]
    work_list.settle(conn, repo="a/b", versions=[(1, "2026-01-01"), (2, "2026-01-04")])
    assert work_list.read(conn, repo="a/b") == [(2, "2026-01-05")]
    assert work_list.read(conn, repo="a/c") == [(1, "2026-01-09")]


def test_the_work_list_of_a_repository_goes_by_its_new_name_and_is_forgotten_with_it(conn):
    states.save(conn, repo="a/old", stream="pulls", state=StreamState(repo_id=1))
    work_list.note(conn, repo="a/old", versions=[(1, "2026-01-01")])
    repo_names.settle(conn, repo="a/new", repo_id=1, was="a/old", asked_for="a/old")
    assert work_list.read(conn, repo="a/new") == [(1, "2026-01-01")]
    assert work_list.read(conn, repo="a/old") == []
    repo_names.forget(conn, repo="a/new")
    assert work_list.read(conn, repo="a/new") == []


def pull(number, at, **changes):
    return item(number, item_type="pull_request", updated_at=at, payload_sha256=f"{number}{at}", **changes)


def test_the_work_list_is_begun_with_pull_requests_whose_details_are_not_there(conn):
    detail = {"item_type": "pull_detail", "payload_sha256": "d" * 64}
    enqueue(conn, item(9), pull(1, "2026-01-01"), pull(2, "2026-01-02"), pull(2, "2026-01-04"))
    enqueue(conn, pull(3, "2026-01-03"), item(3, updated_at="2026-01-03", **detail))
    enqueue(conn, pull(4, "2026-01-05"), item(4, updated_at="2026-01-04", **detail))
    work_list.seed(conn, repo="A/b", since="2026-01-02")
    assert work_list.read(conn, repo="A/b") == [(2, "2026-01-04"), (4, "2026-01-05")]
    work_list.note(conn, repo="A/b", versions=[(2, "2026-01-06")])
    for _ in range(2):
        work_list.seed(conn, repo="A/b", since="")
        found = [(1, "2026-01-01"), (2, "2026-01-06"), (4, "2026-01-05")]
        assert work_list.read(conn, repo="A/b") == found


def test_the_work_list_is_begun_with_what_was_read_under_a_former_name_and_under_a_name_used_twice(conn):
    states.save(conn, repo="a/b", stream="pulls", state=StreamState(repo_id=1))
    enqueue(conn, pull(1, "2026-01-01"), pull(1, "2026-01-02", item_id=77))
    repo_names.settle(conn, repo="a/new", repo_id=1, was="a/b", asked_for="a/b")
    work_list.seed(conn, repo="a/new", since="")
    assert work_list.read(conn, repo="a/new") == [(1, "2026-01-02")]


def test_names_are_found_as_their_repositories_are_kept_whatever_their_case(conn):
    conn.execute("INSERT INTO ingest_state (repo, stream) VALUES ('Acme/New', 'issues'), ('Acme/Back', 'issues')")
    conn.execute("INSERT INTO repo_aliases (alias, repo) VALUES ('acme/old', 'Acme/New'), ('acme/back', 'Acme/New')")
    asked = ["ACME/old", "acme/new", "Acme/NEW", "acme/back", "un/known"]
    found = repo_names.kept_as(conn, asked)
    assert found == dict(zip(asked, ["Acme/New", "Acme/New", "Acme/New", "Acme/Back", "un/known"]))
