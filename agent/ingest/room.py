"""The room for what is let in: what others were promised and have not written yet is not free for the next.

Files are sealed side by side, so each is judged while the bytes of those before it are still on their way to the disk.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.files import free_bytes


class Room:
    """The disk that holds ``folder``, of which ``reserve_bytes`` are never filled; used in one thread.

    ``whose`` is the number of what was let in.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder = folder
        self.reserve_bytes = reserve_bytes
        self._promised: dict[int, int] = {}
        self._parts: dict[int, int] = {}

    def left(self) -> tuple[int, int]:
        """Return (bytes free for new recordings, below 0 where the reserve is used, bytes in all)."""
        free, total = free_bytes(self._folder)
        return free - self.reserve_bytes - sum(map(self._unwritten, self._promised)), total

    def promise(self, whose: int, size_bytes: int) -> None:
        """Set room aside until ``give_back``."""
        self._promised[whose] = size_bytes

    @contextmanager
    def writing(self, whose: int, part_fd: int) -> Iterator[None]:
        """Count what is in an open part file as written."""
        self._parts[whose] = part_fd
        try:
            yield
        finally:
            del self._parts[whose]
            self._promised[whose] = 0

    def give_back(self, whose: int) -> None:
        """Forget a promise; does nothing when there is none."""
        self._promised.pop(whose, None)

    def _unwritten(self, whose: int) -> int:
        part_fd = self._parts.get(whose)
        written = 0 if part_fd is None else os.fstat(part_fd).st_size
        return max(0, self._promised[whose] - written)
