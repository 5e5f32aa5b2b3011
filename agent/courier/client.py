"""The agent's side of the process that puts files: there for one export, gone behind it, killed when it takes too long.

A process that dies is weather: what it had on its way is put again, which a ``PUT`` may be.
"""

import asyncio
import socket
from types import TracebackType
from typing import Final, Self

from agent.child import Child
from agent.courier.message import MESSAGE_MAX_BYTES, Delivered, Errand, decode_answer, encode
from agent.errors import CorruptError, LinkError

LEAST_BYTES_S: Final = 32 * 1024
"""A line that is slower than this does not get a file through in the time that it has."""

BESIDES_S: Final = 120.0
"""What looking up, connecting and waiting for the answer may take in all."""


def limit_s(size_bytes: int) -> float:
    """Return how long one file may take."""
    return BESIDES_S + size_bytes / LEAST_BYTES_S


class Courier:
    """An asynchronous context of the running event loop; ``kill`` ends what is under way."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._child = Child("agent.courier")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.channel.close()
        if not self._child.exited.done():
            self._child.kill()
        await asyncio.shield(self._child.exited)

    def kill(self) -> None:
        """End it now."""
        self._child.kill()

    async def put(self, errand: Errand, fd: int, *, within_s: float | None = None) -> Delivered:
        """Put an open file and return what the server said.

        Raises ``RefusedError`` whose reason is a ``Why`` where trying again does not help, else ``LinkError``.
        """
        channel = self._child.channel
        try:
            socket.send_fds(channel, [encode(errand)], [fd])
            async with asyncio.timeout(limit_s(errand.size_bytes) if within_s is None else within_s):
                raw = await self._loop.sock_recv(channel, MESSAGE_MAX_BYTES)
            answer = decode_answer(raw)
        except TimeoutError:
            self.kill()
            raise LinkError(f"{errand.host} takes too long", hint="it is tried again") from None
        except (ConnectionError, CorruptError):
            self.kill()
            raise LinkError("the process that puts files died", hint="see the log of the system for why") from None
        if isinstance(answer, Delivered):
            return answer
        raise answer.error()
