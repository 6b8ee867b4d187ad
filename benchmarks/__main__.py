"""Every figure of docs/PERFORMANCE.md: `python -m benchmarks [NAME ...]` makes its environment, then runs the cases."""

import argparse
import datetime
import importlib
import os
import platform

from tests.environments import enter

GROUPS = ("ingest", "worker", "queues", "startup", "year", "steps", "scale")
ON_REQUEST = ("before", "followers", "metrics", "million", "publish", "report", "turnovers")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="NAME",
        help=f"some of: {', '.join(GROUPS)} (default: all), {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contestant (default 3)")
    parser.add_argument(
        "--before", default="HEAD~1", metavar="COMMIT", help="what `before` compares with (default HEAD~1)"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - {*GROUPS, *ON_REQUEST})
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}")
    enter("bench", "benchmarks/requirements.txt", "benchmarks")
    from benchmarks.measure import HEAD

    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {machine}, {options.rounds} rounds\n\n{HEAD}", flush=True)
    goals = []
    for group in options.groups or GROUPS:
        more = (options.before,) if group == "before" else ()
        goals += importlib.import_module(f"benchmarks.{group}").cases(options.rounds, *more)
    print("\n| goal | figure | |\n|---|---|---|")
    for goal in goals:
        print(f"| {goal.text} | {goal.figure:.3g} | {'reached' if goal.reached else 'NOT reached'} |")


if __name__ == "__main__":
    main()
