"""Stops a process before every system call that changes a file, so that its parent may let it go on, fail it or kill.

The kernel's own means (seccomp user notification) instead of a tracer: the filter is inherited by every thread and
child, all calls arrive in one order, and what the parent decides is what happens, so a fault that did not fire is
known. Only calls on files beneath one folder are told of. A call is named by what it does to which file and how often
that was done before (``pwrite64 state/index.db-wal #3``), never by a count over everything, so that threads which run
in another order the next time do not move the point.

A line that the child says (``SAY_FD``) is such a call too: it stands in the same order as the writes it promises.
"""

import ctypes
import fcntl
import os
import platform
import re
import select
import socket
import struct
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAY_FD: Final = 600
"""Where the child's promises are written: a descriptor above everything that the agent opens."""

# Linux <linux/seccomp.h>, <linux/audit.h>, <linux/filter.h>, <sys/prctl.h>
_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_USER_NOTIF: Final = 0x7FC00000
_ALLOW: Final = 0x7FFF0000
_CONTINUE: Final = 1
_RECEIVE: Final = 0xC0502100
_ANSWER: Final = 0xC0182101
_NO_NEW_PRIVS: Final = 38
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_NOTE: Final = struct.Struct("=QIIiIQ6Q")  # seccomp_notif: id, pid, flags, data(nr, arch, ip, args)
_REPLY: Final = struct.Struct("=QqiI")

CREATING: Final = os.O_CREAT | os.O_TRUNC

# How a call names its file: "fd 0" in argument 0; "path 1" in argument 1; "at 0 1" a folder's descriptor and a path.
_CALLS: Final[dict[str, tuple[str, int, int]]] = {
    # name: (how, number on x86-64, number on aarch64; -1 where it does not exist)
    "write": ("fd 0", 1, 64),
    "pwrite64": ("fd 0", 18, 68),
    "writev": ("fd 0", 20, 66),
    "pwritev": ("fd 0", 296, 70),
    "pwritev2": ("fd 0", 328, 287),
    "sendfile": ("fd 0", 40, 71),
    "copy_file_range": ("fd 2", 326, 285),
    "fsync": ("fd 0", 74, 82),
    "fdatasync": ("fd 0", 75, 83),
    "ftruncate": ("fd 0", 77, 46),
    "fallocate": ("fd 0", 285, 47),
    "fchmod": ("fd 0", 91, 52),
    "truncate": ("path 0", 76, 45),
    "rename": ("path 1", 82, -1),
    "mkdir": ("path 0", 83, -1),
    "rmdir": ("path 0", 84, -1),
    "creat": ("path 0", 85, -1),
    "link": ("path 1", 86, -1),
    "unlink": ("path 0", 87, -1),
    "symlink": ("path 1", 88, -1),
    "chmod": ("path 0", 90, -1),
    "open": ("path 0", 2, -1),
    "openat": ("at 0 1", 257, 56),
    "mkdirat": ("at 0 1", 258, 34),
    "unlinkat": ("at 0 1", 263, 35),
    "renameat": ("at 2 3", 264, 38),
    "renameat2": ("at 2 3", 316, 276),
    "linkat": ("at 2 3", 265, 37),
    "symlinkat": ("at 1 2", 266, 36),
    "fchmodat": ("at 0 1", 268, 53),
    "utimensat": ("at 0 1", 280, 88),
}
_FLAGS_IN: Final = {"open": 1, "openat": 2}

_MACHINES: Final = {"x86_64": (1, 0xC000003E, 317), "aarch64": (2, 0xC00000B7, 277)}
_RANDOM_NAMES: Final = ((re.compile(r"[0-9a-f]{32}\.part"), "*.part"), (re.compile(r"\b[a-z0-9]{26}\b"), "*"))

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """The ``nth`` time that ``call`` meets ``file`` (random names are ``*``)."""

    call: str
    file: str
    nth: int

    def __str__(self) -> str:
        """Name it for a person."""
        return f"{self.call} {self.file} #{self.nth}"


@dataclass(frozen=True, slots=True)
class Stop:
    """A call that waits for its answer; ``said`` is what it says when it is a promise."""

    number: int
    tid: int
    call: str
    path: str
    arguments: tuple[int, ...]
    said: str = ""


def _machine() -> tuple[int, int, int]:
    found = _MACHINES.get(platform.machine())
    if found is None:
        raise RuntimeError(f"no system call numbers are known for {platform.machine()}")
    return found


def _numbers() -> dict[str, int]:
    """Return the numbers of the calls that this machine has."""
    both = {name: (x86, arm) for name, (_, x86, arm) in _CALLS.items()}
    found = {name: numbers[_machine()[0] - 1] for name, numbers in both.items()}
    return {name: number for name, number in found.items() if number >= 0}


def _program() -> bytes:
    _, arch, _ = _machine()
    numbers = _numbers()
    plain = [number for name, number in numbers.items() if name not in _FLAGS_IN]
    opening = [(numbers[name], at) for name, at in _FLAGS_IN.items() if name in numbers]
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _ARCH_AT),
        (_EQUAL, "", "allow", arch),
        (_LOAD, "", "", _NR_AT),
        *((_EQUAL, "tell", "", number) for number in plain),
        *((_EQUAL, f"flags {at}", "", number) for number, at in opening),
        (_RETURN, "", "", _ALLOW),
    ]
    places: dict[str, int] = {}
    for _, at in opening:
        places[f"flags {at}"] = len(lines)
        lines.append((_LOAD, "", "", _ARGUMENTS_AT + 8 * at))
        lines.append((_ANY_BIT, "tell", "allow", CREATING))
    places["allow"] = len(lines)
    lines.append((_RETURN, "", "", _ALLOW))
    places["tell"] = len(lines)
    lines.append((_RETURN, "", "", _USER_NOTIF))

    def jump(here: int, name: str) -> int:
        return places[name] - here - 1 if name else 0

    return b"".join(
        struct.pack("=HBBI", code, jump(here, yes), jump(here, no), value)
        for here, (code, yes, no, value) in enumerate(lines)
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def tap_myself(channel: socket.socket) -> None:
    """Put the filter on this process, for ever, and hand its listener to the parent."""
    program = _program()
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # A writable call between here and send_fds would wait for a parent that cannot answer yet: there is none.
    what = _Filter(len(program) // 8, program)
    listener: int = _libc.syscall(_machine()[2], _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(what))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp: this kernel or container forbids user notification")
    socket.send_fds(channel, [b"!"], [listener])
    os.close(listener)


class Tap:
    """The parent's end: yields one ``Stop`` at a time and answers it."""

    def __init__(self, listener: int, root: Path) -> None:
        self._listener = listener
        self._root = f"{root}/"
        self._names = {number: name for name, number in _numbers().items()}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self.tids: set[int] = set()
        self._waiting: deque[Stop] = deque()

    def take(self, timeout_ms: int) -> Stop | None:
        """Return the next call that matters; ``None`` when the processes are gone. Others are let through.

        Raises ``TimeoutError`` when nothing happened for so long.
        """
        if self._waiting:
            return self._waiting.popleft()
        while True:
            events = self._poll.poll(timeout_ms)
            if not events:
                raise TimeoutError
            if not events[0][1] & select.POLLIN:
                return None
            stop = self._receive()
            if stop is not None:
                return stop

    def _receive(self) -> Stop | None:
        buffer = bytearray(_NOTE.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
        except FileNotFoundError:  # it was killed meanwhile
            return None
        number, tid, _, nr, _, _, *arguments = _NOTE.unpack(buffer)
        self.tids.add(tid)
        stop = self._read(number, tid, self._names[nr], tuple(arguments))
        if stop is None:
            self.let(number)
        return stop

    def point(self, stop: Stop) -> Point:
        """Name the call, counting it."""
        file = stop.path
        for pattern, instead in _RANDOM_NAMES:
            file = pattern.sub(instead, file)
        if stop.said:
            file = " ".join(word for word in stop.said.split()[:2] if len(word) < 20)
        key = (stop.call, file)
        self._counts[key] += 1
        return Point(*key, self._counts[key])

    def let(self, number: int) -> None:
        """Let it happen."""
        self._answer(_REPLY.pack(number, 0, 0, _CONTINUE))

    def fail(self, number: int, error: int) -> None:
        """Let it fail, with nothing done."""
        self._answer(_REPLY.pack(number, 0, -error, 0))

    def finished(self, stop: Stop) -> None:
        """Wait until a call that was let through is over."""
        nr = str(_numbers()["write" if stop.said else stop.call])
        while True:
            events = self._poll.poll(0)
            if events:
                if not events[0][1] & select.POLLIN:
                    return
                other = self._receive()
                if other is not None:
                    self._waiting.append(other)
            if any(other.tid == stop.tid for other in self._waiting):
                return
            try:
                doing = Path(f"/proc/{stop.tid}/syscall").read_text(encoding="ascii").split()[0]
            except OSError:  # it is gone
                return
            if doing not in {nr, "running"}:
                return
            select.select([], [], [], 0.0002)

    def close(self) -> None:
        """Give the listener back; calls that wait then fail, so everybody is dead by now."""
        os.close(self._listener)

    def _answer(self, reply: bytes) -> None:
        try:
            fcntl.ioctl(self._listener, _ANSWER, bytearray(reply))
        except FileNotFoundError:  # it was killed meanwhile
            return

    def _read(self, number: int, tid: int, call: str, arguments: tuple[int, ...]) -> Stop | None:
        how = _CALLS[call][0].split()
        if how[0] == "fd":
            fd = arguments[int(how[1])] & 0xFFFFFFFF
            if fd == SAY_FD:
                said = _memory(tid, arguments[1], arguments[2]).decode()
                return Stop(number, tid, "say", "", arguments, said)
            path = _link(f"/proc/{tid}/fd/{fd}")
        elif how[0] == "path":
            path = _join(_link(f"/proc/{tid}/cwd"), _text(tid, arguments[int(how[1])]))
        else:
            fd = ctypes.c_int(arguments[int(how[1])] & 0xFFFFFFFF).value
            folder = _link(f"/proc/{tid}/cwd" if fd < 0 else f"/proc/{tid}/fd/{fd}")
            path = _join(folder, _text(tid, arguments[int(how[2])]))
        if not path.startswith(self._root):
            return None
        flags = arguments[_FLAGS_IN[call]] if call in _FLAGS_IN else 0
        if call in _FLAGS_IN and not flags & os.O_TRUNC and os.path.lexists(path):
            return None  # it opens what is there already
        return Stop(number, tid, call, path.removeprefix(self._root), arguments)


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _join(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - as the kernel does, on texts


def _memory(tid: int, address: int, length: int) -> bytes:
    with Path(f"/proc/{tid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)


def _text(tid: int, address: int) -> str:
    # Up to the end of the page first: the next one may not be there.
    piece = _memory(tid, address, 4096 - address % 4096)
    if b"\0" not in piece:
        piece += _memory(tid, address + len(piece), 4096)
    return os.fsdecode(piece.split(b"\0", 1)[0])
