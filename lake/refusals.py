"""What deltalake's exceptions mean, in our words; of what S3 refused it the meaning is s3_writer.py's.

Decides for `publish` alone; imports deltalake, as delta.py does.
"""

from __future__ import annotations

import contextlib
import re
from typing import Iterator

from deltalake.exceptions import CommitFailedError

from foundation.errors import AnotherRun, ConfigurationError, Outage, PipelineError

PANIC = "PanicException"  # no Exception, and in no module: what Rust dies of
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STATUS = re.compile(r"\b([1-5]\d\d) [A-Z][A-Za-z]+")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_IN_THE_WAY = re.compile(
    "Permission denied|not permitted|Read-only file system|Not a directory|File exists|does not exist"
)
_BROKEN = re.compile("Json error|No table metadata or protocol found")


class Refused(Exception):
    """S3 said no to a request of deltalake's: the status (0: it said nothing), and the code of its answer.

    `operation`: what was asked for, in boto3's words.
    """

    def __init__(self, status: int, code: str, operation: str) -> None:
        super().__init__(f"{status} {code}")
        self.operation = operation
        self.status = status
        self.code = code


@contextlib.contextmanager
def explained(uri: str, operation: str = "put_object") -> Iterator[None]:
    """deltalake's exceptions in our words; Refused where S3 said no, which s3_writer.py knows the meaning of."""
    try:
        yield
    except (PipelineError, Refused):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        said = " ".join(_COLOURS.sub("", str(error)).replace("\u21b3", " ").split())
        raise _meaning(uri, said, operation, is_taken=isinstance(error, CommitFailedError)) from error


def _meaning(uri: str, said: str, operation: str, *, is_taken: bool) -> Exception:
    if is_taken or "table already exists" in said:
        return AnotherRun(f"{uri} was written by somebody else meanwhile, and is as they left it; run again")
    if _BROKEN.search(said):
        return ConfigurationError(
            f"{uri}: its log is broken ({said[:100]}); move the folder away, the next run makes it anew"
        )
    return _in_s3(uri, said, operation) if uri.startswith("s3:") else _on_disk(uri, said)


def _on_disk(uri: str, said: str) -> PipelineError:
    if "No space left" in said or "Disk quota" in said:
        return Outage(f"{uri}: no room is left; make room on the disk, then run again")
    if _IN_THE_WAY.search(said):
        return ConfigurationError(f"{uri} can't be written; check its owner and permissions, and what lies there")
    return PipelineError(f"{uri}: {said[:300]}")


def _in_s3(uri: str, said: str, operation: str) -> Exception:
    status, code = _STATUS.search(said), _CODE.search(said)
    if status and status[1] == "501":
        return ConfigurationError(f"{uri}: the store answers 501; publish needs one that knows If-None-Match")
    if status or code:
        return Refused(int(status[1]) if status else 0, code[1] if code else "", operation)
    if "redirect without LOCATION" in said:
        return Refused(301, "PermanentRedirect", operation)
    if "necessary privileges" in said:
        return Refused(403, "AccessDenied", operation)
    if "invalid peer certificate" in said:
        why = said.split("invalid peer certificate", 1)[1].strip(" :")[:80]
        wants = "SSL_CERT_FILE has to name the authority that signed it, which can't be the certificate itself"
        return ConfigurationError(f"deltalake refuses S3's certificate ({why}); {wants}")
    if re.search("error sending request|timed? ?out|after \\d+ retries", said, re.IGNORECASE):
        return Outage(f"S3 can't be reached: {said.split(' - ')[-1][:200]}; run again later")
    return PipelineError(f"{uri}: {said[:300]}")
