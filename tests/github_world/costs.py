"""What a GraphQL query costs, and what it may not ask for.

https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from typing import NamedTuple

from graphql.language import ast
from graphql.utilities import value_from_ast_untyped

MOST_AT_ONCE = 100
MOST_NODES = 500_000
CONTENTS = ("nodes", "edges")


class Cost(NamedTuple):
    requests: int  # one for each connection of each parent
    nodes: int  # if every connection were as long as it may be
    problems: list  # errors as GitHub words them

    @property
    def points(self):
        return max(1, round(self.requests / 100))


def cost(document, variables):
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, ast.FragmentDefinitionNode)}
    found = Cost(0, 0, [])
    for operation in document.definitions:
        if isinstance(operation, ast.OperationDefinitionNode):
            found = _add(found, _of(operation.selection_set, fragments, variables, 1, ["query"]))
    if found.nodes > MOST_NODES:
        said = f"This query requests up to {found.nodes:,} possible nodes which exceeds the maximum limit of 500,000."
        found.problems.append({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": said})
    return found


def _of(selection_set, fragments, variables, parents, path):
    found = Cost(0, 0, [])
    for node in selection_set.selections if selection_set else ():
        if isinstance(node, ast.FragmentSpreadNode):
            node = fragments[node.name.value]
        if isinstance(node, ast.FieldNode):
            found = _add(found, _field(node, fragments, variables, parents, path))
        else:
            found = _add(found, _of(node.selection_set, fragments, variables, parents, path))
    return found


def _field(node, fragments, variables, parents, path):
    name = node.name.value
    path = [*path, (node.alias or node.name).value]
    arguments = {each.name.value: value_from_ast_untyped(each.value, variables) for each in node.arguments}
    below = {each.name.value for each in (node.selection_set.selections if node.selection_set else ())
             if isinstance(each, ast.FieldNode)}  # fmt: skip
    is_connection = bool(below & {*CONTENTS, "totalCount", "pageInfo"})
    size = arguments.get("first") or arguments.get("last")
    if not is_connection:
        times = len(arguments["ids"]) if name == "nodes" and "ids" in arguments else 1
        return _of(node.selection_set, fragments, variables, parents * times, path)
    inner = _of(node.selection_set, fragments, variables, parents * (size or 0), path)
    return _add(Cost(parents, parents * (size or 0), _problems(name, below, arguments, size, path)), inner)


def _problems(name, below, arguments, size, path):
    if below & set(CONTENTS) and size is None:
        said = f"You must provide a `first` or `last` value to properly paginate the `{name}` connection."
        return [{"type": "MISSING_PAGINATION_BOUNDARIES", "path": path, "message": said}]
    if size is not None and not 0 < size <= MOST_AT_ONCE:
        which = "first" if "first" in arguments else "last"
        said = f"Requesting {size} records on the `{name}` connection exceeds the `{which}` limit of 100 records."
        return [{"type": "EXCESSIVE_PAGINATION", "path": path, "message": said}]
    return []


def _add(one, other):
    return Cost(one.requests + other.requests, one.nodes + other.nodes, one.problems + other.problems)
