"""Which scan reads which stream; a scan yields pages with the state to save beside them.

Never opens the database, never prints. docs/ARCHITECTURE.md, "The scans", tells why each is complete.
"""

from __future__ import annotations

from typing import Mapping

from github.streams.stream import EVENTS, KEYSET, PAGES, WHOLE, WORK, Stream
from scans.fill import FilledEventScan, NotFilled
from scans.halving import AT_ONCE
from scans.lists import ListScan
from scans.scan import ALL_HISTORY, OVERLAP_SECONDS, Page, Scan
from scans.whole import WholeScan
from scans.work import WorkScan

__all__ = ("ALL_HISTORY", "AT_ONCE", "OVERLAP_SECONDS", "NotFilled", "Page", "Scan", "scan_of")

SCANS: Mapping[str, type[Scan]] = {
    KEYSET: ListScan,
    PAGES: ListScan,
    EVENTS: FilledEventScan,
    WHOLE: WholeScan,
    WORK: WorkScan,
}


def scan_of(stream: Stream) -> type[Scan]:
    return SCANS[stream.scan]
