import json

import pytest

import db
import queue_manager
from commands import figures, runs
from cursors import repo_names, states
from foundation import settings
from foundation.records import Item, StreamState


def enqueue(conn, *numbers, repo="acme/widgets", now="2026-11-23T10:00:00Z"):
    items = [Item("issue", number, number, "2026-11-20T00:00:00Z", b"{}", f"{number:064x}") for number in numbers]
    with db.transaction(conn):
        queue_manager.enqueue(conn, repo=repo, items=items, now=now)


def fail(conn, number):
    conn.execute("UPDATE queue_items SET status = 'failed', last_error = 'why not' WHERE number = ?", (number,))


def read(conn, repo, now, error=None):
    for stream in ("issues", "pulls"):
        states.record_run(conn, repo=repo, stream=stream, now=now, error=error)


def seconds_ago(seconds):
    import time

    from foundation import timestamps

    return timestamps.from_epoch(time.time() - seconds)


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259200)])
def test_an_age_has_a_unit(text, seconds):
    assert settings.age(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "1.5h", "2w"])
def test_anything_else_is_no_age(text):
    with pytest.raises(ValueError, match="2h"):
        settings.age(text)


def test_a_monitor_hears_nothing_while_all_is_well(conn, run_main):
    read(conn, "acme/widgets", seconds_ago(60))
    enqueue(conn, 1, now=seconds_ago(60))
    code, out, err = run_main("status", "--max-age", "2h", "--max-failed", "0", "--json")
    assert (code, err, json.loads(out)["alerts"]) == (0, "", [])
    assert "alerts" not in json.loads(run_main("status", "--json")[1])


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda conn: read(conn, "acme/widgets", seconds_ago(8000)), "last read to its end"),
        (lambda conn: read(conn, "acme/widgets", seconds_ago(60), error="404 Not Found"), "never been read"),
        (lambda conn: enqueue(conn, 1, now=seconds_ago(8000)), "pending"),
        (lambda conn: (enqueue(conn, 1, now=seconds_ago(5)), fail(conn, 1)), "why not"),
    ],
)
def test_a_monitor_hears_in_one_line_what_is_wrong(conn, run_main, spoil, said):
    spoil(conn)
    code, out, err = run_main("status", "--max-age", "2h", "--max-failed", "0", "--json")
    assert (code, len(err.splitlines())) == (1, 1)
    assert said in err
    assert any(said in alert for alert in json.loads(out)["alerts"])
    assert run_main("status")[0] == 0


def test_limits_that_are_met_exactly_are_no_alert(conn, run_main):
    enqueue(conn, 1, 2, now=seconds_ago(5))
    fail(conn, 1)
    assert run_main("status", "--max-failed", "1")[0] == 0
    assert run_main("status", "--max-failed", "0")[0] == 1
    assert run_main("status", "--max-age", "1d")[0] == 0


def test_a_forgotten_repository_alerts_no_more_and_its_rows_stay(conn, run_main):
    read(conn, "acme/gone", seconds_ago(9000), error="404 Not Found")
    read(conn, "acme/widgets", seconds_ago(60))
    repo_names.settle(conn, repo="acme/gone", repo_id=None, was="acme/old", asked_for="acme/old")
    enqueue(conn, 1, repo="acme/gone", now=seconds_ago(5))
    assert run_main("status", "--max-age", "2h")[0] == 1
    code, out, err = run_main("forget", "--repo", "ACME/old", "--json")
    assert (code, json.loads(out)) == (0, {"command": "forget", "streams": 2, "items": 0}), err
    assert run_main("status", "--max-age", "2h")[0] == 0
    assert queue_manager.counts(conn).pending == 1
    assert {row["repo"] for row in figures.streams(conn)} == {"acme/widgets"}
    assert states.load(conn, repo="acme/old", stream="issues") == ("acme/old", StreamState())


def test_a_forgotten_row_is_gone_for_good_and_only_a_failed_one_can_be(conn, run_main):
    enqueue(conn, 1, 2, 3)
    fail(conn, 1)
    fail(conn, 2)
    assert run_main("forget", "--item", "1", "--item", "3")[0] == 2
    assert queue_manager.counts(conn) == (1, 0, 0, 2)
    assert run_main("forget", "--item", "1", "--item", "1")[0] == 0
    assert queue_manager.counts(conn) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "--repo OWNER/NAME"),
        (["--repo", "acme/unknown"], "nothing is known"),
        (["--item", "99"], "99"),
        (["--repo", "acme/unknown", "--db", "typo.db"], "typo.db"),
    ],
)
def test_what_is_not_there_can_not_be_forgotten(conn, run_main, arguments, said):
    code, _, err = run_main("forget", *arguments)
    assert (code, said in err.splitlines()[-1]) == (2, True), err


def test_nothing_is_forgotten_of_a_repository_that_is_being_read(conn, run_main, tmp_path):
    from engines import owners

    read(conn, "acme/widgets", seconds_ago(60))
    with owners.fresh_token(str(tmp_path / "pipeline.db")) as token:
        runs.take_lock(conn, "ingest of acme/widgets", owner=token, now=seconds_ago(1))
        assert run_main("forget", "--repo", "acme/widgets")[0] == 4
    assert len(figures.streams(conn)) == 2
