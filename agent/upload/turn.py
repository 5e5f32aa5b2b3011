"""Which object is uploaded next: by priority of its rule, then in the order in which the vault gives them.

Large objects take only some of the places, so that a photo never waits for a film; who failed waits for its time.
"""

from collections.abc import Iterable
from typing import Final

from agent.model import Object
from agent.policy import Policy

PLACES: Final = 6
LARGE_PLACES: Final = 2
LARGE_BYTES: Final = 8 * 1024 * 1024
FIRST_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 3600.0
_MOST_DOUBLINGS: Final = 16
_MOST_REMEMBERED: Final = 10_000  # beyond it the oldest failures are forgotten, that is: tried again sooner


class Turn:
    """Who runs, who waits until when. Time is an argument."""

    def __init__(self) -> None:
        self.running: dict[str, Object] = {}
        self._until_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def next(self, queued: Iterable[Object], *, policy: Policy, now_s: float) -> tuple[Object, ...]:
        """Return the objects that may start now, in order; the caller still asks the judge."""
        free = PLACES - len(self.running)
        large_free = LARGE_PLACES - sum(one.size_bytes >= LARGE_BYTES for one in self.running.values())
        chosen: list[Object] = []
        for item in sorted(queued, key=lambda item: -_priority(policy, item)):
            if len(chosen) >= free:
                break
            if item.id in self.running or self._until_s.get(item.id, now_s) > now_s:
                continue
            if item.size_bytes >= LARGE_BYTES:
                if large_free <= 0:
                    continue
                large_free -= 1
            chosen.append(item)
        return tuple(chosen)

    def failed(self, object_id: str, now_s: float) -> None:
        """Let an object wait, longer at each failure in a row."""
        count = self._failures.get(object_id, 0) + 1
        self._failures[object_id] = count
        self.wait(object_id, now_s + _wait_s(count))

    def lost(self, object_id: str, now_s: float, *, times: int) -> None:
        """Let an object that its store lost go at once the first of these ``times``, then wait longer each time."""
        if times > 1:
            self.wait(object_id, now_s + _wait_s(times - 1))

    def wait(self, object_id: str, until_s: float) -> None:
        """Let an object wait until then."""
        self._until_s.pop(object_id, None)
        self._until_s[object_id] = until_s
        while len(self._until_s) > _MOST_REMEMBERED:
            oldest = next(iter(self._until_s))
            del self._until_s[oldest]
            self._failures.pop(oldest, None)

    def done(self, object_id: str) -> None:
        """Forget an object that needs no turn any more."""
        self._until_s.pop(object_id, None)
        self._failures.pop(object_id, None)

    def clear(self) -> None:
        """Let everybody try again: policy, rights or the key set changed."""
        self._until_s.clear()
        self._failures.clear()


def _wait_s(failures: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))


def _priority(policy: Policy, item: Object) -> int:
    rule = policy.rule_for(item.camera, item.category)
    return rule.priority if rule is not None else -1
