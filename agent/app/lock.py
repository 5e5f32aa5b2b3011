"""The lock of a state folder: exactly one process has what is in it (invariant I12); whoever ends lets it go."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from agent.config import Config
from agent.errors import LinkError
from agent.files import FILE_MODE


@contextmanager
def opened_lock(config: Config) -> Iterator[int]:
    """Open the lock's file, which holds nothing and stays; leaving lets go of what ``take`` took."""
    fd = os.open(config.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        yield fd
    finally:
        os.close(fd)


def take(fd: int, config: Config) -> None:
    """Take the lock, or raise ``LinkError`` where another process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LinkError(
            f"{config.state}: another process has the vault open",
            hint="stop it, or ask it: privacy-agent status",
        ) from error
