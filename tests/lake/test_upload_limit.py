from lake.upload_limit import CALM_UPLOADS, UploadLimit


def size(limit):
    with limit.place() as found:
        return found


def test_each_round_of_refusals_halves_it_once():
    limit = UploadLimit(8)
    assert [limit.lower(8) for _ in range(5)] == [True] * 5  # eight that were under way together
    assert size(limit) == 4
    assert limit.lower(8)
    assert size(limit) == 4
    assert [limit.lower(4), size(limit), limit.lower(2), size(limit)] == [True, 2, True, 1]
    assert [limit.lower(8), size(limit)] == [True, 1]  # one that was under way all the time


def test_one_upload_at_a_time_can_not_get_fewer():
    assert not UploadLimit(1).lower(1)


def test_it_grows_again_by_one_after_a_calm_while_and_never_beyond_what_was_asked_for():
    limit = UploadLimit(3)
    limit.lower(3)
    sizes = []
    for _ in range(3):
        for _ in range(CALM_UPLOADS):
            limit.succeeded()
        sizes.append(size(limit))
    assert sizes == [2, 3, 3]


def test_a_refusal_begins_the_calm_while_anew():
    limit = UploadLimit(4)
    limit.lower(4)
    for _ in range(CALM_UPLOADS - 1):
        limit.succeeded()
    limit.lower(4)
    limit.succeeded()
    assert size(limit) == 2
