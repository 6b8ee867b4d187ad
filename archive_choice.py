"""Which archive a command is to use: a bucket or a directory, from options and environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, NamedTuple

from archive import Archive, ObjectOptions
from errors import ConfigurationError

if TYPE_CHECKING:
    from s3_writer import S3Archive

PLAIN = ObjectOptions()


class Location(NamedTuple):
    """One of the two; `str()` of it is fit for a message."""

    bucket: str | None
    directory: str | None

    def __str__(self) -> str:
        return f"bucket {self.bucket}" if self.directory is None else f"directory {self.directory}"


def locate(*, bucket: str | None, archive_dir: str | None, environ: Mapping[str, str]) -> Location:
    """Raises ConfigurationError unless exactly one is given; BUCKET_NAME counts where no option does."""
    if bucket and archive_dir:
        raise ConfigurationError("--bucket and --archive-dir exclude each other; give one")
    if not archive_dir:
        bucket = bucket or environ.get("BUCKET_NAME")
    if not bucket and not archive_dir:
        raise ConfigurationError("no archive: give --bucket NAME (or set BUCKET_NAME), or --archive-dir DIR")
    return Location(bucket, archive_dir)


def open_archive(
    location: Location, *, threads: int, environ: Mapping[str, str], user_agent: str, options: ObjectOptions = PLAIN
) -> Archive:
    """Raises ConfigurationError where it can't be opened."""
    if location.directory is not None:
        from local_archive import DirectoryArchive

        return DirectoryArchive(location.directory)
    return open_bucket(location, threads=threads, environ=environ, user_agent=user_agent, options=options)


def open_bucket(
    location: Location, *, threads: int, environ: Mapping[str, str], user_agent: str, options: ObjectOptions = PLAIN
) -> S3Archive:
    """Raises ConfigurationError where no client can be made. Imports boto3, which nothing else needs."""
    try:
        from s3_writer import S3Archive
    except ImportError as error:
        raise ConfigurationError(f"S3 needs boto3: {error}; install it: pip install -r requirements.txt") from error
    return S3Archive(
        bucket=location.bucket or "", threads=threads, environ=environ, user_agent=user_agent, options=options
    )
