"""How fast a scrub reads: never more than its rate, and next to nothing while others are at work."""

from collections.abc import Awaitable, Callable
from typing import Final

from agent.uplink import Rate

OPEN_BYTES: Final = 1 << 16
"""To open a file costs as much as to read so many bytes: a million small ones are no reason to use a whole core."""

PATIENCE_S: Final = 60.0
"""How long a piece waits for others who are at work: of a device that is never idle some 60 MB are read in an hour,
or 60 payloads that are smaller than a piece."""

LOOK_S: Final = 1.0
"""How often it is looked whether others are at work still."""

Wait = Callable[[float], Awaitable[None]]


class Budget:
    """Lets pieces through one by one; ``busy`` tells whether others are at work, time is an argument."""

    def __init__(
        self, rate_bytes_s: int, *, busy: Callable[[], bool], clock_s: Callable[[], float], wait: Wait
    ) -> None:
        self._rate = Rate(rate_bytes_s, now_s=clock_s())
        self._busy = busy
        self._clock_s = clock_s
        self._wait = wait
        self.hurried = 0
        """Somebody waits for the answer: then others who are at work are not waited for, and the rate holds still."""

    async def spend(self, size_bytes: int) -> None:
        """Return when so many bytes may be read."""
        pause_s = self._rate.take(size_bytes, self._clock_s())
        if pause_s > 0:
            await self._wait(pause_s)
        waited_s = 0.0
        while self._busy() and not self.hurried and waited_s < PATIENCE_S:
            await self._wait(LOOK_S)
            waited_s += LOOK_S
