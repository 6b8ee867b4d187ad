"""What comes from outside is anything at all: no traceback, no other exception than the documented ones."""

import contextlib
import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import settings as checked
from foundation import timestamps
from foundation.errors import ConfigurationError, PipelineError
from foundation.records import ClaimedItem
from github import fields, pages, repositories
from github.answers import Kind, classify
from github.login import environment
from github.login.key import Key
from github.pages import PageError
from github.rate_limit import RateLimits
from github.streams import items
from lake import objects

FEW = settings(max_examples=200, deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "id",
    "number",
    "title",
    "state",
    "state_reason",
    "draft",
    "user",
    "author_association",
    "assignees",
    "assignee",
    "labels",
    "milestone",
    "comments",
    "created_at",
    "updated_at",
    "closed_at",
    "merged_at",
    "base",
    "head",
    "html_url",
    "repository_url",
    "url",
    "pull_request",
    "body",
]
PAYLOADS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=len(FIELDS))


@FEW
@given(st.text() | st.lists(PAYLOADS | JSON, max_size=4).map(json.dumps), st.sampled_from(["issue", "pull_request"]))
def test_any_page_is_cut_to_its_own_characters_or_refused(text, item_type):
    try:
        elements = pages.cut(text)
    except PageError:
        return
    for element in elements:
        item = pages.to_item(element, item_type)
        assert item.payload.decode() in text
        assert timestamps.normalise(item.updated_at) == item.updated_at
        assert item.number >= 0


@FEW
@given(PAYLOADS | JSON)
def test_any_payload_becomes_a_row_that_a_database_can_hold_or_is_refused(payload):
    try:
        row = items.row("issue", "a/b", fields.parse_payload(json.dumps(payload).encode()))
    except fields.ExtractionError:
        return
    for name, value in row.items():
        assert value is None or isinstance(value, (str, int, float)), name
        assert not isinstance(value, str) or (value.encode("utf-8") is not None and "\0" not in value)


@FEW
@given(st.text(), st.text(), st.text(), st.integers())
def test_any_row_has_a_key_below_its_prefix_or_none(repo, updated_at, sha256, number):
    item = ClaimedItem(1, repo, "issue", 1, number, updated_at, b"{}", sha256, 0, None, 0, "2026-01-01T00:00:00Z")
    try:
        key = objects.object_key("raw/", item)
    except objects.ItemRefused:
        return
    assert key.startswith("raw/issues/dt=")
    assert not {"", ".", ".."} & set(key.split("/"))


@FEW
@given(st.text())
def test_any_key_in_a_bucket_is_ours_or_passed_over(key):
    assert objects.parse_key("raw/", "raw/issues/" + key) is None or "/" in key


@pytest.mark.parametrize("repo, ours", [("a/b", True), ("\udcff/b", False), ("a/..", False), ("a b/c", False)])
def test_a_folder_that_cannot_be_a_repository_is_passed_over(repo, ours):
    key = f"raw/issues/dt=2026-01-01/{repo}/1-20260101T000000Z-0123456789ab.json"
    assert (objects.parse_key("raw/", key) is not None) is ours


@FEW
@given(st.binary(), st.sampled_from(["k.json", "batch.jsonl.gz"]))
def test_any_object_is_read_or_refused(body, key):
    try:
        assert all(isinstance(payload, bytes) for payload in objects.payloads(key, objects.Fetched(body, "")))
    except objects.Damaged:
        return


HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset", "date", "etag"]),
    st.text(string.printable, max_size=12) | st.integers().map(str),
)


@FEW
@given(st.integers(100, 599), HEADERS, st.binary(max_size=50))
def test_any_answer_has_a_meaning_and_no_limit_is_waited_for_for_ever(status, headers, body):
    kind = classify(status, headers, body)
    assert isinstance(kind, Kind)
    limits = RateLimits(now=lambda: 1.8e9, monotonic=lambda: 0.0, max_wait_seconds=900)
    try:
        take_in = limits.refused if kind is Kind.LIMITED else limits.observe
        take_in(headers, sent_at=0.0)
        assert 0 <= limits.seconds_to_wait() <= 900
    except PipelineError as error:
        assert "\n" not in str(error)


@FEW
@given(st.binary(max_size=200))
def test_any_repos_file_is_read_or_refused_with_its_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("repos") / "repos.txt"
    path.write_bytes(content)
    try:
        assert all(map(checked.is_repo_name, repositories.from_file(str(path), {})))
    except ConfigurationError as error:
        assert "repos.txt" in str(error)


CHECKS = [checked.repo_name, checked.owner_name, checked.days, checked.date, checked.count, checked.amount,
          checked.prefix, checked.tag]  # fmt: skip


@FEW
@given(st.text(max_size=60), st.sampled_from(CHECKS))
def test_any_text_of_an_option_is_taken_or_refused_in_words(text, check):
    try:
        check(text)
    except ValueError as error:
        assert str(error)


@FEW
@given(st.text(max_size=60))
def test_any_environment_is_taken_or_refused_in_words(text):
    for name in ("GITHUB_API_URL", "GITHUB_TOKEN"):
        try:
            checked.tokens({name: text})
            checked.api_url({name: text}, with_token=True)
        except ConfigurationError as error:
            assert len(text.strip()) < 4 or name != "GITHUB_TOKEN" or text.strip() not in str(error)


@FEW
@given(st.text(max_size=60), st.sampled_from((environment.ID, environment.KEY, environment.KEY_FILE, environment.ONLY)))
def test_any_app_is_taken_or_refused_in_words(text, name):
    environ = {environment.ID: "1", environment.KEY: "a key", name: text}
    if name == environment.KEY_FILE:
        del environ[environment.KEY]
    with contextlib.suppress(ConfigurationError):
        environment.app(environ)


@FEW
@given(st.text(max_size=200), st.sampled_from(("{}", "-----BEGIN RSA PRIVATE KEY-----{}-----END RSA PRIVATE KEY-----")))
def test_any_text_that_is_no_key_is_refused_without_being_shown(text, form):
    with pytest.raises(ConfigurationError) as caught:
        Key(form.format(text), source="the key")
    assert len(text.strip()) < 8 or text.strip() not in str(caught.value)


@FEW
@given(st.text(max_size=200))
def test_any_message_is_one_printable_line_without_the_secret(text):
    shown = checked.one_line(f"{text} s3cr3t-value {text}", {"GITHUB_TOKEN": "s3cr3t-value"})
    assert shown.isprintable()
    assert "s3cr3t-value" not in shown


@pytest.mark.parametrize("seed", range(20))
def test_an_old_database_that_is_damaged_anywhere_is_refused_or_used_without_a_traceback(run_main, tmp_path, seed):
    import db
    from tests.test_worker import enqueue

    path = tmp_path / "pipeline.db"
    conn = db.connect(str(path))
    enqueue(conn, 50)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    rng, content = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(30):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(bytes(content))
    code, out, err = run_main("worker", "-q", "--archive-dir", "archive")
    assert code in (0, 1, 2, 3), err
    assert "Traceback" not in err
    assert "unexpected" not in err
