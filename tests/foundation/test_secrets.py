"""What came during a run, or looks like a secret of GitHub's, is in no message."""

import pytest

from foundation import secrets

LONG = "ghs_12345_eyJhbGciOi." + "aB3-_" * 100


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a1" * 18,
        "github_pat_" + "A1_" * 20,
        LONG,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxMjM0NSJ9.c2lnbmF0dXJl_-",
        "-----BEGIN RSA PRIVATE KEY-----\nQUJD\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY----- QUJD",
    ],
)
def test_what_looks_like_a_secret_is_masked_whoever_says_it(secret):
    said = secrets.masked(f"before {secret} behind" if "BEGIN PRIVATE" not in secret else f"before {secret}")
    assert "***" in said and secret[12:] not in said and said.startswith("before ")


def test_a_token_of_no_known_shape_is_masked_once_it_is_remembered():
    assert "v1.abcdef" in secrets.masked("v1.abcdef")
    secrets.remember("v1.abcdef")
    assert secrets.masked("a v1.abcdef, b") == "a ***, b"


def test_ordinary_words_stay():
    secrets.remember("abc")
    said = "abc: github_pat_ is how they begin; eyJ is no JWT, ghs_short is none"
    assert secrets.masked(said) == said
