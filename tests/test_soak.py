import pytest

from tests.soak import soak


@pytest.mark.long
def test_half_a_minute_of_everything_at_once_leaves_nothing_missing_doubled_or_stale(tmp_path):
    report, wrong = soak(minutes=0.5, seed=2, folder=tmp_path)
    assert wrong == [], (report, (tmp_path / "log").read_text()[-2000:])
