"""A token bucket: how long a sender must wait so that it stays below a number of bytes per second."""

from typing import Final

_BURST_S: Final = 1.0


class Rate:
    """Bytes per second over all uploads together; ``None`` is without limit. Time is an argument."""

    def __init__(self, bytes_s: int | None, *, now_s: float) -> None:
        self._bytes_s = bytes_s
        self._full_at_s = now_s  # when the bucket is full again

    def change(self, bytes_s: int | None) -> None:
        """Take another limit from now on."""
        self._bytes_s = bytes_s

    def take(self, amount: int, now_s: float) -> float:
        """Spend ``amount`` bytes and return the seconds to wait before they are sent."""
        if self._bytes_s is None:
            return 0.0
        self._full_at_s = max(self._full_at_s, now_s) + amount / self._bytes_s
        return max(0.0, self._full_at_s - now_s - _BURST_S)
