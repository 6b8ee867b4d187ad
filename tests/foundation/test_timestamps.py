import pytest

from foundation import timestamps


@pytest.mark.parametrize(
    "given, expected",
    [
        ("2026-11-23T03:50:00Z", "2026-11-23T03:50:00Z"),
        ("2026-11-23T03:50:00.999Z", "2026-11-23T03:50:00Z"),
        ("2026-11-23T23:50:00-08:00", "2026-11-24T07:50:00Z"),
        ("2026-02-29T00:00:00Z", None),
        ("2026-11-23 03:50:00Z", None),
        ("2026-11-23T03:50:00Z\n", None),
        ("٢026-11-23T03:50:00Z", None),
        (None, None),
        (12, None),
    ],
)
def test_times_become_utc_text_or_nothing(given, expected):
    assert timestamps.normalise(given) == expected


def test_epoch_seconds_and_text_are_each_others_reverse():
    assert timestamps.from_epoch(timestamps.to_epoch("2026-11-23T03:50:00Z")) == "2026-11-23T03:50:00Z"


def test_absurd_seconds_become_the_nearest_date_that_there_is():
    assert timestamps.from_epoch(10**30) == "9999-12-31T23:59:59Z"
    assert timestamps.from_epoch(-5) == "1970-01-01T00:00:00Z"


def test_an_http_date_is_read_and_rubbish_is_not():
    assert timestamps.from_http_date("Mon, 23 Nov 2026 03:50:00 GMT") == timestamps.to_epoch("2026-11-23T03:50:00Z")
    assert timestamps.from_http_date("soon") is timestamps.from_http_date(None) is None


def test_a_time_with_an_order_goes_there_and_back_and_sorts_as_it_was_made():
    made = [timestamps.with_order("2026-11-23T10:00:00Z", order) for order in (1, 2, 10, 999)]
    assert made == sorted(made)
    assert [timestamps.from_nanoseconds(timestamps.to_nanoseconds(text)) for text in made] == made
    assert timestamps.to_nanoseconds("1970-01-01T00:00:01Z") == 10**9
