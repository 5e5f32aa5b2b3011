"""How long to stay away after a connection failed or ended: full jitter, and suspicion of a second device.

A session that ends soon after it began counts as a failure, so that a broker which accepts and then kicks is not
called in a tight loop. Several such sessions in a row, each opened at the first attempt, is what two devices with one
client id look like: whoever connects throws the other out.
"""

from collections.abc import Callable
from typing import Final

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 120.0
SHORT_SESSION_S: Final = 30.0  # one keepalive: a session that lived longer proved itself
TAKEOVER_SESSIONS: Final = 3  # a broker that restarts also refuses in between; a duel never does
_MOST_DOUBLINGS: Final = 16


class Reconnect:
    """Counts failures and answers with a pause; ``random`` returns a number in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._thrown_out = 0

    @property
    def takeover_suspected(self) -> bool:
        """Whether the last sessions look like another device with our name."""
        return self._thrown_out >= TAKEOVER_SESSIONS

    def failed(self) -> float:
        """Note an attempt that reached no session; return the pause in seconds."""
        self._failures += 1
        self._thrown_out = 0
        return self._pause_s()

    def ended(self, lasted_s: float, *, taken_over: bool = False) -> float:
        """Note a session that the other side ended; return the pause in seconds.

        ``taken_over``: the broker said that another client with our name connected.
        """
        if lasted_s >= SHORT_SESSION_S:
            self._failures = 0
            self._thrown_out = 0
        else:
            self._thrown_out += 1
        if taken_over:
            self._thrown_out = max(self._thrown_out, TAKEOVER_SESSIONS)
        self._failures += 1
        return self._pause_s()

    def _pause_s(self) -> float:
        ceiling = FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, _MOST_DOUBLINGS)
        return self._random() * min(LONGEST_PAUSE_S, ceiling)
