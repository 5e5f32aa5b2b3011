"""The one place of the simulated cloud that reads the clock; everything else is given the time.

The simulator shares no code with the agent, so it has its own.
"""

import time


def now_s() -> int:
    """Return the seconds since the Unix epoch, as claims want them (docs/protocol.md §2)."""
    return int(time.time())  # noqa: TID251 - this is the simulator's own clock module


def monotonic_s() -> float:
    """Return a clock for deadlines."""
    return time.monotonic()  # noqa: TID251 - this is the simulator's own clock module
