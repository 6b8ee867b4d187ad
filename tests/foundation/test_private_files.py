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


def test_a_file_stays_with_the_group_that_may_read_it_and_no_other_gets_its_rights(tmp_path, monkeypatch):
    others = [54321] if os.geteuid() == 0 else [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("this user is in one group alone")
    path = tmp_path / "report.html"
    private_files.write(str(path), b"one")
    os.chown(path, -1, others[0])
    path.chmod(0o640)
    private_files.write(str(path), b"two")
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (others[0], 0o640)

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    private_files.write(str(path), b"three")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"three", 0o600)


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


@pytest.mark.parametrize(
    "out, hint",
    [("folder", "give another name"), ("missing/report.html", "missing' is no folder; make it first"),
     ("missing/", "names a folder and no file"), ("pipe", "give another name")],
)  # fmt: skip
def test_a_place_where_no_file_can_be_is_named(tmp_path, out, hint):
    (tmp_path / "folder").mkdir()
    os.mkfifo(str(tmp_path / "pipe"))  # no device: where the rule is broken, root would put a file in its place
    with pytest.raises(ConfigurationError, match=f"{out}.*{hint}"):
        private_files.write(f"{tmp_path}/{out}", b"page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_behind_a_name_is_no_file():
    reads, writes = os.pipe()
    try:
        with pytest.raises(ConfigurationError, match=f"/dev/fd/{writes}' is there and is no file"):
            private_files.write(f"/dev/fd/{writes}", b"page")
    finally:
        os.close(reads)
        os.close(writes)
