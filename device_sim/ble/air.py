"""The air: virtual controllers that hear each other's adverts and connect, offered to other processes at a socket.

Whoever connects to the socket speaks HCI to a controller of its own, as over a serial line to a dongle
(``unix-client:PATH`` in bumble's words), so a camera does not know whether its radio is real.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bumble.controller import Controller
from bumble.core import InvalidArgumentError
from bumble.hci import HCI_CONNECTION_TIMEOUT_ERROR
from bumble.host import Host
from bumble.link import LocalLink
from bumble.ll import TerminateInd
from bumble.transport.common import AsyncPipeSink, StreamPacketSink, StreamPacketSource


class Air:
    """One room of controllers."""

    def __init__(self) -> None:
        self.link = LocalLink()  # type: ignore[no-untyped-call] # bumble's constructor has no annotations
        self._numbers = itertools.count()

    def host(self) -> Host:
        """Return a host in this process on a controller of its own."""
        controller = Controller(f"air-{next(self._numbers)}", link=self.link)
        return Host(controller, AsyncPipeSink(controller))

    def attach(self, transport: asyncio.Transport, source: StreamPacketSource) -> Controller:
        """Give whoever is at the other end of this line a controller."""
        return Controller(f"air-{next(self._numbers)}", source, StreamPacketSink(transport), self.link)

    @asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator[str]:
        """Offer it at this socket; yields what others call it."""
        server = await asyncio.get_running_loop().create_unix_server(lambda: _Line(self), str(path))
        try:
            yield f"unix-client:{path}"
        finally:
            server.close()


class _Line(StreamPacketSource):
    """One process at the socket; its controller leaves the air with it."""

    def __init__(self, air: Air) -> None:
        super().__init__()
        self._air = air
        self._controller: Controller | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket's
        self._controller = self._air.attach(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._controller is not None:
            leave(self._controller)


def leave(controller: Controller) -> None:
    """Take a controller out of the air; whoever was connected to it loses the link."""
    if controller in controller.link.controllers:
        for connection in list(controller.le_connections.values()):
            with contextlib.suppress(InvalidArgumentError):  # the other one left first
                connection.send_ll_control_pdu(TerminateInd(HCI_CONNECTION_TIMEOUT_ERROR))
        controller.le_legacy_advertiser.stop()
        controller.link.remove_controller(controller)
