"""Put one file over HTTPS.

The order of checks, each before a byte of the file is sent:

1. the name is looked up once; where any of its addresses is not the world's and the policy does not name the host,
   nothing is sent: a name with two faces is refused whole
2. the connection goes to one of those very addresses, never to a name that is looked up again
3. the certificate is verified for the name, by the system's authorities or the one that the configuration names
4. ``PUT`` with its length; a redirect is not followed, no proxy is asked, no credential is sent

Everything here blocks, under a limit for each step; who started the process has one for the whole.
"""

import hashlib
import os
import socket
import ssl
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final

from agent.courier.message import Answer, Delivered, Errand, Failed
from agent.courier.reach import is_public

CONNECT_S: Final = 10.0
STALL_S: Final = 30.0
"""Without a byte taken or given for so long it is tried again later."""

ADDRESSES_MAX: Final = 16
TRIED_MAX: Final = 4
_BLOCK_BYTES: Final = 64 * 1024
_AGAIN: Final = frozenset({408, 423, 425, 429})  # RFC 9110, 4918, 8470, 6585: later may be right


def put(errand: Errand, fd: int) -> Answer:
    """Put the open file; never raises for what the other side does."""
    try:
        addresses = _looked_up(errand)
        with closing(_connected(errand, addresses)) as plain, _verified(errand, plain) as line:
            return _put(errand, line, fd)
    except _RefusedAddressError as error:
        return Failed(why="address_refused", message=f"{errand.host} {error}")
    except ssl.SSLCertVerificationError as error:
        return Failed(why="certificate_refused", message=f"{errand.host}: {error.verify_message}")
    except (HTTPException, OSError) as error:
        return Failed(why="", message=f"{errand.host}: {_weather(error)}")


class _RefusedAddressError(Exception):
    """Nothing is sent there, whenever it is tried."""


def _weather(error: HTTPException | OSError) -> str:
    if isinstance(error, HTTPException):
        return f"no answer of HTTP: {type(error).__name__}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason}"
    return error.strerror or type(error).__name__


def _looked_up(errand: Errand) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(errand.host, errand.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:  # of a label that no resolver can be asked for
        raise _RefusedAddressError("is no name of a host") from error
    addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    if len(addresses) > ADDRESSES_MAX:
        raise _RefusedAddressError(f"has more than {ADDRESSES_MAX} addresses")
    if not errand.may_be_private and not all(is_public(address) for address in addresses):
        raise _RefusedAddressError("is not an address of the public internet")
    return addresses


def _connected(errand: Errand, addresses: tuple[str, ...]) -> socket.socket:
    """Connect to one of the addresses that were checked."""
    last: OSError | None = None
    for address in addresses[:TRIED_MAX]:
        try:
            return socket.create_connection((address, errand.port), timeout=CONNECT_S)
        except OSError as error:
            last = error
    raise last or OSError(0, "no address")


def _verified(errand: Errand, plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if errand.ca:
        context.load_verify_locations(errand.ca)
    plain.settimeout(STALL_S)
    return context.wrap_socket(plain, server_hostname=errand.host)


def _put(errand: Errand, line: ssl.SSLSocket, fd: int) -> Answer:
    certificate = line.getpeercert(binary_form=True) or b""
    connection = HTTPConnection(errand.host, errand.port, timeout=STALL_S, blocksize=_BLOCK_BYTES)
    connection.sock = line
    headers = {
        "Content-Length": str(errand.size_bytes),
        "Content-Type": "application/octet-stream",
        "Connection": "close",
    }
    with os.fdopen(fd, "rb", closefd=False) as file:
        file.seek(0)
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has all, and say why
            connection.request("PUT", errand.target, body=_Exactly(file, errand.size_bytes), headers=headers)
    # What else the answer holds is not read: it is of no use, and a chunk of -1 bytes would have all of it in memory.
    return _judged(errand, connection.getresponse(), hashlib.sha256(certificate).hexdigest())


def _judged(errand: Errand, response: HTTPResponse, certificate_sha256: str) -> Answer:
    status = response.status
    if status in {200, 201, 204}:
        return Delivered(status=status, certificate_sha256=certificate_sha256)
    said = f"{errand.host} answers {status}"
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110 §15.4
        return Failed(why="redirected", message=f"{said}: it sends us elsewhere, which is not followed")
    if 400 <= status < 500 and status not in _AGAIN:  # noqa: PLR2004 - RFC 9110 §15.5
        return Failed(why="rejected", message=f"{said}: it does not take this")
    return Failed(why="", message=said)


class _Exactly:
    """A body of exactly the length that was said: a file that became shorter breaks the request."""

    def __init__(self, file: Any, size_bytes: int) -> None:  # noqa: ANN401 - a binary file
        self._file = file
        self._left = size_bytes

    def read(self, amount: int = -1, /) -> bytes:
        """Return the next bytes, none behind the end."""
        data: bytes = self._file.read(self._left if amount < 0 else min(amount, self._left))
        if not data and self._left:
            raise OSError(0, "the file is shorter than it was")
        self._left -= len(data)
        return data
