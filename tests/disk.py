"""A small disk of a test's own, what eats the last byte of it, and the right to mount it."""

import errno
import functools
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 240


def as_root(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test mount: for anybody but root it runs in a process of its own, in name spaces where root is but a name.

    A machine that forbids these makes the test fail; it then wants root.
    """

    @functools.wraps(test)
    def run(tmp_path: Path, **fixtures: Any) -> None:  # noqa: ANN401 - whatever the test asks for
        if os.geteuid() == 0:
            test(tmp_path, **fixtures)
            return
        command = [
            *("unshare", "--user", "--map-root-user", "--mount"),
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("--basetemp", str(tmp_path / "apart"), f"{inspect.getfile(test)}::{test.__name__}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, f"as root it would run here:\n{done.stdout}{done.stderr}"

    return run


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
