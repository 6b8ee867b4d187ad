import os
import stat

import pytest

from foundation import private_files
from foundation.errors import ConfigurationError, Interrupted, Outage


def test_a_file_is_its_owners_and_keeps_what_was_widened_on_purpose(tmp_path):
    path, link = tmp_path / "report.html", tmp_path / "link.html"
    private_files.write(str(path), b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    link.symlink_to(path)
    private_files.write(str(link), b"two")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == (b"two", 0o644, True)
    assert sorted(tmp_path.iterdir()) == [link, path]


@pytest.mark.parametrize(
    "error, meaning", [(OSError(28, "No space left on device"), Outage), (Interrupted(15), Interrupted)]
)
def test_a_file_that_can_not_be_written_leaves_the_one_before(tmp_path, monkeypatch, error, meaning):
    path = tmp_path / "report.html"
    private_files.write(str(path), b"one")

    def fails(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(meaning):
        private_files.write(str(path), b"two")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"one", [path])


def test_what_is_not_whole_yet_is_its_owners_alone_whatever_the_umask(tmp_path, monkeypatch):
    path, fchmod, modes = tmp_path / "report.html", os.fchmod, []

    def seen(descriptor, mode):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", seen)
    before = os.umask(0)
    try:
        private_files.write(str(path), b"one")
    finally:
        os.umask(before)
    assert modes == [0o600]


@pytest.mark.parametrize("out", ["folder", "missing/report.html", "/dev/null"])
def test_a_place_where_no_file_can_be_is_named(tmp_path, out):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=out):
        private_files.write(str(tmp_path / out), b"page")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
