"""Pauses between the tries of what something outside stopped: longer each time, and only in memory.

A start tries everything at once.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from agent.errors import LinkError
from agent.model import Moment

FIRST_AGAIN_MS: Final = 15_000
LONGEST_AGAIN_MS: Final = 3_600_000
WAITING_MAX: Final = 256
"""Commands whose next try is remembered; one that is forgotten is tried at once."""


class _Again(msgspec.Struct, frozen=True):
    """When something is tried again, after which pause, and what went wrong."""

    at_ms: int
    pause_ms: int
    message: str


class Again:
    """When each command is tried again, by its ``jti``."""

    def __init__(self, now: Callable[[], Moment]) -> None:
        self._now = now
        self._waiting: dict[str, _Again] = {}

    def require_over(self, jti: str) -> None:
        """Raise ``LinkError``, with what went wrong, while the pause behind the last try is not over."""
        waits = self._waiting.get(jti)
        if waits is not None and self._now().agent_ms < waits.at_ms:
            raise LinkError(waits.message, hint="it is tried again while the command is valid")

    def has_failed(self, jti: str) -> bool:
        """Tell whether a try failed that is remembered."""
        return jti in self._waiting

    def put_off(self, jti: str, message: str) -> None:
        """Wait for longer than the last time."""
        before = self._waiting.get(jti)
        pause_ms = FIRST_AGAIN_MS if before is None else min(LONGEST_AGAIN_MS, 2 * before.pause_ms)
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.clear()
        self._waiting[jti] = _Again(self._now().agent_ms + pause_ms, pause_ms, message)

    def forget(self, jti: str) -> None:
        """Begin anew: something of it got through, or it is over."""
        self._waiting.pop(jti, None)
