"""A pytest plugin for runs under mutmut: quick tests go first, and what a test's processes call counts as its own.

mutmut tries a change with the tests that were seen to call the changed function, and sees its own process only.
"""

import json
import os
from pathlib import Path

import pytest

HITS = "MUTANTS_HITS"  # the file in which children/sitecustomize.py notes which functions a process has called
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent / "children")  # of the tests' processes, not of this one
os.environ[HITS] = str(Path("mutants-hits").resolve())


def pytest_collection_modifyitems(items):
    stats = Path("mutmut-stats.json")  # made by mutmut's first run, in the folder of its copy
    if stats.exists():
        seconds = json.loads(stats.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0))


@pytest.hookimpl(tryfirst=True)  # mutmut takes the calls of a test at its teardown
def pytest_runtest_teardown():
    hits = Path(os.environ[HITS])
    if os.environ.get("MUTANT_UNDER_TEST") == "stats" and hits.exists():
        from mutmut.state import state

        state()._stats.update(hits.read_text(encoding="utf-8").split())
        hits.unlink()
