"""The rules of the house (docs/ARCHITECTURE.md, "Rooms"): no import goes upwards, none in a circle, some stay out."""

import ast

import pytest

from tests.conftest import ROOT

# From the top down; a room imports only rooms of lower floors.
FLOORS = (
    {"main"},
    {"commands"},
    {"audit", "ingest", "worker"},
    {"cursors", "fetcher", "queue_manager", "s3_writer"},
    {"lake", "report", "scans"},
    {"github", "s3"},
    {"db"},
    {"engines", "tables"},
    {"foundation"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# What a room never imports, whatever its floor.
NEVER = {
    "main": {"requests", "boto3", "botocore"},
    "ingest": {"argparse", "requests", "boto3"},
    "audit": {"argparse", "sqlite3", "engines", "requests", "boto3", "lake"},
    "worker": {"argparse", "requests", "boto3"},
    "fetcher": {"sqlite3", "db", "engines", "requests"},
    "scans": {"sqlite3", "db", "engines", "tables", "requests"},
    "tables": {"sqlite3", "engines", "foundation"},
    "queue_manager": {"requests", "boto3", "github", "lake", "cursors"},
    "cursors": {"sqlite3", "engines", "requests", "boto3", "github", "queue_manager"},
    "s3_writer": {"sqlite3", "db", "engines"},
    "github": {"sqlite3", "db", "engines"},
    "s3": {"sqlite3", "db", "engines", "requests", "boto3"},
    "lake": {"queue_manager", "requests", "boto3"},
    "report": {"argparse", "queue_manager", "requests", "boto3", "github", "s3"},
    "db": {"requests", "boto3", "github"},
    "engines": {"requests", "boto3", "github"},
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0].replace(".py", "") in FLOOR)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports(path):
    """Full names of what a module imports, at its top or later; of ours the module, not what is taken from it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute here"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(full & NAMES or {node.module})
    return found


def room(name):
    return name.split(".")[0]


def test_there_is_no_room_without_a_floor():
    assert {path.stem for path in ROOT.glob("*.py")} <= set(FLOOR)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(FLOOR)
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_goes_upwards_or_to_what_a_room_never_touches(path):
    own = room(name_of(path))
    for name in imports(path):
        other = room(name)
        assert other == own or other not in FLOOR or FLOOR[other] > FLOOR[own], f"{name_of(path)} imports {name}"
        assert other not in NEVER.get(own, ()), f"{name_of(path)} imports {name}"


def test_no_import_goes_in_a_circle():
    graph = {name_of(path): imports(path) & NAMES for path in MODULES}
    # `import package.module` runs the package's __init__ first; that one may import its own modules.
    done = set()
    while len(done) < len(graph):
        ready = {name for name, others in graph.items() if name not in done and others - {name} <= done}
        assert ready, f"in a circle: {sorted(set(graph) - done)}"
        done |= ready


def test_each_room_says_what_it_owns_and_what_it_never_does():
    for package in (path for path in ROOT.glob("*/__init__.py") if path.parent.name in FLOOR):
        said = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
        assert "Owns" in said and ("Never" in said or "never" in said), package


def test_the_architecture_draws_the_imports_as_they_are():
    drawn = []
    for own in (own for floor in FLOORS for own in sorted(floor)):
        paths = [path for path in MODULES if room(name_of(path)) == own]
        others = {room(name) for path in paths for name in imports(path)} & set(FLOOR) - {own}
        below = ", ".join(sorted(others, key=lambda other: (FLOOR[other], other)))
        drawn.append(f"    {own:<14} -> {below}" if below else f"    {own}")
    assert "\n".join(drawn) in (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
