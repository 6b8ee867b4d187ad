"""The part of GitHub's GraphQL schema that the tests' GitHub answers: names and types as there, without a description.

To make schema.graphql again: `npm pack @octokit/graphql-schema`, unpack, and
`python -m tests.github_world.schema package/schema.graphql`.
"""

import functools
import sys
from pathlib import Path

from graphql import build_schema, parse, print_ast
from graphql.language import ast

FILE = Path(__file__).with_name("schema.graphql")
COMMENT = "author authorAssociation body createdAt databaseId fullDatabaseId id updatedAt url"
ITEM = f"{COMMENT} number title state comments timelineItems closedAt labels milestone"
FIELDS = {  # type -> its fields that are kept; of connections all but the edges
    "Query": "id node nodes rateLimit repository viewer",
    "RateLimit": "cost limit nodeCount remaining resetAt used",
    "PageInfo": "endCursor hasNextPage hasPreviousPage startCursor",
    "Repository": "id databaseId nameWithOwner issue pullRequest issueOrPullRequest issues pullRequests",
    "Issue": ITEM + " stateReason repository",
    "PullRequest": ITEM + " additions deletions changedFiles commits mergedBy mergeCommit merged mergedAt"
    " reviewDecision reviews isDraft repository",
    "PullRequestReview": COMMENT + " state submittedAt commit",
    "IssueComment": COMMENT,
    "Commit": "id oid", "ProjectV2": "id", "Label": "color id name", "Milestone": "id number title",
    "Team": "id name slug",
    "Node": "id", "Actor": "login url", "User": "id databaseId login url name", "Bot": "id databaseId login url",
    "Organization": "id databaseId login url", "Mannequin": "id databaseId login url",
    "EnterpriseUserAccount": "id login url",
}  # fmt: skip
EVENT = (
    "actor assignee closer commit createdAt currentTitle databaseId dismissalMessage headRefName id label lockReason"
    " milestoneTitle previousReviewState previousTitle requestedReviewer review stateReason"
)
CONNECTION = "nodes pageInfo totalCount filteredCount"


@functools.lru_cache(maxsize=None)
def schema():
    return build_schema(FILE.read_text(encoding="utf-8"))


def cut(text):
    """Of the whole schema the types that can be reached by the fields kept."""
    known = {each.name.value: each for each in parse(text).definitions if hasattr(each, "name")}
    kept, todo = {}, ["Query"]
    while todo:
        name = todo.pop()
        if name in kept or name not in known:
            continue
        kept[name] = _reduced(known[name])
        todo += sorted(set(_mentioned(kept[name])) - {"String", "Int", "Boolean", "ID", "Float"})
    for definition in kept.values():  # what a type says that it is, where that is kept
        if hasattr(definition, "interfaces"):
            definition.interfaces = tuple(each for each in definition.interfaces if each.name.value in kept)
    return "\n\n".join(print_ast(kept[name]) for name in sorted(kept)) + "\n"


def _reduced(definition):
    definition.description, definition.directives = None, ()
    name = definition.name.value
    if isinstance(definition, ast.EnumTypeDefinitionNode):
        for value in definition.values:
            value.description, value.directives = None, ()
    elif isinstance(definition, ast.InputObjectTypeDefinitionNode):
        for field in definition.fields:
            field.description, field.directives = None, ()
    elif hasattr(definition, "fields"):
        wanted = FIELDS.get(name, CONNECTION if name.endswith("Connection") else EVENT).split()
        definition.fields = tuple(field for field in definition.fields if field.name.value in wanted)
        for field in definition.fields:
            field.description, field.directives = None, ()
            for argument in field.arguments:
                argument.description, argument.directives = None, ()
    return definition


def _mentioned(definition):
    """The names of the types by which others are reached."""
    if isinstance(definition, ast.UnionTypeDefinitionNode):
        yield from (member.name.value for member in definition.types)
    for field in getattr(definition, "fields", ()):
        yield _named(field.type)
        yield from (_named(argument.type) for argument in getattr(field, "arguments", ()))
    if definition.name.value == "Query":  # an Actor is one of these
        yield from ("User", "Bot", "Organization", "Mannequin", "Node")


def _named(node):
    return node.name.value if isinstance(node, ast.NamedTypeNode) else _named(node.type)


if __name__ == "__main__":
    FILE.write_text(cut(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
