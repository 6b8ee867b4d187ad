"""The archive on a local disk: the tree that S3 would hold, each file whole or not at all.

Decides what a failed write means, as s3_writer.py does for S3.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from foundation import errors, timestamps
from foundation.errors import ConfigurationError, Outage, PipelineError
from lake import objects
from lake.objects import Described, Fetched, ItemRefused, Object

log = logging.getLogger("pipeline.archive")

# Files under way lie here, so that no reader of the tree ever meets half of one.
INCOMING = ".incoming"
# What a killed process left there is thrown away at a later start; no write takes as long.
STALE_SECONDS = 86400
# Texts of private repositories are for their owner alone, whatever the umask; rights are widened on purpose only.
FOLDER_MODE, FILE_MODE = 0o700, 0o600


class DirectoryArchive:
    """Each file is on disk, and so is its name, before `put` returns. Safe to use from several threads."""

    def __init__(self, root: str, *, only_read: bool = False) -> None:
        """Makes the directory, unless it is `only_read`: then it must be there."""
        try:
            self._root = Path(root).resolve()
            self._incoming = self._root / INCOMING
            if only_read:
                os.listdir(self._root)
            else:
                self._make_folder(self._incoming)
                self._tidy()
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle, before Python 3.13
            if isinstance(error, OSError) and errors.is_passing(error):
                raise errors.of_system(error, f"archive directory {root!r}") from error
            said = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"archive directory {root!r}: {said}; check --archive-dir") from error

    def _tidy(self) -> None:
        self._remove_stale(self._incoming.iterdir())

    def _remove_stale(self, paths: Iterable[Path]) -> None:
        """Ages are measured against a file made now: the disk's clock, which may be another machine's, counts.

        By the time of the last change of any kind (ctime): `put` sets the other one.
        """
        probe = self._incoming / uuid.uuid4().hex
        self._write(probe, b"")
        stale = probe.stat().st_ctime - STALE_SECONDS
        probe.unlink()
        for left in paths:
            with contextlib.suppress(FileNotFoundError):  # another process tidies up as well
                if left.stat().st_ctime < stale:
                    left.unlink()

    def remove_stale(self, keys: Sequence[str]) -> None:
        """Of files that are made in their place: those that a killed process left unfinished, a day ago or longer."""
        try:
            if keys:
                self._remove_stale(self._root / key for key in keys)
        except OSError as error:
            raise self._explain(error) from error

    def put(self, made: Object) -> None:
        target = self._root / made.key
        if self._root not in target.parents or ".." in target.parts:
            raise ItemRefused("its key would lie outside the archive directory")
        temporary = self._incoming / uuid.uuid4().hex
        try:
            self._write(temporary, made.body)
            # A file has no metadata; its time is when its content was fetched.
            fetched = timestamps.to_nanoseconds(made.fetched_order)
            os.utime(temporary, ns=(fetched, fetched))
            self._make_folder(target.parent)
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise self._explain(error) from error

    def keys(self, folder: str) -> Iterator[str]:
        base = self._root / folder
        if self._root not in (base, *base.parents) or ".." in base.parts:
            raise ConfigurationError(f"prefix {folder!r} lies outside the archive directory; check --prefix")
        try:
            if base.is_dir():
                yield from self._walk(str(base), folder)
        except OSError as error:
            raise self._read_error(error, error.filename) from error

    def _walk(self, base: str, folder: str) -> Iterator[str]:
        """Names of one folder at a time, sorted: no list of a million keys is made.

        Links to folders are not followed: two that lead back would have no end.
        """
        with os.scandir(base) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{folder}{entry.name}/")
            elif entry.is_symlink() and os.path.isdir(entry.path):
                log.warning("%s is a link to a folder, and is not looked into", entry.path)
            else:
                yield folder + entry.name

    def get(self, key: str) -> Fetched:
        path = self._root / key
        try:
            # To open a pipe would wait for somebody who writes into it.
            if os.path.lexists(path) and not path.is_file():
                raise objects.Damaged("no file, and no link to one")
            return Fetched(path.read_bytes(), timestamps.from_nanoseconds(path.stat().st_mtime_ns))
        except OSError as error:
            raise self._read_error(error, key) from error

    def describe(self, key: str) -> Described | None:
        try:
            if not os.path.lexists(self._root / key):
                return None
            made = objects.stored(key, self.get(key))
        except objects.Damaged:
            return None
        except OSError as error:
            raise self._read_error(error, key) from error
        return Described(len(made.body), made.fetched_order, made.sha256)

    def remove(self, key: str) -> None:
        """Raises ConfigurationError or Outage; it may be gone already."""
        try:
            with contextlib.suppress(FileNotFoundError):
                (self._root / key).unlink()
        except OSError as error:
            raise self._explain(error) from error

    def _read_error(self, error: OSError, name: str) -> PipelineError:
        said = f"archive directory {str(self._root)!r}, {name}: {error.strerror}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT):
            return ConfigurationError(f"{said}; check --archive-dir and its permissions")
        return Outage(f"{said}; mend the disk, then run again")

    def _make_folder(self, folder: Path) -> None:
        """Create the folder, and make its entry in each new parent durable."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for made in reversed(missing):
            made.mkdir(mode=FOLDER_MODE, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)

    @staticmethod
    def _write(path: Path, body: bytes) -> None:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    def _explain(self, error: OSError) -> ItemRefused | PipelineError:
        said = f"archive directory {str(self._root)!r}: {error.strerror}"
        if error.errno == errno.ENAMETOOLONG:
            return ItemRefused(said)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR):
            return ConfigurationError(f"{said}; check --archive-dir and its permissions")
        return Outage(f"{said}; make room or mend the disk, then run again")


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once the folder that holds the name is (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
