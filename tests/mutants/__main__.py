"""Breaks a module in many small ways, one after the other; its tests should notice each.

`python -m tests.mutants [MODULE ...]` changes a copy of the project with mutmut, in an environment of its own (Python
3.10 or newer), runs the module's tests against each change, and prints the changes that none of them noticed.
docs/RELIABILITY.md says which of those are left, and why. Takes minutes for a small module, an hour for all.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.environments import ROOT, enter

# The modules whose errors would lose data, and the tests that are theirs.
TESTS = {
    "queue_manager": ["test_queue_manager", "test_queue_model"],
    "worker": ["test_worker"],
    "lake.verdicts": ["lake/test_verdicts", "test_worker"],
    "scans.lists": ["test_scans", "test_fetcher"],
    "scans.scan": ["test_scans", "test_fetcher"],
    "scans.horizon": ["test_scans"],
    "scans.work": ["test_pull_details"],
    "scans.halving": ["test_halving", "test_pull_details", "test_older_events"],
    "scans.fill": ["test_older_events"],
    "s3_writer": ["test_s3_writer", "test_s3_faults"],
    "github.page_reader": ["github/test_page_reader", "test_scans"],
    "github.spots": ["test_scans"],
    "github.graphql": ["github/test_graphql", "test_pull_details"],
    "github.by_number": ["github/test_pull_reader", "github/test_timeline_reader", "test_pull_details"],
    "github.node_ids": ["github/test_node_ids"],
    "github.timeline_reader": ["github/test_timeline_reader", "test_older_events"],
    "github.streams.timeline": ["github/test_timeline_reader", "test_older_events"],
    "github.pull_reader": ["github/test_pull_reader", "test_pull_details"],
    "github.streams.pull_details": ["github/test_pull_reader"],
    "github.api": ["github/test_api", "test_fetcher"],
    "github.answers": ["github/test_api"],
    "github.refusals": ["github/test_api"],
    "github.transport": ["github/test_api"],
    "github.rate_limit": ["github/test_rate_limit"],
    "github.login.installation": ["github/test_app_login"],
    "github.login.app": ["github/test_app_login"],
    "github.clients": ["github/test_clients"],
    "github.fields": ["github/test_items"],
    "github.streams.items": ["github/test_items"],
    "lake.rebuild": ["lake/test_rebuild"],
    "engines.owners": ["engines/test_owners", "test_worker"],
}
TEST_SECONDS = 60  # many times what the slowest of them takes; one that is late counts as a change that was noticed
FEW_EXAMPLES = {"QUEUE_MODEL_EXAMPLES": "5"}
LEFT_OUT = (".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of: {', '.join(TESTS)} (default: all)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="changes tried at a time (default 2)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="changes so called, with * for anything")
    options = parser.parse_args()
    unknown = sorted(set(options.modules) - set(TESTS))
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)}")
    enter("mutants", "tests/mutants/requirements.txt", "tests.mutants")
    from tests.s3_server import S3Server

    server = S3Server()  # one for all: a change that hangs must not leave one behind
    try:
        for module in options.modules or TESTS:
            print(f"\n{module}", flush=True)
            tried(
                module, TESTS[module], {**os.environ, **FEW_EXAMPLES, **server.shared_env}, options.jobs, options.only
            )
    finally:
        server.close()


def tried(module, tests, env, jobs, only):
    """Change one module, run its tests, print what they did not notice."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT, ".venv-*", "*.db"))
        source = module.replace(".", "/") + ".py"
        names = sorted(path.name for path in copy.iterdir() if path.name != source)
        lines = ["[mutmut]", f"source_paths={source}", "timeout_multiplier=3", "timeout_constant=10"]
        lines += ["also_copy=", *(f"    {name}" for name in names)]
        lines += [
            "pytest_add_cli_args=",
            "    -m",
            "    not slow and not long",
            "    -p",
            "    tests.mutants.plugin",
            f"    --timeout={TEST_SECONDS}",  # a change that makes a test hang is noticed then
            "pytest_add_cli_args_test_selection=",
            *(f"    tests/{test}.py" for test in tests),
        ]
        (copy / "setup.cfg").write_text("\n".join(lines) + "\n")
        mutmut = [sys.executable, "-m", "mutmut"]
        with (Path(folder) / "log").open("w+") as log:
            ended = subprocess.run(
                [*mutmut, "run", "--max-children", str(jobs), *only], cwd=copy, env=env, stdout=log, stderr=log
            )
            log.seek(0)
            last = log.read().replace("\r", "\n").strip().splitlines()
        if ended.returncode:
            print("\n".join(last[-30:]))
            return
        results = subprocess.run([*mutmut, "results"], cwd=copy, env=env, stdout=subprocess.PIPE, text=True)
        found = [line.strip().split(": ") for line in results.stdout.splitlines() if ": " in line]
        left = [name for name, what in found if what != "not checked"]
        for name in left:
            shown = [*mutmut, "show", name]
            print(subprocess.run(shown, cwd=copy, env=env, stdout=subprocess.PIPE, text=True).stdout)
        counts = [line for line in last if "/" in line and "🎉" in line]
        print(f"{module}: {len(left)} not noticed; {counts[-1] if counts else 'no change was tried'}", flush=True)


if __name__ == "__main__":
    main()
