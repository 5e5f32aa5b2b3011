"""Where a face listens, one port for IPv4 and IPv6 alike, and how it stops."""

import asyncio
import socket
from typing import Final

_TURNS: Final = 3
"""Of the loop, after which whoever was let in is handed over: the transport is made, and told, and one to spare."""


def listening(host: str, port: int) -> socket.socket:
    """Return a socket at ``host``, or at every address where none is named; raises ``OSError``."""
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


async def stop_listening(server: asyncio.Server) -> None:
    """Let nobody in any more, and return when whoever was let in is known to the server's own callback.

    A server of ``asyncio`` that is closed in the turn in which it accepts leaves that connection open and tells nobody
    of it (https://github.com/python/cpython/issues/109564).
    """
    loop = asyncio.get_running_loop()
    try:
        for bound in server.sockets:
            loop.remove_reader(bound.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    finally:
        server.close()
