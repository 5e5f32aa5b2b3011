"""A sandbox as a closed service is one (seccomp(2)): without sockets of one address family, or without ``bind``.

python -m tests.discovery.without FAMILY COMMAND…
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2  # <linux/prctl.h>, <linux/seccomp.h>
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # <linux/bpf_common.h>: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SOCKET, _BIND = {"x86_64": (41, 49), "aarch64": (198, 200)}[platform.machine()]
_CALL, _FIRST_ARGUMENT = 0, 16  # struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_bind() -> None:
    """Have the kernel refuse each ``bind`` of this thread and of the processes it starts, as SocketBindDeny does."""
    _enter(
        (_LOAD, 0, 0, _CALL),
        (_EQUAL, 0, 1, _BIND),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )


def main() -> None:
    """Close the family, and become the program."""
    refusal = _ERRNO | errno.EAFNOSUPPORT
    _enter(
        (_LOAD, 0, 0, _CALL),
        (_EQUAL, 0, 3, _SOCKET),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, int(sys.argv[1])),
        (_RETURN, 0, 0, refusal),
        (_RETURN, 0, 0, _ALLOW),
    )
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program is the test's


def _enter(*steps: tuple[int, int, int, int]) -> None:
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no sandbox")


if __name__ == "__main__":
    main()
