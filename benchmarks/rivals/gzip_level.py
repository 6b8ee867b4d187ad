"""The file `lines` as one gzip of the level given; prints the seconds."""

import gzip
import sys
import time
from pathlib import Path

lines = Path("lines").read_bytes()
started = time.perf_counter()
body = gzip.compress(lines, int(sys.argv[1]), mtime=0)
print(time.perf_counter() - started)
Path("lines.gz").write_bytes(body)
