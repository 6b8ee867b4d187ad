"""Virtual environments of their own, for tools that the tests don't need: made where missing or out of date."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MORE = ("requirements-postgres.txt", "requirements-app.txt")


def enter(name, requirements, module):
    """Go on with `python -m module` in the environment `.venv-{name}-{version}`, made from the file `requirements`."""
    venv = ROOT / ".venv-{}-{}.{}".format(name, *sys.version_info)
    if Path(sys.prefix) == venv:
        return
    files = (
        "requirements.txt",
        "requirements-postgres.txt",
        "requirements-publish.txt",
        "requirements-report.txt",
        "requirements-dev.txt",
        requirements,
    )  # it may go on to them
    wanted = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    stamp, python = venv / "stamp", str(venv / "bin" / "python")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([*pip, requirements], cwd=ROOT, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    os.chdir(ROOT)
    os.execv(python, [python, "-m", module, *sys.argv[1:]])
