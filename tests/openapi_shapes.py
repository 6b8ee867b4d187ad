"""The shapes of issues and pull requests, from GitHub's own OpenAPI description, as Hypothesis strategies.

openapi_shapes.json holds types and names only. To make it again: `npm pack @octokit/openapi`, unpack, and
`python -m tests.openapi_shapes package/generated/api.github.com.json`.
"""

import json
import re
import sys
from datetime import datetime
from pathlib import Path

from hypothesis import strategies as st

FILE = Path(__file__).with_name("openapi_shapes.json")
ROOTS = {"issue": "issue", "pull_request": "pull-request-simple"}  # as the two lists answer
KEPT = ("type", "properties", "required", "items", "enum", "nullable", "format", "oneOf", "anyOf", "allOf", "$ref")
DEEPEST = 5


def reduced(schema):
    """A schema without descriptions and examples."""
    found = {}
    for name in KEPT:
        if name in schema:
            value = schema[name]
            if name == "properties":
                value = {key: reduced(each) for key, each in value.items()}
            elif name == "items":
                value = reduced(value)
            elif name in ("oneOf", "anyOf", "allOf"):
                value = [reduced(each) for each in value]
            elif name == "$ref":
                value = value.rsplit("/", 1)[1]
            found[name] = value
    return found


def collect(description):
    schemas, found, todo = description["components"]["schemas"], {}, list(ROOTS.values())
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = reduced(schemas[name])
            todo += re.findall(r'"\$ref": "([\w-]+)"', json.dumps(found[name]))
    return found


def payloads(item_type):
    """Payloads that the description allows."""
    schemas = json.loads(FILE.read_text(encoding="utf-8"))
    return _strategy(schemas, {"$ref": ROOTS[item_type]}, 0)


def _strategy(schemas, schema, depth):
    if "$ref" in schema:
        schema = {
            **schemas[schema["$ref"]],
            "nullable": schema.get("nullable", schemas[schema["$ref"]].get("nullable")),
        }
    made = _plain(schemas, schema, depth)
    return st.none() | made if schema.get("nullable") else made


def _plain(schemas, schema, depth):
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for name in ("oneOf", "anyOf"):
        if name in schema:
            return st.one_of([_strategy(schemas, each, depth) for each in schema[name]])
    if "allOf" in schema:
        return _strategy(schemas, schema["allOf"][0], depth)
    kind = schema.get("type")
    if kind == "array":
        return st.just([]) if depth > DEEPEST else st.lists(_strategy(schemas, schema["items"], depth + 1), max_size=2)
    if kind == "object" or "properties" in schema:
        return _object(schemas, schema, depth)
    return {
        "integer": st.integers(0, 2**53), "number": st.integers(0, 100), "boolean": st.booleans(),
    }.get(kind, _text(schema.get("format")))  # fmt: skip


def _object(schemas, schema, depth):
    required = set(schema.get("required", ()))
    if depth > DEEPEST:
        schema = {**schema, "properties": {k: v for k, v in schema.get("properties", {}).items() if k in required}}
    parts = {name: _strategy(schemas, each, depth + 1) for name, each in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: part for name, part in parts.items() if name in required},
        optional={name: part for name, part in parts.items() if name not in required},
    )


def _text(form):
    if form == "date-time":
        times = st.datetimes(datetime(2008, 1, 1), datetime(2030, 1, 1))
        return times.map(lambda moment: moment.replace(microsecond=0).isoformat() + "Z")
    return st.text(max_size=10)


if __name__ == "__main__":
    shapes = collect(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    FILE.write_text(json.dumps(shapes, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
