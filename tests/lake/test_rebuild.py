"""Archive -> `issues`: what a rebuild reads, and what it says of an archive that is not whole."""

import contextlib
import hashlib
import json
import logging
import os
import threading

import pytest

import db
import main
import queue_manager
from commands.archive_choice import Location
from foundation import records
from foundation.clock import SYSTEM_CLOCK
from foundation.errors import ConfigurationError
from foundation.records import Item
from lake import objects, rebuild
from lake.local import DirectoryArchive
from tests import payloads

NOW = "2026-11-23T10:00:00Z"
ENOUGH_SECONDS = 10


def item(number, day=2, **changes):
    updated_at = f"2026-01-{day:02d}T00:00:00Z"
    text = payloads.as_text(payloads.issue(id=number, number=number, updated_at=updated_at, **changes)).encode()
    return Item("issue", number, number, updated_at, text, hashlib.sha256(text).hexdigest())


class Counting(DirectoryArchive):
    """Notes what is read; `stop_at`: a signal comes at that read. `shown`: only so many keys are listed."""

    def __init__(self, root):
        super().__init__(str(root))
        self.reads, self.stop_at, self.shown = [], None, None

    def get(self, key):
        self.reads.append(key)
        if len(self.reads) == self.stop_at:
            raise KeyboardInterrupt
        return super().get(key)

    def keys(self, folder):
        return iter(list(super().keys(folder))[: self.shown])


@pytest.fixture
def store(tmp_path):
    return Counting(tmp_path / "archive")


def put(store, *items, first=1):
    for order, version in enumerate(items, first):
        store.put(objects.single("raw/github/", claimed(version, order)))


def put_batch(store, *items):
    """Returns its key."""
    versions = [claimed(version, order) for order, version in enumerate(items, 1)]
    key = objects.batch_key("raw/github/", versions)
    store.put(objects.batch(key, versions))
    return key


def claimed(version, order=1, repo="acme/widgets"):
    known = {name: getattr(version, name) for name in Item._fields}
    extra = {"id": order, "repo": repo, "attempts": 0, "s3_key": None, "group_failures": 0, "fetched_at": NOW}
    return records.ClaimedItem(**known, **extra)


def run(conn, store, restart=False, **changes):
    usual = {"where": "here", "prefix": "raw/github/", "repos": None, "threads": 1, "clock": SYSTEM_CLOCK}
    made = rebuild.Rebuild(conn=conn, store=store, **{**usual, **changes})
    return made.run(restart=True) if restart else made.run()


@pytest.fixture
def stopped(conn, store, monkeypatch):
    """A rebuild of 20 objects that was stopped after 12 or so."""
    monkeypatch.setattr(rebuild, "COMMIT_ROWS", 1)
    put(store, *(item(number, day=10) for number in range(20)))
    store.stop_at = 12
    with pytest.raises(KeyboardInterrupt):
        run(conn, store)
    store.stop_at = None
    store.reads.clear()


def numbers(conn):
    return sorted(row["number"] for row in conn.execute("SELECT number FROM issues"))


def test_a_rebuild_goes_on_and_says_so(conn, store, stopped, caplog):
    caplog.set_level(logging.INFO)
    result = run(conn, store)
    assert 9 <= result.before <= 11
    assert (len(store.reads), result.listed, result.missing) == (20 - result.before, 20, 0)
    assert f"goes on from {result.before} objects" in caplog.text
    assert "--restart" in caplog.text
    assert numbers(conn) == list(range(20))
    assert run(conn, store).objects == 20  # it had ended: the next begins anew


@pytest.mark.parametrize(
    "change",
    [
        lambda conn, store: {"restart": True},
        lambda conn, store: {"where": "another"},
        lambda conn, store: {"repos": frozenset({"acme/widgets"})},
        lambda conn, store: conn.execute("DELETE FROM issues") and {},
        lambda conn, store: conn.execute("DELETE FROM issues WHERE number = 10") and {},
    ],
    ids=["--restart", "another archive", "other repositories", "the table emptied", "a row deleted"],
)
def test_what_was_read_counts_only_for_the_same_archive_and_table(conn, store, stopped, change):
    result = run(conn, store, **change(conn, store))
    assert (result.before, result.objects, len(store.reads)) == (0, 20, 20)
    assert numbers(conn) == list(range(20))


def test_objects_of_earlier_days_that_came_since_are_read(conn, store, stopped):
    put(store, item(100, day=1), item(101, day=1), first=50)
    result = run(conn, store)
    assert (result.before > 0, result.listed, result.missing) == (True, 22, 0)
    assert numbers(conn) == [*range(20), 100, 101]


def test_objects_that_come_while_it_reads_are_read(conn, store):
    put(store, item(1, day=10))
    get = store.get

    def another_comes(key):
        store.get = get
        put(store, item(2, day=1))
        return get(key)

    store.get = another_comes
    assert (run(conn, store).listed, numbers(conn)) == (2, [1, 2])


@pytest.mark.parametrize("arrivals, listings", [(0, 1), (1, 2), (9, 3)], ids=["nothing", "one", "one each time"])
def test_the_archive_is_listed_until_nothing_new_shows_but_not_for_ever(conn, store, arrivals, listings):
    keys, listed = store.keys, []

    def another_comes(folder):
        if folder == "raw/github/issues/":
            listed.append(folder)
            if len(listed) <= arrivals:
                put(store, item(len(listed)))
        return keys(folder)

    store.keys = another_comes
    result = run(conn, store)
    assert (len(listed), result.objects) == (listings, min(arrivals, listings))


def test_a_commit_is_made_and_told_of_as_soon_as_its_rows_are_there(conn, store, monkeypatch):
    monkeypatch.setattr(rebuild, "COMMIT_ROWS", 2)
    put(store, *(item(number) for number in range(5)))
    told = []
    run(conn, store, on_progress=lambda result: told.append((result.objects, len(numbers(conn)))))
    assert told == [(2, 2), (4, 4), (5, 5)]


def test_each_of_its_threads_has_work_and_no_more_waits_in_memory_than_twice_their_number(conn, store, monkeypatch):
    monkeypatch.setattr(rebuild, "COMMIT_ROWS", 1)
    monkeypatch.setattr(rebuild, "LISTED_ROWS", 1)
    put(store, *(item(number) for number in range(20)))
    keys, get, under_way, used, threads, all_busy = store.keys, store.get, [], [], set(), threading.Event()

    def noting(folder):
        for given, key in enumerate(keys(folder)):
            under_way.append(given - len(used))
            if under_way[-1] == 2 * 3 - 1:  # and this one more
                all_busy.set()
            yield key

    def waiting(key):
        threads.add(threading.get_ident())
        assert all_busy.wait(ENOUGH_SECONDS)
        return get(key)

    store.keys, store.get = noting, waiting
    run(conn, store, threads=3, on_progress=lambda result: used.append(result))
    assert (max(under_way), len(threads)) == (2 * 3 - 1, 3)


def test_a_signal_waits_for_no_answer_to_another_read(conn, store):
    put(store, item(1, day=1), item(2, day=2))
    hangs, goes_on, answered = threading.Event(), threading.Event(), []

    def get(key):
        if "/2-" in key:
            hangs.set()
            goes_on.wait(ENOUGH_SECONDS)
            answered.append(key)
        assert hangs.wait(ENOUGH_SECONDS)
        raise KeyboardInterrupt

    store.get = get
    with pytest.raises(KeyboardInterrupt):
        run(conn, store, threads=2)
    assert answered == []
    goes_on.set()


def test_of_other_repositories_than_those_asked_for_nothing_is_read_and_no_row_is_made(conn, store):
    def of(repo, number):
        return claimed(item(number, repository_url=f"https://api.github.com/repos/{repo}"), number, repo)

    for version in (of("Acme/Widgets", 1), of("acme/gadgets", 2)):
        store.put(objects.single("raw/github/", version))
    put_batch(store, of("Acme/Widgets", 3), of("acme/gadgets", 4))
    result = run(conn, store, repos=frozenset({"acme/widgets"}))
    assert (result.objects, result.listed, numbers(conn)) == (2, 2, [1, 3])
    assert not [key for key in store.reads if "gadgets" in key]


def test_files_of_other_programs_are_passed_over(conn, store):
    put(store, item(1))
    (store._root / "raw" / "github" / "issues" / "notes.txt").write_text("not ours")
    assert run(conn, store) == rebuild.Result(objects=1, items=1, listed=1)


@pytest.mark.parametrize("put_in", [put, put_batch], ids=["object", "batch"])
def test_a_pull_request_stays_one(conn, store, put_in):
    put_in(store, item(1)._replace(item_type="pull_request"))
    run(conn, store)
    assert [row["item_type"] for row in conn.execute("SELECT item_type FROM issues")] == ["pull_request"]


def test_what_cannot_be_read_is_named_with_the_reason_and_the_rest_of_it_is_read(conn, store, caplog):
    cut = put_batch(store, item(1), item(2))
    (store._root / cut).write_bytes((store._root / cut).read_bytes()[:-9])
    without = put_batch(store, item(3), item(4, title=None), item(5, repository_url=None), item(6))
    result = run(conn, store)
    assert (result.objects, result.items, result.unreadable, numbers(conn)) == (2, 2, 3, [3, 6])
    for key, reason in {cut: "not whole", without: "field 'title' is no text"}.items():
        assert f"{key}: {reason}" in caplog.text
    assert f"{without}: the payload does not say which repository" in caplog.text


def test_a_listing_that_shows_less_than_was_read_is_spoken_of(conn, store, stopped):
    store.shown = 4
    result = run(conn, store)
    assert (result.listed, result.missing) == (4, result.before + result.objects - 4)
    assert result.missing > 0


def test_an_archive_that_shows_less_the_second_time_ends_the_command_with_1(store, tmp_path, monkeypatch, capsys):
    class Forgetful(Counting):
        def keys(self, folder):
            self.shown = None if self.shown is None and not self.reads else 4
            return super().keys(folder)

    put(store, *(item(number) for number in range(20)))
    monkeypatch.setattr(
        "commands.archive_choice.open_archive", lambda *arguments, **options: Forgetful(tmp_path / "archive")
    )
    code = main.main(
        ["rebuild", "--json", "--db", str(tmp_path / "pipeline.db"), "--archive-dir", str(tmp_path / "archive")]
    )
    out, err = capsys.readouterr()
    assert (code, json.loads(out)["listed"]) == (1, 4)
    assert "shows 4 objects, and 16 more were read" in err


def test_what_could_not_be_read_is_looked_at_again_by_the_run_that_goes_on(conn, store, stopped):
    key = sorted(store.keys("raw/github/"))[0]
    conn.execute("DELETE FROM rebuild_read WHERE key <> ?", (key,))
    (store._root / key).write_bytes(b"{")
    assert run(conn, store).unreadable == 0  # it had been read before
    assert run(conn, store).unreadable == 1
    store.stop_at = len(store.reads) + 5
    with pytest.raises(KeyboardInterrupt):
        run(conn, store)
    store.stop_at = None
    assert run(conn, store).unreadable == 1


def test_what_is_not_what_was_archived_comes_into_no_row_and_is_named(conn, store, caplog):
    put(store, *(item(number, day=10) for number in (1, 2)))
    versions = [claimed(item(number)) for number in (3, 4)]
    batch = objects.batch(objects.batch_key("raw/github/", versions), versions)
    store.put(batch)
    changed = next(key for key in store.keys("raw/github/") if "/2-" in key)
    (store._root / batch.key).write_bytes(b"")
    (store._root / changed).write_bytes((store._root / changed).read_bytes().replace(b"A title", b"B title"))
    result = run(conn, store)
    assert (result.objects, result.items, result.unreadable, numbers(conn)) == (3, 1, 2, [1])
    assert (batch.key in caplog.text, changed in caplog.text) == (True, True)


def test_what_bears_an_objects_name_and_is_no_file_is_unreadable_and_holds_up_no_other(conn, store, caplog):
    put(store, *(item(number, day=10) for number in (1, 2, 3)))
    _, pipe, link = (store._root / key for key in store.keys("raw/github/"))
    for path in (pipe, link):
        path.unlink()
    os.mkfifo(pipe)
    link.symlink_to("none")
    result = run(conn, store)
    assert (result.objects, result.unreadable, numbers(conn)) == (3, 2, [1])
    assert (pipe.name in caplog.text, link.name in caplog.text) == (True, True)


def test_of_two_versions_of_one_second_in_a_batch_the_later_line_counts(conn, store):
    versions = sorted((item(1, title=title) for title in ("one", "two")), key=lambda version: version.payload_sha256)
    put_batch(store, versions[1], versions[0])  # the hash alone would choose the other one
    run(conn, store)
    assert [row["payload_sha256"] for row in conn.execute("SELECT * FROM issues")] == [versions[0].payload_sha256]


@pytest.mark.parametrize("layout", ["object", "batch"])
@pytest.mark.parametrize("worked_before", [0, 1, 2], ids=["never", "after the first", "after the second"])
def test_of_contents_of_one_second_the_one_fetched_last_is_in_issues_and_in_a_rebuild_too(
    conn, run_main, tmp_path, layout, worked_before
):
    def work():
        assert run_main("worker", "-q", "--archive-dir", "archive", "--layout", layout, "--db", "pipeline.db")[0] == 0

    def found(path):
        with contextlib.closing(db.connect(str(tmp_path / path))) as its:
            return [(row["labels"], row["fetched_order"]) for row in its.execute("SELECT * FROM issues WHERE id = 1")]

    bug, defect = (item(1, labels=[{"name": name}]) for name in ("bug", "defect"))
    for turn, shown in enumerate((bug, defect, bug), 1):
        with db.transaction(conn):
            # Rows between them: a batch takes the time of its last one.
            others = [item(number) for number in range(turn * 100, turn * 100 + 20)]
            queue_manager.enqueue(conn, repo="acme/widgets", items=[shown, *others], now=NOW)
        if turn == worked_before:
            work()
    work()
    assert [labels for labels, _ in found("pipeline.db")] == ['["bug"]']
    assert run_main("rebuild", "-q", "--archive-dir", "archive", "--db", "new.db")[0] == 0
    assert found("new.db") == found("pipeline.db")


def test_a_place_is_told_by_real_path_endpoint_and_prefix(tmp_path, monkeypatch):
    (tmp_path / "one" / "archive").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one" / "archive")
    local = Location(None, "archive")
    monkeypatch.chdir(tmp_path / "one")
    one = local.place("raw/", {})
    assert one == Location(None, str(tmp_path / "link")).place("raw/", {})
    assert one != local.place("other/", {})
    monkeypatch.chdir(tmp_path / "two")
    assert one != local.place("raw/", {})
    bucket = Location("lake", None)
    url = "http://ada:secret@127.0.0.1:9000/"
    assert bucket.place("raw/", {"AWS_ENDPOINT_URL": url}) != bucket.place("raw/", {})
    assert "secret" not in bucket.place("raw/", {"AWS_ENDPOINT_URL_S3": url}).text
    assert bucket.place("", {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"}) == bucket.place("", {})


def test_an_archive_that_is_not_there_is_an_error_and_nothing_is_made(run_main, tmp_path):
    code, out, err = run_main("rebuild", "--archive-dir", "typo", "--json")
    assert (code, out, os.listdir(tmp_path)) == (2, "", [])
    assert "'typo'" in err.splitlines()[-1]


def test_an_archive_may_be_one_that_can_only_be_read(conn, store, tmp_path):
    put(store, item(1))
    only_read = DirectoryArchive(str(tmp_path / "archive"), only_read=True)
    os.rmdir(tmp_path / "archive" / ".incoming")
    assert run(conn, only_read).objects == 1
    assert not (tmp_path / "archive" / ".incoming").exists()
    with pytest.raises(ConfigurationError, match="--archive-dir"):
        DirectoryArchive(str(tmp_path / "archive" / "none"), only_read=True)


@pytest.mark.parametrize("command", [["rebuild"], ["copy", "--to-archive-dir", "other"]])
def test_a_place_in_which_nothing_lies_is_spoken_of(run_main, tmp_path, command):
    (tmp_path / "archive").mkdir()
    code, _, err = run_main(*command, "--archive-dir", "archive", "--prefix", "typo/")
    assert (code, "check --archive-dir (or --bucket) and --prefix" in err) == (0, True)
