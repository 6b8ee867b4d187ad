"""Commands on one database and one archive, as a shell would run them, for tests of `sweep`."""

import contextlib
import json

import db
import main
from foundation.clock import SYSTEM_CLOCK

CLOCK = SYSTEM_CLOCK._replace(sleep=lambda seconds: None)
REPO = "acme/widgets"


class Pipeline:
    """And what the tables say."""

    def __init__(self, server, path, folder, capsys):
        self.server, self.path, self.folder, self._capsys = server, path, folder, capsys
        self.environ = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": "t", "HOME": str(folder)}

    def run(self, command, *options):
        """(exit code, its JSON)."""
        self._capsys.readouterr()
        code = main.main([command, "--json", "-q", "--db", self.path, *options], self.environ, CLOCK)
        out = self._capsys.readouterr().out
        return code, json.loads(out) if out else None

    def fill(self, *options, repos=(REPO,)):
        """Everything up to now: ingested and worked off."""
        assert self.run("ingest", *(f"--repo={repo}" for repo in repos), "--all", *options)[0] == 0
        self.work()

    def work(self):
        assert self.run("worker", "--archive-dir", str(self.folder / "archive"), "--layout", "batch")[0] == 0

    def sweep(self, *options):
        return self.run("sweep", "--repo", REPO, *options)

    def ask(self, statement):
        with contextlib.closing(db.connect(self.path)) as conn:
            return [tuple(row) for row in conn.execute(statement)]

    def gone(self, table="issues"):
        """number -> what is said of it."""
        columns = "number, gone_reason, moved_to" if table == "issues" else "id, gone_at"
        rows = self.ask(f"SELECT {columns} FROM {table} WHERE gone_at IS NOT NULL")
        return {row[0]: row[1:] if table == "issues" else True for row in rows}


def issues(repo, count=None):
    return of_stream(repo, "issues")[:count]


def of_stream(repo, stream):
    return sorted(number for of, number in repo.known() if of == stream)
