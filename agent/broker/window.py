"""How many QoS 1 packets may be unacknowledged by the broker, and who goes first.

The MQTT library never holds more than this window (its own queue is unbounded and walks every entry at each
acknowledgement). Bulk packets, the chunks of recordings, get a part of it that adapts to how fast the broker
acknowledges: on a slow line an answer to a command then waits behind a second of video, not behind the whole window.
"""

import asyncio
from collections import deque
from typing import Final

MOST_IN_FLIGHT: Final = 64  # docs/protocol.md §9
MOST_BULK: Final = 32  # 4 MiB in the library, and fast enough for any line
_BULK_START: Final = 4
_KEPT_FREE: Final = 2  # slots that bulk packets leave to answers
_QUICK_S: Final = 0.5
_SLOW_S: Final = 1.5


class Window:
    """Slots for packets in flight; ``limit`` is the broker's Receive Maximum or ours, whichever is smaller."""

    def __init__(self, limit: int) -> None:
        self.limit = min(limit, MOST_IN_FLIGHT)
        self._most_bulk = max(1, min(MOST_BULK, self.limit - _KEPT_FREE))
        self._bulk_limit = min(_BULK_START, self._most_bulk)
        self._used = 0
        self._bulk_used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._bulk_waiting: deque[asyncio.Future[None]] = deque()
        self.peak = 0

    async def take(self, *, bulk: bool) -> None:
        """Wait for a slot; a caller that is cancelled meanwhile holds none."""
        queue = self._bulk_waiting if bulk else self._waiting
        if not queue and self._has_room(bulk=bulk):
            self._hold(bulk=bulk)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give(bulk=bulk)
            raise

    def take_now(self) -> bool:
        """Take a slot for a packet that is not bulk if one is free."""
        if self._waiting or not self._has_room(bulk=False):
            return False
        self._hold(bulk=False)
        return True

    def give(self, *, bulk: bool) -> None:
        """Return a slot and wake whoever is next."""
        self._used -= 1
        self._bulk_used -= bulk
        self._wake()

    def acknowledged(self, after_s: float, *, bulk: bool) -> None:
        """Return a slot whose packet the broker acknowledged after ``after_s`` seconds."""
        if bulk and after_s > _SLOW_S:
            self._bulk_limit = max(1, self._bulk_limit // 2)
        elif bulk and after_s < _QUICK_S:
            self._bulk_limit = min(self._most_bulk, self._bulk_limit + 1)
        self.give(bulk=bulk)

    def close(self, error: Exception) -> None:
        """Let everybody who waits fail."""
        for queue in (self._waiting, self._bulk_waiting):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_exception(error)

    def _has_room(self, *, bulk: bool) -> bool:
        return self._used < self.limit and (not bulk or self._bulk_used < self._bulk_limit)

    def _hold(self, *, bulk: bool) -> None:
        self._used += 1
        self._bulk_used += bulk
        self.peak = max(self.peak, self._used)

    def _wake(self) -> None:
        for queue, bulk in ((self._waiting, False), (self._bulk_waiting, True)):
            while queue and self._has_room(bulk=bulk):
                turn = queue.popleft()
                if not turn.done():
                    self._hold(bulk=bulk)
                    turn.set_result(None)
