"""What README.md and docs/ tell a reader to type works: commands, units, the file of secrets."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from commands import options
from tests.conftest import ROOT

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def commands(name):
    """The arguments of main.py in each indented line that calls it."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        found = re.match(r"    .*(?:python3?|ExecStart=\S+) (?:\S*/)?main\.py (.*)", line)
        if found:
            words = shlex.split(found[1], comments=True)
            end = next((at for at, word in enumerate(words) if re.match(r"\d?>|\|+\Z|&&\Z", word)), len(words))
            yield words[:end]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_line_in_the_documents_is_one_that_is_understood(name):
    for arguments in commands(name):
        options.build_parser({}).parse_args(arguments)


def test_there_are_command_lines_in_the_documents():
    assert {arguments[0] for arguments in commands("README.md")} >= {"ingest", "worker", "status"}
    assert {arguments[0] for arguments in commands("docs/REFERENCE.md")} == {
        "ingest", "worker", "sweep", "check", "status", "retry", "forget", "prune", "rebuild", "copy", "move",
        "schema", "publish", "report",
    }  # fmt: skip
    assert len(list(commands("docs/OPERATIONS.md"))) >= 10


@pytest.mark.skipif(shutil.which("dash") is None, reason="cron's sh is another shell here")
def test_the_lines_for_cron_give_their_commands_the_secrets(tmp_path):
    block = OPERATIONS.split("## Cron")[1].split("\n## ")[0]
    lines = [
        line for line in re.findall(r"^    \d+ [\d*]+ [\d*] \* [\d*] +(.*)", block, re.MULTILINE) if "prune" not in line
    ]
    (tmp_path / "secrets.env").write_text("GITHUB_TOKEN=it\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("run_pipeline.sh", ".venv/bin/python"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$GITHUB_TOKEN in $PWD"\n')
        (tmp_path / name).chmod(0o755)
    text = "\n".join(lines).replace("/srv/github", str(tmp_path)).replace("/opt/pipeline", str(tmp_path))
    text = text.replace(">>run.log", ">&1")
    done = subprocess.run(["dash", "-c", text], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == [f"it in {tmp_path}"] * 5


def units():
    """{name: text} of the units in OPERATIONS.md."""
    block = OPERATIONS.split("## systemd")[1].split("\n## ")[0]
    found = re.findall(r"^    # /etc/systemd/system/(\S+)\n((?:    .*\n)+)", block, re.MULTILINE)
    return {name: re.sub(r"^    ", "", text, flags=re.MULTILINE) for name, text in found}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_units(tmp_path):
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/opt/pipeline/.venv/bin/python", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_only_the_service_that_always_runs_is_started_again():
    texts = units()
    assert sorted(texts) == ["github-ingest.service", "github-ingest.timer", "github-worker.service"]
    assert "\nRestart=" in texts["github-worker.service"]
    assert "Type=oneshot" in texts["github-ingest.service"]
    assert "\nRestart=" not in texts["github-ingest.service"]
    for name in ("github-ingest.service", "github-worker.service"):
        assert "SuccessExitStatus=143" in texts[name]


def test_the_file_of_secrets_serves_shell_and_systemd_alike(tmp_path):
    lines = re.search(r"(?:    [A-Z_]+=.*\n){3,}", OPERATIONS)[0]
    text = re.sub(r"^    ", "", lines, flags=re.MULTILINE)
    assert all(re.match(r"[A-Z_]+=[^\s\"'$\\]*\Z", line) for line in text.splitlines())  # systemd.exec(5)
    (tmp_path / "secrets.env").write_text(text)
    how = re.search(r"`(set -a; [^`]*)`", OPERATIONS)[1].replace("/srv/github", ".")
    done = subprocess.run(
        ["sh", "-c", f'{how}; exec "{sys.executable}" -c "import os; print(os.environ[\'AWS_REGION\'])"'],
        cwd=str(tmp_path), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "eu-central-1"
