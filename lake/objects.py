"""What an archive is: its keys, what an object holds, and how it says no.

The two archives, s3_writer.py and local_archive.py, hold the same tree. Pure: no network, no disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import urllib.parse
import zlib
from typing import Any, Iterator, NamedTuple, Protocol, Sequence

from foundation import timestamps
from foundation.errors import Outage
from foundation.records import Row
from foundation.settings import is_repo_name
from github import fields
from github.streams import KINDS
from github.streams.stream import Kind
from tables.columns import FILLED

JSON_TYPE = "application/json"
# The name says gzip; a Content-Encoding beside it would make clients unpack it unasked.
BATCH_TYPE = "application/gzip"
# Level 6 takes over twice the time for a tenth fewer bytes (python -m benchmarks worker).
GZIP_LEVEL = 3
GZIP_WBITS = 31  # a gzip header, without time or name (https://docs.python.org/3/library/zlib.html#zlib.compressobj)
PACKED_AT_A_TIME = 64  # lines of a batch: a whole one need not be in memory once more
UNPACKED_BYTES = 2**20  # of a batch at a time: each of many threads may read one


class Damaged(Exception):
    """An object in the archive is not whole, or is none; the message says why."""


class ItemRefused(Exception):
    """The archive takes others but not this item; the message says why."""


class Throttled(Outage):
    """The archive asks for fewer requests at a time."""


class DamagedOnTheWay(Outage):
    """The archive received other bytes than were sent, and says so."""


class Object(NamedTuple):
    """One object as it is stored. `sha256` (hex) is that of the content, before any compression.

    `fetched_order`: when GitHub showed the (last of the) payloads, as timestamps.with_order makes it.
    """

    key: str
    body: bytes
    sha256: str
    content_type: str
    fetched_order: str


class Fetched(NamedTuple):
    """What the archive gives back of an object; the hash is empty where the archive keeps none."""

    body: bytes
    fetched_order: str
    sha256: str = ""


class Described(NamedTuple):
    """An object without its body: enough to tell that another archive holds the same."""

    size: int
    fetched_order: str
    sha256: str


class ObjectOptions(NamedTuple):
    """What S3 is told about each object beside its content; None and () leave the bucket's own defaults."""

    storage_class: str | None = None
    encryption: str | None = None  # AES256 (SSE-S3) or aws:kms
    kms_key_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def parameters(self) -> dict[str, str]:
        """As PutObject takes them (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html)."""
        given = {
            "StorageClass": self.storage_class,
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key_id,
            "Tagging": urllib.parse.urlencode(self.tags),
        }
        return {name: value for name, value in given.items() if value}


class Archive(Protocol):
    def put(self, made: Object) -> None:
        """Store the object, whole or not at all; returns once it is durable.

        Raises ItemRefused, ConfigurationError, Throttled or another Outage.
        """

    def keys(self, folder: str) -> Iterator[str]:
        """The keys below `folder` (which ends with a slash). Raises ConfigurationError or Outage."""

    def get(self, key: str) -> Fetched:
        """Raises Damaged (no object lies there), ConfigurationError (one that is gone is that, too) or Outage."""

    def describe(self, key: str) -> Described | None:
        """None where there is no such object, or none that is whole. Raises as `get` does."""

    def remove(self, key: str) -> None:
        """Nothing that is archived is ever deleted: for `publish`. Raises as `keys` does; it may be gone already."""


class Version(Protocol):
    """One version of an item, as the queue keeps it."""

    @property
    def repo(self) -> str: ...
    @property
    def item_type(self) -> str: ...
    @property
    def item_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def updated_at(self) -> str: ...
    @property
    def fetched_order(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def payload_sha256(self) -> str: ...


def object_key(prefix: str, version: Version) -> str:
    """The key of an object of its own: a pure function of what GitHub sent.

    Raises ItemRefused for parts that GitHub never sends and a path must not hold.
    """
    moment = timestamps.normalise(version.updated_at)
    if moment is None or not is_repo_name(version.repo) or not re.match(r"[0-9a-f]{64}\Z", version.payload_sha256):
        raise ItemRefused(
            "no archive key can be made: the row's repository, time or hash are not as ingest writes them"
        )
    ending = str(version.item_id) if KINDS[version.item_type].is_known_by_id else version.payload_sha256[:12]
    # What has no number, as labels, would share its keys with others.
    number = version.number or version.item_id
    name = f"{number}-{moment.replace('-', '').replace(':', '')}-{ending}.json"
    return f"{_partition(prefix, version.item_type, moment)}/{version.repo}/{name}"


def batch_key(prefix: str, versions: Sequence[Version]) -> str:
    """The key of a batch, a pure function of its members, which share item type and day.

    A counter would start over with a lost database, and write over objects of before.
    """
    first = versions[0]
    moment = timestamps.normalise(first.updated_at) or timestamps.EPOCH
    members = "\n".join(f"{v.item_type} {v.item_id} {v.payload_sha256}" for v in versions)
    name = hashlib.sha256(members.encode("utf-8")).hexdigest()[:32]
    return f"{_partition(prefix, first.item_type, moment)}/batch-{name}.jsonl.gz"


def single(prefix: str, version: Version) -> Object:
    """The object of one version: the payload's bytes. Raises ItemRefused as `object_key` does."""
    key = object_key(prefix, version)
    return Object(key, version.payload, version.payload_sha256, JSON_TYPE, version.fetched_order)


def batch(key: str, versions: Sequence[Version]) -> Object:
    """The object of many: each payload on a line of its own, compressed; the same members give the same bytes.

    A JSON text holds line breaks only between its tokens, where a space means the same.
    """
    content, packer, packed = hashlib.sha256(), zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WBITS), []
    for first in range(0, len(versions), PACKED_AT_A_TIME):
        some = versions[first : first + PACKED_AT_A_TIME]
        lines = b"".join([_on_one_line(version.payload) + b"\n" for version in some])
        content.update(lines)
        packed.append(packer.compress(lines))
    body = b"".join([*packed, packer.flush()])
    return Object(key, body, content.hexdigest(), BATCH_TYPE, max(version.fetched_order for version in versions))


# What `keys` may find, other programs' files among it.
_KEY = re.compile(
    r"dt=\d{4}-\d\d-\d\d/"
    r"(?:(?P<repo>[^/]+/[^/]+)/\d+-\d{8}T\d{6}Z-(?P<ending>[0-9a-f]+)\.json|batch-[0-9a-f]{32}\.jsonl\.gz)\Z",
    re.ASCII,
)


class Stored(NamedTuple):
    """What a key says. `repo` None: a batch, of whichever repositories."""

    item_type: str
    repo: str | None


def folders(prefix: str) -> dict[str, str]:
    """Item type -> the folder that holds its objects."""
    return {kind.item_type: f"{prefix}{kind.folder}/" for kind in KINDS.values()}


def parse_key(prefix: str, key: str) -> Stored | None:
    """None for a key that this project does not make."""
    for item_type, folder in folders(prefix).items():
        match = _KEY.match(key[len(folder) :]) if key.startswith(folder) else None
        if match is None:
            continue
        if match["repo"] is None or (is_repo_name(match["repo"]) and _may_end_with(item_type, match["ending"])):
            return Stored(item_type, match["repo"])
    return None


def _may_end_with(item_type: str, ending: str) -> bool:
    if KINDS[item_type].is_known_by_id:
        return ending.isdecimal() and len(ending) < 20
    return len(ending) == 12


def payloads(key: str, fetched: Fetched) -> Iterator[bytes]:
    """The payloads in an object, one after the other.

    Raises Damaged, perhaps after some of them, where its bytes are not what its key and its hash speak of.
    """
    content = hashlib.sha256()
    for part in _content(key, fetched.body):
        content.update(part)
        yield part.rstrip(b"\n") if is_batch(key) else part
    _compare(key, fetched, content.hexdigest())


def _content(key: str, body: bytes) -> Iterator[bytes]:
    """What the hash of an object is made of: a payload, or the lines of a batch."""
    if not is_batch(key):
        yield body
        return
    try:
        with io.BufferedReader(gzip.GzipFile(fileobj=io.BytesIO(body)), UNPACKED_BYTES) as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"not whole: {error}") from error


def _compare(key: str, fetched: Fetched, sha256: str) -> None:
    if is_batch(key) and sha256 == _SHA256_OF_NOTHING:  # an empty file is a whole one to gzip
        raise Damaged("not whole: no line is in it")
    is_named_so = is_batch(key) or key.endswith(f"-{_ending(key, fetched.body, sha256)}.json")
    if fetched.sha256 not in ("", sha256) or not is_named_so:
        raise Damaged("its bytes are not those that its hash was made of")


def _ending(key: str, payload: bytes, sha256: str) -> str:
    """What the key of an object of its own has to end with."""
    kind = _kind_of(key)
    if kind is None or not kind.is_known_by_id:
        return sha256[:12]
    try:
        return str(kind.id_in(fields.parse_payload(payload)))
    except fields.ExtractionError as error:
        raise Damaged(f"not whole: {error}") from error


def _kind_of(key: str) -> Kind | None:
    """By its folder, which stands before the day."""
    folder = key.rpartition("/dt=")[0].rpartition("/")[2]
    return next((kind for kind in KINDS.values() if kind.folder == folder), None)


_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()


def is_batch(key: str) -> bool:
    return key.endswith(".gz")


def stored(key: str, fetched: Fetched) -> Object:
    """The object as it was put. Raises Damaged as `payloads` does."""
    content = hashlib.sha256()
    for part in _content(key, fetched.body):
        content.update(part)
    sha256 = content.hexdigest()
    _compare(key, fetched, sha256)
    fetched_order = fetched.fetched_order
    if timestamps.normalise(fetched_order) is None:  # of another program's making
        fetched_order = timestamps.with_order(timestamps.EPOCH, 0)
    return Object(key, fetched.body, sha256, BATCH_TYPE if is_batch(key) else JSON_TYPE, fetched_order)


def newest(rows: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """The rows of each payload of a batch, in its order, without those that a later one of them replaces.

    Its lines stand in the order in which they were fetched, which tells two versions of one `updated_at` apart.
    """
    last = {_version_of(row): place for place, some in enumerate(rows) for row in some}
    return [[row for row in some if last[_version_of(row)] == place] for place, some in enumerate(rows)]


def _version_of(row: Row) -> tuple[Any, ...]:
    return (row.table, row.columns["updated_at"], *(row.columns[name] for name in FILLED[row.table].key))


def _on_one_line(payload: bytes) -> bytes:
    return payload.replace(b"\r", b" ").replace(b"\n", b" ")


def _partition(prefix: str, item_type: str, moment: str) -> str:
    return f"{prefix}{KINDS[item_type].folder}/dt={moment[:10]}"
