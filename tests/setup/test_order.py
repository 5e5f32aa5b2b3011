"""Long tests begin first, each at another worker, and no test is lost or doubled."""

import pytest

from tests.order import long_first


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 6, 11, 40])
@pytest.mark.parametrize("long", [0, 1, 3])
def test_long_ones_stand_at_the_starts_of_the_stretches_and_the_others_keep_their_order(
    workers: int, count: int, long: int
) -> None:
    tests = list(range(count))
    marked = tests[-long:] if long else []
    order = long_first(tests, marked, workers=workers)

    assert sorted(order) == tests
    assert [test for test in order if test not in marked] == [test for test in tests if test not in marked]
    begins, left = 0, count
    for worker in range(workers):
        stretch = left // (workers - worker)
        if worker < len(marked) and stretch:
            assert order[begins] == marked[worker]
        begins, left = begins + stretch, left - stretch
