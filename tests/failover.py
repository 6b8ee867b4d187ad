"""A PostgreSQL and its standby, which follows it by streaming replication and can take over."""

import shutil

from tests.postgres_server import PostgresServer, programs

NO_STANDBY = "this PostgreSQL comes without pg_basebackup"


def is_possible():
    return (programs() / "pg_basebackup").exists()


class Standby(PostgresServer):
    """https://www.postgresql.org/docs/current/warm-standby.html; it only reads until `promote`."""

    def __init__(self, primary, **options):
        self._primary = primary
        super().__init__(**options)

    def _make_cluster(self):
        shutil.rmtree(self._directory / "data", ignore_errors=True)
        source = self._primary.url(application_name="standby")
        self._run("pg_basebackup", "-d", source, "-D", self._directory / "data", "-R", "-c", "fast", "--no-sync")

    def has_all(self):
        """Of what the primary has written by now."""
        with self._primary.connect() as conn:
            written = conn.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
        with self.connect() as conn:
            return conn.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchone()[0]

    def promote(self):
        with self.connect() as conn:
            assert conn.execute("SELECT pg_promote()").fetchone()[0]


class Pair:
    """`address(database)`: of whichever of the two writes."""

    def __init__(self):
        self.primary = PostgresServer()
        self.database = self.primary.migrated()
        self.standby = Standby(self.primary)

    def address(self):
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return self.primary.url(self.database, target_session_attrs="read-write").replace(
            f"127.0.0.1:{self.primary.port}", hosts
        )

    def wait_for_standby(self):
        """From now on each commit that is durable waits until the standby has it."""
        with self.primary.connect() as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            conn.execute("SELECT pg_reload_conf()")

    def fail_over(self):
        self.primary.kill()
        self.standby.promote()

    def close(self):
        self.standby.close()
        self.primary.close()
