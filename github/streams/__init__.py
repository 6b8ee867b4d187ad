"""Owns what tells one stream from another: a module for each, and its line in this table.

Never asks GitHub, and knows neither queue nor archive.
"""

from __future__ import annotations

from github.streams import events, gone, issue_comments, issues, meta, pull_details, pulls, review_comments

# In the order in which a run reads them.
STREAMS = {
    stream.name: stream
    for stream in (
        issues.STREAM,
        pulls.STREAM,
        issue_comments.STREAM,
        review_comments.STREAM,
        events.STREAM,
        meta.STREAM,
        pull_details.STREAM,
    )
}
DEFAULT = ("issues", "pulls")  # nothing costs more unasked
ALL = "all"
KINDS = {kind.item_type: kind for stream in STREAMS.values() for kind in stream.kinds}
KINDS[gone.ITEM_TYPE] = gone.KIND  # of no list of GitHub's: `sweep` finds out
KNOWN_BY_ID = frozenset(item_type for item_type, kind in KINDS.items() if kind.is_known_by_id)


def named(text: str) -> tuple[str, ...]:
    """The streams of `issues,pulls` or `all`, each once, in the order of the table.

    Raises ValueError for one that there is not, and for one without another that it needs.
    """
    names = {name.strip() for name in text.split(",")} - {""}
    unknown = sorted(names - set(STREAMS) - {ALL})
    if unknown or not names:
        said = f"there is no stream {unknown[0]!r}" if unknown else "no stream is named"
        raise ValueError(f"{said}; give some of {','.join(STREAMS)}, or {ALL}")
    chosen = tuple(name for name in STREAMS if ALL in names or name in names)
    for name in chosen:
        missing = [other for other in STREAMS[name].needs if other not in chosen]
        if missing:
            raise ValueError(f"{name} needs {missing[0]} beside it: give {','.join((*missing, *chosen))}")
    return chosen
