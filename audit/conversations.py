"""What was said on items, comments and reviews: which of it a repository lacks, where its counts differ.

No HTTP details, no SQL, no printing.
"""

from __future__ import annotations

import logging
from typing import Collection, Iterable, Sequence

from audit.inventory import Known
from github.refusals import HeavyAnswer, NotReadable
from scans.census import Census, Listed, Reader

log = logging.getLogger("pipeline.sweep")

STREAMS = {"issue_comment": "issue-comments", "review_comment": "review-comments", "review": "pull-details"}


def compare(
    reader: Reader, shown: Census, kind: str, every: Iterable[Known], *, full: bool
) -> tuple[list[Known], list[Known]]:
    """(what the lists of their items lack, what they show again)"""
    by_item: dict[int, list[Known]] = {}
    for each in every:
        by_item.setdefault(each.number, []).append(each)
    lacking: list[Known] = []
    again: list[Known] = []
    for number, said in sorted(by_item.items()):
        listed = shown.items.get(number)
        if listed is None or not _differs(kind, listed, said, full=full):
            continue
        there = _ids(reader, kind, number)
        if there is not None:
            lacking += [each for each in said if each.id not in there and not each.is_gone]
            again += [each for each in said if each.id in there and each.is_gone]
    return lacking, again


def _differs(kind: str, listed: Listed, said: Sequence[Known], *, full: bool) -> bool:
    """More of ours than there are, or some of ours may be gone and others unknown; --full looks at each."""
    total = {"issue_comment": listed.comments, "review": listed.reviews, "review_comment": None}[kind]
    ours = sum(not each.is_gone for each in said)
    if full:
        return total is None or ours != total or ours < len(said)
    return total is not None and (ours > total or (ours < total and ours < len(said)))


def _ids(reader: Reader, kind: str, number: int) -> Collection[int] | None:
    """None where they can't be had: of an item that went since it was listed, or that GitHub can't show."""
    try:
        return reader.ids(kind, number)
    except HeavyAnswer as error:
        log.warning("%s", error)
    except NotReadable as refused:
        if refused.status not in (404, 410):
            raise
    return None
