"""A TLS handshake with an address that was heard: who answers there. Nothing is sent after it.

The same rules as ``agent/camera/tls.py``, in the event loop: some sixteen at a time, each under its own deadline.
"""

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from agent.camera.tls import CERTIFICATE_MAX_BYTES, Shown, read_certificate
from agent.errors import CorruptError, LinkError

LOOK_S: Final = 4.0
"""For connection and handshake; a camera on this network needs some milliseconds, one that wakes up a few seconds."""

_GOODBYE_S: Final = 1.0
_NUMBER: Final = re.compile(r"\[Errno (\d{1,6})\]")
_REFUSED: Final = "the connection was refused"


class NotIssuedError(LinkError):
    """The certificate there was not issued by the authority of a context that demands one."""


Look = Callable[[str, int], Awaitable[Shown]]
"""Return who answers at an address and port; raises ``LinkError`` for nobody, ``CorruptError`` for no certificate."""


async def look(host: str, port: int, *, context: ssl.SSLContext, numeric: bool = True) -> Shown:
    """Shake hands and hang up; ``numeric=False`` alone lets ``host`` be a name, as a configured one may."""
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(LOOK_S):
            address = await _resolved(host, port, numeric=numeric)
            _, writer = await asyncio.open_connection(
                address[0],
                port,
                ssl=context,
                server_hostname="",
                ssl_handshake_timeout=LOOK_S,
                ssl_shutdown_timeout=_GOODBYE_S,
            )
    except ssl.SSLCertVerificationError as error:
        raise NotIssuedError(f"{where}: {error.verify_message}") from error
    except TimeoutError as error:
        raise LinkError(f"{where} did not answer", hint="check the network; the camera may be off") from error
    except (OSError, OverflowError, UnicodeError, ValueError) as error:  # ssl's own errors are OSErrors
        hint = "check the address and the network; the camera may be off"
        raise LinkError(f"{where}: {_words(error)}", hint=hint) from error
    try:
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if not raw or len(raw) > CERTIFICATE_MAX_BYTES:
            raise CorruptError(f"{where} shows no certificate that can be read")
        return read_certificate(raw)
    finally:
        writer.transport.abort()  # nothing is owed to whoever that is


async def reached(host: str, port: int) -> bool:
    """Tell whether anything takes a connection at a configured address."""
    with suppress(OSError, OverflowError, UnicodeError, ValueError):  # a timeout is an OSError
        async with asyncio.timeout(LOOK_S):
            _, writer = await asyncio.open_connection(host, port)
            writer.transport.abort()
            return True
    return False


def _words(error: Exception) -> str:
    """Say why nobody was reached: asyncio's own words are a number and an address, for each that a name stands for."""
    numbers = [] if isinstance(error, ssl.SSLError) else _NUMBER.findall(str(error))
    if numbers:
        said = (_REFUSED if int(one) == errno.ECONNREFUSED else os.strerror(int(one)) for one in numbers)
        return ", ".join(dict.fromkeys(said))
    return (error.strerror if isinstance(error, socket.gaierror) else "") or str(error)


async def _resolved(host: str, port: int, *, numeric: bool) -> tuple[str, int]:
    if not numeric:
        return host, port
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)  # asks nobody; raises for a name
    return host, port
