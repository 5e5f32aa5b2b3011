"""The kernel's word that a file was finished: inotify(7), through the C library.

Rules: a folder is watched, never a file; a watch that cannot be had (limit reached, network file system) is told to
the caller, who then polls; an overflow of the kernel's queue is an event like any other and means "look at
everything again". Nothing here believes a name: events are hints.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

# Linux <sys/inotify.h>
_CLOSE_WRITE: Final = 0x00000008
_MOVED_TO: Final = 0x00000080
_CREATE: Final = 0x00000100
_DELETE_SELF: Final = 0x00000400
_MOVE_SELF: Final = 0x00000800
_Q_OVERFLOW: Final = 0x00004000
_IGNORED: Final = 0x00008000
_ONLYDIR: Final = 0x01000000
_DONT_FOLLOW: Final = 0x02000000
_EXCL_UNLINK: Final = 0x04000000
_ISDIR: Final = 0x40000000

_WATCHED: Final = (
    _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
)  # fmt: skip
_HEAD: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 * 1024

FOLDERS_MAX: Final = 32_768
"""Two weeks of ten Frigate cameras are 3,400 folders; the kernel's own default limit starts at 8,192 watches."""


class Event(msgspec.Struct, frozen=True):
    """``folder``/``name`` is finished, is a new folder, or (``lost``) some events are missing."""

    kind: Literal["finished", "folder", "lost"]
    folder: str = ""
    name: str = ""


class Watches:
    """The watched folders of one source; paths are relative to its folder, "" is the folder itself."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self.fd = fd
        self._folders: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._folders)

    def add(self, folder_fd: int, folder: str) -> bool:
        """Watch an open folder; ``False`` when no more can be watched."""
        if len(self._folders) >= FOLDERS_MAX:
            return False
        # The descriptor's own link names exactly the folder that is open, whatever its path means by now.
        path = f"/proc/self/fd/{folder_fd}/."
        watch: int = self._libc.inotify_add_watch(self.fd, path.encode("ascii"), _WATCHED)
        if watch < 0:
            return ctypes.get_errno() == errno.ENOENT  # removed meanwhile: nothing left to watch
        self._folders[watch] = folder
        return True

    def read(self) -> Iterator[Event]:
        """Yield what happened since the last call."""
        try:
            raw = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(raw):
            watch, mask, _cookie, length = _HEAD.unpack_from(raw, at)
            at += _HEAD.size
            name = os.fsdecode(raw[at : at + length].rstrip(b"\0"))
            at += length
            event = self._event(watch, mask, name)
            if event is not None:
                yield event

    def close(self) -> None:
        """Give all watches back."""
        os.close(self.fd)
        self.fd = -1
        self._folders.clear()

    def _event(self, watch: int, mask: int, name: str) -> Event | None:
        if mask & _Q_OVERFLOW:
            return Event("lost")
        folder = self._folders.get(watch)
        if mask & _IGNORED:
            self._folders.pop(watch, None)
            return None
        if folder is None:
            return None
        if mask & _MOVE_SELF:
            # Its paths are wrong from now on: forget it; the rescan finds it under its new name.
            self._libc.inotify_rm_watch(self.fd, watch)
            self._folders.pop(watch, None)
            return Event("lost")
        if mask & _ISDIR:
            return Event("folder", folder, name) if mask & (_CREATE | _MOVED_TO) else None
        return Event("finished", folder, name) if mask & (_CLOSE_WRITE | _MOVED_TO) else None
