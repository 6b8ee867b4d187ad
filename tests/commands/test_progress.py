"""What a person at a terminal sees: run on a pseudo-terminal, its output drawn as a screen would draw it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.conftest import ROOT

SCRIPT = """
import logging, sys, time
sys.path.insert(0, sys.argv[1])
from foundation import logs; from commands import progress
logs.set_up(logs.choice(verbose=False, quiet=False, log_format="text"), {})
log = logging.getLogger("pipeline.test")
total = int(sys.argv[2]) or None
bar = progress.start(unit=" items", total=total, quiet=False, no_progress=False, monotonic=time.monotonic)
with bar:
    for count in range(1, 6):
        bar.update(count, "a note that is a good deal longer than some of the terminals are wide")
        bar._bar.refresh()
        log.warning("line %d", count)
    if len(sys.argv) > 3:
        exec(sys.argv[3])
"""


def screen(output, columns):
    """The lines that stand on a terminal after the output."""
    lines, row, column = [[]], 0, 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]", output):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
        elif part == "\x1b[A":
            row = max(0, row - 1)
        else:
            if column == columns:
                row, column = row + 1, 0
            while len(lines) <= row:
                lines.append([])
            lines[row] += [" "] * (column + 1 - len(lines[row]))
            lines[row][column] = part
            column += 1
    return [text for text in ("".join(line).rstrip() for line in lines) if text]


def on_a_terminal(*arguments, columns):
    return screen(written(*arguments, columns=columns), columns)


def written(*arguments, columns):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT), *arguments], stdin=child, stdout=child, stderr=child, env=environ
    )
    os.close(child)
    output, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([parent], [], [], 1)[0]:
            try:
                output += os.read(parent, 65536)
            except OSError:  # the other side is closed
                break
    assert process.wait(timeout=10) in (0, 1)
    os.close(parent)
    return output.decode()


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("total", ["5", "0"])
def test_log_and_bar_share_the_terminal_in_a_line_each(columns, total):
    shown = on_a_terminal(total, columns=columns)
    logged = [line for line in shown if "WARNING line" in line]
    assert [line[-6:] for line in logged] == ["line 1", "line 2", "line 3", "line 4", "line 5"]
    (bar,) = [line for line in shown if line not in logged]
    assert "5 items" in bar or "5/5" in bar or "100%" in bar
    assert len(bar) < columns


def test_a_bar_ends_at_a_hundred_per_cent_or_says_why_not():
    assert "100%" in on_a_terminal("5", columns=120)[-1]
    # Others took the rest.
    assert "100%" in on_a_terminal("9", columns=120)[-1]
    stopped = on_a_terminal("9", "bar.close('stopped by outage')", columns=120)[-1]
    assert ("stopped by outage" in stopped, "100%" in stopped) == (True, False)
    failed = [line for line in on_a_terminal("9", "raise SystemExit(1)", columns=120) if "5/9" in line]
    assert "stopped" in failed[-1]


def test_a_wait_counts_down_beside_the_bar():
    ticks = "bar.wait(2, 'the limit'); bar._ended.wait(2.5); bar.update(5, 'on again')"
    output = written("9", ticks, columns=120)
    counted = [int(seconds) for seconds in re.findall(r"waiting (\d) s: the limit", output)]
    assert counted[0] == 2
    assert counted == sorted(counted, reverse=True)
    assert len(set(counted)) > 1
    assert "on again" in output
