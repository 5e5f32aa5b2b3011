"""The room for what is let in: what others were promised and have not written yet is not free for the next.

Files are sealed side by side, so each is judged while the bytes of those before it are still on their way to the disk.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.files import free_bytes


class Promise:
    """Room that is set aside for one of those that were let in."""

    __slots__ = ("_part_fd", "_size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._part_fd: int | None = None

    @property
    def unwritten_bytes(self) -> int:
        """What of it is still to come."""
        written = 0 if self._part_fd is None else os.fstat(self._part_fd).st_size
        return max(0, self._size_bytes - written)

    @contextmanager
    def writing(self, part_fd: int) -> Iterator[None]:
        """Count what is in an open part file as written."""
        self._part_fd = part_fd
        try:
            yield
        finally:
            self._part_fd = None
            self._size_bytes = 0


class Room:
    """The disk that holds ``folder``, of which ``reserve_bytes`` are never filled; used in one thread."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder = folder
        self.reserve_bytes = reserve_bytes
        self._promises: set[Promise] = set()

    def left(self) -> tuple[int, int]:
        """Return (bytes free for new recordings, below 0 where the reserve is used, bytes in all)."""
        free, total = free_bytes(self._folder)
        return free - self.reserve_bytes - sum(promise.unwritten_bytes for promise in self._promises), total

    def promise(self, size_bytes: int) -> Promise:
        """Set room aside until ``give_back``."""
        promise = Promise(size_bytes)
        self._promises.add(promise)
        return promise

    def give_back(self, promise: Promise) -> None:
        """Forget a promise; does nothing when it was given back before."""
        self._promises.discard(promise)
