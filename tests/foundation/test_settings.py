import pytest

from foundation import settings
from foundation.errors import ConfigurationError


@pytest.mark.parametrize("name", ["octocat/Hello-World", "a/b", "acme/.github", "a_b/c.d-e_f", "x/...", "-a/b"])
def test_repository_names_that_github_allows(name):
    assert settings.repo_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "foo",
        "../etc/passwd",
        "a/b?x=1",
        "a/b/c",
        "a/..",
        "a/.",
        "/b",
        "a/",
        "a b/c",
        "a/b\nc",
        "a/b//",
        "a/.git",
        "https://g.com/a/b",
        "https://github.com/a",
        "https://github.com/a/..",
        "https://github.com.evil.example/a/b",
    ],
)
def test_anything_else_is_no_repository_name(name):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        settings.repo_name(name)


@pytest.mark.parametrize(
    "pasted",
    [
        "octocat/Hello-World.git",
        "octocat/Hello-World/",
        " octocat/Hello-World ",
        "https://github.com/octocat/Hello-World",
        "https://github.com/octocat/Hello-World/",
        "http://www.github.com/octocat/Hello-World.git",
        "github.com/octocat/Hello-World",
        "https://github.com/octocat/Hello-World/issues/3",
        "https://github.com/octocat/Hello-World/pull/4#issuecomment-5",
        "https://github.com/octocat/Hello-World?tab=readme",
        "git@github.com:octocat/Hello-World.git",
        "ssh://git@github.com/octocat/Hello-World.git",
        "https://ghe.example/octocat/Hello-World/issues",
        "ssh://git@ghe.example:2222/octocat/Hello-World.git",
        "https://ada:ghp_secret@github.com/octocat/Hello-World.git",
    ],
)
def test_pasted_addresses_of_a_repository_are_understood(pasted):
    hosts = settings.web_hosts({"GITHUB_API_URL": "https://ghe.example/api/v3"})
    assert settings.repo_name(pasted, hosts) == "octocat/Hello-World"


@pytest.mark.parametrize(
    "pasted", ["acme", "https://github.com/acme", "github.com/acme/", "https://github.com/orgs/acme/repositories?q=x"]
)
def test_pasted_addresses_of_an_owner_are_understood(pasted):
    assert settings.owner_name(pasted) == "acme"


@pytest.mark.parametrize("pasted", ["https://github.com/acme/widgets", "https://g.com/acme", "", "a/b"])
def test_another_address_is_no_owner(pasted):
    with pytest.raises(ValueError, match="organisation"):
        settings.owner_name(pasted)


def test_a_password_in_an_address_is_not_shown():
    for check in (settings.repo_name, settings.owner_name):
        with pytest.raises(ValueError) as caught:
            check("https://ada:ghp_secret@example.org/a/b")
        assert "secret" not in str(caught.value)


def test_only_the_servers_own_addresses_are_its_repositories():
    assert settings.web_hosts({}) == {"github.com", "www.github.com"}
    assert settings.web_hosts({"GITHUB_API_URL": "http://["}) == {"github.com", "www.github.com"}
    with pytest.raises(ValueError, match="OWNER/NAME"):
        settings.repo_name("https://ghe.example/a/b", settings.web_hosts({}))


@pytest.mark.parametrize("text", ["my-lake", "s3://my-lake", "s3://my-lake/", " my-lake", "arn:aws:s3:::my-lake"])
def test_a_bucket_may_be_given_as_an_address(text):
    assert settings.bucket(text) == "my-lake"


@pytest.mark.parametrize("text", ["s3://my-lake/raw", "", "s3://", "a/b"])
def test_a_path_in_a_bucket_is_no_bucket(text):
    with pytest.raises(ValueError, match="--prefix"):
        settings.bucket(text)


def test_dates_are_a_day_or_a_moment_in_utc():
    assert settings.date("2026-11-23") == "2026-11-23T00:00:00Z"
    assert settings.date("2026-11-23T05:00:00+02:00") == "2026-11-23T03:00:00Z"


@pytest.mark.parametrize(
    "text", ["yesterday-ish", "2026-02-30", "2026-1-1", "", "2026-11-23T05:00:00", "0001-01-01T00:00:00+23:59"]
)
def test_anything_else_is_no_date(text):
    with pytest.raises(ValueError, match="2026-11-23"):
        settings.date(text)


@pytest.mark.parametrize("text", ["-1", "0", "x", "1.5", "99999", "٣"])
def test_days_are_a_whole_number_within_a_century(text):
    with pytest.raises(ValueError, match="days from 1 to 36500$"):
        settings.days(text)


@pytest.mark.parametrize("text", ["/abs/", "../x/", "a//b/", "a/./b", "a\n"])
def test_a_prefix_stays_below_the_archive(text):
    with pytest.raises(ValueError, match="prefix"):
        settings.prefix(text)


def test_plain_http_with_a_token_is_refused_except_on_loopback():
    for url in ("http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1", "https://ghe.example/api/v3"):
        assert settings.api_url({"GITHUB_API_URL": url + "/"}, with_token=True) == url
    with pytest.raises(ConfigurationError, match="https"):
        settings.api_url({"GITHUB_API_URL": "http://ghe.example"}, with_token=True)
    assert settings.api_url({"GITHUB_API_URL": "http://ghe.example"}, with_token=False) == "http://ghe.example"


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x:99999", "https://[x", "a b"]
)
def test_what_is_no_api_url_is_refused_without_showing_it(url):
    with pytest.raises(ConfigurationError, match="GITHUB_API_URL") as caught:
        settings.api_url({"GITHUB_API_URL": url}, with_token=False)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ghe.example/api/v3", "localhost", "ghe.example:443/"])
def test_an_api_url_without_a_scheme_is_told_that(url):
    with pytest.raises(ConfigurationError, match="no scheme"):
        settings.api_url({"GITHUB_API_URL": url}, with_token=False)


def test_the_token_comes_from_two_variables_and_must_fit_a_header():
    assert settings.tokens({"GH_TOKEN": "b"}) == ["b"]
    assert settings.tokens({"GITHUB_TOKEN": "a\n", "GH_TOKEN": "b"}) == ["a"]
    assert settings.tokens({"GITHUB_TOKEN": ""}) == []
    with pytest.raises(ConfigurationError) as caught:
        settings.tokens({"GITHUB_TOKEN": "sec\nret"})
    assert "sec" not in str(caught.value)


def test_several_tokens_stand_with_commas_between():
    assert settings.tokens({"GITHUB_TOKEN": "one, two,,one ,three,"}) == ["one", "two", "three"]
    with pytest.raises(ConfigurationError):
        settings.tokens({"GITHUB_TOKEN": "one,t wo"})
    with pytest.raises(ConfigurationError, match="commas between"):
        settings.tokens({"GITHUB_TOKEN": " , "})  # to ask without a token is nobody's wish


def test_a_message_shows_none_of_several_tokens_and_no_line_of_a_key():
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "QUJD" * 16 + "\n-----END RSA PRIVATE KEY-----"
    for form in (key, key.replace("\n", "\\n")):
        environ = {"GITHUB_TOKEN": "token-one, token-two", "GITHUB_APP_PRIVATE_KEY": form}
        said = settings.one_line(f"token-two, {'QUJD' * 16}: {form}", environ)
        assert "two" not in said and "QUJD" not in said and "***" in said


def test_a_message_is_one_line_without_secrets():
    environ = {"GITHUB_TOKEN": "ghp_secret", "AWS_SECRET_ACCESS_KEY": "abc"}
    assert settings.one_line("a\x1b[31m ghp_secret\nb", environ) == "a [31m *** b"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://sp:SECRET sesame@h/db",
        "postgresql://sp:open SECRET@h/db",
        "postgresql://owner:SECRET/db",
        "postgresql://owner:5SECRET/db",
        "postgresql://owner::SECRET/db",
        "postgresql://us@er:SECRET@h/db",
        "postgresql://us/er:SECRET@h/db",
        "postgresql://u:12/SECRET?x#@SECRET@h:5432/db",
        "Postgresql://u:SECRET@h/db",
        " postgresql://u:SECRET@h/db",
        "postgresql://u@h/db?Password=SECRET",
        "postgresql://u@h/db?sslmode=require&%70assword=SECRET",
        "postgresql://u@h/db?sslPassword=SECRET",
        "host=h password = SECRET",
    ],
)
def test_a_password_of_an_address_is_masked_however_it_is_written(address):
    for text in (address, f"database {address} can't be reached", f"{address}: me@h"):
        assert "SECRET" not in settings.masked(text)
        assert "SECRET" not in settings.one_line(text, {})


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://h/db",
        "postgresql://u@h:5432/db",
        "postgresql://h1:5432,h2:5433/db?target_session_attrs=read-write",
        "postgresql://u@[::1]:5432/db?sslmode=require&schema=lake",
        "postgresql://u:***@h:5432/db?application_name=a@b",
    ],
)
def test_an_address_without_a_password_is_shown_whole(address):
    assert settings.masked(address) == address
    assert settings.masked(f"database '{address}': FATAL") == f"database '{address}': FATAL"


def test_a_message_about_a_masked_address_keeps_what_it_says():
    said = f"database {settings.masked('postgresql://u:p@h:5432/db')}: no entry for host: u@h"
    assert settings.masked(said) == "database postgresql://u:***@h:5432/db: no entry for host: u@h"


def test_an_address_of_postgresql_is_known_in_any_case_and_with_spaces_around_it():
    assert settings.database(" PostgreSQL://u@h/Db\n") == "postgresql://u@h/Db"
    assert settings.is_postgres(" Postgres://h/db")


@pytest.mark.parametrize("text", ["postgresql://sp:open SECRET@h/db", "Mysql://u:SECRET@h/db", " MYSQL://u:SECRET@h/d"])
def test_an_address_that_is_none_is_refused_without_its_password(text):
    with pytest.raises(ValueError) as caught:
        settings.database(text)
    assert "SECRET" not in str(caught.value)
