"""One recording's bytes, over as many connections as that takes; read in the sealing process, where its TLS ends.

Rules: every byte belongs to the content whose SHA-256 the camera named before: each answer has to name it again as its
ETag, a cut is gone on from with ``Range`` and ``If-Range``, and what cannot be gone on from ends with an error, for a
new beginning. At the end the SHA-256 of all bytes has to be that one, or nothing was read. No connection is opened
here: the agent is asked for one over a socket (``through``).
"""

import hashlib
import hmac
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agent.camera.answer import AnswerError
from agent.camera.identity import Order
from agent.camera.route import READ_STEP_BYTES
from agent.camera.session import Body, Session, proved
from agent.camera.tls import CutError, ImpostorError, client_context
from agent.clock import monotonic_s
from agent.errors import AgentError, CorruptError, LinkError

CUTS_MAX: Final = 3
"""Cuts without a byte between them; what got on may be cut as often as it likes, at the pace that the agent demands."""

CHANNEL_WAIT_S: Final = 120.0
"""For the agent's answer with another connection; it is away for shorter, or gone."""

ASK: Final = b"?"
READ: Final = b"+"
GIVEN: Final = b"!"

_WORD_BYTES: Final = 1
_HTTP_WHOLE: Final = 200


Connect = Callable[[], socket.socket]
"""Gives another connection to the camera, or raises ``LinkError``."""


class Content:
    """Reads it from its first to its last byte."""

    def __init__(self, order: Order, *, connect: Connect, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._order = order
        self._connect = connect
        self._monotonic = monotonic
        self._context = client_context(
            key_pem=order.credentials.key_pem, certificate_pem=order.credentials.certificate_pem
        )
        self._hash = hashlib.sha256()
        self._at = 0
        self._cuts = 0
        self._session: Session | None = None
        self._body: Body | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        """Read what comes next; 0 behind the last byte, once all of them are what the camera said.

        Raises ``CorruptError`` when they are not, or the camera lost the recording, ``LinkError`` when it is away for
        longer, has the recording no more, or cannot go on where the connection was cut.
        """
        if self._at == self._order.size_bytes:
            self._require_whole()
            return 0
        while True:
            try:
                count = self._read(buffer)
            except CutError:
                count = 0
            if count:
                self._cuts = 0
                return count
            self.close()
            self._cuts += 1
            if self._cuts > CUTS_MAX:
                raise LinkError("the camera's connection breaks again and again", hint="it is tried again by itself")

    def close(self) -> None:
        """End the connection."""
        if self._session is not None:
            self._session.close()
        self._session = self._body = None

    def _read(self, buffer: memoryview) -> int:
        if self._body is None:
            self._body = self._begun()
        count = self._body.readinto(buffer[: self._order.size_bytes - self._at])
        self._hash.update(buffer[:count])
        self._at += count
        return count

    def _begun(self) -> Body:
        line = self._connect()
        try:
            self._session = proved(line, context=self._context, pinned=self._order.pinned, monotonic=self._monotonic)
        except ImpostorError as error:  # whoever asked finds out by itself where the camera is
            raise LinkError(error.message, hint=error.hint) from error
        etag = f'"{self._order.sha256.hex()}"'
        head = {"Range": f"bytes={self._at}-", "If-Range": etag} if self._at else {}
        try:
            body = self._session.begin(f"/v1/recordings/{self._order.recording}/content", head=head)
        except AnswerError as error:
            raise _unanswered(error) from error
        if body.head.get("etag") != etag:
            raise CorruptError("the camera has another content under that recording than it said")
        if self._at and body.status == _HTTP_WHOLE:
            raise LinkError("the camera does not go on where it was cut", hint="it is taken from its beginning")
        last = self._order.size_bytes - 1
        expected = f"bytes {self._at}-{last}/{self._order.size_bytes}" if self._at else None
        if body.head.get("content-range") != expected or body.length != self._order.size_bytes - self._at:
            raise CorruptError("the camera sends another part of the recording than it was asked for")
        return body

    def _require_whole(self) -> None:
        self.close()
        if not hmac.compare_digest(self._hash.digest(), self._order.sha256):
            raise CorruptError("the camera sent another content than it said")


def _unanswered(error: AnswerError) -> AgentError:
    if error.code == "unreadable":
        return CorruptError("the camera cannot read it")
    if error.code == "range_not_satisfiable":
        return CorruptError("the recording is shorter than the camera said")
    return error


def through(channel: socket.socket) -> Connect:
    """Return what asks the agent for a connection over ``channel``, its end of which gives one or is closed."""

    def connect() -> socket.socket:
        channel.settimeout(CHANNEL_WAIT_S)
        try:
            channel.send(ASK)
            word, fds, _, _ = socket.recv_fds(channel, _WORD_BYTES, 1)
        except OSError as error:
            raise _gone() from error
        if word != GIVEN or len(fds) != 1:
            raise _gone()
        return socket.socket(fileno=fds[0])

    return connect


class Progress:
    """Tells the agent over ``channel`` how much was read, where what is written says too little of that."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._untold_bytes = 0

    def read(self, count: int) -> None:
        """So much more was read."""
        self._untold_bytes += count
        while self._untold_bytes >= READ_STEP_BYTES:
            self._untold_bytes -= READ_STEP_BYTES
            with suppress(OSError):  # nobody waits for it any more: the next connection, or the end, tells
                self._channel.send(READ)


def _gone() -> LinkError:
    return LinkError("the camera is away", hint="it is tried again when it is back")
