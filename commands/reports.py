"""What each command prints: the JSON object of the contract, and the same for people. Pure but for `show`."""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence


def show(summary: Mapping[str, Any], lines: Sequence[str], *, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        print("\n".join(lines))


def aligned(figures: Mapping[str, Any]) -> list[str]:
    width = max(map(len, figures))
    return [f"{name:<{width}}  {value}" for name, value in figures.items()]


def ingest_summary(results: Sequence[Any], remaining: int | None, seconds: float) -> dict[str, Any]:
    repos = [
        {
            "repo": result.repo,
            "stream": result.stream,
            "enqueued": result.enqueued,
            "unchanged": result.unchanged,
            "requests": result.requests,
            "cursor": result.cursor,
            "error": result.error,
        }
        for result in results
    ]
    return {
        "command": "ingest",
        "enqueued": sum(result.enqueued for result in results),
        "unchanged": sum(result.unchanged for result in results),
        "fetched": sum(result.fetched for result in results),
        "requests": sum(result.requests for result in results),
        "not_modified": sum(result.not_modified for result in results),
        "rate_limit_remaining": remaining,
        "seconds": round(seconds, 3),
        "repos": repos,
    }


def ingest_lines(summary: Mapping[str, Any]) -> list[str]:
    width = _width(summary)
    lines = [
        f"{repo['repo']} {repo['stream']:<{width}}  {repo['enqueued']:>7} new  {repo['unchanged']:>7} unchanged"
        f"  {repo['requests']:>5} requests  up to {repo['cursor'] or '-'}" + ("  STOPPED" if repo["error"] else "")
        for repo in summary["repos"]
    ]
    left = "-" if summary["rate_limit_remaining"] is None else summary["rate_limit_remaining"]
    if not summary["fetched"] and any(repo["error"] for repo in summary["repos"]):
        return lines
    return [*lines, f"queued {summary['enqueued']} items in {summary['seconds']:.1f} s; {left} API points left"]


def _width(summary: Mapping[str, Any]) -> int:
    """Of the column with the streams' names."""
    return max([len("issues"), *(len(repo["stream"]) for repo in summary["repos"])])


def worker_lines(summary: Mapping[str, Any]) -> list[str]:
    names = ("done", "failed", "retrying", "released", "pending", "objects", "bytes")
    if not any(summary[name] for name in names):
        return ["no row is pending: nothing to do"]
    rate = summary["done"] / summary["seconds"] if summary["seconds"] else 0.0
    figures = {name: "-" if summary[name] is None else summary[name] for name in names}
    return [*aligned(figures), f"in {summary['seconds']:.1f} s, {rate:.0f} items/s"]


def sweep_summary(results: Sequence[Any], requests: int, dry_run: bool, seconds: float) -> dict[str, Any]:
    repos = [
        {
            "repo": result.repo,
            "compared": result.compared,
            "known": result.known,
            "gone": [_of_tombstone(each) for each in result.gone],
            "back": [_of_tombstone(each) for each in result.back],
            "missed": [{"kind": item.item_type, "number": item.number} for item in result.missed],
            "unsure": result.unsure,
            "requests": result.requests,
            "error": result.error,
        }
        for result in results
    ]
    return {
        "command": "sweep",
        "dry_run": dry_run,
        "gone": sum(len(result.gone) for result in results),
        "back": sum(len(result.back) for result in results),
        "missed": sum(len(result.missed) for result in results),
        "unsure": sum(result.unsure for result in results),
        "requests": requests + sum(result.requests for result in results),
        "seconds": round(seconds, 3),
        "repos": repos,
    }


def _of_tombstone(tombstone: Any) -> dict[str, Any]:
    return {name: getattr(tombstone, name) for name in ("kind", "id", "number", "reason", "moved_to")}


def sweep_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for repo in summary["repos"]:
        for each in repo["gone"]:
            where = f" to {each['moved_to']}" if each["moved_to"] else ""
            lines.append(f"{repo['repo']} #{each['number']} {each['kind']} {each['id']}  {each['reason']}{where}")
        lines += [f"{repo['repo']} #{each['number']} {each['kind']} {each['id']}  there again" for each in repo["back"]]
        lines += [f"{repo['repo']} #{each['number']} {each['kind']}  was missed" for each in repo["missed"]]
    figures = ("gone", "back", "missed", "unsure", "requests")
    said = ", ".join(f"{summary[name]} {name}" for name in figures)
    written = ", nothing written" if summary["dry_run"] else ""
    return [*lines, f"{len(summary['repos'])} repositories: {said}, in {summary['seconds']:.1f} s{written}"]


def prune_lines(summary: Mapping[str, Any]) -> list[str]:
    return aligned({name: summary[name] for name in ("deleted", "freed_bytes", "db_bytes")})


def rebuild_lines(summary: Mapping[str, Any]) -> list[str]:
    figures = {"listed": "objects listed", "before": "read before", "objects": "read now", "items": "payloads",
               "unreadable": "unreadable", "issues": "issues rows"}  # fmt: skip
    return [*aligned({shown: summary[name] for name, shown in figures.items()}), f"in {summary['seconds']:.1f} s"]


def copy_lines(summary: Mapping[str, Any]) -> list[str]:
    figures = {name: summary[name] for name in ("objects", "copied", "skipped", "failed", "bytes")}
    return [*aligned(figures), f"in {summary['seconds']:.1f} s"]


def move_lines(summary: Mapping[str, Any]) -> list[str]:
    tables = {
        name: f"{table['rows']:>9} rows  sha256 {table['sha256'][:16]}" for name, table in summary["tables"].items()
    }
    return [
        *aligned(tables),
        f"{summary['rows']} rows are there as they are here, {summary['copied']} of them copied now,"
        f" in {summary['seconds']:.1f} s",
        f"Set PIPELINE_DB='{summary['to']}' from now on, and put {summary['from']} aside: it stays as it is.",
    ]


def check_lines(summary: Mapping[str, Any]) -> list[str]:
    return [f"{check['state']:<7}  {check['name']}: {check['detail']}" for check in summary["checks"]]


def status_lines(summary: Mapping[str, Any]) -> list[str]:
    oldest = summary["oldest_pending_seconds"]
    figures = {
        **summary["queue"],
        "oldest pending": "-" if oldest is None else f"{oldest} s",
        "waiting": _waiting(summary["waiting"]),
        "issues rows": summary["issues"],
        "database bytes": summary["db_bytes"],
    }
    if summary["vacuum"] is not None:
        figures["dead rows"] = summary["vacuum"]["dead_rows"]
        figures["last vacuum"] = summary["vacuum"]["last_at"] or "-"
    width = _width(summary)
    streams = [
        f"{row['repo']} {row['stream']:<{width}}  up to {row['cursor'] or '-'}"
        f"  last success {row['last_success_at'] or '-'}"
        + ("  unfinished" if row["unfinished"] else "")
        + (f"  truncated at {row['truncated_at']}" if row["truncated_at"] else "")
        + (f", filled for {row['items_filled']} of {row['items_to_fill']} items" if row["items_to_fill"] else "")
        + (f"  filled before {row['filled_before']}" if row["filled_before"] else "")
        + (f"  {row['last_error']}" if row["last_error"] else "")
        for row in summary["repos"]
    ]
    are_several = len({run["host"] for run in summary["runs"] if run["host"]}) > 1

    def on_host(run: Mapping[str, Any]) -> str:
        return f" on {run['host']}" if are_several and run["host"] else ""

    runs = [
        f"{run['command']} {run['state']}{on_host(run)}, began {run['started_at']}"
        + (f", ended {run['ended_at']} with {run['exit_code']}" if run["ended_at"] else "")
        + (f": {run['note']}" if run["note"] else "")
        for run in summary["runs"]
    ]
    reasons = [f"failed {reason['rows']} times: {reason['reason']}" for reason in summary["failed_reasons"]]
    failed = [
        f"failed row {row['id']}: {row['repo']} #{row['number']} ({row['item_type']}), "
        f"{row['attempts']} attempts: {row['last_error']}"
        for row in summary["failed_items"]
    ]
    return [*aligned(figures), *streams, *runs, *reasons, *failed]


def no_failed_rows(item_ids: Sequence[int]) -> str:
    """Of ids that were asked for and are none of a failed row."""
    ids = ", ".join(map(str, item_ids))
    are = "is no failed row" if len(item_ids) == 1 else "are no failed rows"
    return f"--item: {ids} {are}, and nothing was changed; `status` shows which are"


def _waiting(waiting: Mapping[str, Any]) -> str:
    if not waiting["rows"]:
        return "-"
    return f"{waiting['rows']} rows for another attempt, from {waiting['first_at']} to {waiting['last_at']}"


def publish_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for table in summary["tables"]:
        said = f"{table['table']}  {table['rows']:,} rows"
        if table["is_new"]:
            said += f"  version {table['version']}  {table['bytes'] / 1e6:,.1f} MB in {table['files']} files"
        else:
            said += f"  unchanged since version {table['version']}"
        lines.append(said + (f"  {table['deleted_files']} old files deleted" if table["deleted_files"] else ""))
    return [*lines, f"in {summary['seconds']:.1f} s"]


def report_lines(summary: Mapping[str, Any]) -> list[str]:
    return [f"{summary['out']}  {summary['bytes'] / 1e3:,.0f} KB, in {summary['seconds']:.1f} s: open it in a browser"]
