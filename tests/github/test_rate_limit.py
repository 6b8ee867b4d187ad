import pytest

from foundation.errors import ConfigurationError
from github.rate_limit import RateLimitReached, RateLimits

NOW = 1_800_000_000


class Time:
    def __init__(self):
        self.monotonic_seconds = 0.0

    def limits(self, max_wait_seconds=900, reserve_points=0):
        return RateLimits(
            now=lambda: NOW,
            monotonic=lambda: self.monotonic_seconds,
            max_wait_seconds=max_wait_seconds,
            reserve_points=reserve_points,
        )


def headers(remaining, *, limit=5000, reset_in=100):
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(NOW + reset_in),
    }


def test_points_left_mean_no_wait_and_none_left_mean_the_reset():
    limits = Time().limits()
    limits.observe(headers(1), sent_at=0)
    assert limits.seconds_to_wait() == 0
    limits.observe(headers(0), sent_at=0)
    assert limits.seconds_to_wait() == 101


def test_the_reset_is_measured_on_the_servers_clock():
    limits = Time().limits()
    limits.observe({**headers(0), "date": "Fri, 15 Jan 2027 08:00:50 GMT"}, sent_at=0)  # 50 s after NOW
    assert limits.seconds_to_wait() == 51


@pytest.mark.parametrize("limit, said", [(60, True), (5000, False)])
def test_who_has_no_token_is_told_what_one_would_give(limit, said):
    limits = Time().limits(max_wait_seconds=9)
    limits.observe(headers(0, limit=limit), sent_at=0)
    with pytest.raises(RateLimitReached) as caught:
        limits.seconds_to_wait()
    assert ("GITHUB_TOKEN" in str(caught.value)) is said


def test_points_that_are_counted_apart_have_their_own_limit_and_the_same_budget_of_waiting():
    time = Time()
    limits = time.limits(max_wait_seconds=100, reserve_points=10)
    others = limits.of_another_resource()
    others.observe(headers(10, reset_in=60), sent_at=0)
    assert (limits.seconds_to_wait(), others.seconds_to_wait()) == (0, 61)
    time.monotonic_seconds = 61
    limits.observe(headers(0, reset_in=60), sent_at=61)
    with pytest.raises(RateLimitReached):
        limits.seconds_to_wait()


def test_a_reserve_is_left_to_others():
    limits = Time().limits(reserve_points=1000)
    limits.observe(headers(1001), sent_at=0)
    assert limits.seconds_to_wait() == 0
    limits.observe(headers(1000), sent_at=0)
    assert limits.seconds_to_wait() > 0


def test_a_server_without_limits_is_never_waited_for():
    limits = Time().limits()
    limits.observe({}, sent_at=0)
    limits.observe(headers(0, limit=0), sent_at=0)
    assert limits.seconds_to_wait() == 0


def test_retry_after_is_obeyed_and_without_it_waits_double():
    time = Time()
    limits = time.limits()
    limits.refused({**headers(4000), "retry-after": "7"}, sent_at=0)
    assert limits.seconds_to_wait() == 7
    time.monotonic_seconds += 7
    waits = []
    for _ in range(3):
        limits.refused(headers(4000), sent_at=time.monotonic_seconds)
        waits.append(limits.seconds_to_wait())
        time.monotonic_seconds += waits[-1]
    assert waits == [60, 120, 240]


def test_a_wait_beyond_the_budget_stops_and_says_when_to_come_back():
    limits = Time().limits(max_wait_seconds=100)
    limits.observe(headers(0, reset_in=3600), sent_at=0)
    with pytest.raises(RateLimitReached, match="2027-01-15T09:00:01Z"):
        limits.seconds_to_wait()


def test_waits_that_each_fit_still_share_one_budget():
    time = Time()
    limits = time.limits(max_wait_seconds=100)
    limits.refused({"retry-after": "60"}, sent_at=0)
    time.monotonic_seconds += limits.seconds_to_wait()
    limits.refused({"retry-after": "60"}, sent_at=0)
    with pytest.raises(RateLimitReached):
        limits.seconds_to_wait()


def test_one_limit_met_by_several_threads_is_waited_for_once():
    limits = Time().limits(max_wait_seconds=100)
    for _ in range(8):
        limits.refused({"retry-after": "60"}, sent_at=0)
    assert limits.seconds_to_wait() == 60


def test_a_shorter_limit_does_not_end_a_longer_one():
    limits = Time().limits()
    limits.refused({"retry-after": "60"}, sent_at=0)
    limits.refused({"retry-after": "5"}, sent_at=0)
    assert limits.seconds_to_wait() == 60


def test_absurd_headers_do_no_harm():
    limits = Time().limits()
    limits.observe({"x-ratelimit-limit": "x", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "9" * 40}, sent_at=0)
    for absurd in ("9" * 40, "9" * 12):  # thirty thousand years
        limits.refused({"retry-after": absurd}, sent_at=0)
    assert limits.seconds_to_wait() == 60


def test_a_refusal_of_a_request_sent_before_the_block_adds_nothing():
    time = Time()
    limits = time.limits(max_wait_seconds=60)
    for _ in range(6):
        limits.refused(headers(4000), sent_at=0)
        time.monotonic_seconds += 0.5
    assert limits.seconds_to_wait() == 57


def test_an_answer_to_a_request_sent_before_the_block_does_not_end_the_doubling():
    time = Time()
    limits = time.limits()
    limits.refused(headers(4000), sent_at=0)
    limits.observe(headers(4000), sent_at=0)
    time.monotonic_seconds = 60
    limits.refused(headers(4000), sent_at=60)
    assert limits.seconds_to_wait() == 120
    time.monotonic_seconds = 180
    limits.observe(headers(4000), sent_at=180)
    limits.refused(headers(4000), sent_at=181)
    assert limits.seconds_to_wait() == 60


def test_what_a_late_refusal_says_of_the_time_holds_all_the_same():
    time = Time()
    limits = time.limits()
    limits.refused(headers(4000), sent_at=0)
    limits.refused({"retry-after": "90"}, sent_at=0)
    assert limits.seconds_to_wait() == 90


def test_retry_after_may_be_a_date():
    date = {"date": "Fri, 15 Jan 2027 08:00:00 GMT", "retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}
    limits = Time().limits()
    limits.refused(date, sent_at=0)
    assert limits.seconds_to_wait() == 30


@pytest.mark.parametrize(
    "said",
    [
        {"retry-after": "0"},
        {"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT", "date": "Fri, 15 Jan 2027 08:00:00 GMT"},
        headers(0, reset_in=-50),
    ],
)
def test_a_refusal_that_names_a_moment_gone_by_is_waited_for_like_one_that_names_none(said):
    time = Time()
    limits = time.limits()
    for expected in (60, 120):
        limits.refused(said, sent_at=time.monotonic_seconds)
        assert limits.seconds_to_wait() == expected
        time.monotonic_seconds += expected


def test_answers_out_of_order_leave_the_lowest_figure_of_the_window():
    limits = Time().limits()
    for remaining in (90, 88, 89):
        limits.observe(headers(remaining), sent_at=0)
    assert limits.remaining == 88
    limits.observe(headers(4999, reset_in=3700), sent_at=0)
    assert limits.remaining == 4999
    limits.observe({**headers(0), "date": "Fri, 15 Jan 2027 08:02:00 GMT"}, sent_at=0)  # the window that has ended
    assert (limits.remaining, limits.seconds_to_wait()) == (4999, 0)


def test_a_reserve_as_large_as_the_limit_is_a_mistake():
    with pytest.raises(ConfigurationError, match="--reserve 5000 .* 5000 points"):
        Time().limits(reserve_points=5000).observe(headers(4999), sent_at=0)
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN"):
        Time().limits(reserve_points=100).observe(headers(59, limit=60), sent_at=0)


def test_a_refusal_at_the_primary_limit_is_waited_for_until_the_reset():
    time = Time()
    limits = time.limits()
    limits.refused(headers(0), sent_at=0)
    assert limits.seconds_to_wait() == 101
    time.monotonic_seconds = 101
    assert limits.seconds_to_wait() == 0
    limits = Time().limits()
    limits.refused(headers(0, reset_in=0), sent_at=0)
    assert limits.seconds_to_wait() == 1


def test_an_answer_without_headers_of_a_limit_says_nothing_of_the_one_that_is_known():
    time = Time()
    limits = time.limits()
    limits.observe(headers(0, reset_in=5), sent_at=0)
    time.monotonic_seconds = 6
    limits.observe({}, sent_at=6)
    assert limits.seconds_to_wait() == 0


def test_without_a_reserve_the_last_point_is_used():
    limits = RateLimits(now=lambda: NOW, monotonic=lambda: 0.0, max_wait_seconds=0)
    limits.observe(headers(1), sent_at=0)
    assert limits.seconds_to_wait() == 0


@pytest.mark.parametrize("left_out", ["limit", "remaining", "reset"])
def test_headers_that_say_only_half_say_nothing(left_out):
    limits = Time().limits()
    some = headers(0)
    del some["x-ratelimit-" + left_out]
    limits.observe(some, sent_at=0)
    assert (limits.remaining, limits.seconds_to_wait()) == (None, 0)


@pytest.mark.parametrize("limit, said", [(60, "set GITHUB_TOKEN"), (5000, "; leave less")])
def test_a_reserve_that_leaves_nothing_says_what_to_do(limit, said):
    with pytest.raises(ConfigurationError, match=said):
        Time().limits(reserve_points=limit).observe(headers(limit, limit=limit), sent_at=0)


def test_a_late_answer_of_a_window_that_has_ended_changes_nothing():
    limits = Time().limits()
    limits.observe(headers(4000, reset_in=3600), sent_at=0)
    limits.observe(headers(0, reset_in=0), sent_at=0)
    assert (limits.remaining, limits.seconds_to_wait()) == (4000, 0)


def test_a_window_that_is_used_up_stays_so_whatever_an_earlier_answer_says():
    limits = Time().limits()
    for remaining in (3, 0, 3):
        limits.observe(headers(remaining), sent_at=0)
    assert (limits.remaining, limits.seconds_to_wait()) == (0, 101)


def test_a_window_counts_down_also_in_the_moment_of_its_reset():
    limits = Time().limits()
    for remaining in (5, 3):
        limits.observe(headers(remaining, reset_in=0), sent_at=0)
    assert limits.remaining == 3


def test_a_wait_that_is_over_is_none_also_where_the_budget_is_spent():
    time = Time()
    limits = time.limits(max_wait_seconds=0)
    limits.refused({"retry-after": "60"}, sent_at=0)
    time.monotonic_seconds = 60
    assert limits.seconds_to_wait() == 0
