"""A connection that the server refuses, in whatever language it speaks: what may pass is an outage, in one line.

What it says at this moment is in its own lc_messages, and the driver keeps the text alone (psycopg/psycopg #242, #194).
"""

import contextlib
import socket
import struct
import threading

import pytest

from engines.postgres_errors import explain
from foundation.errors import ConfigurationError, Outage

ENCRYPTION_WANTED = (80877103, 80877104)  # SSLRequest, GSSENCRequest


class Refusing:
    """Speaks as much of PostgreSQL's protocol as it takes to be refused.

    https://www.postgresql.org/docs/current/protocol-message-formats.html
    """

    def __init__(self, severity, state, said):
        fields = {"S": severity, "V": "FATAL", "C": state, "M": said}
        body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
        self._answer = b"E" + struct.pack("!I", len(body) + 4) + body
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = "postgresql://me:s3cret@127.0.0.1:%d/lake" % self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self._listening.accept()
                with conn, conn.makefile("rwb") as stream:
                    while self._asked(stream) in ENCRYPTION_WANTED:
                        stream.write(b"N")
                        stream.flush()
                    stream.write(self._answer)

    @staticmethod
    def _asked(stream):
        size, what = struct.unpack("!II", stream.read(8))
        stream.read(size - 8)
        return what

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@pytest.mark.parametrize(
    "severity, state, said, code",
    [
        ("FATAL", "28P01", 'password authentication failed for user "me"', 2),
        ("FATAL", "3D000", 'database "lake" does not exist', 2),
        ("FATAL", "57P03", "the database system is starting up", 3),
        ("FATAL", "53300", "sorry, too many clients already", 3),
        ("FATAL", "28P01", "Passwort-Authentifizierung für Benutzer »me« fehlgeschlagen", 3),
        ("ВАЖНО", "57P03", "система баз данных запускается", 3),
        ("致命的エラー", "53300", "現在クライアント数が多すぎます", 3),
    ],
)
def test_a_refusal_is_told_in_a_line_and_one_that_may_pass_is_an_outage(run_main, severity, state, said, code):
    with contextlib.closing(Refusing(severity, state, said)) as server:
        found, out, err = run_main("status", env={"PIPELINE_DB": server.url})
    assert (found, err.count("\n"), said in err, "s3cret" in out + err) == (code, 1, True, False), err
    assert ("refuses the connection" in err) is (code == 3)


PASSING = ("08006", "40001", "40P01", "53100", "53200", "53300", "55006", "55P03", "57014", "57P01", "57P03", "58030",
           "25006")  # fmt: skip
A_PERSONS = ("22021", "28000", "28P01", "3D000", "42501", "42P01", "XX001")


@pytest.mark.parametrize(
    "state, kind", [*((state, Outage) for state in PASSING), *((state, ConfigurationError) for state in A_PERSONS)]
)
def test_an_error_passes_or_is_a_persons_to_mend_by_its_code(state, kind):
    errors = pytest.importorskip("psycopg").errors
    explained = explain(errors.lookup(state)("it says so"), "lake")
    assert (type(explained), "database lake" in str(explained), "it says so" in str(explained)) == (kind, True, True)


@pytest.mark.parametrize(
    "name, said, kind, meant",
    [
        ("OperationalError", "connection failed: Connection refused", Outage, "can't be reached"),
        ("OperationalError", 'failed: FATAL:  role "me" does not exist', ConfigurationError, "can't be used"),
        ("ConnectionTimeout", "connection timeout expired", Outage, "can't be reached"),
        ("ProgrammingError", 'missing "=" after "lake" in connection info string', ConfigurationError, "can't be used"),
    ],
)
def test_without_a_code_what_it_says_decides(name, said, kind, meant):
    explained = explain(getattr(pytest.importorskip("psycopg").errors, name)(said), "lake")
    assert (type(explained), meant in str(explained)) == (kind, True)
