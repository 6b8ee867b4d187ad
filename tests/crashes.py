"""Worker processes that are killed: at a named point, or by the test at any moment.

A zygote imports the pipeline once and forks each worker, so that a kill in the first milliseconds is as likely as any.
"""

import functools
import os
import signal
import socket
import subprocess
import sys

from tests.environments import ROOT

# Where a worker can be made to kill itself: (module or class, function, before or after its call).
POINTS = {
    "after the claim": ("worker.RowsInHand", "claim", "after"),
    "before the upload": ("STORE", "put", "before"),
    "after the upload": ("STORE", "put", "after"),
    "before the commit": ("worker.RowsInHand", "_record_all", "after"),
    "after the commit": ("worker.RowsInHand", "_committed", "before"),
}


class Zygote:
    """`start(*arguments)` forks a process that runs `main.py` with these arguments, and returns its pid."""

    def __init__(self, env, log):
        self._log = open(log, "wb")  # noqa: SIM115 - for as long as the zygote lives
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashes"], cwd=str(ROOT), env={**os.environ, **env},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, universal_newlines=True, bufsize=1,
        )  # fmt: skip

    def start(self, *arguments):
        return int(self._ask("start", *arguments))

    def kill(self, pid, number=signal.SIGKILL):
        """Returns True where the process still lived."""
        return self._ask("kill", pid, int(number)) == "killed"

    def wait(self, pid):
        """Its exit code; negative for a signal."""
        return int(self._ask("wait", pid))

    def is_running(self, pid):
        return self._ask("poll", pid) == "running"

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._log.close()

    def _ask(self, *words):
        self._process.stdin.write("\t".join(map(str, words)) + "\n")
        return self._process.stdout.readline().strip()


def die_at(point, number):
    """Let this process kill itself when it passes the point for the `number`-th time."""
    import worker
    from lake import local

    place, name, when = POINTS[point]
    passed = []

    def pass_by():
        passed.append(1)
        if len(passed) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    stores = [local.DirectoryArchive, *([sys.modules["s3_writer"].S3Archive] if has_bucket() else [])]
    for owner in stores if place == "STORE" else [worker.RowsInHand]:
        setattr(owner, name, _wrapped(getattr(owner, name), when, pass_by))


def die_at_statement(number):
    """Let this process kill itself before its `number`-th statement, in whichever engine."""
    import sqlite3

    from engines import session
    from tests.test_nth import Counter, counting_connect, counting_connect_to_server

    class Killer:
        def __init__(self):
            self.counter = Counter()

        def __call__(self):
            self.counter()
            if self.counter.count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    killer = Killer()
    sqlite3.connect = counting_connect(killer)
    session.Session.connect = counting_connect_to_server(killer)


def die_over(marker):
    """Let this process kill itself over each payload that holds the marker, as a crash in a parser does."""
    from github import fields

    original = fields.parse_payload

    def parse(payload):
        if marker.encode() in payload:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(payload)

    fields.parse_payload = parse


def _wrapped(original, when, pass_by):
    def wrapper(*arguments, **options):
        if when == "before":
            pass_by()
        result = original(*arguments, **options)
        if when == "after":
            pass_by()
        return result

    return wrapper


class _Children:
    """In the zygote: what it has forked, and how they ended."""

    def __init__(self):
        self.ended = {}

    def start(self, *arguments):
        _import_for(arguments)
        pid = os.fork()
        if pid == 0:
            _become_worker(arguments)
        return pid

    def poll(self, pid):
        if int(pid) not in self.ended:
            found, status = os.waitpid(int(pid), os.WNOHANG)
            if not found:
                return "running"
            self.ended[found] = status
        return "ended"

    def kill(self, pid, number):
        if self.poll(pid) == "ended":
            return "ended"
        os.kill(int(pid), int(number))
        return "killed"

    def wait(self, pid):
        if int(pid) not in self.ended:
            self.ended[int(pid)] = os.waitpid(int(pid), 0)[1]
        status = self.ended[int(pid)]
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _import_for(arguments):
    """What serve() need not have for all: once, and not in each fork."""
    if arguments[0].startswith("die at statement:"):
        import tests.test_nth  # noqa: F401
    if any(argument.startswith("postgresql:") for argument in arguments):
        import psycopg  # noqa: F401

        import engines.postgres  # noqa: F401


def _become_worker(arguments):
    import main
    from foundation.clock import SYSTEM_CLOCK

    code = 70
    try:
        os.dup2(2, 1)  # stdout is where the zygote answers
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if arguments[0].startswith("die:"):
            point, number = arguments[0][4:].split(":")
            die_at(point, int(number))
            arguments = arguments[1:]
        elif arguments[0].startswith("die over:"):
            die_over(arguments[0][9:])
            arguments = arguments[1:]
        elif arguments[0].startswith("die at statement:"):
            die_at_statement(int(arguments[0][17:]))
            arguments = arguments[1:]
        if arguments[0].startswith("host:"):
            socket.gethostname = functools.partial(str, arguments[0][5:])
            arguments = arguments[1:]
        clock = SYSTEM_CLOCK
        if arguments[0].startswith("clock:"):
            ahead = float(arguments[0][6:])
            clock = clock._replace(now=lambda: SYSTEM_CLOCK.now() + ahead)
            arguments = arguments[1:]
        code = main.main(arguments, clock=clock)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def has_bucket():
    return "BUCKET_NAME" in os.environ


def serve():
    import commands.ingest  # noqa: F401 - what a fork needs is there before
    import commands.worker  # noqa: F401
    import main  # noqa: F401

    if has_bucket():
        import s3_writer  # noqa: F401 - half of the time that all this takes

    children = _Children()
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        print(getattr(children, command)(*words), flush=True)


if __name__ == "__main__":
    serve()
