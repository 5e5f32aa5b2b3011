"""One proved connection to a camera: one request after the other, each bounded in bytes and time.

Rules: an answer says how long it is, and is read no further; its head is at most ``HEAD_MAX_BYTES``; no redirect is
followed; after any failure the connection is closed, because nobody knows where in an answer it stands.
"""

import http.client
import io
import json
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Final, Self

import msgspec

from agent.camera.answer import BODY_MAX_BYTES, read_error
from agent.camera.identity import Pinned
from agent.camera.tls import CutError, ImpostorError, Shown, require, require_certificate, shake_hands, shown
from agent.errors import AgentError, CorruptError

HEAD_MAX_BYTES: Final = 8 * 1024
PIECE_BYTES: Final = 64 * 1024
STILL_S: Final = 15.0
"""A camera that sends nothing for so long is away; its handshake may take ten."""
ASK_S: Final = 60.0
"""For a request and the whole of a JSON answer, however slowly it drips."""

HOST: Final = "camera"
"""Any will do; an address would be wrong behind a hub."""

_SUCCESS: Final = range(200, 300)
_NO_HEAD: Final[Mapping[str, str]] = {}
_FAILURES: Final = (OSError, http.client.HTTPException)


class Answer(msgspec.Struct, frozen=True):
    """An answer's status, head and body."""

    status: int
    head: Mapping[str, str]
    body: bytes


class Session:
    """One connection, kept between requests; belongs to one thread."""

    def __init__(self, line: ssl.SSLSocket, *, monotonic: Callable[[], float]) -> None:
        self._line = _Line(line, monotonic)
        self._http = http.client.HTTPConnection(HOST)
        self._http.sock = self._line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._http.close()
        self._line.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        head: Mapping[str, str] = _NO_HEAD,
        done: Collection[int] = (200,),
    ) -> Answer:
        """Ask, and return the whole answer, whose status is one of ``done``.

        Raises ``AnswerError`` for what is not 2xx, ``CutError`` when the connection failed, ``CorruptError`` for an
        answer that is none, and for another 2xx, which promises nothing; after the last two the connection is closed.
        """
        self._line.allow(ASK_S)
        raw = None if body is None else json.dumps(body, separators=(",", ":")).encode("utf-8")
        typed = {} if raw is None else {"Content-Type": "application/json"}
        try:
            answer = self._answered(method, path, raw, {**head, **typed})
            content = self._whole(answer)
            _require_documented(answer.status, done)
        except BaseException:
            self.close()
            raise
        if answer.status not in done:
            raise read_error(content, status=answer.status)
        return Answer(answer.status, _head(answer), content)

    def begin(self, path: str, *, head: Mapping[str, str]) -> "Body":
        """Ask for something large, and return its body to read from; raises what ``ask`` does."""
        self._line.allow(ASK_S)
        try:
            answer = self._answered("GET", path, None, head)
            if answer.status in {200, 206}:
                return Body(answer.status, _head(answer), answer, self._line)
            content = self._whole(answer)
        except BaseException:
            self.close()
            raise
        raise read_error(content, status=answer.status)

    def _answered(
        self, method: str, path: str, body: bytes | None, head: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self._http.request(method, path, body=body, headers=dict(head))
            return self._http.getresponse()
        except _FAILURES as error:
            raise away(error) from error

    def _whole(self, answer: http.client.HTTPResponse) -> bytes:
        length = length_of(answer)
        if length > BODY_MAX_BYTES:
            raise CorruptError("the camera's answer is too long")
        try:
            content = answer.read(length) if length else b""
            answer.close()
        except _FAILURES as error:
            raise away(error) from error
        if len(content) != length:
            raise away(http.client.IncompleteRead(content))
        if answer.will_close:
            self.close()
        return content

    @property
    def closed(self) -> bool:
        """Whether it can be asked nothing more."""
        return self._line.closed


class Body:
    """The body of one answer, as it comes."""

    def __init__(self, status: int, head: Mapping[str, str], answer: http.client.HTTPResponse, line: "_Line") -> None:
        self.status = status
        self.head = head
        self.length = length_of(answer)
        self._answer = answer
        self._line = line

    def readinto(self, buffer: memoryview) -> int:
        """Read what comes next; 0 at its end or a cut. Raises ``CutError`` when nothing comes for ``STILL_S``."""
        self._line.allow(STILL_S)
        try:
            piece = self._answer.read1(min(len(buffer), PIECE_BYTES))
        except _FAILURES as error:
            raise away(error) from error
        buffer[: len(piece)] = piece
        return len(piece)


def length_of(answer: http.client.HTTPResponse) -> int:
    """Return how long a body is said to be; one that does not say it has no end that can be known."""
    if answer.status == 204:  # noqa: PLR2004 - has none
        return 0
    said = answer.headers.get_all("Content-Length") or []
    if answer.headers.get("Transfer-Encoding") is not None or len(said) != 1 or not said[0].isdecimal():
        raise CorruptError("the camera does not say how long its answer is")
    return int(said[0][:20])


def _require_documented(status: int, done: Collection[int]) -> None:
    if status in _SUCCESS and status not in done:
        raise CorruptError(f"the camera answers {status}, which promises nothing here")


def away(error: Exception) -> CutError:
    """Return what a broken connection is to us."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return CutError(f"the connection to the camera broke: {reason}", hint="it is tried again by itself")


def _head(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


class _Line:
    """What ``http.client`` uses of a socket, with a deadline over all of an answer rather than each read."""

    def __init__(self, tls: ssl.SSLSocket, monotonic: Callable[[], float]) -> None:
        self._tls = tls
        self._monotonic = monotonic
        self._until_s = 0.0
        self.closed = False

    def allow(self, seconds: float) -> None:
        """Let what follows take so long in all."""
        self._until_s = self._monotonic() + seconds

    def left(self) -> float:
        """Return how long the next read may take; raises ``TimeoutError`` when no time is left."""
        left_s = self._until_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError("the camera takes too long")
        return min(left_s, STILL_S)

    def sendall(self, data: bytes) -> None:
        self._tls.settimeout(self.left())
        self._tls.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _Buffered(_Reading(self._tls, self), PIECE_BYTES)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._tls.close()


class _Buffered(io.BufferedReader):
    """One answer, of which only the head is read in lines: all of them together are bounded."""

    def __init__(self, raw: "_Reading", size_bytes: int) -> None:
        super().__init__(raw, size_bytes)
        self._head_bytes = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self._head_bytes += len(line)
        if self._head_bytes > HEAD_MAX_BYTES:
            raise http.client.LineTooLong("head")
        return line


class _Reading(io.RawIOBase):
    """What comes over the connection, as long as time is left."""

    def __init__(self, tls: ssl.SSLSocket, line: _Line) -> None:
        self._tls = tls
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # as bytes-like
        self._tls.settimeout(self._line.left())
        return self._tls.recv_into(buffer)


def proved(line: socket.socket, *, context: ssl.SSLContext, pinned: Pinned, monotonic: Callable[[], float]) -> Session:
    """Return a session over a connection whose far end proved to be the camera; it is closed on any error.

    Raises ``ImpostorError`` when somebody else answers, ``CutError`` when nobody does.
    """
    tls = shake_hands(line, context=context)
    try:
        require_pinned(shown(tls), pinned)
    except (OSError, ValueError) as error:  # it was cut before the handshake: ssl tells so when it is asked
        tls.close()
        raise away(error) from error
    except AgentError as error:
        tls.close()
        if isinstance(error, CorruptError):
            raise ImpostorError(error.message, reason="camera_impostor") from error
        raise
    return Session(tls, monotonic=monotonic)


def require_pinned(found: Shown, pinned: Pinned) -> None:
    """Raise ``ImpostorError`` unless that is the camera that was enrolled."""
    if pinned.kid:
        require(found, kid=pinned.kid, device=pinned.device)
    else:
        require_certificate(found, certificate_sha256=pinned.certificate_sha256)
