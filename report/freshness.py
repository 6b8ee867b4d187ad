"""How fresh the tables are and what failed: what `status` shows, as sentences. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from foundation import errors, timestamps
from report import periods, words
from report.pieces import Table

LISTED = 8
CHARACTERS = 400
# Read longer ago than this, a page says nothing of today.
STALE_HOURS = 48
GOOD, WARNING, BAD = "good", "warning", "bad"
_STATES = {"running": "is at work since", "waiting": "waits since", "died": "died; it began on"}
# What an exit code means to who never saw one.
_ENDS = {
    errors.EXIT_FAILED: "something failed for good",
    errors.EXIT_CONFIGURATION: "something was not set up as it must be",
    errors.EXIT_OUTAGE: "something outside stopped it, a later run goes on",
    errors.EXIT_BUSY: "another one was at work",
}


class Notice(NamedTuple):
    """`state` is one of good, warning and bad; the page says it in a word, too."""

    state: str
    text: str


class Freshness(NamedTuple):
    """`failed_title`: what `failed` lists, and of how many."""

    notices: list[Notice]
    failed: Table | None
    failed_title: str


def told(status: Mapping[str, Any], repos: Sequence[str], now: str, *, clean: Callable[[str], str]) -> Freshness:
    """`status`: what the command shows as JSON, its queue of these `repos` alone; empty: all."""
    streams = [row for row in status["repos"] if not repos or row["repo"] in repos]
    # A run is of all repositories, and its note may name any of them; or it says what stands with a stream already.
    errors_of_streams = {row["last_error"] for row in streams}
    runs = [{**run, "note": None} if repos or run["note"] in errors_of_streams else run for run in status["runs"]]
    notices = [*_streams(streams, now), *_queue(status, now), *_runs(runs)]
    shown = [notice._replace(text=words.title(clean(notice.text), CHARACTERS)) for notice in notices]
    listed, failed = len(status["failed_items"]), status["queue"]["failed"]
    title = f"What failed: the first {listed:,} of {failed:,}" if listed < failed else "What failed"
    return Freshness(shown, _failed(status["failed_items"], clean), title)


def _streams(streams: Sequence[Mapping[str, Any]], now: str) -> Iterator[Notice]:
    if not streams:
        yield Notice(WARNING, "No run that reads GitHub is known to this database: how fresh it is can't be told.")
        return
    read = [row["last_success_at"] for row in streams if row["last_success_at"]]
    names = words.count(len({row["repo"] for row in streams}), "repository", "repositories")
    if read:
        hours = max(0.0, timestamps.hours_between(min(read), now))
        lists = words.count(len(read), "list of", "lists of")
        ago = "just now" if hours * 60 < 1 else f"none longer ago than {words.duration(hours)}"
        said = f"As of {words.moment(min(read))}: {lists} {names} read to the end, {ago}."
        yield Notice(WARNING if hours > STALE_HOURS else GOOD, said)
    yield from _first(
        [
            Notice(BAD, f"{_called(row)} has never been read to its end{_why(row)}")
            if row["last_success_at"] is None
            else Notice(
                WARNING, f"{_called(row)} was last read to its end on {words.moment(row['last_success_at'])}{_why(row)}"
            )
            for row in streams
            if row["last_error"] or row["last_success_at"] is None
        ]
    )
    yield from _first([Notice(WARNING, f"{_called(row)} {_cut_off(row)}") for row in streams if row["truncated_at"]])
    yield from _first(list(_looked_back(streams)))


def _looked_back(streams: Sequence[Mapping[str, Any]]) -> Iterator[Notice]:
    """Where a first run was not told to read all: what lay still before it is neither open here nor closed."""
    since: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in streams:
        if row["covered_since"] and row["covered_since"] > periods.GITHUB_BEGAN:
            since[row["covered_since"][:10]].append(row)
    for day, rows in sorted(since.items(), reverse=True):
        repos, lists = ([*dict.fromkeys(row[name] for row in rows)] for name in ("repo", "stream"))
        what = "" if {"issues", "pulls"} <= {*lists} else f" ({words.listed(lists, 7)})"
        yield Notice(
            WARNING,
            f"Of {words.listed(repos)} only what changed since {words.day(day)} was read{what}; "
            "what lay still since then is in no figure here. This reads all: python main.py ingest --all",
        )


def _cut_off(row: Mapping[str, Any]) -> str:
    """What is known of a stream whose list GitHub ends."""
    since = words.moment(row["truncated_at"])
    if row["items_to_fill"]:
        had = f"{row['items_filled']:,} of {row['items_to_fill']:,} items so far"
        return f"is shown by GitHub from {since} on only; the rest is asked for item by item: {had}."
    return f"is known from {since} on only: GitHub shows no more."


def _called(row: Mapping[str, Any]) -> str:
    return f"{row['repo']}, {row['stream']},"


def _why(row: Mapping[str, Any]) -> str:
    return f": {row['last_error']}" if row["last_error"] else "."


def _first(notices: list[Notice]) -> list[Notice]:
    left = len(notices) - LISTED
    return [*notices[:LISTED], Notice(WARNING, f"So it is with {left:,} more.")] if left > 0 else notices


def _queue(status: Mapping[str, Any], now: str) -> Iterator[Notice]:
    queue = status["queue"]
    waiting = queue["pending"] + queue["processing"]
    if waiting:
        seconds = status["oldest_pending_seconds"]
        since = "" if seconds is None else f", the oldest for {words.duration(seconds / 3600)}"
        yield Notice(WARNING, f"{words.count(waiting, 'version')} of items still to be taken into the tables{since}.")
    for reason in status["failed_reasons"]:
        said = f"{words.count(reason['rows'], 'version')} of items failed and {_are(reason['rows'])} not in the tables"
        yield Notice(BAD, f"{said}: {reason['reason']}")
    left = queue["failed"] - sum(reason["rows"] for reason in status["failed_reasons"])
    if left > 0:
        yield Notice(BAD, f"{words.count(left, 'version')} of items failed for other reasons.")
    if not waiting and not queue["failed"]:
        yield Notice(GOOD, "All that was read is in the tables; nothing failed.")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[Notice]:
    """One that died is over where the same command was run again; `status` names them all."""
    last = {run["command"]: run for run in runs}  # they are in their order
    for run in runs:
        if run["state"] == "died" and run is not last[run["command"]]:
            continue
        because = f": {run['note']}" if run["note"] else "."
        if run["state"] != "ended":
            state = BAD if run["state"] == "died" else GOOD
            yield Notice(state, f"{run['command']} {_STATES[run['state']]} {words.moment(run['started_at'])}{because}")
        elif run["exit_code"]:
            ended = f"The last {run['command']} ended on {words.moment(run['ended_at'])} with exit code"
            why = _ENDS.get(run["exit_code"], "it was stopped")
            yield Notice(WARNING, f"{ended} {run['exit_code']}: {why}{because}")


def _failed(items: Sequence[Mapping[str, Any]], clean: Callable[[str], str]) -> Table | None:
    if not items:
        return None
    rows = [
        [
            f"{item['repo']}#{item['number']}",
            item["item_type"].replace("_", " "),
            f"{item['attempts']:,}",
            words.title(clean(item["last_error"] or ""), CHARACTERS),
        ]
        for item in items
    ]
    return Table(["what failed", "kind", "attempts", "why"], rows)
