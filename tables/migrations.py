"""What brings the tables from one version to the next, for both engines."""

from __future__ import annotations

from typing import NamedTuple

from tables import views


class Twin(NamedTuple):
    """A step of a migration that the engines have no common words for."""

    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


def _read_anew(table: str) -> Twin:
    """Whoever empties a table wants all objects read again, as with `issues`."""
    return Twin(
        (f"CREATE TRIGGER rebuild_anew_{table} AFTER DELETE ON {table} BEGIN DELETE FROM rebuild_read; END",),
        (
            f"CREATE TRIGGER rebuild_anew AFTER DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION rebuild_anew()",
        ),
    )


# SQLite has no words to drop a CHECK, and a copy of the tables would copy each payload. What is stored does not depend
# on it, so the text of the table may be changed where it stands: https://www.sqlite.org/lang_altertable.html, "Making
# Other Kinds Of Table Schema Changes". RESET reads the schema anew; the tables made next tell other connections to.
_WITHOUT_CHECKS = (
    Twin(
        (
            "PRAGMA writable_schema = ON",
            """
            UPDATE sqlite_master
            SET sql = replace(sql, ' CHECK (item_type IN (''issue'', ''pull_request''))', '')
            WHERE type = 'table' AND name IN ('queue_items', 'issues')
            """,
            """
            UPDATE sqlite_master SET sql = replace(sql, ' CHECK (stream IN (''issues'', ''pulls''))', '')
            WHERE type = 'table' AND name = 'ingest_state'
            """,
            "PRAGMA writable_schema = RESET",
        ),
        (
            "ALTER TABLE queue_items DROP CONSTRAINT queue_items_item_type_check",
            "ALTER TABLE issues DROP CONSTRAINT issues_item_type_check",
            "ALTER TABLE ingest_state DROP CONSTRAINT ingest_state_stream_check",
        ),
    ),
)
_TABLES_OF_STREAMS = (
    """
    CREATE TABLE comments (
        kind TEXT NOT NULL,
        id INTEGER NOT NULL,
        repo TEXT NOT NULL,
        number INTEGER NOT NULL,
        author TEXT,
        author_type TEXT,
        author_association TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        review_id INTEGER,
        in_reply_to_id INTEGER,
        path TEXT,
        html_url TEXT,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    )
    """,
    # What the views ask for lies in the indexes, so that they read no row for each comment and each event.
    "CREATE INDEX comments_by_item ON comments (repo, number, created_at, kind, author, author_type, review_id)",
    """
    CREATE TABLE reviews (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        number INTEGER NOT NULL,
        author TEXT,
        author_type TEXT,
        author_association TEXT,
        state TEXT NOT NULL,
        submitted_at TEXT,
        updated_at TEXT NOT NULL,
        "commit" TEXT,
        html_url TEXT,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    "CREATE INDEX reviews_by_item ON reviews (repo, number, submitted_at, state, author, author_type)",
    """
    CREATE TABLE item_events (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        actor TEXT,
        actor_type TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        label TEXT,
        assignee TEXT,
        requested_reviewer TEXT,
        requested_team TEXT,
        review_requester TEXT,
        milestone TEXT,
        rename_from TEXT,
        rename_to TEXT,
        commit_id TEXT,
        state_reason TEXT,
        lock_reason TEXT,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    "CREATE INDEX item_events_by_item ON item_events (repo, number, created_at)",
    """
    CREATE INDEX item_events_of_draft ON item_events (repo, number, created_at, id, event)
    WHERE event IN ('ready_for_review', 'convert_to_draft')
    """,
    "CREATE INDEX item_events_reopened ON item_events (repo, number, event) WHERE event = 'reopened'",
    """
    CREATE TABLE pull_details (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        number INTEGER NOT NULL,
        additions INTEGER,
        deletions INTEGER,
        changed_files INTEGER,
        commits INTEGER,
        merged_by TEXT,
        merged_by_type TEXT,
        merge_commit TEXT,
        review_decision TEXT,
        reviews INTEGER,
        updated_at TEXT NOT NULL,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    "CREATE INDEX pull_details_by_item ON pull_details (repo, number)",
    """
    CREATE TABLE milestones (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        number INTEGER NOT NULL,
        title TEXT NOT NULL,
        state TEXT NOT NULL,
        due_on TEXT,
        open_issues INTEGER,
        closed_issues INTEGER,
        creator TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        closed_at TEXT,
        html_url TEXT,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    # GitHub gives labels no times: `updated_at` is the epoch, and `fetched_order` decides.
    """
    CREATE TABLE labels (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        name TEXT NOT NULL,
        color TEXT,
        description TEXT,
        is_default INTEGER,
        updated_at TEXT NOT NULL,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE releases (
        id INTEGER NOT NULL PRIMARY KEY,
        repo TEXT NOT NULL,
        tag TEXT NOT NULL,
        name TEXT,
        target TEXT,
        author TEXT,
        author_type TEXT,
        is_draft INTEGER,
        is_prerelease INTEGER,
        created_at TEXT NOT NULL,
        published_at TEXT,
        updated_at TEXT NOT NULL,
        html_url TEXT,
        s3_key TEXT NOT NULL,
        payload_sha256 TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        fetched_order TEXT NOT NULL
    )
    """,
    # Pull requests whose details are still to be asked for, and the version that was seen of them.
    """
    CREATE TABLE pull_work (
        repo TEXT NOT NULL, number INTEGER NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (repo, number)
    )
    """,
    # Who does not count as somebody who answers (lower case).
    "CREATE TABLE ignored_users (login TEXT NOT NULL PRIMARY KEY)",
)
_VIEWS = Twin(views.SQLITE, views.POSTGRES)
# Until here rows kept the name that they were fetched under; what further streams bring would not find them by it.
_PRESENT_NAMES = """
    UPDATE issues SET repo = (SELECT a.repo FROM repo_aliases a WHERE a.alias = lower(issues.repo))
    WHERE lower(repo) IN (SELECT alias FROM repo_aliases)
"""
_FILLED_BY_STREAMS = ("comments", "reviews", "item_events", "pull_details", "milestones", "labels", "releases")


# One entry a version; a database knows how many of them it has had. Append, never edit. The types are SQLite's, which
# `postgres.ddl` translates.
# `payload` stands last so that reading or counting the small columns never walks its overflow pages.
# Partial indexes, each in the order of one query: claims, dead owners, the dead letters, ages of done rows.
MIGRATIONS: tuple[tuple[str | Twin, ...], ...] = (
    (
        """
        CREATE TABLE queue_items (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            repo TEXT NOT NULL,
            item_type TEXT NOT NULL CHECK (item_type IN ('issue', 'pull_request')),
            item_id INTEGER NOT NULL,
            number INTEGER NOT NULL,
            updated_at TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'done', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            available_at TEXT NOT NULL DEFAULT '1970-01-01T00:00:00Z',
            claim_token TEXT,
            lease_until TEXT,
            last_error TEXT,
            s3_key TEXT,
            fetched_at TEXT NOT NULL,
            finished_at TEXT,
            payload TEXT NOT NULL,
            UNIQUE (item_type, item_id, payload_sha256)
        )
        """,
        "CREATE INDEX queue_items_pending ON queue_items (id, available_at, fetched_at) WHERE status = 'pending'",
        "CREATE INDEX queue_items_processing ON queue_items (lease_until, claim_token) WHERE status = 'processing'",
        "CREATE INDEX queue_items_failed ON queue_items (id) WHERE status = 'failed'",
        "CREATE INDEX queue_items_done ON queue_items (finished_at) WHERE status = 'done'",
        """
        CREATE TABLE issues (
            id INTEGER NOT NULL,
            item_type TEXT NOT NULL CHECK (item_type IN ('issue', 'pull_request')),
            repo TEXT NOT NULL,
            number INTEGER NOT NULL,
            title TEXT NOT NULL,
            state TEXT NOT NULL,
            state_reason TEXT,
            draft INTEGER,
            author TEXT,
            author_association TEXT,
            assignees TEXT NOT NULL,
            labels TEXT NOT NULL,
            milestone TEXT,
            comments INTEGER,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            closed_at TEXT,
            merged_at TEXT,
            lead_time_hours REAL,
            base_ref TEXT,
            head_ref TEXT,
            html_url TEXT,
            s3_key TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            processed_at TEXT NOT NULL,
            PRIMARY KEY (item_type, id)
        )
        """,
        "CREATE INDEX issues_by_repo ON issues (repo, item_type, number)",
        """
        CREATE TABLE ingest_state (
            repo TEXT NOT NULL,
            stream TEXT NOT NULL CHECK (stream IN ('issues', 'pulls')),
            cursor TEXT,
            covered_since TEXT,
            etag TEXT,
            etag_url TEXT,
            scan TEXT,
            last_run_at TEXT,
            last_success_at TEXT,
            last_error TEXT,
            PRIMARY KEY (repo, stream)
        )
        """,
        # Names under which a repository was asked for and found under another one (renamed, moved).
        "CREATE TABLE repo_aliases (alias TEXT NOT NULL PRIMARY KEY, repo TEXT NOT NULL)",
    ),
    (
        # How often a group that held the row came to grief as a whole: its process died, or its batch was refused.
        "ALTER TABLE queue_items ADD COLUMN group_failures INTEGER NOT NULL DEFAULT 0",
        # The object that a begun batch goes into; its rows have it in common until the object is there (s3_key).
        "ALTER TABLE queue_items ADD COLUMN batch_key TEXT",
        """
        CREATE INDEX queue_items_begun ON queue_items (batch_key, id)
        WHERE status = 'pending' AND batch_key IS NOT NULL
        """,
        """
        CREATE INDEX queue_items_archived ON queue_items (id, available_at)
        WHERE status = 'pending' AND s3_key IS NOT NULL
        """,
        """
        CREATE INDEX queue_items_by_day ON queue_items (item_type, substr(updated_at, 1, 10), id)
        WHERE status = 'pending'
        """,
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            command TEXT NOT NULL,
            owner TEXT NOT NULL,
            started_at TEXT NOT NULL,
            ended_at TEXT,
            exit_code INTEGER,
            note TEXT
        )
        """,
        "CREATE INDEX runs_by_command ON runs (command, id)",
    ),
    (
        # So that `status` and `prune` read no row of queue_items itself, an index must hold `status`, although it has
        # but one value there.
        "DROP INDEX queue_items_pending",
        "DROP INDEX queue_items_processing",
        "DROP INDEX queue_items_failed",
        "DROP INDEX queue_items_done",
        """
        CREATE INDEX queue_items_pending ON queue_items (id, available_at, fetched_at, status)
        WHERE status = 'pending'
        """,
        """
        CREATE INDEX queue_items_processing ON queue_items (lease_until, claim_token, status)
        WHERE status = 'processing'
        """,
        "CREATE INDEX queue_items_failed ON queue_items (id, last_error, status) WHERE status = 'failed'",
        "CREATE INDEX queue_items_done ON queue_items (finished_at, status) WHERE status = 'done'",
        """
        CREATE INDEX queue_items_waiting ON queue_items (available_at, status)
        WHERE status = 'pending' AND available_at > '1970-01-01T00:00:00Z'
        """,
        "DROP INDEX queue_items_archived",
        """
        CREATE INDEX queue_items_archived ON queue_items (s3_key, id)
        WHERE status = 'pending' AND s3_key IS NOT NULL
        """,
        # How far an unfinished `rebuild` has come; `scope` says of what.
        "CREATE TABLE rebuild_state (scope TEXT NOT NULL PRIMARY KEY, after_key TEXT NOT NULL)",
    ),
    (
        # Orders two versions that GitHub shows with one `updated_at`.
        "ALTER TABLE issues ADD COLUMN fetched_order TEXT NOT NULL DEFAULT ''",
    ),
    (
        # A repository is its numeric id; `repo` is the name that it has at present.
        "ALTER TABLE ingest_state ADD COLUMN repo_id INTEGER",
        # The newest item when the last scan ended: where it is seen again, the list is the same repository's.
        "ALTER TABLE ingest_state ADD COLUMN newest_item_id INTEGER",
        # Items that GitHub could not give (JSON): where they lie, to be asked for again.
        "ALTER TABLE ingest_state ADD COLUMN gaps TEXT",
        # Which objects an unfinished `rebuild` has read; `scope` says of what. It is forgotten with the rows that came
        # of it: whoever empties `issues` wants them all again.
        "DROP TABLE rebuild_state",
        "CREATE TABLE rebuild_read (scope TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID",
        Twin(
            ("CREATE TRIGGER rebuild_anew AFTER DELETE ON issues BEGIN DELETE FROM rebuild_read; END",),
            (
                """
                CREATE FUNCTION rebuild_anew() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN DELETE FROM rebuild_read; RETURN NULL; END $$
                """,
                """
                CREATE TRIGGER rebuild_anew AFTER DELETE OR TRUNCATE ON issues
                FOR EACH STATEMENT EXECUTE FUNCTION rebuild_anew()
                """,
            ),
        ),
        # Where a begun batch is to go (`batch_key` says as what).
        "ALTER TABLE queue_items ADD COLUMN batch_place TEXT",
        # Where items were archived or copied last, and how many.
        "CREATE TABLE archives (place TEXT NOT NULL PRIMARY KEY, items INTEGER NOT NULL)",
        # How many of the target's items lie in the source as well.
        """
        CREATE TABLE copies (
            source TEXT NOT NULL, target TEXT NOT NULL, items INTEGER NOT NULL, PRIMARY KEY (source, target)
        )
        """,
        # What only one run may do at a time, and which run (owners.py) does it.
        "CREATE TABLE locks (name TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, since TEXT NOT NULL)",
    ),
    (
        # Where a run works: several hosts may share a PostgreSQL.
        "ALTER TABLE runs ADD COLUMN host TEXT",
        Twin(
            (),
            (
                # Processes that work on the database, and until when they said last that they live (heartbeats.py).
                """
                CREATE TABLE owners (
                    token TEXT NOT NULL PRIMARY KEY,
                    host TEXT NOT NULL,
                    pid INTEGER NOT NULL,
                    birth TEXT NOT NULL,
                    is_stopping boolean NOT NULL,
                    alive_until TEXT NOT NULL
                )
                """,
                # A row is written three times in its life, and its old versions are read over until they are vacuumed
                # away: so soon, and with room on the page for the new ones.
                """
                ALTER TABLE queue_items SET (
                    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
                )
                """,
                # The payload is never changed: outside of the row it is not written again, and to compress it takes
                # longer than to store it (python -m benchmarks queues).
                "ALTER TABLE queue_items ALTER COLUMN payload SET STORAGE EXTERNAL",
                "ALTER TABLE owners SET (fillfactor = 50)",
            ),
        ),
    ),
    # What the further streams bring. The types of items and the names of streams are the code's from here on.
    (*_WITHOUT_CHECKS, *_TABLES_OF_STREAMS, *map(_read_anew, _FILLED_BY_STREAMS), _PRESENT_NAMES, _VIEWS),
    # What GitHub shows no more: the last tombstone of each item, and what it says of the item's own row.
    (
        """
        CREATE TABLE gone (
            kind TEXT NOT NULL,
            id INTEGER NOT NULL,
            repo TEXT NOT NULL,
            number INTEGER NOT NULL,
            gone_at TEXT,
            gone_reason TEXT,
            moved_to TEXT,
            updated_at TEXT NOT NULL,
            s3_key TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            processed_at TEXT NOT NULL,
            fetched_order TEXT NOT NULL,
            PRIMARY KEY (kind, id)
        )
        """,
        _read_anew("gone"),
        "ALTER TABLE issues ADD COLUMN gone_at TEXT",
        "ALTER TABLE issues ADD COLUMN gone_reason TEXT",
        "ALTER TABLE issues ADD COLUMN moved_to TEXT",
        "ALTER TABLE comments ADD COLUMN gone_at TEXT",
        "ALTER TABLE reviews ADD COLUMN gone_at TEXT",
    ),
    # The order of the queue in words that PostgreSQL finds in no other index (`queue_order`, engines/connection.py).
    (
        Twin(
            (),
            (
                "DROP INDEX queue_items_pending, queue_items_begun, queue_items_archived, queue_items_by_day",
                """
                CREATE INDEX queue_items_pending ON queue_items ((id + 0), available_at, fetched_at, status)
                WHERE status = 'pending'
                """,
                """
                CREATE INDEX queue_items_begun ON queue_items (batch_key, (id + 0))
                WHERE status = 'pending' AND batch_key IS NOT NULL
                """,
                """
                CREATE INDEX queue_items_archived ON queue_items (s3_key, (id + 0))
                WHERE status = 'pending' AND s3_key IS NOT NULL
                """,
                """
                CREATE INDEX queue_items_by_day ON queue_items (item_type, substr(updated_at, 1, 10), (id + 0))
                WHERE status = 'pending'
                """,
            ),
        ),
    ),
    (Twin(views.SQLITE_WITH_GONE, views.POSTGRES_WITH_GONE),),
)
