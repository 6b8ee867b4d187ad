"""Which scan reads which stream; a scan yields pages with the state to save beside them.

Never opens the database, never prints. docs/ARCHITECTURE.md, "The scans", tells why each is complete.
"""

from __future__ import annotations

from typing import Mapping

from github.streams.stream import KEYSET, PAGES, WORK, Stream
from scans.lists import ListScan
from scans.scan import ALL_HISTORY, OVERLAP_SECONDS, Page, Scan
from scans.work import AT_ONCE, WorkScan

__all__ = ("ALL_HISTORY", "AT_ONCE", "OVERLAP_SECONDS", "Page", "Scan", "scan_of")

SCANS: Mapping[str, type[Scan]] = {KEYSET: ListScan, PAGES: ListScan, WORK: WorkScan}


def scan_of(stream: Stream) -> type[Scan]:
    return SCANS[stream.scan]
