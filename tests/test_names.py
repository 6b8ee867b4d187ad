"""A repository that gets another name takes its rows along: items, what is said of them, and what happened to them."""

import contextlib

import pytest

import db
from fetcher import ALL_HISTORY
from foundation.records import Row
from github.streams import STREAMS
from tests.ingesting import github, run, time  # noqa: F401 - fixtures
from tests.test_db import issues_row

FIGURES = "SELECT repo, number, first_response_hours, first_review_hours, times_reopened FROM item_metrics"
SPANS = "SELECT repo, number, item_type, unlabeled_at FROM label_spans"


@pytest.fixture
def ask(tmp_path, run, run_main):
    """All streams are read, and all is archived; then the question."""

    def answer(*questions, since=None):
        assert [result.error for result in run(streams=STREAMS, since=since) if result.error] == []
        path = str(tmp_path / "p.db")
        code, _, said = run_main("worker", "--archive-dir", "archive", "--db", path)
        assert code == 0, said
        with contextlib.closing(db.connect(path)) as conn:
            return [sorted(map(tuple, conn.execute(question))) for question in questions]

    return answer


def add_repo(github, day):
    repo = github.add_repo("acme/widgets")
    repo.add_issue(created_at=f"{day}T10:00:00Z", updated_at=f"{day}T10:00:00Z", author="ada")
    repo.add_pull(created_at=f"{day}T10:00:00Z", updated_at=f"{day}T10:00:00Z", author="ada")
    repo.add_comment(1, at=f"{day}T11:00:00Z")
    repo.add_review(2, at=f"{day}T12:00:00Z")
    repo.add_event(1, "reopened", at=f"{day}T12:00:00Z")
    repo.add_event(1, "labeled", label="bug", at=f"{day}T12:00:00Z")
    return repo


def test_figures_are_the_same_when_a_repository_is_renamed(github, time, ask):
    repo = add_repo(github, "2026-11-20")
    figures = [(1, 1.0, None, 1), (2, 2.0, 2.0, 0)]
    assert ask(FIGURES, since=ALL_HISTORY) == [[("acme/widgets", *of_item) for of_item in figures]]
    github.rename("acme/widgets", "acme/gadgets")
    time.seconds += 3600
    assert ask(FIGURES) == [[("acme/gadgets", *of_item) for of_item in figures]]
    repo.add_comment(1)
    repo.add_event(1, "unlabeled", label="bug")
    time.seconds += 3600
    expected = [("acme/gadgets", 1, "issue", "2026-11-23T04:00:00Z")]
    assert ask(FIGURES, SPANS) == [[("acme/gadgets", *of_item) for of_item in figures], expected]


def test_what_another_repository_of_the_same_name_has_is_not_taken_for_this_ones(github, time, ask):
    add_repo(github, "2026-11-20")
    ask(FIGURES, since=ALL_HISTORY)
    del github.repos["acme/widgets"]
    add_repo(github, "2026-11-21")
    time.seconds += 3600
    figures, spans = ask(FIGURES, SPANS, since=ALL_HISTORY)
    both = ("acme/widgets", "repositories/1000")
    assert figures == [(repo, *of_item) for repo in both for of_item in [(1, 1.0, None, 1), (2, 2.0, 2.0, 0)]]
    assert spans == [(repo, 1, "issue", None) for repo in both]


def test_figures_of_items_from_before_the_look_back_are_null_until_all_is_read(github, ask):
    repo = github.add_repo("acme/widgets")
    repo.add_issue(created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z", author="ada")
    repo.add_comment(1, at="2026-01-01T01:00:00Z")
    repo.add_comment(1, at="2026-11-22T01:00:00Z")
    assert ask(FIGURES) == [[("acme/widgets", 1, None, None, None)]]
    assert ask(FIGURES, since=ALL_HISTORY) == [[("acme/widgets", 1, 1.0, None, 0)]]


@pytest.mark.parametrize("db_path", ["sqlite", "postgresql"], indirect=True)
def test_what_was_fetched_under_a_former_name_goes_in_under_the_present_one(db_path):
    extra = {"s3_key": "k", "payload_sha256": "5", "processed_at": "x", "fetched_order": "x"}
    with contextlib.closing(db.connect(db_path)) as conn:
        conn.execute("INSERT INTO repo_aliases (alias, repo) VALUES ('a/old', 'a/new')")
        rows = [
            Row("issues", {**issues_row(id=number, repo=repo), **extra}) for number, repo in ((1, "A/old"), (2, "b/c"))
        ]
        db.upsert_all(conn, rows)
        assert [tuple(row) for row in conn.execute("SELECT id, repo FROM issues ORDER BY id")] == [
            (1, "a/new"),
            (2, "b/c"),
        ]
        db.rename_rows(conn, was="a/new", repo="a/newer")
        assert [row[0] for row in conn.execute("SELECT repo FROM issues ORDER BY id")] == ["a/newer", "b/c"]
