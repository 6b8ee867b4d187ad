"""The command: what it writes, where, for whom, and what it says where it can't."""

import contextlib
import html
import json
import re
import shlex
import subprocess
import sys

import pytest

import db
import main
from foundation import timestamps
from foundation.clock import SYSTEM_CLOCK
from tests.conftest import ROOT
from tests.report import made_up
from tests.report.made_up import NOW, item

CLOCK = SYSTEM_CLOCK._replace(now=lambda: timestamps.to_epoch(NOW))
LISTS = ("issues", "pulls")  # alone: half the plots, and half the time
NEEDED = "python main.py ingest --all --streams issues,pulls,"  # without --all a new stream has a week


@pytest.fixture
def report(path, tmp_path, capsys):
    """Runs the command at NOW; returns (exit code, the page, stdout, stderr)."""
    page = tmp_path / "report.html"

    def run(*words, out=str(page), environ=None):
        code = main.main(["report", "--db", path, "--out", out, *words], environ or {}, CLOCK)
        said = capsys.readouterr()
        return code, page.read_text(encoding="utf-8") if page.exists() else "", said.out, said.err

    run.path = page
    return run


def shown(page):
    """What a person reads of it, the tables too."""
    page = re.sub(r"<(style|svg|title).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def fill(conn, *rows):
    with db.transaction(conn):
        db.upsert(conn, "issues", rows)


def test_a_year_of_all_streams_is_one_page_that_says_what_is_seen(conn, report):
    made_up.year(conn)
    code, page, out, err = report()
    assert (code, err) == (0, "")
    assert out.startswith(f"{report.path}  ") and out.endswith(" s: open it in a browser\n")
    assert len(page.encode()) < 2_000_000
    assert page.count("<svg ") == 2 * 12 and page.count("<details>") == 12
    regions = re.findall(r'role="region" aria-label="([^"]*)"', page)
    assert len(set(regions)) == len(regions) == 13
    for heads in re.findall(r"<thead>(.*?)</thead>", page):
        names = re.findall(r"<th[^>]*>([^<]*)", heads)
        assert len(set(names)) == len(names) > 1  # who hears a cell hears the head alone
    said = shown(page)
    for what in (
        "Issues and pull requests of 4 repositories", "24 November 2025 to 27 November 2026, of 400 items in all",
        "open issues", "open pull requests", "took no longer", "28 lists of 4 repositories", "nothing failed",
        "items were opened since 24 November 2025", "What is left open", "The pull request that waits longest",
        "The longest step of a pull request", "waited for most",
        "were closed and opened again",
    ):  # fmt: skip
        assert what in said, what
    assert re.search(r"Half of the \d+ issues closed in October 2026 took .* or less, nine of ten .* or less", said)
    assert re.search(
        r"Half of the \d+ merged pull requests of up to 10 lines took .*, half of the \d+ .* lines took", said
    )
    assert NEEDED not in said


def test_the_page_asks_nobody_and_executes_nothing(conn, report):
    made_up.year(conn, items=60)
    page = report()[1]
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    assert re.match(r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; img-src data:; base-uri 'none';", policy)
    assert "script" not in policy and "unsafe" not in policy
    assert not re.search(r"<(?:script|iframe|object|embed|form|base)\b|\bon\w+=|\bstyle=|url\(|@import", page)
    assert set(re.findall(r'<(?:link|img|use|image)\b[^>]*(?:href|src)="([^"]*)"', page)) == {"data:,"}


def test_what_a_payload_says_is_shown_and_not_executed(conn, report):
    titles = ['<script>hit = 1</script><img src=x onerror="hit = 2">', "x" * 10_000,
              "\u05e9\u05dc\u05d5\u05dd \u202egpj.exe", "{{ 7 * 7 }}{% raw %}",
              "</style></svg>'\"&lt;", "3 of these"]  # fmt: skip
    fill(
        conn,
        *(
            item(at, kind="pull_request", title=title, created_at=NOW, author="<b>\u202e", repo="<i>/'\"&")
            for at, title in enumerate(titles)
        ),
        item(90, kind="pull_request", created_at=NOW, html_url="javascript:alert(1)"),
        item(91, kind="pull_request", created_at=NOW, html_url='https://x/" onclick="hit=3'),
    )
    code, page, _, err = report()
    assert (code, err) == (0, "")
    said = shown(page)
    assert titles[0] in said and "x" * 109 + "\u2026" in said and "{{ 7 * 7 }}" in said and titles[4] in said
    assert "\u05e9\u05dc\u05d5\u05dd gpj.exe" in said and "\u202e" not in page
    assert "x" * 111 not in page
    assert not re.search(r"<(?:script|img|b|i)\b", page) and "javascript:" not in page
    assert 'href="https://x/&#34; onclick=&#34;hit=3"' in page


def test_postgresql_has_a_page_as_well_by_its_own_clock(postgres_db, tmp_path):
    with contextlib.closing(db.connect(postgres_db)) as conn:
        made_up.year(conn, items=100, now=db.now(conn, SYSTEM_CLOCK))
    page = tmp_path / "report.html"
    assert main.main(["report", "-q", "--db", postgres_db, "--out", str(page)], {}, SYSTEM_CLOCK) == 0
    assert page.read_text(encoding="utf-8").count("<svg ") == 2 * 12
    with contextlib.closing(db.connect(postgres_db)) as conn, db.transaction(conn):
        for at, repo in enumerate(("acme/widgets", "acme/gadgets", "acme/gadgets")):
            conn.execute(
                "INSERT INTO queue_items (repo, item_type, item_id, number, updated_at, payload, payload_sha256, "
                "status, last_error, fetched_at) VALUES (?, 'issue', ?, ?, ?, '{}', ?, 'failed', ?, ?)",
                (repo, at, at, NOW, str(at), f"no title in {repo}", NOW),
            )
    words = ["--repo", "acme/widgets", "--out", str(page)]
    assert main.main(["report", "-q", "--db", postgres_db, *words], {}, SYSTEM_CLOCK) == 0
    said = shown(page.read_text(encoding="utf-8"))
    assert "1 version of items failed and is not in the tables: no title in acme/widgets" in said
    assert "acme/gadgets" not in said


def test_an_empty_database_is_a_page_that_says_so(conn, report):
    code, page, _, err = report()
    assert (code, err, "<svg" in page) == (0, "", False)
    said = shown(page)
    assert "No issue or pull request is in the tables yet" in said
    assert "No run that reads GitHub is known" in said


def test_where_nothing_happened_words_stand_in_the_place_of_a_plot(conn, report):
    fill(conn, item(1, created_at="2026-11-26T00:00:00Z"))
    code, page, _, _ = report()
    said = shown(page)
    assert code == 0
    assert "No pull request was merged or closed since 23 November 2026." in said
    assert "No open pull request waits, drafts aside." in said
    assert "are not known yet. This reads what they need: python main.py ingest --all --streams all" in said
    # Every plot that is drawn has something in it.
    assert page.count("<svg ") == 2 * 4


def test_each_figure_says_which_streams_it_still_lacks(conn, report):
    made_up.year(conn, items=40, streams=(*LISTS, "events"))
    page = report()[1]
    said = shown(page)
    for streams in ("issue-comments", "issue-comments,pull-details", "pull-details"):
        assert re.search(f"{NEEDED}{streams}(?![,\\w-])", said), streams
    assert "were closed and opened again" in said


@pytest.mark.parametrize("created_at", ["2026-11-20T00:00:00Z", "2026-12-01T00:00:00Z"])
def test_what_github_dates_later_than_our_clock_counts_as_of_now(conn, report, created_at):
    fill(conn, item(1, created_at=created_at, closed_at="2026-12-02T00:00:00Z", lead_time_hours=24.0))
    fill(conn, item(2, created_at="2026-12-01T00:00:00Z", kind="pull_request"))
    db.upsert(conn, "comments", [made_up.row_of(
        "comments", id=1, kind="issue", repo=made_up.REPOS[0], number=1, author="bo", author_type="User",
        created_at="2026-12-01T12:00:00Z",
    )])  # fmt: skip
    code, page, _, err = report()
    assert (code, err) == (0, "")
    said = shown(page)
    assert "2 items were opened since" in said and "1 more than were closed" in said
    assert "The one issue closed in November 2026 took 24 hours" in said
    assert "The one issue opened in November 2026 that was answered had an answer within" in said


def test_everything_may_be_closed_and_nothing_left(conn, report):
    fill(conn, item(1, created_at="2026-11-20T00:00:00Z", closed_at="2026-11-26T00:00:00Z"))
    said = shown(report()[1])
    assert "Nothing is open." in said and "0 open issues" not in said
    assert "The one issue closed in November 2026 took 6 days" in said


def test_what_failed_and_what_is_stale_is_said_in_words_without_secrets(conn, report):
    made_up.year(conn, items=30, repos=("acme/widgets", "acme/gadgets"))
    conn.execute(
        "UPDATE ingest_state SET last_success_at = '2026-11-01T08:00:00Z', last_error = 'refused hush-hush <b>' "
        "WHERE repo = 'acme/gadgets' AND stream = 'pulls'"
    )
    conn.execute("UPDATE ingest_state SET last_success_at = NULL WHERE repo = 'acme/gadgets' AND stream = 'events'")
    for at, (status, error) in enumerate((*[("failed", "no title hush-hush")] * 2, ("pending", None))):
        conn.execute(
            "INSERT INTO queue_items (repo, item_type, item_id, number, updated_at, payload, payload_sha256, status, "
            "last_error, fetched_at) VALUES ('acme/widgets', 'issue', ?, ?, ?, '{}', ?, ?, ?, ?)",
            (at, at, NOW, str(at), status, error, "2026-11-27T07:00:00Z"),
        )
    code, page, _, _ = report(environ={"GITHUB_TOKEN": "hush-hush"})
    said = shown(page)
    assert code == 0
    assert "As of 1 November 2026, 08:00 UTC: 13 lists of 2 repositories" in said
    assert "acme/gadgets, pulls, was last read to its end on 1 November 2026, 08:00 UTC: refused *** <b>" in said
    assert "acme/gadgets, events, has never been read to its end." in said
    assert "2 versions of items failed and are not in the tables: no title ***" in said
    assert "1 version of items still to be taken into the tables, the oldest for 3 hours." in said
    assert "acme/widgets#0 issue" in said and "hush-hush" not in page
    only = shown(report("--repo", "ACME/widgets")[1])
    assert "Issues and pull requests of acme/widgets" in only and "acme/gadgets" not in only
    assert "2 versions of items failed" in only and "the oldest for 3 hours" in only
    other = shown(report("--repo", "acme/gadgets")[1])
    assert "nothing failed" in other and "acme/widgets" not in other and "no title" not in other


def test_since_and_repo_choose_what_the_page_is_about(conn, report):
    made_up.year(conn, items=60, streams=LISTS)
    said = shown(report("--since", "2026-06-01", "--repo", "acme/gadgets", "--repo", "acme/docs")[1])
    assert "Issues and pull requests of 2 repositories 1 June 2026 to" in said
    assert "opened since 1 June 2026" in said and "acme/widgets" not in said


def test_the_result_as_json_names_the_file(conn, report):
    made_up.year(conn, items=20, repos=("acme/widgets",), streams=LISTS)
    code, page, out, _ = report("--json", "--repo", "acme/widgets")
    told = json.loads(out)
    assert (code, told["command"], told["bytes"]) == (0, "report", len(page.encode()))
    assert told["repos"] == ["acme/widgets"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--repo", "acme/unknown"], "nothing is known of it"),
        (["--since", "2999-01-01"], "is yet to come"),
        (["--out", "-", "--json"], "both write to stdout"),
    ],
)
def test_what_can_not_be_meant_is_refused_in_one_line(conn, report, words, said):
    code, page, out, err = report(*words)
    assert (code, page, out, err.count("\n"), said in err) == (2, "", "", 1, True), err


@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_page_takes_the_place_of_no_database(conn, path, report, tmp_path, end):
    made_up.year(conn, items=10, streams=LISTS)
    link = tmp_path / "link.html"
    link.symlink_to(path + end)
    code, _, _, err = report(out=str(link))
    assert (code, err.count("\n"), "is the database" in err) == (2, 1, True)
    assert conn.execute("SELECT count(*) FROM issues").fetchone()[0] == 10


def test_the_page_may_go_to_stdout(conn, report):
    made_up.year(conn, items=10, streams=LISTS)
    code, page, out, err = report(out="-")
    assert (code, page, err) == (0, "", "")
    assert out.startswith("<!doctype html>") and out.endswith("</html>\n")


@pytest.mark.parametrize("end, code", [(">/dev/full", 3), ("| true", 0)])
def test_a_page_that_found_no_room_behind_stdout_is_no_success(conn, path, end, code):
    words = " ".join(map(shlex.quote, (sys.executable, str(ROOT / "main.py"), "report", "--db", path, "--out", "-")))
    shell = ["bash", "-c", f"{words} {end}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1 if code else 0), done.stderr
    assert not code or "stdout can't be written: No space left on device" in done.stderr
