"""Only when it is named: a million rows against ten thousand. Five minutes."""

from benchmarks.engines import LENGTH, POSTGRES, SQLITE, Place
from benchmarks.measure import at_most, compare

MILLION = 1_000_000


def cases(rounds):
    seconds = {}
    for length in (LENGTH, MILLION):
        with Place(length) as place:
            # A copy of a million takes minutes, and lacks little of them afterwards.
            contestants = [
                place.contestant(name, "work", LENGTH // 2, copied=length == LENGTH) for name in (SQLITE, POSTGRES)
            ]
            case = f"queue of {length:,} rows, claim and complete"
            for row in compare(case, contestants, items=LENGTH // 2, rounds=rounds):
                seconds[row.name, length] = row.seconds
    return [
        at_most(f"{name}: {MILLION:,} rows against {LENGTH:,}", seconds[name, MILLION] / seconds[name, LENGTH], 1.3)
        for name in (SQLITE, POSTGRES)
    ]
