"""The camera link as a face of a simulated camera: listens, and ends every conversation when it is cancelled."""

import asyncio
from contextlib import suppress
from typing import Final

from device_sim.camera.device import Device
from device_sim.camera.listen import listening, stop_listening
from device_sim.link.http import Conversation
from device_sim.link.tls import TlsStream, context

MAX_CONNECTIONS: Final = 8
"""docs/camera-link.md §2 asks for 4 at least; more are not accepted until one ends."""


class LinkFace:
    """Serves ``device`` at ``host`` (none: at every address); port 0 takes a free one, which ``device.port`` tells."""

    def __init__(self, device: Device, *, host: str = "", port: int = 0) -> None:
        self._device, self._host, self._port = device, host, port
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    async def run(self) -> None:
        """Serve until cancelled; connections are then cut. Raises ``OSError`` where it cannot listen."""
        device = self._device
        ending = False
        connected: set[asyncio.StreamWriter] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with self._room:
                    stream = TlsStream(reader, writer, made_of=context(device.identity))
                    await Conversation(device, stream).run()
            finally:
                await _cut(writer)
                connected.discard(writer)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Know of it before it begins, so that the end misses nobody; who comes during the end is cut at once."""
            connected.add(writer)
            if ending:
                writer.transport.abort()
            else:
                conversations.create_task(talk(reader, writer), name="camera link")

        bound = listening(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as conversations:
                server = await asyncio.start_server(accept, sock=bound)
                try:
                    device.note_port(bound.getsockname()[1])
                    await asyncio.Event().wait()
                finally:
                    ending = True
                    device.note_port(0)
                    await stop_listening(server)
        finally:
            for writer in tuple(connected):  # also of a conversation that was cancelled before its first step
                await _cut(writer)


async def _cut(writer: asyncio.StreamWriter) -> None:
    """End a connection now, and return when it is over: the loop may have no later turn for it."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
