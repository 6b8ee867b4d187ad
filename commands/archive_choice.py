"""Which archive a command is to use: a bucket or a directory, from options and environment."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

from foundation import settings
from foundation.errors import ConfigurationError
from lake.objects import Archive, ObjectOptions

if TYPE_CHECKING:
    from s3_writer import S3Archive

PLAIN = ObjectOptions()
NOTHING_THERE = "no object of this project is there; check --archive-dir (or --bucket) and --prefix"
MAX_TAGS = 10  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html


class Place(NamedTuple):
    """What tells one archive, and a prefix in it, from every other; `str()` of it is fit for a message.

    `directory` is the real path; `endpoint` is empty for AWS, where a bucket's name is the only one of its kind.
    """

    bucket: str | None
    endpoint: str
    directory: str | None
    prefix: str

    @property
    def text(self) -> str:
        """As the database keeps it."""
        return json.dumps(self)

    @staticmethod
    def of_text(text: str) -> Place:
        return Place(*json.loads(text))

    def __str__(self) -> str:
        where = f"directory {self.directory}" if self.directory is not None else f"bucket {self.bucket}"
        return where + (f" at {self.endpoint}" if self.endpoint else "") + f", below {self.prefix!r}"


class Location(NamedTuple):
    """One of the two; `str()` of it is fit for a message."""

    bucket: str | None
    directory: str | None

    def __str__(self) -> str:
        return f"bucket {self.bucket}" if self.directory is None else f"directory {self.directory}"

    def place(self, prefix: str, environ: Mapping[str, str]) -> Place:
        if self.directory is not None:
            return Place(None, "", os.path.realpath(self.directory), prefix)
        url = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
        endpoint = "" if settings.is_aws(url) else re.sub(r"//[^/]*@", "//", url).rstrip("/")
        return Place(self.bucket, endpoint, None, prefix)


def how_to_bring(there: Place, here: Place) -> str:
    """The command that copies what lies in the one place to the other; it changes no key, and so no prefix."""
    if there.prefix != here.prefix:
        return f"keys keep their prefix when they are copied; to go on there: --prefix {shlex.quote(there.prefix)}"
    if there.bucket and here.bucket and there.endpoint != here.endpoint:
        return "copy it to a directory first, then from there (main.py copy, each with its own AWS_ENDPOINT_URL_S3)"
    source = f"--archive-dir {shlex.quote(there.directory)}" if there.directory else f"--bucket {there.bucket}"
    target = f"--to-archive-dir {shlex.quote(here.directory)}" if here.directory else f"--to-bucket {here.bucket}"
    prefix = "" if there.prefix == settings.DEFAULT_PREFIX else f" --prefix {shlex.quote(there.prefix)}"
    return f"bring them: python main.py copy {source} {target}{prefix}"


def locate(*, bucket: str | None, archive_dir: str | None, environ: Mapping[str, str]) -> Location:
    """Raises ConfigurationError unless exactly one is given; BUCKET_NAME counts where no option does."""
    if bucket and archive_dir:
        raise ConfigurationError("--bucket and --archive-dir exclude each other; give one")
    if not archive_dir:
        bucket = bucket or _bucket_of(environ)
    if not bucket and not archive_dir:
        raise ConfigurationError("no archive: give --bucket NAME (or set BUCKET_NAME), or --archive-dir DIR")
    return Location(bucket, archive_dir)


def _bucket_of(environ: Mapping[str, str]) -> str | None:
    named = environ.get("BUCKET_NAME")
    try:
        return settings.bucket(named) if named else None
    except ValueError as error:
        raise ConfigurationError(f"BUCKET_NAME: {error}") from error


def object_options(
    storage_class: str | None,
    encryption: str | None,
    kms_key_id: str | None,
    tags: Sequence[tuple[str, str]],
    *,
    is_local: bool,
) -> ObjectOptions:
    """Raises ConfigurationError for options that do not go together."""
    if kms_key_id and not (encryption or "").startswith("aws:kms"):
        raise ConfigurationError("--sse-kms-key-id needs --sse aws:kms")
    if len(tags) > MAX_TAGS:
        raise ConfigurationError(f"S3 takes {MAX_TAGS} tags an object; leave out some --tag")
    objects = ObjectOptions(storage_class, encryption, kms_key_id, tuple(tags))
    if is_local and objects.parameters():
        raise ConfigurationError("--storage-class, --sse and --tag are S3's; with --archive-dir leave them out")
    return objects


def open_archive(
    location: Location,
    *,
    threads: int,
    environ: Mapping[str, str],
    user_agent: str,
    options: ObjectOptions = PLAIN,
    only_read: bool = False,
) -> Archive:
    """Raises ConfigurationError where it can't be opened; with `only_read`, where it is not there."""
    if location.directory is not None:
        from lake.local import DirectoryArchive

        return DirectoryArchive(location.directory, only_read=only_read)
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
