"""What `status` shows, in sentences."""

from report import freshness

NOW = "2026-11-27T10:00:00Z"
STREAM = {
    "repo": "acme/widgets", "stream": "events", "last_success_at": "2026-11-27T09:00:00Z", "last_error": None,
    "covered_since": "0001-01-01T00:00:00Z", "truncated_at": None, "items_to_fill": None, "items_filled": None,
}  # fmt: skip
RUN = {"command": "worker", "state": "ended", "started_at": NOW, "ended_at": NOW, "exit_code": 0, "note": None}


def told(*streams, runs=(), pending=0, failed=0, repos=()):
    status = {
        "repos": streams, "queue": {"pending": pending, "processing": 0, "done": 0, "failed": failed}, "runs": runs,
        "oldest_pending_seconds": 7200 if pending else None, "failed_reasons": [], "failed_items": [],
    }  # fmt: skip
    return [tuple(notice) for notice in freshness.told(status, repos, NOW, clean=str).notices]


def test_what_is_fresh_is_in_order_and_what_is_old_is_not():
    said = "As of 27 November 2026, 09:00 UTC: 1 list of 1 repository read to the end, none longer ago than 1 hour."
    assert told(STREAM)[0] == ("good", said)
    old = {**STREAM, "last_success_at": "2026-11-20T09:00:00Z"}
    for found in (told(old), told(STREAM, old)):  # a page is as old as what is oldest in it
        assert (found[0][0], found[0][1][:23]) == ("warning", "As of 20 November 2026,")


def test_nothing_is_said_to_be_in_order_where_some_failed():
    assert "nothing failed" in told(STREAM)[-1][1]
    assert not [text for _, text in told(STREAM, failed=1) if "nothing failed" in text]


def test_a_list_that_github_ends_says_what_is_known_of_it():
    cut = {**STREAM, "truncated_at": "2026-01-02T03:04:05Z"}
    assert told(cut)[1][1].endswith("events, is known from 2 January 2026, 03:04 UTC on only: GitHub shows no more.")
    filling = {**cut, "items_to_fill": 5000, "items_filled": 1200}
    assert told(filling)[1][1].endswith("the rest is asked for item by item: 1,200 of 5,000 items so far.")


def test_what_was_never_read_is_said_where_a_first_run_looked_back_some_days():
    week = {**STREAM, "covered_since": "2026-11-20T09:00:00Z"}
    rows = [week, {**week, "stream": "issues"}, {**STREAM, "repo": "acme/docs"}, {**week, "repo": "acme/gadgets"}]
    found = told(*rows)
    (said,) = [text for state, text in found if "only what changed" in text]
    assert said.startswith(
        "Of acme/widgets and acme/gadgets only what changed since 20 November 2026 was read (events and issues);"
    )
    lists = [week, *({**week, "stream": stream} for stream in ("issues", "pulls")), {**STREAM, "stream": "meta"}]
    assert "20 November 2026 was read;" in told(*lists)[1][1]
    assert not any("only what changed" in text for _, text in told(STREAM, {**STREAM, "covered_since": None}))


def test_runs_are_told_of_where_they_did_not_end_well():
    died, failed = {**RUN, "state": "died"}, {**RUN, "exit_code": 3, "note": "no bucket"}
    assert told(STREAM, runs=[RUN])[-1] == ("good", "All that was read is in the tables; nothing failed.")
    assert told(STREAM, runs=[died])[-1] == ("bad", "worker died; it began on 27 November 2026, 10:00 UTC.")
    said = told(STREAM, runs=[failed])[-1][1]
    assert said.endswith("with exit code 3: something outside stopped it, a later run goes on: no bucket")
    interrupted = {**failed, "exit_code": 143, "note": None}
    assert told(STREAM, runs=[interrupted])[-1][1].endswith("with exit code 143: it was stopped.")


def test_a_page_of_some_repositories_names_no_other_that_a_run_was_about():
    failed = {**RUN, "command": "ingest", "exit_code": 1, "note": "acme/secret can't be read"}
    said = told(STREAM, {**STREAM, "repo": "acme/secret"}, runs=[failed], repos=["acme/widgets"])
    assert "secret" not in str(said) and said[-1][1].endswith("with exit code 1: something failed for good.")


def test_what_stands_with_a_stream_is_not_said_again_of_its_run():
    limited = "GitHub's rate limit holds until noon"
    said = told({**STREAM, "last_error": limited}, runs=[{**RUN, "exit_code": 3, "note": limited}])
    assert sum(limited in text for _, text in said) == 1 and said[-1][1].endswith("a later run goes on.")


def test_a_run_that_died_is_over_where_its_command_was_run_again():
    died = {**RUN, "state": "died"}
    assert not any("died" in text for _, text in told(STREAM, runs=[died, {**died}, RUN]))
    assert sum("died" in text for _, text in told(STREAM, runs=[died, {**died}, {**RUN, "command": "ingest"}])) == 1


def test_of_many_failed_items_and_reasons_some_are_named_and_the_rest_counted():
    reasons = [{"reason": "no title", "rows": 3}, {"reason": "no id", "rows": 1}]
    items = [{"repo": "a/b", "number": 1, "item_type": "issue", "attempts": 5, "last_error": "no title"}] * 2
    status = {
        "repos": [STREAM], "queue": {"pending": 0, "processing": 0, "done": 0, "failed": 30}, "runs": [],
        "oldest_pending_seconds": None, "failed_reasons": reasons, "failed_items": items,
    }  # fmt: skip
    found = freshness.told(status, (), NOW, clean=str)
    assert found.notices[-1] == ("bad", "26 versions of items failed for other reasons.")
    assert found.failed_title == "What failed: the first 2 of 30"


def test_of_many_streams_with_errors_some_are_named():
    found = told(*({**STREAM, "repo": f"acme/r{at}", "last_error": "refused"} for at in range(30)))
    assert sum("refused" in text for _, text in found) == 8
    assert ("warning", "So it is with 22 more.") in found


def test_what_waits_for_the_worker_is_said_with_its_age():
    assert (
        told(STREAM, pending=3)[1][1]
        == "3 versions of items still to be taken into the tables, the oldest for 2 hours."
    )
