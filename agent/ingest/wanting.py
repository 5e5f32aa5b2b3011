"""What was refused for want of room and waits still: the alert ``disk_full`` ends when none does, and not before.

Rules: each file counts by itself, since a small one may find room while a large one of the same source does not. It
waits until it is taken in, or is kept out for another reason, or is gone: what is there still is offered again every
ten seconds, so one that was not refused for ``GONE_S`` is not there. All of it is in memory alone: a start looks at
everything anew, and for so long an alert that stands from before is left as it is.
"""

from collections.abc import Callable, Container, Iterable
from typing import Final

GONE_S: Final = 60.0
"""Six times as long as a refused file, stream or camera waits for its next try (``AGAIN_S`` and its like)."""

WAITING_MAX: Final = 4096
"""Files that are remembered, as many as a source tries again; of more the last are."""

Place = tuple[str, str]
"""The name of a source, and a path in it; empty for a stream."""


class Wanting:
    """Belongs to the running event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._refused_s: dict[Place, float] = {}
        self._anew_until_s: float | None = monotonic() + GONE_S

    def refused(self, places: Iterable[Place]) -> None:
        """Note what was refused for want of room just now."""
        self._anew_until_s = None
        for place in places:
            self._refused_s.pop(place, None)
            self._refused_s[place] = self._monotonic()
        while len(self._refused_s) > WAITING_MAX:
            del self._refused_s[next(iter(self._refused_s))]

    def settled(self, places: Iterable[Place], *, since_s: float) -> None:
        """Note what was tried from ``since_s`` on; what was refused anew meanwhile waits still."""
        for place in places:
            if self._refused_s.get(place, since_s) < since_s:
                del self._refused_s[place]

    def waits(self, under_way: Container[Place] = ()) -> bool:
        """Tell whether something waits for room, or may since before the start; what is ``under_way`` is not gone."""
        now_s = self._monotonic()
        for place, refused_s in tuple(self._refused_s.items()):
            if now_s - refused_s >= GONE_S and place not in under_way:
                del self._refused_s[place]
        return bool(self._refused_s) or (self._anew_until_s is not None and now_s < self._anew_until_s)
