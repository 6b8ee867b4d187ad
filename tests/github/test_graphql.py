import json

import pytest

from github import graphql
from github.pages import PageError
from github.refusals import NotReadable
from github.transport import Fault
from tests.github_world.answers import TOO_SLOW


def answer(repository, *errors):
    return json.dumps({"data": {"repository": repository}, **({"errors": errors} if errors else {})})


def test_each_member_keeps_the_characters_that_github_sent():
    text = ' {"data" : {"a":1, "repository": { "p1" : {"n":1.50,  "t":"\\u00e9ø}"} ,"p2":null}}, "x": [ 1 ]} \n'
    found = graphql.cut(text, "repository")
    assert found.members["p1"] == ({"n": 1.5, "t": "éø}"}, '{"n":1.50,  "t":"\\u00e9ø}"}'.encode())
    assert (found.members["p2"], found.missing) == ((None, b"null"), set())
    assert graphql.cut('{"data":{"repository":{}}}', "repository").members == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"data":{"repository":{"p1":1}}', '{"data":{"repository":{"p1":1}}}}', '{"data":null}',
     '{"data":{"repository":{"p1":NaN}}}', '{"data":{"repository":{[1]:1}}}', '{"message":"x"}',
     '{"data":{"repository":{"p1":1,}}}', '{"data":{"repository":{"p1" 1}}}'],
)  # fmt: skip
def test_what_is_no_whole_answer_is_refused(text):
    with pytest.raises(PageError):
        graphql.cut(text, "repository")


def test_what_is_not_there_is_told_from_what_failed():
    missing = {"type": "NOT_FOUND", "path": ["repository", "p1"], "message": "Could not resolve"}
    found = graphql.cut(answer({"p1": None, "p2": {}}, missing), "repository")
    assert (found.missing, found.members["p2"].value) == ({"p1"}, {})
    with pytest.raises(Fault, match="Something went wrong") as raised:
        graphql.cut(answer({"p1": None, "p2": {}}, missing, {"message": TOO_SLOW}), "repository")
    assert (raised.value.heavy, raised.value.lasting) == (True, None)


@pytest.mark.parametrize(
    "error, status",
    [({"type": "NOT_FOUND", "path": ["repository"]}, 404), ({"type": "FORBIDDEN", "path": ["repository"]}, 403),
     ({"type": "INSUFFICIENT_SCOPES"}, 403), ({"extensions": {"code": "undefinedField"}, "path": ["query", "x"]}, 400)],
)  # fmt: skip
def test_what_is_refused_as_a_whole_is_a_refusal(error, status):
    with pytest.raises(Fault) as raised:
        graphql.cut(answer(None, {"message": "no", **error}), "repository")
    assert isinstance(raised.value.lasting, NotReadable)
    assert raised.value.lasting.status == status


def test_a_refusal_of_something_within_is_one_of_that_alone():
    error = {"type": "FORBIDDEN", "path": ["repository", "p1", "mergedBy"], "message": "SAML"}
    with pytest.raises(Fault) as raised:
        graphql.cut(answer({"p1": {}}, error), "repository")
    assert raised.value.heavy


@pytest.mark.parametrize("kind", ["RATE_LIMITED", "RATE_LIMIT"])
def test_a_limit_comes_with_status_200(kind):
    assert graphql.is_limit(json.dumps({"errors": [{"type": kind}]}).encode())


def test_what_someone_wrote_of_a_limit_is_none():
    said = {"body": '{"errors": [{"type": "RATE_LIMITED"}]}'}
    assert not graphql.is_limit(answer({"p1": said}).encode())
    assert not graphql.is_limit(b'{"errors": [{"type": "RATE_LIMITED"')


@pytest.mark.parametrize(
    "base, address",
    [("https://api.github.com", "https://api.github.com/graphql"),
     ("https://ghe.example/api/v3", "https://ghe.example/api/graphql")],
)  # fmt: skip
def test_it_is_asked_where_the_server_has_it(base, address):
    assert graphql.address(base) == address


def test_of_several_things_at_the_top_those_that_are_missing_are_null_and_any_other_error_is_raised():
    missing = {"type": "NOT_FOUND", "path": ["r1"], "message": "Could not resolve"}
    refused = {"type": "FORBIDDEN", "path": ["r2"], "message": "Resource protected by organization SAML enforcement."}
    text = json.dumps({"data": {"r0": {"databaseId": 1}, "r1": None, "r2": None}, "errors": [missing, refused]})
    assert graphql.data(text) == {"r0": {"databaseId": 1}, "r1": None, "r2": None}
    within = {"type": "FORBIDDEN", "path": ["r1", "issues"], "message": "Resource not accessible"}
    assert graphql.data(json.dumps({"data": {"r1": None}, "errors": [within]})) == {"r1": None}
    with pytest.raises(Fault, match="not accessible"):
        graphql.data(json.dumps({"data": {"r1": {"issues": None}}, "errors": [within]}))
    with pytest.raises(Fault, match="Something went wrong"):
        graphql.data(json.dumps({"data": {"r0": None}, "errors": [missing, {"message": TOO_SLOW}]}))
    for text in ("", "[]", "{}", '{"data": null}', '{"data": {"r0": NaN}}'):
        with pytest.raises(PageError):
            graphql.data(text)
