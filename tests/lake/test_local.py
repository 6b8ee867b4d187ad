import errno
import os

import pytest

from foundation.errors import ConfigurationError, Outage
from lake import local
from lake.local import INCOMING, DirectoryArchive
from lake.objects import Damaged, ItemRefused, Object


def opened(path):
    return DirectoryArchive(str(path))


def made(key, body=b"body"):
    return Object(key, body, "c" * 64, "application/json", "2026-01-01T00:00:00Z")


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_holds_the_bytes_and_a_repeat_changes_nothing(tmp_path):
    archive = opened(tmp_path / "archive")
    for _ in range(2):
        archive.put(made("a/b/c.json"))
    assert files(tmp_path / "archive") == {"a/b/c.json": b"body"}


@pytest.mark.parametrize("bad", ["../out.json", "/out.json", "a/../../out.json"])
def test_nothing_is_written_outside_the_directory(tmp_path, bad):
    with pytest.raises(ItemRefused):
        opened(tmp_path / "archive").put(made(bad))
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "number, kind",
    [(errno.ENOSPC, Outage), (errno.EIO, Outage), (errno.EDQUOT, Outage), (errno.EROFS, ConfigurationError),
     (errno.EACCES, ConfigurationError), (errno.ENAMETOOLONG, ItemRefused)],
)  # fmt: skip
def test_a_failed_write_leaves_nothing_and_says_whose_fault_it_is(tmp_path, monkeypatch, number, kind):
    archive = opened(tmp_path)

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local.os, "fsync", fail)
    with pytest.raises(kind):
        archive.put(made("a/c.json"))
    assert files(tmp_path) == {}


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="--archive-dir"):
        opened(tmp_path / "file" / "archive")


def test_links_in_a_circle_are_a_configuration_error(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ConfigurationError, match="--archive-dir"):
        opened(tmp_path / "circle")


def test_what_a_killed_write_left_is_thrown_away_once_it_is_stale(tmp_path, monkeypatch):
    opened(tmp_path)
    left = tmp_path / INCOMING / "left"
    left.write_text("half")
    opened(tmp_path)
    assert left.exists()
    monkeypatch.setattr(local, "STALE_SECONDS", -1)  # whatever is there is older than that
    opened(tmp_path)
    assert not left.exists()


def test_a_write_under_way_is_left_alone_however_old_its_content(tmp_path, monkeypatch):
    archive, replace = opened(tmp_path), os.replace

    def another_starts(source, target):
        opened(tmp_path)
        replace(source, target)

    monkeypatch.setattr(local.os, "replace", another_starts)
    archive.put(made("a/c.json"))
    assert files(tmp_path) == {"a/c.json": b"body"}


def test_the_file_its_name_and_each_new_folder_are_on_disk_before_put_returns(tmp_path, monkeypatch):
    archive, synced = opened(tmp_path), []
    monkeypatch.setattr(local.os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    archive.put(made("a/b/c.json"))
    for path in ("a/b/c.json", "a/b", "a", "."):
        assert (tmp_path / path).stat().st_ino in synced, path


def test_a_reader_meets_whole_files_only(tmp_path, monkeypatch):
    archive, seen, replace = opened(tmp_path), [], os.replace

    def look(source, target):
        seen.append([name for name in files(tmp_path) if not name.startswith(INCOMING)])
        replace(source, target)

    monkeypatch.setattr(local.os, "replace", look)
    archive.put(made("a/c.json"))
    assert (seen, files(tmp_path)) == ([[]], {"a/c.json": b"body"})


def test_what_is_made_anew_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        opened(tmp_path / "new" / "archive").put(made("a/b/c.json"))
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes.pop("new/archive/a/b/c.json") == 0o600
    assert set(modes.values()) == {0o700}, modes


def test_what_is_no_file_ends_no_reading_and_is_named(tmp_path, caplog):
    archive = opened(tmp_path)
    archive.put(made("a/b/file"))
    (tmp_path / "a" / "link").symlink_to("b/file")
    (tmp_path / "a" / "nowhere").symlink_to("none")
    (tmp_path / "a" / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "a" / "pipe")
    for name in ("loop", "loop2"):
        (tmp_path / "a" / name).symlink_to(".")
    assert list(archive.keys("a/")) == ["a/b/file", "a/circle", "a/link", "a/nowhere", "a/pipe"]
    assert str(tmp_path / "a" / "loop2") in caplog.text
    assert archive.get("a/link").body == b"body"
    for name in ("circle", "nowhere", "pipe"):
        with pytest.raises(Damaged):
            archive.get(f"a/{name}")
        assert archive.describe(f"a/{name}") is None
        archive.put(made(f"a/{name}"))
        assert archive.get(f"a/{name}").body == b"body"


def test_a_file_that_cannot_be_read_or_is_gone_is_named(tmp_path, monkeypatch):
    archive = opened(tmp_path)
    with pytest.raises(ConfigurationError, match="a/gone: No such file"):
        archive.get("a/gone")
    archive.put(made("a/c.json"))

    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(local.Path, "read_bytes", fail)
    with pytest.raises(Outage, match=r"a/c\.json: Input/output error"):
        archive.get("a/c.json")


def test_a_disk_without_room_when_the_directory_is_made_is_an_outage(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local.Path, "mkdir", fail)
    with pytest.raises(Outage, match="make room"):
        opened(tmp_path / "archive")


def test_a_name_that_the_disk_does_not_take_is_one_that_is_not_there(tmp_path):
    assert opened(tmp_path).describe("x" * 300 + "/c.json") is None


def test_folders_that_were_there_keep_their_rights(tmp_path):
    (tmp_path / "a").mkdir(mode=0o755)
    opened(tmp_path).put(made("a/c.json"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
