"""Between FFmpeg and the camera, inside one process: what FFmpeg cannot be trusted with is done here.

FFmpeg is given an address on this machine's loopback with a random name that only it knows. A connection that is not of
this very process is closed before a byte of it is read, whosever it is, and one that asks for another name after that.
Rules for what passes:

- to the camera: requests, with the camera's address in place of ours and, once the camera demanded it, an answer to its
  demand (``challenge``); never credentials before a demand, never in clear;
- from the camera: responses and media, cut down to the tracks that are asked for and timed anew (``tracks``).
  A demand for credentials is answered here and not passed on; one that is made again of the right answer ends it. No
  redirection is followed, no request of the camera's is passed;
- with ``rtsps`` nothing is sent before the certificate was seen to be the one that is pinned.

All runs in one thread, so whatever the one side does not read is not read from the other: one piece is held each way.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import select
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.errors import AgentError, ConfigError, LinkError
from agent.rtsp.challenge import Challenge, Credentials, choose
from agent.rtsp.message import another_certificate
from agent.rtsp.settings import Address
from agent.rtsp.tracks import Tracks
from agent.rtsp.wire import Frame, Message, Reader

CONNECT_S: Final = 10.0
BACKLOG: Final = 64
"""Connections of strangers that FFmpeg's may stand behind; each is turned away in less than a millisecond."""

PIECE_BYTES: Final = 64 * 1024

UNANSWERED_MAX: Final = 16
"""Requests that wait for their response at once: FFmpeg waits for each."""

DEMANDS_MAX: Final = 3
"""Demands for credentials behind each other: the answer to the first may be stale, and once more by bad luck."""

_UNAUTHORISED: Final = 401
_GOOD: Final = range(200, 300)
_REDIRECTIONS: Final = range(300, 400)
_DROPPED: Final = ("Range", "RTP-Info")
"""Where a stream begins: it is told of each track's first packet instead, which ``segment`` relies on."""


def connect(address: Address, *, certificate_sha256: bytes) -> socket.socket:
    """Connect to a camera; raises ``LinkError``, and ``RefusedError`` where its certificate is not the pinned one."""
    try:
        line = socket.create_connection((address.host, address.port), timeout=CONNECT_S)
    except OSError as error:
        told = f"the camera cannot be reached: {_told(error)}"
        raise LinkError(told, hint="see that it is on, and that its address and port are those of its stream") from None
    return _secured(line, certificate_sha256) if address.secure else line


def _secured(line: socket.socket, certificate_sha256: bytes) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the very certificate is pinned: that says more than a name and an authority
    context.verify_mode = ssl.CERT_NONE
    try:
        secured = context.wrap_socket(line)
    except OSError as error:
        line.close()
        told = f"TLS with the camera failed: {_told(error)}"
        raise LinkError(told, hint="see that the port is the one that it has for TLS") from None
    shown = secured.getpeercert(binary_form=True) or b""
    if not hmac.compare_digest(hashlib.sha256(shown).digest(), certificate_sha256):
        secured.close()
        raise another_certificate()
    return secured


class Relay:
    """Serves one connection of FFmpeg, in the thread that calls ``run``, and ends when either side does.

    ``trouble`` is why it ended, ``None`` when a side just closed. Making it raises ``ConfigError`` where no port may be
    bound, ``LinkError`` where none is free.
    """

    def __init__(
        self,
        camera: socket.socket,
        address: Address,
        *,
        credentials: Credentials | None,
        monotonic: Callable[[], float],
        sound: bool = False,
    ) -> None:
        self.trouble: AgentError | None = None
        self.tracks = Tracks(sound=sound)
        self._camera = camera
        self._address = address
        self._monotonic = monotonic
        self._listening = _listening()
        self._secret = secrets.token_urlsafe(16)
        self.url = f"rtsp://127.0.0.1:{self._listening.getsockname()[1]}/{self._secret}"
        self._player: socket.socket | None = None
        self._closing = False
        self._dialogue = _Dialogue(address, self.url, credentials, self.tracks)

    def run(self) -> None:
        """Pass on until one of the sides ends."""
        try:
            player, first = self._accepted()
            self._pass_on(player, first)
        except AgentError as error:
            self.trouble = error
        except OSError as error:
            if not self._closing:
                self.trouble = LinkError(f"the line to the camera broke: {_told(error)}")
        finally:
            self.close()
            for one in (self._player, self._camera, self._listening):
                if one is not None:
                    one.close()

    def close(self) -> None:
        """End it, from any thread: FFmpeg finds its connection closed."""
        self._closing = True
        for one in (self._player, self._camera, self._listening):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accepted(self) -> tuple[socket.socket, bytes]:
        """Wait for FFmpeg; return its connection and what came on it."""
        self._listening.settimeout(CONNECT_S)
        while True:
            player, peer = self._listening.accept()
            if _is_ours(peer):
                player.settimeout(CONNECT_S)
                with contextlib.suppress(OSError):
                    first = player.recv(PIECE_BYTES)
                    if self._secret.encode() in first:
                        break
            player.close()  # somebody else of this machine
        player.settimeout(None)
        self._camera.settimeout(None)
        self._player = player
        self._listening.close()
        return player, first

    def _pass_on(self, player: socket.socket, first: bytes) -> None:
        camera, asked, heard = self._camera, Reader(), Reader()
        data = first
        while True:
            for piece in asked.feed(data):
                camera.sendall(self._dialogue.ask(piece))
            data = b""
            waiting = isinstance(camera, ssl.SSLSocket) and camera.pending() > 0
            readable = [camera] if waiting else select.select([player, camera], [], [])[0]
            if camera in readable:
                came = camera.recv(PIECE_BYTES)
                if not came:
                    return
                for piece in heard.feed(came):
                    self._hear(piece, player)
            if player in readable:
                data = player.recv(PIECE_BYTES)
                if not data:
                    return

    def _hear(self, piece: Frame | Message, player: socket.socket) -> None:
        if isinstance(piece, Frame):
            if media := self.tracks.pass_on(piece, came_s=self._monotonic()):
                player.sendall(media)
            return
        again, told = self._dialogue.hear(piece)
        if again:
            self._camera.sendall(again)
        if told:
            player.sendall(told)


def _listening() -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    except PermissionError:
        raise ConfigError(
            "FFmpeg cannot be given a port on this machine's loopback: binding one is forbidden here",
            hint="allow it in the service: SocketBindAllow=ipv4:tcp (systemctl edit privacy-agent)",
        ) from None
    except OSError as error:
        raise LinkError(f"FFmpeg cannot be given a port on this machine's loopback: {_told(error)}") from None


def _is_ours(peer: tuple[str, int]) -> bool:
    """Tell whether the socket at the other end is one of this process, as FFmpeg's is."""
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.fromfd(int(fd.name), socket.AF_INET, socket.SOCK_STREAM) as one:
            if one.getsockname() == peer:
                return True
    return False


class _Dialogue:
    """The requests and responses of one connection; no socket."""

    def __init__(self, address: Address, ours: str, credentials: Credentials | None, tracks: Tracks) -> None:
        self._tracks = tracks
        self._address = address
        self._ours = ours
        self._credentials = credentials
        self._challenge: Challenge | None = None
        self._count = 0
        self._demands = 0
        self._sequence = 0
        self._unanswered: dict[str, tuple[Message, bool]] = {}

    def ask(self, piece: Frame | Message) -> bytes:
        """Return what a piece of FFmpeg's becomes on the camera's line."""
        if isinstance(piece, Frame):
            return piece.raw
        asked = piece.request
        if asked is None:
            raise LinkError("FFmpeg answers what it was not asked")
        method, address = asked
        own = address
        if address.startswith(self._ours):
            address = self._address.text + address[len(self._ours) :]
        if method == "SETUP":
            self._tracks.ask(own=own, sent=address)
        if len(self._unanswered) >= UNANSWERED_MAX:
            raise LinkError("the camera answers nothing")
        return self._sent(Message(f"{method} {address} RTSP/1.0", piece.fields, piece.body))

    def hear(self, piece: Message) -> tuple[bytes, bytes]:
        """Return what a piece of the camera's asks for: what it is answered, and what FFmpeg is told."""
        if piece.request is not None:
            if piece.request[0] == "REDIRECT":
                raise _elsewhere()
            return Message("RTSP/1.0 501 Not Implemented", _only(piece, "CSeq")).encode(), b""
        request, signed = self._unanswered.pop("".join(piece.values("CSeq")), (None, False))
        if request is None:
            return b"", b""
        if piece.status == _UNAUTHORISED:
            return self._demanded(piece, request, signed=signed), b""
        self._demands = 0
        if piece.status in _REDIRECTIONS:
            raise _elsewhere()
        if piece.status not in _GOOD:
            self._refused(piece.status, request)
        return b"", self._passed_on(piece, request).encode()

    def _passed_on(self, piece: Message, request: Message) -> Message:
        """Return what FFmpeg is told of a good answer: of its tracks only those that are asked for."""
        method = (request.request or ("", ""))[0]
        told, body = piece.without("CSeq", *_DROPPED), piece.body
        begin: tuple[str, str] | None = None
        if method == "DESCRIBE":
            told, body = told.without("Content-Length"), self._tracks.describe(piece.body)
            begin = ("Content-Length", str(len(body)))
        elif method == "SETUP":
            self._tracks.answered(piece.values("Transport"))
        elif method == "PLAY":
            begin = ("RTP-Info", self._tracks.play(",".join(piece.values("RTP-Info"))))
        beside = (begin,) if begin is not None and begin[1] else ()
        return Message(told.start, (*_only(request, "CSeq"), *told.fields, *beside), body)

    def _sent(self, request: Message) -> bytes:
        """Return a request with a number, and an answer to the camera's demand where there was one, of its own."""
        self._sequence += 1
        number = str(self._sequence)
        self._unanswered[number] = (request, self._challenge is not None)
        fields = [("CSeq", number), *request.without("CSeq", "Authorization").fields]
        if self._challenge is not None and self._credentials is not None and request.request is not None:
            method, address = request.request
            self._count += 1
            said = self._challenge.answer(
                self._credentials,
                method=method,
                address=address,
                count=self._count,
                client_nonce=os.urandom(8).hex(),
            )
            fields.append(("Authorization", said))
        return Message(request.start, tuple(fields), request.body).encode()

    def _demanded(self, piece: Message, request: Message, *, signed: bool) -> bytes:
        if self._credentials is None:
            raise ConfigError(
                "the camera demands a user and a password",
                hint='put both into a file of mode 0600, a line each, and name it: credentials = "/etc/…"',
            )
        challenge = choose(piece.values("WWW-Authenticate"), secure=self._address.secure)
        self._demands += 1
        if (signed and not challenge.stale) or self._demands > DEMANDS_MAX:
            raise ConfigError(
                "the camera refuses the user or the password", hint="correct the file that credentials names"
            )
        self._challenge, self._count = challenge, 0
        return self._sent(request)

    def _refused(self, status: int, request: Message) -> None:
        """Say of the requests that a stream needs what it means that they are refused."""
        method = (request.request or ("", ""))[0]
        if method == "DESCRIBE":
            told = f"the camera has no stream at that address (RTSP {status})"
            raise LinkError(told, hint="correct the path in url: the camera's manual or its ONVIF service tells it")
        if method in {"SETUP", "PLAY"}:
            raise LinkError(f"the camera does not stream over its RTSP line (RTSP {status} to {method})")


def _only(message: Message, name: str) -> tuple[tuple[str, str], ...]:
    return tuple(one for one in message.fields if one[0].lower() == name.lower())


def _elsewhere() -> LinkError:
    return LinkError(
        "the camera sends us to another address, which is not followed", hint="write that address, if it is right"
    )


def _told(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS is spoken there"
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else "its name is not known"
