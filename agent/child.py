"""A process of ours at the other end of a socket: how it starts, and how its end is noticed.

Rules: its only argument is the number of its socket, and nothing secret is in its environment; it has no other
descriptor of ours; Ctrl-C does not reach it, for the agent alone knows the order of ending.
"""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Final

# glibc's malloc, mallopt(3): one arena for all threads, and large buffers given back as soon as they are free.
_MEMORY: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}


class Child:
    """A running ``python -m module``; belongs to the running event loop.

    ``channel`` is our end of a ``SOCK_SEQPACKET`` pair, not blocking: a datagram is a message, and the process is to
    end when it closes. ``exited`` is done once the process is gone and reaped.
    """

    def __init__(self, module: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as undo:
            undo.enter_context(self.channel)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **_MEMORY},
                process_group=0,
            )
            undo.pop_all()
        self.channel.setblocking(False)  # noqa: FBT003 - its argument has no name
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it now; does nothing when it is gone."""
        self._process.kill()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self.exited.set_result(None)
