"""An App's login: its key, its JWT, and tokens that are renewed in time, by one thread."""

import base64
import json
import random
import threading

import pytest

from foundation import settings
from foundation.errors import ConfigurationError, Outage
from github import graphql, repositories
from github.api import GitHub
from github.login import environment
from github.login.app import App as Finder
from github.login.app import AppLogin
from github.login.installation import _secret_of
from github.login.key import Key
from github.rate_limit import RateLimits
from github.refusals import HeavyAnswer, NotReadable
from tests.github_server import GitHubServer
from tests.github_world.apps import App, pem
from tests.ingesting import Time

ISSUES = "/repos/acme/widgets/issues?state=all&per_page=100"


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def github(time):
    with GitHubServer(clock=lambda: time.seconds) as server:
        server.app = App(server)
        server.add_repo("acme/widgets", private=True).make(5)
        server.app.install("acme")
        yield server


def limits_of(time):
    return RateLimits(now=time.clock.now, monotonic=time.clock.monotonic, max_wait_seconds=900)


@pytest.fixture
def finder(github, time):
    login = AppLogin("12345", Key(pem(), source="the key"), time.clock)
    api = GitHub(
        base_url=github.url, login=login, user_agent="t", limits=limits_of(time), clock=time.clock, rng=random.Random(1)
    )
    finder = Finder(api, permissions=("metadata", "issues"), clock=time.clock)
    finder.client = lambda repo: api.asking_as(finder.of_repo(repo), limits_of(time))
    return finder


def get(api, url=ISSUES):
    return api.get(url, parse=json.loads, on_request=lambda status: None)


def asked(github, part):
    return [request for request in github.journal if part in request.path]


# The key.

FORMS = {
    "as GitHub gives it": lambda text: text,
    "with CRLF": lambda text: text.replace("\n", "\r\n"),
    "with \\n written out": lambda text: text.replace("\n", "\\n"),
    "in quotes": lambda text: f'"{text}"',
    "in one line": lambda text: text.replace("\n", " "),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "with \\n written out twice": lambda text: text.replace("\n", "\\\\n"),
    "in base64 and in quotes": lambda text: f"'{base64.b64encode(text.encode()).decode()}'",
    "in base64 with line breaks": lambda text: base64.encodebytes(text.encode()).decode(),
    "without its last line break": lambda text: text.rstrip(),
}


@pytest.mark.parametrize("pkcs8", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_taken_in_the_forms_that_people_store_it_in(form, pkcs8):
    signed = Key(FORMS[form](pem(pkcs8=pkcs8)), source="the key").jwt("7", now=1_000_000)
    assert signed == Key(pem(), source="the key").jwt("7", now=1_000_000)
    claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    assert claims == {"iat": 1_000_000 - 60, "exp": 1_000_000 + 540, "iss": "7"}


NO_KEYS = {
    "nothing": (lambda: "", "no private key"),
    "a token": (lambda: "ghp_something", "no private key"),
    "no end": (lambda: pem().replace("-----END", "-----FIN"), "no private key"),
    "half of it": (lambda: pem()[:200] + "\n-----END RSA PRIVATE KEY-----", "can't be read"),
    "of ssh": (lambda: block("OPENSSH PRIVATE KEY"), "OPENSSH"),
    "a certificate": (lambda: block("CERTIFICATE"), "CERTIFICATE"),
    "encrypted": (lambda: block("ENCRYPTED PRIVATE KEY"), "encrypted"),
    "encrypted, old": (lambda: pem().replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n", 1), "encrypted"),
}


def block(kind):
    return f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----"


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_key_is_named_without_a_word_of_it(name):
    text, said = NO_KEYS[name]
    with pytest.raises(ConfigurationError, match=said) as caught:
        Key(text(), source="GITHUB_APP_PRIVATE_KEY")
    assert "GITHUB_APP_PRIVATE_KEY" in str(caught.value)
    assert not any(line in str(caught.value) for line in pem().splitlines() if "-----" not in line)


# What the environment says.


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"GITHUB_APP_ID": "1"}, "neither"),
        ({"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": "a", "GITHUB_APP_PRIVATE_KEY_FILE": "b"}, "both"),
        ({"GITHUB_APP_PRIVATE_KEY": "a"}, "GITHUB_APP_ID is not"),
        ({"GITHUB_APP_INSTALLATION_ID": "1"}, "GITHUB_APP_ID is not"),
        ({"GITHUB_APP_ID": "a b", "GITHUB_APP_PRIVATE_KEY": "a"}, "no App's id"),
        ({"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": "a", "GITHUB_APP_INSTALLATION_ID": "x"}, "no number"),
        ({"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY_FILE": "/nowhere/key.pem"}, "/nowhere/key.pem"),
        ({"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": "/srv/key.pem"}, "set GITHUB_APP_PRIVATE_KEY_FILE"),
    ],
)
def test_half_of_an_app_is_an_error_that_says_which_half(environ, said):
    with pytest.raises(ConfigurationError, match=said):
        environment.app(environ)


MISTAKEN = {
    "the key for its file": lambda: ("GITHUB_APP_PRIVATE_KEY_FILE", pem()),
    "the key in base64 for its file": lambda: (
        "GITHUB_APP_PRIVATE_KEY_FILE", base64.b64encode(pem().encode()).decode()
    ),
    "the client secret for the id": lambda: ("GITHUB_APP_ID", "0123456789abcdef" * 2 + "01234567"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_secret_in_the_wrong_variable_is_not_shown(mistake):
    name, secret = MISTAKEN[mistake]()
    key = {} if name == environment.KEY_FILE else {environment.KEY: pem()}
    with pytest.raises(ConfigurationError, match=name) as caught:
        environment.app({"GITHUB_APP_ID": "1", **key, name: secret})
    assert secret[:20] not in settings.one_line(str(caught.value), {})


def test_no_line_of_a_key_from_a_file_is_shown():
    key = pem()
    Key(base64.b64encode(key.encode()).decode(), source="the key")
    lines = [line for line in key.splitlines() if "-----" not in line]
    assert {settings.one_line(f"<{line}>", {}) for line in lines[:-1]} == {"<***>"}


def test_no_token_that_was_given_is_shown_whatever_its_form():
    """GitHub has changed it before: by its form alone nobody knows the next one."""
    secret = "of-a-form-that-nobody-knows-yet-0123456789"
    assert _secret_of(json.dumps({"token": secret}))[0] == secret
    assert settings.one_line(f"<{secret}>", {}) == "<***>"


def test_no_app_is_meant_where_nothing_says_so():
    assert environment.app({"GITHUB_TOKEN": "t", "GITHUB_APP_ID": " "}) is None


# Its tokens.


def test_a_token_is_kept_until_five_minutes_before_its_end(github, time, finder):
    api = finder.client("acme/widgets")
    for seconds, minted in ((0, 1), (3200, 1), (99, 1), (2, 2), (3301, 3)):
        time.seconds += seconds
        get(api)
        assert len(github.app.minted) == minted, seconds
    assert not [request for request in github.journal if request.status == 401]


@pytest.mark.parametrize("off", [-480, 480])
def test_a_wrong_clock_here_does_not_move_a_tokens_end(github, time, finder, off):
    github.clock = lambda: time.seconds + off
    api = finder.client("acme/widgets")
    for seconds, minted in ((0, 1), (3299, 1), (2, 2)):
        time.seconds += seconds
        get(api)
        assert len(github.app.minted) == minted
    assert [request.status for request in github.journal].count(401) == (off < 0)


def test_a_token_that_ends_early_is_renewed_by_one_thread_while_the_others_wait(github, finder):
    api = finder.client("acme/widgets")
    get(api)
    github.app.end_tokens()
    threads = [threading.Thread(target=get, args=(api,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(github.app.minted) == 2
    assert [request.status for request in asked(github, "/issues")].count(200) == 9


@pytest.mark.parametrize("times, minted", [(1, 2), (4, 2)])
def test_a_new_token_that_some_servers_do_not_know_yet_is_tried_again(github, finder, time, times, minted):
    """octokit/auth-app.js #65"""
    github.app.unknown_yet = times
    assert len(get(finder.client("acme/widgets")).body) == 5
    assert len(github.app.minted) == minted


def test_a_token_that_is_never_known_is_an_error_of_its_owner_alone(github, finder):
    github.app.unknown_yet = 10**6
    with pytest.raises(NotReadable, match=r"installation 70 \(acme\)"):
        get(finder.client("acme/widgets"))
    assert len(github.app.minted) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_refusal_right_after_a_token_was_given_is_asked_about_again(github, finder, times):
    """octokit/auth-app.js #589: for seconds some servers don't know yet what a token may read."""
    github.fail_next(403, match="/issues", message="Resource not accessible by integration", times=times)
    assert len(get(finder.client("acme/widgets")).body) == 5


@pytest.mark.parametrize("times", [1, 3])
def test_so_is_one_of_graphql(github, finder, times):
    github.fail_next("graphql_forbidden", match="/graphql", times=times)
    query = 'query { repository(owner: "acme", name: "widgets") { pullRequest(number: 1) { number } } }'
    answer = finder.client("acme/widgets").query(
        query, parse=lambda text: graphql.cut(text, "repository"), on_request=lambda status: None
    )
    assert "pullRequest" in answer.body.members


def test_a_refusal_that_lasts_is_asked_about_while_the_token_is_new_and_no_longer(github, finder, time):
    github.fail_next(403, match="/issues", message="Resource not accessible by integration", times=99)
    api = finder.client("acme/widgets")
    for most in (5, 1):
        before = len(asked(github, "/issues"))
        with pytest.raises(NotReadable, match="not accessible"):
            get(api)
        assert len(asked(github, "/issues")) - before <= most
    assert sum(time.slept) < 20


def test_an_installation_that_gives_no_token_is_asked_about_once(github, finder):
    """Twice, as one refusal proves nothing."""
    github.app.installations[0].suspended_at = "2026-11-23T03:00:00Z"
    api = finder.client("acme/widgets")
    for _ in range(3):
        with pytest.raises(NotReadable, match="suspended"):
            get(api)
    assert len(asked(github, "access_tokens")) == 2


def test_one_odd_refusal_to_give_a_token_is_not_believed(github, finder):
    github.fail_next(404, match="access_tokens")
    assert len(get(finder.client("acme/widgets")).body) == 5


def test_no_token_for_a_while_is_an_outage_which_a_smaller_page_would_not_help(github, finder):
    github.fail_next(502, match="access_tokens", times=99)
    api = finder.client("acme/widgets")
    for asked_for in (5, 6):  # once it is known, a single probe tells
        with pytest.raises(Outage) as caught:
            get(api)
        assert not isinstance(caught.value, HeavyAnswer)
        assert len(asked(github, "access_tokens")) == asked_for


def test_a_token_serves_to_its_end_where_a_new_one_can_not_be_had(github, finder, time):
    api = finder.client("acme/widgets")
    get(api)
    time.seconds += 3310
    github.fail_next(502, match="access_tokens", times=99)
    assert len(get(api).body) == len(get(api).body) == 5
    assert len(asked(github, "access_tokens")) == 6  # not asked for again with each request
    time.seconds += 300
    with pytest.raises(Outage):
        get(api)


def test_a_token_of_a_few_minutes_serves_for_half_of_them(github, finder, time):
    github.app.token_seconds = 240
    api = finder.client("acme/widgets")
    for _ in range(3):
        get(api)
        time.seconds += 50
    assert len(asked(github, "access_tokens")) == 1
    get(api)
    assert len(asked(github, "access_tokens")) == 2


def test_a_jwt_is_renewed_before_it_ends(github, finder, time):
    github.app.install("beta")
    finder.of_owner("acme")
    time.seconds += 600
    before = len(github.journal)
    finder.of_owner("beta")
    assert len(github.journal) == before + 1  # and no 401 before


def test_one_odd_answer_does_not_say_that_the_installation_that_was_named_is_none(github, finder):
    (installation,) = finder.all()
    only = Finder(finder._api, permissions=("metadata",), clock=finder._clock, only=installation.found.id)
    github.fail_next(404, match="/app/installations/")
    assert only.of_repo("other/public").found == installation.found


def test_installations_are_found_once_for_an_owner_and_by_a_name_that_was_given_away(github, finder):
    github.add_repo("acme/gears", private=True)
    github.add_repo("beta/gone", private=True)
    github.app.install("beta")
    assert finder.of_repo("acme/widgets") is finder.of_repo("ACME/gears") is finder.of_owner("acme")
    assert len(asked(github, "/installation")) == 1
    github.rename("beta/gone", "acme/got")
    assert finder.of_repo("beta/gone") is finder.of_owner("acme")
    assert finder.of_owner("beta").found.owner == "beta"


def test_an_owner_without_the_app_is_asked_about_once(github, finder):
    github.add_repo("other/public")
    for _ in range(2):
        with pytest.raises(NotReadable, match="not installed for other"):
            finder.of_repo("other/public")
    assert len(github.journal) == 3


def test_an_answer_without_a_token_is_a_fault_that_may_pass(github, finder):
    github.fail_next("empty", match="access_tokens", times=2)
    assert len(get(finder.client("acme/widgets")).body) == 5


# Lists.


@pytest.mark.parametrize("fault", ["no_items", "no_link"])
def test_one_odd_answer_hides_no_installation(github, finder, fault):
    for number in range(120):
        github.app.install(f"owner{number}")
    github.fail_next(fault, match="/app/installations?")
    assert len(finder.all()) == 121


def test_the_private_repositories_of_a_user_with_the_app_are_in_the_users_list(github, finder):
    """`/users/x/repos` shows them to nobody: google/go-github #2980"""
    github.users |= {"acme", "bo"}
    github.add_repo("acme/open")
    github.add_repo("bo/open")
    kinds = {"include_archived": True, "include_forks": True}
    api = finder.client("acme/widgets")
    assert set(repositories.of_organisation(api, "Acme", **kinds)) == {"acme/open", "acme/widgets"}
    assert set(repositories.of_organisation(api, "bo", **kinds)) == {"bo/open"}
