"""Our signature against botocore's, on requests that Hypothesis makes up."""

import string

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from s3 import signing

NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=30).map("x-amz-".__add__)
VALUES = st.text(string.printable.translate({ord(c): None for c in "\r\n\x0b\x0c"}), max_size=40)
KEYS = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=40)
PATHS = st.text(string.ascii_letters + string.digits + "/._~-%", max_size=60).map("/".__add__)
OURS = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}


@given(
    st.sampled_from(["PUT", "GET", "HEAD"]), PATHS, st.dictionaries(NAMES, VALUES, max_size=6), KEYS, KEYS,
    st.none() | KEYS, st.sampled_from(["us-east-1", "eu-west-3"]), st.binary(max_size=50),
    st.sampled_from(["s3.eu-west-3.amazonaws.com", "127.0.0.1:9000", "b.s3.amazonaws.com"]),
)  # fmt: skip
def test_it_is_the_signature_that_the_sdk_makes(method, path, headers, access, secret, token, region, body, host):
    given_headers = {name: value for name, value in headers.items() if name not in OURS}
    request = AWSRequest(method, f"http://{host}{path}", headers=given_headers, data=body)
    S3SigV4Auth(ReadOnlyCredentials(access, secret, token), "s3", region).add_auth(request)
    wanted = request.headers["Authorization"]
    to_sign = {name.lower(): value for name, value in request.headers.items() if name != "Authorization"}
    signer = signing.Signer(access, secret, region)
    for _ in range(2):  # the second time with a key that is kept
        assert signer.authorization(method, path, {**to_sign, "host": host}) == wanted


def test_a_new_day_has_a_key_of_its_own():
    signer = signing.Signer("a", "s", "us-east-1")
    headers = {"host": "h", "x-amz-content-sha256": signing.NOTHING_SHA256}
    at = [{**headers, "x-amz-date": signing.moment(seconds)} for seconds in (0, 86400)]
    first, second, again = (signer.authorization("GET", "/k", each) for each in (at[0], at[1], at[0]))
    assert first == again
    assert first != second == signing.Signer("a", "s", "us-east-1").authorization("GET", "/k", at[1])
    assert "Credential=a/19700102/us-east-1/s3/aws4_request" in second


def test_the_moment_is_that_of_greenwich():
    assert signing.moment(1792972800.9) == "20261026T000000Z"
