"""Every figure of README: `python -m benchmarks [NAME ...]` makes its own environment, then runs the cases."""

import argparse
import datetime
import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("ingest", "worker", "queues", "startup", "year", "steps")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="NAME", help=f"some of: {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contestant (default 3)")
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - set(GROUPS))
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}")
    _enter_environment()
    from benchmarks.measure import HEAD

    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {machine}, {options.rounds} rounds\n\n{HEAD}", flush=True)
    goals = []
    for group in options.groups or GROUPS:
        goals += importlib.import_module(f"benchmarks.{group}").cases(options.rounds)
    print("\n| goal | figure | |\n|---|---|---|")
    for goal in goals:
        print(f"| {goal.text} | {goal.figure:.3g} | {'reached' if goal.reached else 'NOT reached'} |")


def _enter_environment():
    """Go on in a virtual environment of the benchmarks' own, made where it is missing or out of date."""
    venv = ROOT / ".venv-bench-{}.{}".format(*sys.version_info)
    wanted = (ROOT / "requirements.txt").read_text() + Path(__file__).with_name("requirements.txt").read_text()
    stamp = venv / "stamp"
    if Path(sys.prefix) == venv:
        return
    python = str(venv / "bin" / "python")
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([*pip, "benchmarks/requirements.txt"], cwd=ROOT, check=True)
        stamp.write_text(wanted)
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    main()
