"""The threads that do a worker's jobs."""

import threading
import weakref

import pytest

from lake.uploads import Job, JobResult, UnderWay

SOON = 10.0  # far longer than anything here takes


class Row:
    """Stands in for a claimed row; what holds it can be seen."""

    payload = b"{}"


def work(job):
    return JobResult([job])


def taken(under_way):
    results = []
    while under_way.count:
        results += under_way.take_ended(seconds=SOON)
    return results


@pytest.mark.parametrize("jobs, threads", [(1, 4), (4, 4), (9, 4)])
def test_each_job_is_done_once_by_no_more_threads_than_are_needed(jobs, threads):
    under_way = UnderWay(threads)
    used = set()

    def note(job):
        used.add(threading.get_ident())
        return work(job)

    given = [Job([Row()]) for _ in range(jobs)]
    for job in given:
        under_way.begin(note, job)
    assert (under_way.count, under_way.payload_bytes) == (jobs, 2 * jobs)
    assert sorted(id(result.outcomes[0]) for result in taken(under_way)) == sorted(map(id, given))
    assert len(used) <= min(jobs, threads)
    assert (under_way.count, under_way.payload_bytes) == (0, 0)
    under_way.leave()


def test_what_a_job_raises_is_raised_where_results_are_taken():
    under_way = UnderWay(2)

    def fail(job):
        raise SystemExit("not even an Exception")

    under_way.begin(fail, Job([Row()]))
    with pytest.raises(SystemExit):
        taken(under_way)
    assert under_way.count == 0
    under_way.begin(work, Job([Row()]))  # the thread has survived it
    assert len(taken(under_way)) == 1
    under_way.leave()


def test_a_job_is_not_begun_where_there_is_no_room_for_a_thread(monkeypatch):
    under_way = UnderWay(2)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            under_way.begin(work, Job([Row()]))
    assert under_way.count == 0 and under_way.take_ended(seconds=0) == []
    under_way.begin(work, Job([Row()]))  # there is room again
    assert len(taken(under_way)) == 1
    under_way.leave()


def test_leaving_waits_for_nothing_and_ends_the_threads_that_are_idle():
    under_way, may_end = UnderWay(2), threading.Event()
    before = set(threading.enumerate())
    under_way.begin(lambda job: may_end.wait(SOON) and work(job), Job([Row()]))
    (thread,) = set(threading.enumerate()) - before
    under_way.leave()
    assert thread.is_alive() and thread.daemon
    may_end.set()
    thread.join(SOON)
    assert not thread.is_alive()


def test_an_idle_thread_keeps_nothing_of_its_last_job():
    under_way, row = UnderWay(1), Row()
    gone = threading.Event()
    weakref.finalize(row, gone.set)
    under_way.begin(lambda job: JobResult([]), Job([row]))
    taken(under_way)
    del row
    assert gone.wait(SOON)
    under_way.leave()
