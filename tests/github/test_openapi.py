import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.records import ClaimedItem
from github import pages
from lake.local import DirectoryArchive
from lake.upload_limit import UploadLimit
from lake.uploads import Ending, Job, Uploader
from tests.openapi_shapes import payloads


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DirectoryArchive(str(tmp_path_factory.mktemp("archive")))


@pytest.mark.parametrize("item_type", ["issue", "pull_request"])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_payload_that_githubs_description_allows_is_archived_and_extracted(store, item_type, data):
    _is_archived_and_extracted(store, item_type, data)


@pytest.mark.long
@pytest.mark.parametrize("item_type", ["issue", "pull_request"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_so_are_many_more_of_them(store, item_type, data):
    _is_archived_and_extracted(store, item_type, data)


def _is_archived_and_extracted(store, item_type, data):
    payload = data.draw(payloads(item_type))
    text = json.dumps(payload, ensure_ascii=data.draw(st.booleans()))
    (element,) = pages.cut(f"[{text}]")
    item = pages.to_item(element, item_type)
    claimed = ClaimedItem(
        1, "acme/widgets", *item[:4], item.payload, item.payload_sha256, 0, None, 0, "2026-01-01T00:00:00Z"
    )
    uploader = Uploader(store=store, limit=UploadLimit(1), prefix="raw/", is_stopping=lambda: False)
    (outcome,) = uploader.run(Job([claimed])).outcomes
    assert outcome.ending is Ending.DONE, outcome.error
    assert hashlib.sha256(store.get(outcome.s3_key).body).hexdigest() == item.payload_sha256
    assert outcome.rows[0].columns["title"] is not None
    assert (outcome.rows[0].columns["closed_at"] is None) == (payload.get("closed_at") is None)
