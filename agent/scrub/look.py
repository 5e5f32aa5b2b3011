"""Reads one sealed payload from the medium, a piece at a time, and says whether it is what was sealed.

What the page cache holds of it is dropped before and behind each read, so that it is the medium that answers and what
others have in memory is not driven out. Nothing is opened: the device needs no key to know its sealed bytes.
"""

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from agent.damage import What
from agent.errors import LinkError
from agent.pages import page_buffer

PIECE_BYTES: Final = 1 << 20
"""Read at once: all the memory that a look takes, whatever the payload's size."""

_NOT_THE_FILE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})
"""What open(2) and read(2) say where this process or this machine is at its limits, and the file is no worse for it."""


class Seen(msgspec.Struct, frozen=True):
    """What a look found: ``what`` is ``None`` of a whole payload; ``at_bytes`` as ``Damage`` has it."""

    what: What | None
    at_bytes: int = 0


class Look:
    """A look at the payload at ``path``; ``step`` may be called in any thread, one call at a time."""

    def __init__(self, path: Path, *, size_bytes: int, payload_sha256: bytes) -> None:
        self._path = path
        self._size = size_bytes
        self._expected = payload_sha256
        self._buffer = page_buffer(min(PIECE_BYTES, size_bytes + 1))  # one more, to see a file that grew
        self._hash = hashlib.sha256()
        self._fd = -1
        self.done_bytes = 0

    def step(self) -> Seen | None:
        """Read the next piece; return what was found once that is known. ``LinkError`` where this process cannot."""
        try:
            if self._fd < 0:
                return self._open()
            return self._read()
        except FileNotFoundError:
            return Seen("missing")
        except OSError as error:
            if error.errno in _NOT_THE_FILE:
                raise LinkError(f"a payload cannot be looked at: {error.strerror}") from error
            return Seen("unreadable", self.done_bytes)

    @property
    def is_open(self) -> bool:
        """Whether the next step reads a piece."""
        return self._fd >= 0

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> Seen | None:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            return Seen("missing")
        if status.st_size != self._size:
            return Seen("short", status.st_size) if status.st_size < self._size else Seen("long")
        self._advise(os.POSIX_FADV_DONTNEED)
        self._advise(os.POSIX_FADV_RANDOM)  # else the kernel reads ahead, and that is dropped and read once more
        return None

    def _read(self) -> Seen | None:
        count = os.preadv(self._fd, [self._buffer], self.done_bytes)
        self._hash.update(self._buffer[:count])
        self.done_bytes += count
        self._advise(os.POSIX_FADV_DONTNEED)
        if count and self.done_bytes <= self._size:
            return None
        if self.done_bytes != self._size:
            return Seen("short", self.done_bytes) if self.done_bytes < self._size else Seen("long")
        return Seen(None if self._hash.digest() == self._expected else "changed")

    def _advise(self, advice: int) -> None:
        with suppress(OSError):  # only advice
            os.posix_fadvise(self._fd, 0, 0, advice)
