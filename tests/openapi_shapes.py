"""The shapes of what the lists hold, from GitHub's own OpenAPI description: as Hypothesis strategies, and to compare.

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
ROOTS = {  # as the lists answer
    "issue": "issue",
    "pull_request": "pull-request-simple",
    "issue_comment": "issue-comment",
    "review_comment": "pull-request-review-comment",
    "event": "issue-event",
    "milestone": "milestone",
    "label": "label",
    "release": "release",
    "review": "pull-request-review",
    "pull_detail": "pull-request",
}
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


KINDS = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float)}


def misfits(item_type, payload, unseen=()):
    """Where a payload does not fit the description, as paths; what lies below a key of `unseen` is not looked at."""
    schemas = json.loads(FILE.read_text(encoding="utf-8"))
    return list(_misfits(schemas, {"$ref": ROOTS[item_type]}, payload, item_type, unseen))


def _misfits(schemas, schema, value, path, unseen):
    if "$ref" in schema:
        schema = {"nullable": schema.get("nullable"), **schemas[schema["$ref"]]}
    if value is None and schema.get("nullable"):
        return
    for name in ("oneOf", "anyOf", "allOf"):
        if name in schema:
            tried = [list(_misfits(schemas, each, value, path, unseen)) for each in schema[name]]
            yield from min(tried, key=len)
            return
    kind = schema.get("type", "object" if "properties" in schema else None)
    if kind and (not isinstance(value, KINDS[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{path} is no {kind}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value}"
    elif kind == "array":
        for at, each in enumerate(value):
            yield from _misfits(schemas, schema["items"], each, f"{path}[{at}]", unseen)
    elif kind == "object" and schema.get("properties"):
        known = schema["properties"]
        yield from (f"{path} has no {name}" for name in schema.get("required", ()) if name not in value)
        yield from (f"{path}.{name} is unknown" for name in value if name not in known)
        for name in set(value) & set(known) - set(unseen):
            yield from _misfits(schemas, known[name], value[name], f"{path}.{name}", unseen)


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
