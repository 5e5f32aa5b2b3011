"""Whether something still answers where it was heard: a TCP connection that is closed at once, nothing sent.

Rules: only addresses that were on-link come here; at most ``PARALLEL_MAX`` connections at a time; each address has
``ADDRESS_S``. A name in multicast DNS lives on for minutes after its camera died, and anybody can say goodbye for it.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

PARALLEL_MAX: Final = 16
ADDRESSES_MAX: Final = 4
ADDRESS_S: Final = 1.0


class Reach:
    """The connections that one discoverer may try at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(PARALLEL_MAX)

    async def any_of(self, addresses: Sequence[str], port: int) -> bool:
        """Return whether any of the first ``ADDRESSES_MAX`` addresses takes a connection."""
        async with self._turns:
            for address in addresses[:ADDRESSES_MAX]:
                if await _answers(address, port):
                    return True
        return False


async def _answers(address: str, port: int) -> bool:
    """Try one numeric address, a link-local one with its zone."""
    with suppress(OSError):  # a timeout is one
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=numeric)  # numeric: asks nobody
        family, kind, protocol, _name, where = found[0]
        with socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol) as connection:
            async with asyncio.timeout(ADDRESS_S):
                await asyncio.get_running_loop().sock_connect(connection, where)
            return True
    return False
