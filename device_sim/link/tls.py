"""TLS 1.3 on an asyncio stream: the client must show a certificate and prove its key, whatever key that is.

The standard library refuses a client certificate that it does not know beforehand, and then nobody could pair; so
OpenSSL is driven through memory here. What the key may do is decided by ``resource``.
"""

import asyncio
from typing import Final

from cryptography.x509 import Certificate
from OpenSSL import SSL

from device_sim.camera.device import Identity

RECORD_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024


class TlsError(Exception):
    """The peer is gone, or speaks no TLS as the document wants it."""


def context(identity: Identity) -> SSL.Context:
    """Return what one connection is made of (docs/camera-link.md §2)."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET)
    made.use_privatekey(identity.key)
    made.use_certificate(identity.certificate)
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return made


class TlsStream:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, made_of: SSL.Context) -> None:
        self._reader, self._writer = reader, writer
        self._line = SSL.Connection(made_of, None)
        self._line.set_accept_state()

    async def handshake(self) -> Certificate:
        """Return the certificate whose key the client has proved; raises ``TlsError``."""
        while True:
            try:
                self._line.do_handshake()
            except SSL.WantReadError:
                await self._exchange()
            except SSL.Error as error:
                await self._tell_alert()
                raise TlsError(f"no handshake: {error}") from None
            else:
                await self._flush()
                break
        shown = self._line.get_peer_certificate(as_cryptography=True)
        if shown is None:
            raise TlsError("no client certificate")
        return shown

    async def read(self) -> bytes:
        """Return what came, or nothing when the client has ended; raises ``TlsError``."""
        while True:
            try:
                return self._line.recv(_READ_BYTES)
            except SSL.WantReadError:
                await self._exchange()
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error as error:
                await self._tell_alert()
                raise TlsError(f"broken: {error}") from None

    async def write(self, data: bytes) -> None:
        """Send and wait until the kernel has taken most of it; raises ``TlsError``."""
        view = memoryview(data)
        while view:
            try:
                done = self._line.send(view[:RECORD_BYTES].tobytes())
            except SSL.WantReadError:
                await self._exchange()
            except SSL.Error as error:
                raise TlsError(f"broken: {error}") from None
            else:
                view = view[done:]
                await self._flush()

    async def close(self) -> None:
        """Say goodbye, as far as the client listens."""
        try:
            self._line.shutdown()
            await self._flush()
        except (SSL.Error, TlsError):
            pass
        self._writer.close()

    def abort(self) -> None:
        """Cut the line, unsaid."""
        self._writer.transport.abort()

    async def _exchange(self) -> None:
        await self._flush()
        try:
            data = await self._reader.read(_READ_BYTES)
        except ConnectionError as error:
            raise TlsError(f"gone: {error}") from None
        if not data:
            raise TlsError("gone without a goodbye")
        self._line.bio_write(data)

    async def _flush(self) -> None:
        while True:
            try:
                data = self._line.bio_read(_READ_BYTES)
            except SSL.WantReadError:
                break
            self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise TlsError(f"gone: {error}") from None

    async def _tell_alert(self) -> None:
        try:
            await self._flush()
        except TlsError:
            return
