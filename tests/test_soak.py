import pytest

from tests import postgres_server
from tests.conftest import NO_POSTGRES
from tests.soak import File, Server, soak


@pytest.mark.long
@pytest.mark.parametrize("make_database", [File, Server])
def test_half_a_minute_of_everything_at_once_leaves_nothing_missing_doubled_or_stale(tmp_path, make_database):
    if make_database is Server and postgres_server.programs() is None:
        pytest.skip(NO_POSTGRES)
    report, wrong = soak(minutes=0.5, seed=2, folder=tmp_path, make_database=make_database)
    assert wrong == [], (report, (tmp_path / "log").read_text()[-2000:])
