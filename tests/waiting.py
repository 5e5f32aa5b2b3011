"""The patience for what another process does: looking again, with a deadline."""

import os
import threading
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from agent.clock import monotonic_s

T = TypeVar("T")

AT_MOST: Final = "PATIENCE_AT_MOST_S"
"""Of the environment: for a run that is to fail, which mostly waits for what does not come."""


def until(
    found: Callable[[], T | Literal[False] | None], *, what: str, within_s: float = 60.0, pace_s: float = 0.05
) -> T:
    """Poll until something true is found and return it; fails naming what was waited for."""
    pace = threading.Event()
    within_s = min(within_s, float(os.environ.get(AT_MOST, "inf")))
    deadline = monotonic_s() + within_s
    while monotonic_s() < deadline:
        value = found()
        if value:
            return value
        pace.wait(pace_s)
    raise AssertionError(f"after {within_s} s still not: {what}")
