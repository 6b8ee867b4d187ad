#!/usr/bin/env python3
"""The entry point: refuses a Python that is too old, and leaves the rest to commands/dispatch.py.

Any Python has to be able to read this file, 2.7 as well: one that can't has no better word than SyntaxError.
"""

import sys

if sys.version_info < (3, 8):  # noqa: UP036
    sys.stderr.write("error: this is Python %d.%d; run main.py with 3.8 or newer\n" % sys.version_info[:2])  # noqa: UP031
    sys.exit(2)

if __name__ == "__main__":  # before the other imports: they take longer than the next signal may
    from commands import early_signals

    early_signals.handle()

from commands.dispatch import main, process  # noqa: E402

__all__ = ("main",)

if __name__ == "__main__":
    process()
