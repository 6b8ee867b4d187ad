import errno
import os

import pytest

import s3_writer
from errors import ConfigurationError, Outage
from s3_writer import DirectoryArchive, ItemRefused, object_key

SHA256 = "0123456789ab" + "c" * 52


def key(**changes):
    parts = {"prefix": "raw/github/", "item_type": "issue", "repo": "acme/widgets", "number": 42,
                 "updated_at": "2026-11-20T23:59:59Z", "sha256": SHA256}  # fmt: skip
    return object_key(**{**parts, **changes})


def test_the_key_is_the_one_of_the_contract():
    assert key() == "raw/github/issues/dt=2026-11-20/acme/widgets/42-20261120T235959Z-0123456789ab.json"
    assert key(item_type="pull_request", prefix="").startswith("pulls/dt=2026-11-20/acme/widgets/42-")


def test_the_key_takes_its_day_in_utc():
    assert "/dt=2026-11-21/" in key(updated_at="2026-11-20T23:30:00-02:00")


@pytest.mark.parametrize("changes", [{"repo": "../../etc"}, {"repo": "a/b/c"}, {"updated_at": "../x"}, {"sha256": "/"}])
def test_parts_that_a_path_must_not_hold_are_refused(changes):
    with pytest.raises(ItemRefused):
        key(**changes)


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_holds_the_bytes_and_a_repeat_changes_nothing(tmp_path):
    archive = DirectoryArchive(str(tmp_path / "archive"))
    for _ in range(2):
        archive.put("a/b/c.json", b"body", sha256=SHA256)
    assert files(tmp_path / "archive") == {"a/b/c.json": b"body"}


@pytest.mark.parametrize("bad", ["../out.json", "/out.json", "a/../../out.json"])
def test_nothing_is_written_outside_the_directory(tmp_path, bad):
    with pytest.raises(ItemRefused):
        DirectoryArchive(str(tmp_path / "archive")).put(bad, b"x", sha256=SHA256)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "number, kind",
    [(errno.ENOSPC, Outage), (errno.EIO, Outage), (errno.EDQUOT, Outage), (errno.EROFS, ConfigurationError),
     (errno.EACCES, ConfigurationError), (errno.ENAMETOOLONG, ItemRefused)],
)  # fmt: skip
def test_a_failed_write_leaves_nothing_and_says_whose_fault_it_is(tmp_path, monkeypatch, number, kind):
    archive = DirectoryArchive(str(tmp_path))

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(s3_writer.os, "fsync", fail)
    (tmp_path / "a").mkdir()
    with pytest.raises(kind):
        archive.put("a/c.json", b"body", sha256=SHA256)
    assert files(tmp_path) == {}


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="--archive-dir"):
        DirectoryArchive(str(tmp_path / "file" / "archive"))
