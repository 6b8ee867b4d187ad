"""POST /graphql: GitHub's own schema (the part in schema.graphql), executed on what the tests' repositories hold."""

import functools
import json
import re

from graphql import GraphQLSyntaxError, execute_sync, parse, validate

from tests.github_world.answers import TOO_SLOW, as_json, error, graphql_errors
from tests.github_world.basics import Served, compact_json, sha256, utc
from tests.github_world.costs import cost
from tests.github_world.graphql_objects import Forbidden, NotFound, TooHeavy, View
from tests.github_world.pulls import served_review
from tests.github_world.schema import schema


def answer(server, body, token):
    """The answer to one request of a token that is good, with what it cost as its points."""
    try:
        asked = json.loads(body)
        text, variables = asked["query"], asked.get("variables") or {}
    except (ValueError, KeyError, TypeError):
        return error(400, "Problems parsing JSON")
    try:
        document = parse(text)
    except GraphQLSyntaxError as wrong:
        return as_json({"errors": [_shown(wrong)]})
    wrong = _wrong(text, document)
    if wrong:
        return as_json({"errors": [_shown(each) for each in wrong]})
    price = cost(document, variables)
    if price.problems:
        return as_json({"errors": price.problems})
    if price.nodes > server.graphql_heaviest:
        return graphql_errors({"message": TOO_SLOW}, status=502)
    return _executed(server, document, variables, price, token)


def _wrong(text, document):
    """Queries that differ in numbers and strings alone are looked at once: that takes as long as all the rest."""
    alike = frozenset(re.sub(r'"(\\.|[^"\\])*"|\d+', "", line) for line in text.splitlines())
    if alike in _RIGHT:
        return []
    wrong = validate(schema(), document)
    if not wrong:
        _RIGHT.add(alike)
    return wrong


_RIGHT = set()


def _executed(server, document, variables, price, token):
    view = View(server.find, server.find_by_id, server.login)
    pulls = []  # (where in the answer, what it was made of)

    def resolve(source, info, **arguments):
        value = source.get(info.field_name)
        value = value(**arguments) if callable(value) else value
        if info.field_name != "issueOrPullRequest":  # of these only what happened to them is looked at
            pulls.extend(_pulls(value, info.path.as_list()))
        return value

    result = execute_sync(
        schema(), document, root_value=view.query(lambda **how: _rate_limit(server, price, token)),
        variable_values=variables, field_resolver=resolve, type_resolver=lambda value, *_: value["__typename"],
    )  # fmt: skip
    causes = [each.original_error for each in result.errors or ()]
    if any(isinstance(cause, TooHeavy) for cause in causes):
        return graphql_errors({"message": TOO_SLOW}, status=502)
    for cause in causes:
        if cause is not None and not isinstance(cause, (Forbidden, NotFound)):
            raise cause  # an error of the tests' own GitHub
    _record(server, view, pulls, result.data)
    body = {"data": result.data}
    if result.errors:
        body["errors"] = [_shown(each) for each in result.errors]
    return as_json(body)._replace(points=price.points)


def _pulls(value, path):
    """The pull requests among what a field holds, with their places in the answer."""
    if isinstance(value, list):
        return [found for at, each in enumerate(value) for found in _pulls(each, [*path, at])]
    return [(path, value)] if isinstance(value, dict) and value.get("__typename") == "PullRequest" else []


def _rate_limit(server, price, token):
    left = server.left(token, "graphql") - price.points
    limit = server.limit(token, "graphql") or 0
    return {
        "__typename": "RateLimit", "cost": price.points, "limit": limit, "nodeCount": price.nodes,
        "remaining": max(0, left), "used": limit - left, "resetAt": utc(server.reset_at()),
    }  # fmt: skip


def _record(server, view, pulls, data):
    """What was shown: each pull request by its own characters in the answer, each review by what it says."""
    shown = {}
    for path, pull in pulls:
        there = functools.reduce(lambda holder, part: holder and holder[part], path, data)
        if there is not None:
            item_id, text = int(pull["fullDatabaseId"]), compact_json(there)
            served = Served(
                pull["repo"].full_name, "pull-details", item_id, pull["number"], pull["updatedAt"], sha256(text)
            )
            shown.setdefault(pull["repo"], []).append(served)
    for repo, served in shown.items():
        reviews = [served_review(repo, review_id) for of, review_id in view.shown if of is repo]
        server.record(repo, "reviews", reviews)
        server.record(repo, "pull-details", served)


def _shown(wrong):
    """An error in GitHub's words and order."""
    kinds = {NotFound: "NOT_FOUND", Forbidden: "FORBIDDEN"}
    kind = {"type": kinds[type(wrong.original_error)]} if type(wrong.original_error) in kinds else {}
    path = {"path": wrong.path} if wrong.path else {}
    places = [{"line": place.line, "column": place.column} for place in wrong.locations or ()]
    return {**kind, **path, "locations": places, "message": wrong.message}
