import concurrent.futures
import gc
import gzip
import json
import logging
import random
import re
import socket
import ssl
import time as real_time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from foundation.clock import Clock
from foundation.errors import ConfigurationError, Outage
from github import answers, outages, transport
from github.answers import Kind
from github.api import GitHub
from github.login import logins
from github.rate_limit import RateLimits
from github.refusals import HeavyAnswer, Moved, NotReadable
from tests.github_server import GitHubServer
from tests.ingesting import Time

CERTIFICATE = Path(__file__).parents[1] / "localhost.pem"
ISSUES = "/repos/acme/widgets/issues?per_page=100"


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def github(time):
    with GitHubServer(clock=lambda: time.seconds) as server:
        server.add_repo("acme/widgets").make(5)
        yield server


def client(base_url, time, *, token="test-token", max_wait_seconds=900, clock=None, rng=None, **options):
    clock, rng = clock or time.clock, rng or random.Random(1)
    limits = RateLimits(now=clock.now, monotonic=clock.monotonic, max_wait_seconds=max_wait_seconds)
    return GitHub(
        base_url=base_url, login=logins.of(token), user_agent="test/1", limits=limits, clock=clock, rng=rng, **options
    )


def get(api, url=ISSUES, **options):
    return api.get(url, parse=json.loads, on_request=lambda status: None, **options)


# An outage.


@pytest.mark.parametrize("fault", [503, "invalid_json"])
def test_after_three_lists_in_a_row_each_other_one_asks_once_whether_the_outage_is_over(github, time, fault):
    api = client(github.url, time)
    github.fail_next(fault, times=10**6)
    for number in range(50):
        with pytest.raises(Outage) as caught:
            get(api, f"/repos/acme/r{number}/issues?per_page=100")
        assert isinstance(caught.value, HeavyAnswer) == (number < 2)
    assert len(github.journal) == 3 * 5 + 47
    assert sum(time.slept) < 3 * 30


def test_one_answer_ends_an_outage_and_so_does_a_refusal(github, time):
    api = client(github.url, time)
    for ending in (ISSUES, "/repos/acme/gone/issues"):
        github.fail_next(503, times=16)
        for name in "abcd":
            with pytest.raises(Outage):
                get(api, f"/repos/acme/{name}/pulls")
        try:
            get(api, ending)
        except NotReadable:
            assert ending != ISSUES
        github.journal.clear()
        github.fail_next(503, times=4)
        assert get(api).body
        assert len(github.journal) == 5


def test_one_list_that_fails_in_all_its_sizes_is_no_outage_of_the_others(github, time):
    api = client(github.url, time)
    github.fail_next(502, times=10**6, match="/pulls")
    for size in (100, 50, 25, 5, 1):
        with pytest.raises(HeavyAnswer):
            get(api, f"/repos/acme/widgets/pulls?per_page={size}", attempts=2)
    assert len(github.journal) == 5 * 2
    github.fail_next(502, times=4, match="/issues")
    assert get(api).body


def test_a_server_that_cannot_be_reached_is_believed_at_once(github, time):
    api = client("http://127.0.0.1:9", time)
    for _ in range(3):
        with pytest.raises(Outage, match="refused"):
            get(api)
    assert len(time.slept) == 4
    api = client(github.url, time)
    github.fail_next("close", times=6)
    github.fail_next(502)
    for attempts in (5, 1, 1):
        github.journal.clear()
        with pytest.raises(Outage) as caught:
            get(api)
        assert (len(github.journal), isinstance(caught.value, HeavyAnswer)) == (attempts, False)


def test_a_hang_in_an_outage_is_waited_for_for_less_long(github, time, monkeypatch):
    monkeypatch.setattr(outages, "READ_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(outages, "PROBE_TIMEOUT_SECONDS", 0.05)
    api = client(github.url, time)
    github.fail_next("hang", times=10**6, seconds=1)
    said = []
    for number in range(4):
        with pytest.raises(Outage) as caught:
            get(api, f"/repos/acme/r{number}/issues", attempts=1)
        said.append(str(caught.value))
    assert ["within 0.2 s" in text for text in said] == [True, True, True, False]
    assert "within 0.05 s" in said[3]


def test_a_name_that_is_not_known_is_named(time, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Outage, match="ghe.example"):
        get(client("https://ghe.example/api/v3", time))


# Limits.


def test_one_secondary_limit_met_by_six_at_once_is_waited_for_once(github, time):
    api = client(github.url, time, max_wait_seconds=100)
    github.latency_seconds = 0.3
    github.fail_next("secondary_403", times=6)
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: get(api), range(6)))
    assert all(answer.body for answer in answers)
    assert len(github.journal) == 12


def test_a_limit_between_faults_begins_the_count_of_attempts_anew(github, time):
    api = client(github.url, time)
    github.fail_next(502, times=4)
    github.fail_next("secondary_429", retry_after=7)
    github.fail_next(502, times=4)
    assert get(api).body


def test_a_reserve_that_the_limit_never_leaves_is_a_mistake_of_the_options(github, run_main):
    env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "t"}
    code, _, err = run_main("ingest", "--repo", "acme/widgets", "--reserve", 5000, env=env)
    assert code == 2
    assert "--reserve 5000" in err.splitlines()[-1]


def test_every_wait_is_told_before_it_begins_and_every_answer_after_it_came(github, time):
    told, statuses = [], []
    api = client(github.url, time, on_wait=lambda seconds, reason: told.append((len(time.slept), seconds, reason)))
    github.fail_next(502)
    github.fail_next("secondary_403", retry_after=7)
    api.get(ISSUES, parse=json.loads, on_request=statuses.append)
    assert [(count, reason) for count, _, reason in told] == [(0, "status 502"), (1, "GitHub's rate limit")]
    assert [seconds for _, seconds, _ in told] == time.slept
    assert statuses == [502, 403, 200]


class Rolled:
    """A die that always shows the same."""

    def __init__(self, shown):
        self._shown = shown

    def random(self):
        return self._shown


@pytest.mark.parametrize("shown, waits", [(0.0, [1, 2, 4, 8]), (1.0, [1.5, 3, 6, 12])])
def test_waits_double_and_are_drawn_out_by_up_to_half_so_that_clients_do_not_come_at_once(github, time, shown, waits):
    github.fail_next(502, times=4)
    assert get(client(github.url, time, rng=Rolled(shown))).body
    assert time.slept == waits


def test_an_outage_names_the_fault_the_attempts_and_the_list(github, time):
    github.fail_next(502, times=5)
    with pytest.raises(Outage, match=r"status 502 \(5 attempts\) on /repos/acme/widgets/issues"):
        get(client(github.url, time))


@pytest.mark.parametrize("base", ["", "/api/v3"])
@pytest.mark.parametrize(
    "fault, reason",
    [
        (401, "status 401 Bad credentials"),
        (404, "status 404 Bad credentials"),
        ("html", "status 200 with a web page"),
        ("not_modified", "status 304"),
    ],
)
def test_the_reason_of_a_wait_is_what_the_answer_was(github, time, base, fault, reason):
    told = []
    github.fail_next(fault, message="Bad credentials")
    api = client(github.url + base, time, on_wait=lambda seconds, reason: told.append(reason))
    assert get(api, retry_refusals=True).body
    assert [text.startswith(reason) for text in told] == [True]


def test_a_wait_of_a_second_is_waited_too(github, time):
    github.fail_next("secondary_429", retry_after=1)
    assert get(client(github.url, time)).body
    assert time.slept == [1]


# Odd answers, which prove nothing until they are repeated.


def test_two_refusals_that_differ_are_no_repetition(github, time):
    github.fail_next(404)
    github.fail_next(422)
    assert get(client(github.url, time), retry_refusals=True).body


def test_a_web_page_after_other_faults_may_be_cured_by_a_smaller_page(github, time):
    github.fail_next(502, times=4)
    github.fail_next("html")
    with pytest.raises(HeavyAnswer, match="web page"):
        get(client(github.url, time))


def test_a_token_that_github_repeats_is_not_shown(github, time):
    github.fail_next(401, times=2, message="Bad token: very-secret!")
    with pytest.raises(ConfigurationError, match=r"Bad token: \*\*\*!") as caught:
        get(client(github.url, time, token="very-secret"))
    assert "very-secret" not in str(caught.value)


def test_one_stray_401_is_not_the_tokens_fault(github, time):
    api = client(github.url, time)
    github.fail_next(401)
    assert get(api).body
    github.fail_next(401, times=4)  # a token that was taken before is given more time
    assert get(api).body
    github.fail_next(401, times=5, message="Bad credentials")
    with pytest.raises(ConfigurationError, match="rejects the token .*Bad credentials"):
        get(api)


def test_a_token_that_was_never_taken_is_refused_after_two_attempts(github, time):
    github.tokens = {"right"}
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN"):
        get(client(github.url, time, token="wrong"))
    assert len(github.journal) == 2


def test_an_odd_answer_is_asked_for_again_even_where_one_attempt_is_enough_for_a_fault(github, time):
    github.fail_next(401)
    assert get(client(github.url, time), attempts=1).body


def test_a_401_among_other_faults_is_an_outage(github, time):
    github.fail_next(502, times=4)
    github.fail_next(401)
    with pytest.raises(Outage):
        get(client(github.url, time))


def test_a_server_that_wants_a_token_says_so(github, time):
    github.fail_next(401, times=2, message="Must authenticate to access this API.")
    with pytest.raises(ConfigurationError, match="wants a token .*set GITHUB_TOKEN"):
        get(client(github.url, time, token=None))


@pytest.mark.parametrize("status", [404, 422])
def test_a_link_that_is_refused_once_is_asked_for_again_where_the_caller_wants_it(github, time, status):
    api = client(github.url, time)
    github.fail_next(status)
    assert get(api, retry_refusals=True).body
    github.fail_next(status, times=3)
    with pytest.raises(NotReadable) as caught:
        get(api, retry_refusals=True)
    assert (caught.value.status, len(github.journal)) == (status, 4)
    with pytest.raises(NotReadable):
        get(api)
    assert len(github.journal) == 5


def test_a_304_that_nobody_asked_for_is_a_fault(github, time):
    api = client(github.url, time)
    github.fail_next("not_modified", times=2)
    assert get(api).body
    github.fail_next("not_modified", times=5)
    with pytest.raises(HeavyAnswer, match="GitHub: status 304, not modified"):
        get(api)
    assert get(api, etag=get(api).etag).body is None


def test_an_empty_answer_is_a_fault(github, time):
    api = client(github.url, time)
    github.fail_next("empty")
    assert get(api).body
    github.fail_next("empty", times=5)
    with pytest.raises(HeavyAnswer, match=r"GitHub: status 200 with a body that can't be read \(Expecting value"):
        get(api)


# What is sent.


def test_a_request_says_who_asks(github, time):
    get(client(github.url, time, token="t0"))
    sent = github.journal[0].headers
    assert (sent["user-agent"], sent["authorization"]) == ("test/1", "Bearer t0")


def test_a_slash_behind_the_address_of_the_api_is_not_doubled(time):
    assert client("https://ghe.example/X/", time).base_url == "https://ghe.example/X"


# What an answer means.

HTML = b"  \n<!DOCTYPE html>"
NONE_LEFT = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0"}


@pytest.mark.parametrize(
    "status, headers, body, kind",
    [
        *[(status, {}, b"[]", Kind.ANSWER) for status in (200, 304)],
        *[(status, {}, b"", Kind.REDIRECT) for status in (301, 302, 303, 307, 308)],
        *[(status, {}, b"", Kind.UNAVAILABLE) for status in (408, 500, 502, 503, 504, 599)],
        *[(status, {}, b"", Kind.NOT_READABLE) for status in (402, 403, 404, 409, 410, 422, 451, 499)],
        *[(status, {}, HTML, Kind.WEB_PAGE) for status in (200, 403, 404, 406)],
        (406, {}, b"", Kind.WEB_PAGE),
        (502, {}, HTML, Kind.UNAVAILABLE),
        (401, {}, b"", Kind.BAD_TOKEN),
        (407, {}, b"", Kind.BAD_PROXY),
        (429, {}, b"", Kind.LIMITED),
        (403, NONE_LEFT, b"", Kind.LIMITED),
        (403, {"retry-after": "1"}, b"", Kind.LIMITED),
        (403, {}, b'{"message":"You have exceeded a secondary rate limit."}', Kind.LIMITED),
        (403, {}, b'{"message":"You have triggered an abuse detection mechanism."}', Kind.LIMITED),
        (403, {**NONE_LEFT, "x-ratelimit-limit": "0"}, b"", Kind.NOT_READABLE),
        (403, {**NONE_LEFT, "x-ratelimit-remaining": "1"}, b"", Kind.NOT_READABLE),
        (404, {"retry-after": "1"}, b"", Kind.NOT_READABLE),
        (404, {"link": "<x>"}, b"", Kind.TOO_MANY),
        (403, {"link": "<x>"}, b"", Kind.NOT_READABLE),
        *[(status, {}, b'{"message": "Unsupported API Version"}', Kind.RETIRED) for status in (400, 410)],
        (422, {}, b'{"message": "Unsupported API Version"}', Kind.NOT_READABLE),
    ],
)
def test_each_answer_has_one_meaning(status, headers, body, kind):
    assert answers.classify(status, headers, body) is kind


@pytest.mark.parametrize("status, said", [(403, "permission"), (404, "name"), (410, "gone"), (451, "legal")])
def test_a_refusal_comes_with_advice(status, said):
    assert said in answers.advice(status)
    assert answers.advice(422) == answers.advice(499) == "GitHub does not accept this request"


# What is not there.


@pytest.mark.parametrize(
    "message, disabled",
    [
        ("Issues has been disabled in this repository.", True),
        ("Issues are disabled for this repo", True),
        ("This issue was deleted", False),
        ("", False),
    ],
)
def test_issues_are_disabled_only_where_github_says_so(github, time, message, disabled):
    github.fail_next(410, message=message)
    with pytest.raises(NotReadable, match=f"410.* on {re.escape(ISSUES)}") as caught:
        get(client(github.url, time))
    assert caught.value.disabled is disabled
    assert disabled or "upgrade" in str(caught.value)


@pytest.mark.parametrize("status", [400, 410])
def test_a_retired_api_version_is_for_a_person(github, run_main, status):
    github.fail_next(status, times=100, message="The API version 2022-11-28 is no longer supported.")
    code, _, err = run_main("ingest", "--repo", "acme/widgets", env={"GITHUB_API_URL": github.url})
    assert code == 2
    assert "upgrade" in err.splitlines()[-1]


def test_a_gone_list_is_an_error(github, run_main):
    github.fail_next(410, times=100, message="Gone")
    env = {"GITHUB_API_URL": github.url}
    assert run_main("ingest", "--repo", "acme/widgets", "--only", "issues", env=env)[0] == 1


def test_disabled_pull_requests_are_no_failure(github, run_main):
    env = {"GITHUB_API_URL": github.url}
    github.repos["acme/widgets"].pulls_enabled = False
    code, out, err = run_main("ingest", "--repo", "acme/widgets", "--json", "-v", env=env)
    issues, pulls = json.loads(out)["repos"]
    assert (code, pulls["error"], issues["enqueued"] > 0) == (0, None, True), err
    assert "pull requests are disabled" in err
    assert [request.path for request in github.journal].count("/repos/acme/widgets") == 1
    github.repos["acme/widgets"].pulls_enabled = True
    github.fail_next(404, match="/pulls")
    assert run_main("ingest", "--repo", "acme/widgets", env=env)[0] == 1


def test_a_page_that_github_enterprise_server_finds_too_long_is_asked_for_in_smaller_pieces(github, time, run_main):
    github.add_repo("acme/many").make(120, pulls=1.0)
    github.fail_next("too_many", times=10**6, match="per_page=100")
    with pytest.raises(HeavyAnswer, match="smaller"):
        get(client(github.url, time), "/repos/acme/many/pulls?state=all&per_page=100")
    assert len(github.journal) == 1
    code, out, err = run_main(
        "ingest", "--repo", "acme/many", "--only", "pulls", "--all", "--json", env={"GITHUB_API_URL": github.url}
    )
    assert (code, json.loads(out)["enqueued"]) == (0, 120), err


@pytest.mark.parametrize("page", ["/issues", "/login"])
def test_a_web_page_that_lasts_asks_for_the_path_of_the_api(github, time, page):
    github.fail_next("html", times=5, match=page)
    github.fail_next("redirect", times=5, match="/issues", url=github.url + "/login?return_to=x")
    with pytest.raises(ConfigurationError, match="is /api/v3 missing in GITHUB_API_URL"):
        get(client(github.url, time))


def test_a_web_page_in_place_of_a_refusal_asks_for_the_path_of_the_api(time):
    with Answers("404 Not Found", "Content-Length: 15", "", "<!DOCTYPE html>") as url:
        with pytest.raises(ConfigurationError, match="is /api/v3 missing in GITHUB_API_URL"):
            get(client(url, time))
        with pytest.raises(NotReadable):
            get(client(url + "/api/v3", time))


def test_a_web_page_where_the_path_is_right_is_an_outage(github, time):
    github.fail_next("html", times=5)
    with pytest.raises(HeavyAnswer):
        get(client(github.url + "/api/v3", time))


@pytest.mark.parametrize(
    "url, missing",
    [
        ("https://api.github.com", False),
        ("https://api.acme.ghe.com", False),
        ("https://ghe.example/api/v3", False),
        ("https://ghe.example", True),
        ("https://ghe.example/api", True),
    ],
)
def test_only_a_server_of_ones_own_has_its_api_below_a_path(url, missing):
    assert answers.lacks_api_path(url) is missing


def test_a_redirect_without_end_is_given_up(github, time):
    github.fail_next("redirect", times=10**6, url=github.url + ISSUES)
    with pytest.raises(NotReadable, match=f"redirects more than 5 times from {re.escape(ISSUES)}") as caught:
        get(client(github.url, time))
    assert (len(github.journal), caught.value.disabled) == (5, False)


def test_a_redirect_is_meant_as_seen_from_where_it_was_met(github, time):
    github.fail_next("redirect", url="issues?per_page=1")
    assert get(client(github.url, time)).url == github.url + "/repos/acme/widgets/issues?per_page=1"
    github.fail_next(302)  # to nowhere, that is, to where it was met
    assert get(client(github.url, time)).url == github.url + ISSUES


def test_a_link_is_meant_as_seen_from_the_page_that_it_stands_on(github, time):
    pulls = github.add_repo("acme/many").make(250, pulls=1.0)
    last = get(client(github.url, time), "/repos/acme/many/pulls?state=all&per_page=100").last_url
    assert last == f"{github.url}/repositories/{pulls.id}/pulls?state=all&per_page=100&page=3"
    with Answers("200 OK", 'Link: <x?page=2>; rel="next", <x?page=9>; rel="last"', "", "[]") as url:
        answer = get(client(url, time), "/repositories/1/")
    assert (answer.next_url, answer.last_url) == (url + "/repositories/1/x?page=2", url + "/repositories/1/x?page=9")


# Bodies that do not come whole.


class Answers:
    """Answers each request on a socket with the same status, headers and body, byte for byte; then closes."""

    def __init__(self, status, *lines, body=b""):
        answer = "\r\n".join(["HTTP/1.1 " + status, "Connection: close", *lines]).encode() + body

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.wfile.write(answer)
                self.close_connection = True

            do_CONNECT = do_GET

            def log_message(self, *arguments):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return "http://127.0.0.1:%d" % self._server.server_address[1]

    def __exit__(self, *exception):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


PACKED = gzip.compress(b"[1,2]", mtime=0)


@pytest.mark.parametrize(
    "headers, body",
    [
        (["Content-Length: 5"], b"[1,2]"),
        ([], b"[1,2]"),
        (["Transfer-Encoding: chunked"], chunked(b"[1,", b"2]", b"")),
        (["Content-Encoding: gzip", "Content-Length: %d" % len(PACKED)], PACKED),
        (["Content-Encoding: gzip", "Transfer-Encoding: chunked"], chunked(PACKED[:9], PACKED[9:], b"")),
    ],
)
def test_a_body_is_read_however_it_is_sent(time, headers, body):
    with Answers("200 OK", *headers, "", "", body=body) as url:
        assert get(client(url, time)).body == [1, 2]


@pytest.mark.parametrize(
    "headers, body",
    [
        (["Content-Length: 6"], b"[1,2]"),
        (["Transfer-Encoding: chunked"], chunked(b"[1,2]")),
        (["Transfer-Encoding: chunked"], b"9\r\n[1,2]"),
        (["Transfer-Encoding: chunked"], b"no size\r\n[1,2]"),
        (["Content-Encoding: gzip", "Content-Length: %d" % (len(PACKED) - 9)], PACKED[:-9]),
        (["Content-Encoding: gzip", "Content-Length: 5"], b"[1,2]"),
    ],
)
def test_a_body_that_is_not_whole_is_never_parsed_and_a_smaller_page_may_help(time, headers, body):
    parsed = []
    with Answers("200 OK", *headers, "", "", body=body) as url, pytest.raises(HeavyAnswer):
        client(url, time).get("/x", parse=parsed.append, on_request=print)
    assert parsed == []


def test_an_unchanged_answer_needs_no_body_whatever_its_headers_say(time):
    with Answers("304 Not Modified", "Content-Encoding: gzip", "Content-Length: 9", "", "") as url:
        assert get(client(url, time), etag='"x"').body is None


def test_a_connection_is_used_again(github, time):
    api = client(github.url, time)
    connections = []
    github.process_request_thread, handle = (
        lambda *request: (connections.append(request), handle(*request)),
        github.process_request_thread,
    )
    etag = get(api).etag
    for options in ({}, {"etag": etag}, {}):
        get(api, **options)
    assert len(connections) == 1


def test_an_answer_that_stalls_in_the_middle_may_be_cured_by_a_smaller_page(github, time, monkeypatch):
    monkeypatch.setattr(outages, "READ_TIMEOUT_SECONDS", 0.1)
    github.fail_next("stall", times=2)
    with pytest.raises(HeavyAnswer, match="stopped"):
        get(client(github.url, time), attempts=2)


@pytest.mark.parametrize("status", [200, 301])
def test_an_answer_that_drips_is_given_up_although_no_single_wait_is_long(github, time, monkeypatch, status):
    monkeypatch.setattr(transport, "WHOLE_ANSWER_SECONDS", 0.3)
    github.fail_next("drip", times=2, status=status)
    clock = Clock(now=time.clock.now, monotonic=real_time.monotonic, sleep=time.sleep)
    began = real_time.monotonic()
    with pytest.raises(HeavyAnswer, match="0.3 s"):
        get(client(github.url, time, clock=clock), attempts=2)
    assert real_time.monotonic() - began < 5


def test_a_redirect_to_an_address_that_is_none_is_a_clear_error(time):
    answers = Answers("301 X", "Location: http://127.0.0.1:1x/y", "Content-Length: 0", "", "")
    with answers as url, pytest.raises(ConfigurationError, match="another origin"):
        get(client(url, time))


def test_an_answer_without_end_is_given_up(time, monkeypatch):
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 4)
    with Answers("200 OK", "Content-Length: 5", "", "[1,2]") as url, pytest.raises(HeavyAnswer, match="over 4 bytes"):
        get(client(url, time))


# Certificates and proxies.


@pytest.fixture
def over_tls(time):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(CERTIFICATE))
    server = GitHubServer(clock=lambda: time.seconds)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    server.add_repo("acme/widgets").make(5)
    with server:
        yield server


def test_a_certificate_that_is_not_trusted_names_the_variable_and_is_no_outage(over_tls, time, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(ConfigurationError, match="certificate of 127.0.0.1.*self.signed.*REQUESTS_CA_BUNDLE"):
        get(client(over_tls.url, time))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    assert get(client(over_tls.url, time)).body


def test_a_tls_connection_that_cannot_be_made_is_an_outage(github, time):
    with pytest.raises(Outage, match="TLS"):
        get(client(github.url.replace("http:", "https:"), time))


def through(monkeypatch, proxy):
    monkeypatch.delenv("NO_PROXY")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)


def test_an_api_on_this_machine_is_asked_without_a_proxy(github, time, monkeypatch):
    with GitHubServer() as proxy:
        through(monkeypatch, proxy.url)
        assert get(client(github.url, time)).body
        assert proxy.journal == []


def test_a_token_never_goes_through_a_proxy_in_clear(github, time, monkeypatch):
    through(monkeypatch, github.url)
    with pytest.raises(ConfigurationError, match="plain http.*HTTP_PROXY"):
        get(client("http://ghe.example", time))
    assert github.journal == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_blamed_itself_and_its_password_is_not_shown(time, monkeypatch, scheme):
    through(monkeypatch, "http://ada:secret@127.0.0.1:9")
    with pytest.raises(Outage, match=f"proxy 127.0.0.1:9 \\({scheme.upper()}_PROXY\\)") as caught:
        get(client(f"{scheme}://ghe.example/api/v3", time, token=None))
    assert "secret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # older http.client leaves a refused tunnel to the gc
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password_is_for_a_person(time, monkeypatch, scheme):
    with Answers("407 Proxy Authentication Required", "Content-Length: 0", "", "") as proxy:
        through(monkeypatch, proxy.replace("//", "//ada:secret@"))
        with pytest.raises(ConfigurationError, match=f"{scheme.upper()}_PROXY.*407") as caught:
            get(client(f"{scheme}://ghe.example/api/v3", time, token=None))
    assert "secret" not in str(caught.value)
    del caught
    gc.collect()


@pytest.mark.parametrize("proxy", ["http://ada:secret@[", "ftp://ada:secret@127.0.0.1:9", "socks5://ada:secret@x:9"])
def test_a_proxy_that_is_none_is_for_a_person(time, monkeypatch, proxy):
    through(monkeypatch, proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        get(client("https://ghe.example/api/v3", time))
    assert "secret" not in str(caught.value)


# The log.


def test_each_request_can_be_seen_and_no_secret(github, time, caplog):
    caplog.set_level(logging.DEBUG, logger="pipeline.github")
    logging.getLogger("pipeline").propagate = True
    github.fail_next("close")
    github.after_page = lambda *served: time.sleep(2)
    api = client(github.url, time, token="very-secret")
    get(api)
    github.rate_limit = None
    get(api)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith(f"GET {ISSUES}: the connection broke, ")
    assert lines[1].startswith(f"GET {ISSUES}: 200, 4999 points left, ")
    assert lines[1].endswith(", 2000 ms")
    assert lines[2].startswith(f"GET {ISSUES}: 200, no count of points left, ")
    assert "very-secret" not in caplog.text


def test_a_redirect_that_is_not_to_be_followed_is_told_and_nobody_goes_there(github, time):
    with GitHubServer() as other:
        for place in ("/repositories/1/issues/2", f"{other.url}/x"):
            github.fail_next("redirect", url=place)
            with pytest.raises(Moved) as moved:
                get(client(github.url, time), follows=False)
            assert (moved.value.status, moved.value.location) == (302, place if "//" in place else github.url + place)
        assert (len(github.journal), other.journal) == (2, [])
