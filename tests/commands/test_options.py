import argparse
import re

import pytest

from commands import options
from tests.conftest import ROOT

REFERENCE = (ROOT / "docs" / "REFERENCE.md").read_text(encoding="utf-8")


def commands():
    parser = options.build_parser({})
    (sub,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return sub.choices


def named(command):
    return {flag for action in commands()[command]._actions for flag in action.option_strings} - {"-h", "--help"}


@pytest.mark.parametrize("command", commands())
def test_the_reference_names_every_option_of_the_command(command):
    rows = [line for line in REFERENCE.splitlines() if line.startswith(("| all |", f"| `{command}` |"))]
    assert named(command) == set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "\n".join(r.split("|")[2] for r in rows)))


def test_an_option_wins_over_the_environment_and_that_over_the_default():
    def db_path(arguments, environ):
        return options.build_parser(environ).parse_args(["status", *arguments]).db_path

    assert db_path([], {}) == "pipeline.db"
    assert db_path([], {"PIPELINE_DB": "env.db"}) == "env.db"
    assert db_path(["--db", "given.db"], {"PIPELINE_DB": "env.db"}) == "given.db"


def test_every_exit_code_is_in_the_reference():
    assert re.findall(r"^\| (\d+(?: / \d+)?) \|", REFERENCE, re.MULTILINE) == ["0", "1", "2", "3", "4", "130 / 143"]


@pytest.mark.parametrize("command", commands())
def test_the_help_of_each_option_with_a_default_says_it(command):
    for action in commands()[command]._actions:
        if action.option_strings and action.default not in (None, False, [], argparse.SUPPRESS):
            assert "default" in action.help, action.option_strings


def test_every_link_of_the_documents_leads_to_a_file():
    for name in ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        text = (ROOT / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert ((ROOT / name).parent / link).exists(), (name, link)


def test_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1500
