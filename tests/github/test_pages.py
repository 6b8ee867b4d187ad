import hashlib

import pytest

from github import pages
from tests import payloads


def test_each_element_keeps_its_own_characters():
    texts = ['{"id": 1.0e2, "t": "\\u00e9é\\/"}', '{"a":[1,{"b":"]"}]}', "null", "12"]
    page = " [ " + " ,\n ".join(texts) + " ] \n"
    assert [element.payload.decode() for element in pages.cut(page)] == texts


def test_an_empty_page_has_no_elements():
    assert pages.cut("[]") == pages.cut(" [ \n] ") == []


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1] 2", "<html>", '[{"a":}]', "[NaN]", "[" * 100000, "null"],
)
def test_anything_else_is_a_page_error(text):
    with pytest.raises(pages.PageError):
        pages.cut(text)


def test_a_number_of_many_thousand_digits_harms_only_its_own_element():
    first, second = pages.cut('[{"id": %s}, {"id": 2}]' % ("9" * 5000))
    assert pages.to_item(first, "issue").item_id == 0
    assert pages.to_item(second, "issue").item_id == 2


def test_an_item_carries_identity_and_the_hash_of_its_bytes():
    text = payloads.as_text(payloads.issue(title="é"))
    (element,) = pages.cut(f"[{text}]")
    item = pages.to_item(element, "issue")
    assert item == ("issue", 1, 7, "2026-01-02T00:00:00Z", text.encode(), hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("text", ["null", "{}", '{"id": -1, "number": "x", "updated_at": "never"}', '{"id": 1e400}'])
def test_an_element_without_identity_is_still_an_item(text):
    (element,) = pages.cut(f"[{text}]")
    item = pages.to_item(element, "issue")
    assert (item.item_id, item.number, item.updated_at, item.payload) == (0, 0, "1970-01-01T00:00:00Z", text.encode())


def test_the_repository_is_read_from_either_url_and_only_when_it_is_a_name():
    def name(**fields):
        return pages.repo_name(fields)

    assert name(repository_url="https://api.github.com/repos/Acme/widgets") == "Acme/widgets"
    assert name(url="https://api.github.com/repos/acme/widgets/pulls/1") == "acme/widgets"
    assert name(repository_url="https://api.github.com/repos/../..") is None
    assert name(repository_url=7) is None
