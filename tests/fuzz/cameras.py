"""What a camera answers over its link and over RTSP: heads, bodies, certificates, descriptions, demands, packets."""

import datetime as dt
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.camera.answer import read_collection, read_error, read_page, read_status
from agent.camera.session import Session
from agent.camera.tls import read_certificate
from agent.errors import ConfigError, CorruptError, LinkError
from agent.rtsp.challenge import Credentials, choose, read_credentials
from agent.rtsp.relay import _Dialogue
from agent.rtsp.settings import read_address, read_service
from agent.rtsp.tracks import Tracks
from agent.rtsp.wire import Frame, Message, Reader
from tests.fuzz.target import BETWEEN, Target, parts, text, words

LARGE: Final = 8192


def error(raw: bytes) -> object:
    """Read why a camera did not do what it was asked; whatever it says is one of the document's codes."""
    return read_error(raw, status=404).code


@contextmanager
def said(raw: bytes) -> Iterator[Session]:
    """Give a session whose far end says this and no more; the handshake is over, so TLS adds nothing here."""
    near, theirs = socket.socketpair()
    with near, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        with Session(cast("ssl.SSLSocket", near), monotonic=lambda: 0.0) as session:
            yield session


def answer(raw: bytes) -> object:
    """Read a whole answer."""
    with said(raw) as session:
        return session.ask("GET", "/v1/camera", done=(200, 204)).body


def content(raw: bytes) -> object:
    """Read an answer's body as it comes."""
    buffer, came = memoryview(bytearray(512)), 0
    with said(raw) as session:
        body = session.begin("/v1/recordings/a/content", head={})
        while count := body.readinto(buffer):
            came += count
    return came


def wire(raw: bytes) -> object:
    """Split what a camera sends over RTSP, in two pieces."""
    reader, found = Reader(), 0
    for piece in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
        for one in reader.feed(piece):
            found += 1
            if isinstance(one, Message):
                assert one.request or one.status
                one.values("Transport")
                assert one.without("CSeq").encode()
            else:
                assert len(one.content) == len(one.raw) - 4
    return found


def tracks(raw: bytes) -> object:
    """Take a description, the answers to what is asked for, and frames of media."""
    body, transports, begins, media = parts(raw, least=4)[:4]
    kept = Tracks(sound=True)
    kept.describe(body)
    for number, transport in enumerate(words(transports).splitlines()[:4]):
        kept.ask(own=f"rtsp://127.0.0.1/{number}", sent=f"rtsp://camera/{'va'[number % 2]}")
        kept.answered([transport])
    kept.play(words(begins))
    try:
        frames = list(Reader().feed(media))
    except CorruptError:
        frames = []
    for number, frame in enumerate(frames):
        if isinstance(frame, Frame):
            kept.pass_on(frame, came_s=number / 10)
    return kept.sound_behind_s()


def dialogue(raw: bytes) -> object:
    """Answer what a camera says to a whole conversation, each request once, with credentials it may ask for."""
    address, ours = read_address("rtsp://camera/live"), "rtsp://127.0.0.1:9/x"
    said = _Dialogue(address, ours, Credentials("ada", "secret"), Tracks(sound=True))
    told = 0
    for method in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY"):
        asked = Message(f"{method} {ours}/va RTSP/1.0", (("CSeq", "1"), ("Transport", "RTP/AVP/TCP")), b"")
        assert said.ask(asked).endswith(b"\r\n\r\n")
    for piece in Reader().feed(raw):
        if isinstance(piece, Message):
            told += sum(map(len, said.hear(piece)))
    return told


def demands(raw: bytes) -> object:
    """Answer a demand for credentials."""
    found = choose(words(raw).splitlines(), secure=len(raw) % 2 == 0)
    return found.answer(
        Credentials("ada", "secret"), method="DESCRIBE", address="rtsp://camera/m", count=1, client_nonce="x"
    )


def address(raw: bytes) -> object:
    """Read the address of a stream."""
    return read_address(text(raw))


def onvif_address(raw: bytes) -> object:
    """Read the address of an ONVIF service."""
    return read_service(text(raw))


PAGE: Final = {
    "recordings": [
        {
            "id": "a1", "category": "recording", "media_type": "video/mp4", "from": "2026-11-22T10:15:00.000Z",
            "to": "2026-11-22T10:16:00.000Z", "clock": "trusted", "size": 7, "sha256": "0" * 64, "complete": True,
            "acknowledged": False,
        },
        {"id": "a2", "complete": False, "clock": "unsure"},
    ],
    "next": "abc-_1",
    "storage": "abcdefgh234567xy",
}  # fmt: skip
STATUS: Final = {
    "id": "abcdefgh234567xy", "model": "K3", "firmware": "1.2", "time": "2026-11-22T10:15:00.000Z", "clock": "trusted",
    "advert_key": "A" * 43, "storage": {"state": "ok", "id": "abcdefgh234567xy", "erasure": "key"},
    "state": dict.fromkeys(("recording", "microphone", "stream", "indicator", "consent"), True),
}  # fmt: skip


def http(document: object, *, status: str = "200 OK", more: str = "") -> bytes:
    """Return an answer as a camera writes it."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def answers() -> Iterator[bytes]:
    """Yield answers of each kind."""
    yield http(STATUS)
    yield http(PAGE, more="Connection: close\r\n")
    yield http({"code": "not_found", "detail": "x"}, status="404 Not Found")
    yield b"HTTP/1.1 204 No Content\r\n\r\n"
    yield b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/4\r\nETag: "00"\r\nContent-Length: 3\r\n\r\nabc'
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"


def certificates() -> Iterator[bytes]:
    """Yield certificates as a camera shows one: with its id, without, and with two names."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    when = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    for names in (["abcdefgh234567xy"], [], ["abcdefgh234567xy", "b"]):
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, when, when + dt.timedelta(days=9))
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
            )
        yield builder.sign(key, None).public_bytes(Encoding.DER)


_SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n"
    b"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\na=control:a\r\n"
)


def conversations() -> Iterator[bytes]:
    """Yield whole conversations, with and without sound."""
    transports = b"RTP/AVP/TCP;unicast;interleaved=0-1\r\nRTP/AVP/TCP;unicast;interleaved=2-3"
    begins = b"url=rtsp://camera/v;seq=1;rtptime=100,url=rtsp://camera/a;seq=1;rtptime=7"
    picture = b"\x80\x60\x00\x01\x00\x00\x00\x64\x00\x00\x00\x01abc"
    report = b"\x80\xc8\x00\x06" + bytes(4) + bytes((1,)) * 8 + b"\x00\x00\x00\x64" + bytes(8)
    frames = [(0, picture), (2, picture), (1, report), (3, report), (1, b"\x81\xcb\x00\x01" + bytes(4)), (2, picture)]
    media = b"".join(b"$" + bytes((channel,)) + len(one).to_bytes(2, "big") + one for channel, one in frames)
    yield BETWEEN.join((_SDP, transports, begins, media))
    yield BETWEEN.join((_SDP.partition(b"m=audio")[0], transports, b"", media))
    yield BETWEEN.join((b"v=0\r\nm=video 0 RTP/AVP 26\r\n", transports, b"", media))


def dialogues() -> Iterator[bytes]:
    """Yield what a camera says to four requests: all that is good, demands and a redirection."""
    good = [
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: %d\r\n\r\n%s" % (len(_SDP), _SDP),
        b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nRTP-Info: url=rtsp://camera/live/v;seq=1;rtptime=100\r\n\r\n",
    ]
    yield b"".join(good)
    for number in (1, 5):
        yield b"RTSP/1.0 401 Unauthorized\r\nCSeq: %d\r\nWWW-Authenticate: %s\r\n\r\n" % (number, _DEMANDS[0])
    yield b"RTSP/1.0 302 Found\r\nCSeq: 2\r\nLocation: rtsp://elsewhere/\r\n\r\n"
    yield b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 8\r\n\r\n"


def rtsp() -> Iterator[bytes]:
    """Yield messages and frames."""
    yield b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi$\x00\x00\x03abcOPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n"
    yield b'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="cam", nonce="00"\r\n\r\n'


_DEMANDS: Final = (
    b'Digest realm="cam", nonce="00", algorithm=MD5, qop="auth, auth-int", opaque="x", stale=true',
    b'Basic realm="cam"\nDigest realm="c\\"am", nonce="00", algorithm=SHA-256 ',
)
_BAD: Final = (CorruptError,)
_FAILED: Final = (LinkError, CorruptError)
_MISTAKE: Final = (ConfigError,)


def _json(*documents: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - JSON
    return tuple(json.dumps(one).encode() for one in documents)


TARGETS: Final = (
    Target(name="camera-page", read=read_page, declared=_BAD, seeds=lambda: _json(PAGE)),
    Target(name="camera-status", read=read_status, declared=_BAD, seeds=lambda: _json(STATUS)),
    Target(name="camera-collection", read=read_collection, declared=_BAD, seeds=lambda: _json({"enabled": True})),
    Target(name="camera-error", read=error, seeds=lambda: _json({"code": "busy"}, {"code": "x"}, [])),
    Target(name="camera-answer", read=answer, declared=_FAILED, seeds=answers, largest=LARGE),
    Target(name="camera-content", read=content, declared=_FAILED, seeds=answers, largest=LARGE),
    Target(name="camera-certificate", read=read_certificate, declared=_BAD, seeds=certificates),
    Target(name="rtsp-wire", read=wire, declared=_BAD, seeds=rtsp, largest=LARGE),
    Target(
        name="rtsp-dialogue",
        read=dialogue,
        declared=(ConfigError, CorruptError, LinkError),
        seeds=dialogues,
    ),
    Target(name="rtsp-tracks", read=tracks, seeds=conversations),
    Target(name="rtsp-demand", read=demands, declared=(CorruptError, ConfigError), seeds=lambda: _DEMANDS),
    Target(name="rtsp-credentials", read=read_credentials, declared=_MISTAKE, seeds=lambda: (b"ada\nsecret\n",)),
    Target(
        name="rtsp-address",
        read=address,
        declared=_MISTAKE,
        seeds=lambda: (b"rtsp://camera:554/live?x=1", b"rtsps://[fd77::2]/a"),
    ),
    Target(
        name="onvif-address",
        read=onvif_address,
        declared=_MISTAKE,
        seeds=lambda: (b"http://camera:8000/onvif/device_service", b"https://[fd77::2]"),
    ),
)
