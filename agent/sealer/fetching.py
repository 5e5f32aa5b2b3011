"""The agent's side of a camera's recording that is being fetched: connections for the job, and how slow it may be.

Rules: a connection is given for each word that asks for one, until the job has ended or is given up; then it is cut,
which the job notices at once. The one before it broke, and so did the last one of a job that failed by its link or was
given up: whoever gives them is told. A job that writes less than it reads, because field rules leave a part of it out,
tells how much it read.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Self

from agent.camera.route import READ_STEP_BYTES, Given
from agent.errors import LinkError

Connect = Callable[[], Awaitable[Given]]
"""Gives a connection to the camera, which proves nothing yet; raises ``LinkError`` when it is away."""

PACE_BYTES_S: Final = 16 * 1024
"""On the average; a camera at the edge of its network's reach does several times that."""

STILL_MAX_S: Final = 90.0
"""Without a byte: a camera that restarts is back within a minute."""

_ASK: Final = b"?"
_READ: Final = b"+"
_GIVEN: Final = b"!"
_ENOUGH: Final = b"."


class Switchboard:
    """Answers a job's words at ``channel`` with connections; belongs to the running event loop."""

    def __init__(self, channel: socket.socket, connect: Connect) -> None:
        self._channel = channel
        self._connect = connect
        self._given: Given | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self.read_bytes = 0
        """What the job told of what it read."""

    def __enter__(self) -> Self:
        self._channel.setblocking(False)  # noqa: FBT003 - its argument has no name
        asyncio.get_running_loop().add_reader(self._channel, self._hear)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._given is not None and error is None:
            self._given.served()
        elif self._given is not None and isinstance(error, LinkError):
            self._given.broke()
        self.end()
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    def give_up(self) -> None:
        """End a job that gets on too slowly."""
        if self._given is not None:
            self._given.broke()
        self.end()

    def end(self) -> None:
        """Cut the connection that is in use, if any, and give no other."""
        self._ended = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(OSError):  # the job has ended meanwhile
                self._channel.send(_ENOUGH)
        given, self._given = self._given, None
        if given is not None:
            with contextlib.suppress(OSError):  # it is over already
                given.line.shutdown(socket.SHUT_RDWR)
            given.line.close()

    def _hear(self) -> None:
        try:
            word = self._channel.recv(1)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word == _READ:
            self.read_bytes += READ_STEP_BYTES
        elif word != _ASK:  # the job has ended
            asyncio.get_running_loop().remove_reader(self._channel)
        elif self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._give())

    async def _give(self) -> None:
        before, self._given = self._given, None
        if before is not None:
            before.line.close()
            before.broke()
        given = None
        if not self._ended:
            with contextlib.suppress(LinkError):
                given = await self._connect()
        with contextlib.suppress(OSError):  # the job has ended meanwhile
            if given is None:
                self._channel.send(_ENOUGH)
            else:
                self._given = given
                socket.send_fds(self._channel, [_GIVEN], [given.line.fileno()])


class Pace:
    """Whether a recording gets on fast enough, asked again and again: by what came, whatever the camera said of it."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waited_s = 0.0
        self._still_s = 0.0
        self._written_bytes = 0

    def is_lost(self, written_bytes: int, *, waited_s: float) -> bool:
        """Tell whether to give it up, where ``waited_s`` went by since it was asked last."""
        self._waited_s += waited_s
        self._still_s = 0.0 if written_bytes > self._written_bytes else self._still_s + waited_s
        self._written_bytes = max(written_bytes, self._written_bytes)
        return self._still_s >= STILL_MAX_S or self._waited_s >= self._limit_s + self._written_bytes / PACE_BYTES_S
