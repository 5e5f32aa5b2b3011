"""A TCP proxy between the device and the broker that cuts the line after a number of bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

_BLOCK = 64 * 1024


class Proxy:
    """Counts what passes from the device; ``cut_after`` more bytes it ends every connection, once."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.passed_bytes = 0
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    def cut_after(self, amount: int) -> None:
        self._left = amount

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # nobody is there
            writer.transport.abort()
            return
        self._writers |= {writer, outer}
        with contextlib.suppress(ConnectionError, ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, outer, from_device=True), name="up")
                group.create_task(self._pass(inner, writer, from_device=False), name="down")

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_device: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_BLOCK):
                if from_device:
                    self.passed_bytes += len(data)
                    self._count(len(data))
                writer.write(data)
                await writer.drain()
        writer.close()

    def _count(self, amount: int) -> None:
        if self._left is None:
            return
        self._left -= amount
        if self._left <= 0:
            self._left = None
            self.cuts += 1
            self.cut()

    def cut(self) -> None:
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
        proxy.cut()
