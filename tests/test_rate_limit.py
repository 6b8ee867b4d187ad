import pytest

from rate_limit import RateLimitReached, RateLimits

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
    limits.observe(headers(1))
    assert limits.seconds_to_wait() == 0
    limits.observe(headers(0))
    assert limits.seconds_to_wait() == 101


def test_the_reset_is_measured_on_the_servers_clock():
    limits = Time().limits()
    limits.observe({**headers(0), "date": "Fri, 15 Jan 2027 08:00:50 GMT"})  # 50 s after NOW
    assert limits.seconds_to_wait() == 51


def test_a_reserve_is_left_to_others():
    limits = Time().limits(reserve_points=1000)
    limits.observe(headers(1001))
    assert limits.seconds_to_wait() == 0
    limits.observe(headers(1000))
    assert limits.seconds_to_wait() > 0


def test_a_server_without_limits_is_never_waited_for():
    limits = Time().limits()
    limits.observe({})
    limits.observe(headers(0, limit=0))
    assert limits.seconds_to_wait() == 0


def test_retry_after_is_obeyed_and_without_it_waits_double():
    time = Time()
    limits = time.limits()
    limits.refused({**headers(4000), "retry-after": "7"})
    assert limits.seconds_to_wait() == 7
    time.monotonic_seconds += 7
    waits = []
    for _ in range(3):
        limits.refused(headers(4000))
        waits.append(limits.seconds_to_wait())
        time.monotonic_seconds += waits[-1]
    assert waits == [60, 120, 240]


def test_a_wait_beyond_the_budget_stops_and_says_when_to_come_back():
    limits = Time().limits(max_wait_seconds=100)
    limits.observe(headers(0, reset_in=3600))
    with pytest.raises(RateLimitReached, match="2027-01-15T09:00:01Z"):
        limits.seconds_to_wait()


def test_waits_that_each_fit_still_share_one_budget():
    time = Time()
    limits = time.limits(max_wait_seconds=100)
    limits.refused({"retry-after": "60"})
    time.monotonic_seconds += limits.seconds_to_wait()
    limits.refused({"retry-after": "60"})
    with pytest.raises(RateLimitReached):
        limits.seconds_to_wait()


def test_one_limit_met_by_several_threads_is_waited_for_once():
    limits = Time().limits(max_wait_seconds=100)
    for _ in range(8):
        limits.refused({"retry-after": "60"})
    assert limits.seconds_to_wait() == 60


def test_a_shorter_limit_does_not_end_a_longer_one():
    limits = Time().limits()
    limits.refused({"retry-after": "60"})
    limits.refused({"retry-after": "5"})
    assert limits.seconds_to_wait() == 60


def test_absurd_headers_do_no_harm():
    limits = Time().limits()
    limits.observe({"x-ratelimit-limit": "x", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "9" * 40})
    limits.refused({"retry-after": "9" * 40})
    assert limits.seconds_to_wait() == 60
