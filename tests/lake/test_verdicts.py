import pytest

from foundation.errors import EXIT_CONFIGURATION
from foundation.records import ClaimedItem
from lake.uploads import Ending, JobResult, Outcome
from lake.verdicts import Faults

DONE, STOPPED = Ending.DONE, Ending.STOPPED
REFUSED, PARTED, SURPRISED = Ending.REFUSED, Ending.PARTED, Ending.SURPRISED


def ended(ending, *ids, error=""):
    """How a job with these rows ended."""
    items = [ClaimedItem(i, "a/b", "issue", i, i, "", b"", "", 0, None, 0, "2026-01-01T00:00:00Z") for i in ids]
    return JobResult([Outcome(item, ending, error=error) for item in items])


def in_turn(*results):
    faults = Faults()
    for result in results:
        assert faults.followed_by(result) == []
    return faults


def told(outcomes):
    return [(outcome.item.id, outcome.ending, outcome.error) for outcome in outcomes]


def test_what_goes_well_is_certain_at_once():
    assert told(Faults().followed_by(ended(DONE, 1, 2))) == [(1, DONE, ""), (2, DONE, "")]


def test_what_goes_well_after_faults_blames_the_item_that_was_alone_and_parts_a_batch():
    faults = in_turn(ended(SURPRISED, 1, error="why"), ended(PARTED, 2, 3, error="large"), ended(SURPRISED, 4, 5))
    assert told(faults.followed_by(ended(DONE, 6))) == [
        (1, REFUSED, "why"), (2, PARTED, "large"), (3, PARTED, "large"),
        (4, PARTED, ""), (5, PARTED, ""), (6, DONE, ""),
    ]  # fmt: skip
    assert (len(faults), faults.blame_the_items()) == (0, [])


def test_what_was_stopped_says_nothing_of_the_faults_before_it():
    faults = in_turn(ended(REFUSED, 1), ended(STOPPED, 2))
    assert told(faults.blame_the_items()) == [(1, REFUSED, "")]


@pytest.mark.parametrize("ending", [SURPRISED, REFUSED])
def test_fewer_than_three_faults_have_no_common_cause(ending):
    faults = in_turn(ended(ending, 1, error="why"), ended(ending, 2, error="why"))
    assert (len(faults), faults.are_many, faults.common_cause()) == (2, False, None)


def test_the_rows_of_one_batch_are_one_fault():
    assert not in_turn(ended(PARTED, 1, 2, 3, error="why")).are_many


def test_three_surprises_are_the_machines_fault_whatever_they_say_and_the_last_is_named():
    faults = in_turn(*(ended(SURPRISED, i, error=f"E{i}") for i in (1, 2, 3)))
    cause = faults.common_cause()
    assert (faults.are_many, cause.exit_code) == (True, EXIT_CONFIGURATION)
    assert str(cause).startswith("unexpected E3, 3 times in turn")


def test_three_refusals_of_items_or_batches_for_one_reason_are_a_settings_fault():
    faults = in_turn(ended(REFUSED, 1, error="too long"), *(ended(PARTED, i, i + 1, error="too long") for i in (2, 4)))
    assert str(faults.common_cause()).startswith("too long, 3 times in turn")


@pytest.mark.parametrize("third", [ended(REFUSED, 3, error="another"), ended(SURPRISED, 3, error="another")])
def test_refusals_for_different_reasons_have_no_common_cause(third):
    assert in_turn(ended(REFUSED, 1, error="why"), ended(REFUSED, 2, error="why"), third).common_cause() is None
