"""The order of tests among workers: those that take minutes begin at once, so that no worker waits for one at the end.

pytest-xdist (``worksteal``) gives each worker one stretch of the list, which it goes through from its start; what is
left at the end of a stretch is given to whoever has nothing to do.
"""

from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def long_first(tests: list[T], long: list[T], *, workers: int) -> list[T]:
    """Return the tests with the long ones, in their order, at the starts of the workers' stretches in turn."""
    others = iter([test for test in tests if test not in long])
    heads = [long[worker::workers] for worker in range(workers)]
    found: list[T] = []
    for head, size in zip(heads, _stretches(len(tests), workers), strict=True):
        found += head[:size]
        found += [test for _, test in zip(range(size - len(head)), others, strict=False)]
    return [*found, *(test for test in long if test not in found), *others]


def _stretches(count: int, workers: int) -> Iterator[int]:
    """Yield how many tests each worker gets."""
    for left in range(workers, 0, -1):
        yield count // left
        count -= count // left
