"""A small disk of a test's own, what eats the last byte of it, and the right to mount it."""

import ctypes
import errno
import functools
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 240
CLONE_NEWNS = 0x00020000  # unshare(2); the standard library has it from Python 3.12 on


@functools.cache
def mounts_of_our_own() -> None:
    """Let whatever this process mounts be gone when it ends, however it ends: what a killed run left nobody can remove.

    In a chroot, whose root folder is no mount point, they are seen outside if mounts are shared there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "this machine lets nobody have mounts of his own")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    if any(mount.split()[4] == "/" for mount in mounts):  # proc(5): the fifth field is the mount point
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def as_root(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test mount where nobody else sees it; for anybody but root in a process that is root but in name.

    A machine that forbids these makes the test fail; it then wants root.
    """

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:  # noqa: ANN401 - whatever the test asks for
        if os.geteuid() == 0:
            mounts_of_our_own()
            test(**fixtures)
            return
        again_as_root(test)

    return run


def again_as_root(test: Callable[..., None]) -> None:
    """Run a test again in a process that is root but in name.

    What it makes is beneath a short path of its own: one beneath the test's is too long for the name of a socket.
    """
    with tempfile.TemporaryDirectory(prefix="apart-") as folder:
        command = [
            *("unshare", "--user", "--map-root-user", "--mount"),
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("--basetemp", f"{folder}/made", f"{inspect.getfile(test)}::{test.__name__}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"as root it would run here:\n{done.stdout}{done.stderr}"


@contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """Make the folder a new, empty file system of that size; it is gone afterwards."""
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be written in a folder meanwhile, as when the kernel gave its medium up."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take every free byte of the file system that the file lies on."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.close(fd)
