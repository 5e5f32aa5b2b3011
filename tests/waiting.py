"""The patience for what another process does: looking again, with a deadline."""

import os
import threading
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from agent.clock import monotonic_s, system_clock

T = TypeVar("T")

AT_MOST: Final = "PATIENCE_AT_MOST_S"
"""Of the environment: for a run that is to fail, which mostly waits for what does not come."""

SELDOM: Final = 8
"""In such a run, looking again waits for this part of what was waited already: a look may be a process of its own."""


def at_most(within_s: float) -> float:
    """Return how long to wait for something that is to come within that time: shorter in a run that is to fail."""
    return min(within_s, float(os.environ.get(AT_MOST, "inf")))


def until(
    found: Callable[[], T | Literal[False] | None], *, what: str, within_s: float = 60.0, pace_s: float = 0.05
) -> T:
    """Poll until something true is found and return it; fails naming what was waited for."""
    pace = threading.Event()
    within_s = at_most(within_s)
    began = monotonic_s()
    while (waited_s := monotonic_s() - began) < within_s:
        value = found()
        if value:
            return value
        pace.wait(max(pace_s, waited_s / SELDOM) if AT_MOST in os.environ else pace_s)
    raise AssertionError(f"after {within_s} s still not: {what}")


def until_the_next_second() -> None:
    """Wait until what is signed bears a later second than what was done before: of the same one it may be too late."""
    clock = system_clock(source="system")
    began_s = clock().wall_ms // 1000
    until(lambda: clock().wall_ms // 1000 > began_s, what="the next second", pace_s=0.01)
