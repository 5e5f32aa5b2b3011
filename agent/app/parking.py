"""Who waits because its message was refused, and until when: one of them never stands before the others.

A message that the broker refuses (its access rules, a quota, its size) is refused again when it is sent again at once,
so it waits by itself, longer each time. A broker that does not say so ends the connection instead: what was under way
twice when that happened waits too. Pure; time is an argument.
"""

from collections.abc import Hashable
from typing import Final

import msgspec

FIRST_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 15 * 60.0  # as often as what is not acknowledged is repeated (docs/protocol.md §5, §8)

LINES_LOST: Final = 2
"""A line that ends while a message is under way is weather; the same message again is no chance any more."""

PARKED_MAX: Final = 4096
"""Beyond it the one that was noted first is forgotten, that is: tried again sooner."""


class _Parked(msgspec.Struct):
    refusals: int = 0
    losses: int = 0
    until_s: float = 0.0


class Parking:
    """Back-off of each message by itself."""

    def __init__(self) -> None:
        self._parked: dict[Hashable, _Parked] = {}

    def may_go(self, what: Hashable, now_s: float) -> bool:
        """Tell whether a message may be sent now."""
        found = self._parked.get(what)
        return found is None or found.until_s <= now_s

    def refused(self, what: Hashable, now_s: float) -> None:
        """Let a message wait that the broker refused."""
        found = self._note(what)
        found.refusals += 1
        found.until_s = now_s + _wait_s(found.refusals)

    def lost(self, what: Hashable, now_s: float) -> None:
        """Note that the line ended while a message was under way; let it wait if that was so before."""
        found = self._note(what)
        found.losses += 1
        if found.losses >= LINES_LOST:
            found.until_s = now_s + _wait_s(found.losses - LINES_LOST + 1)

    def sent(self, what: Hashable) -> None:
        """Forget a message that the broker took, or that is gone."""
        self._parked.pop(what, None)

    def reconnected(self) -> None:
        """Let what was refused try again: on another connection other rules may hold."""
        for found in self._parked.values():
            if found.losses < LINES_LOST:
                found.until_s = 0.0

    def due(self, now_s: float) -> tuple[Hashable, ...]:
        """Return the messages whose wait is over."""
        return tuple(what for what, found in self._parked.items() if found.until_s <= now_s)

    def next_s(self, now_s: float) -> float | None:
        """Return in how many seconds the next wait is over; ``None`` when nothing waits."""
        waits = [found.until_s - now_s for found in self._parked.values() if found.until_s > now_s]
        return min(waits, default=None)

    def _note(self, what: Hashable) -> _Parked:
        while what not in self._parked and len(self._parked) >= PARKED_MAX:
            del self._parked[next(iter(self._parked))]
        return self._parked.setdefault(what, _Parked())


def _wait_s(times: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(times - 1, 8))
