"""Dial an address and know by its key who answered, before a byte is sent (``docs/camera-link.md`` §2).

Rules: TLS 1.3 alone, with both certificates; dates, issuers and chains of the camera's certificate decide nothing, its
key does, compared in constant time. No server name is sent and no session is resumed. Everything here blocks: it runs
in a process or a thread of its own, under deadlines. A session is up only once the camera has answered something: TLS
1.3 tells a refused client late.
"""

import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.utils import CryptographyDeprecationWarning

from agent.envelope import public_jwk, thumbprint
from agent.envelope.label import is_device_id
from agent.errors import CorruptError, LinkError, RefusedError

CONNECT_S: Final = 5.0
"""A camera on the same network answers within milliseconds, one that wakes up within a few seconds."""

HANDSHAKE_S: Final = 10.0
"""All of it, however the bytes come: what a camera is given too (§2)."""

LOOKED_UP_MAX: Final = 4
"""Addresses of one name that are tried, one after the other."""

CERTIFICATE_MAX_BYTES: Final = 16 << 10

# A certificate that no authority may issue is refused, not warned about: strangers would write into our stderr.
warnings.filterwarnings("error", message="Parsed a serial number", category=CryptographyDeprecationWarning)

# All that reading a certificate of a stranger was seen to raise.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class CutError(LinkError):
    """A connection broke, or never came about; another one may do better."""


class ImpostorError(RefusedError):
    """What answered is not the camera that was expected; nothing was sent to it."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the far end of a handshake proved: that it holds the key of this certificate, and nothing about its words.

    ``kid`` is empty for a key of another kind than cameras have, ``unverified_device`` for a certificate that names no
    camera's id; the id counts only with the key that is pinned for it.
    """

    kid: str
    unverified_device: str
    certificate_sha256: bytes
    certificate: bytes
    """DER."""


class _Closing(ssl.SSLSocket):
    """Closed when it is dropped: of a connection that was reset already ``wrap_socket`` raises, and leaves it open."""

    def __del__(self) -> None:
        self.close()


def client_context(
    *, key_pem: bytes, certificate_pem: bytes, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return the context of all sessions with cameras; the private key is never in a file.

    ``minimum`` is lower only for cameras whose certificate is pinned and that know no camera link.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = minimum
    context.sslsocket_class = _Closing
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the key is compared instead, by require(); the handshake proves it
    context.options |= ssl.OP_NO_TICKET
    memory = os.memfd_create("link-identity", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(key_pem + certificate_pem)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context


def connect(host: str, port: int, *, numeric: bool = True) -> socket.socket:
    """Return a connection to an address, which proves nothing yet; ``shake_hands`` comes next.

    ``host`` is an IP address, with its zone where it is link-local; only a configured one may be a name
    (``numeric=False``). Raises ``CutError``.
    """
    where = f"{host}:{port}"
    with _translated(where):
        flags = socket.AI_NUMERICHOST if numeric else 0
        *others, last = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[:LOOKED_UP_MAX]
        for info in others:  # a name has several, of which the camera may serve one
            with contextlib.suppress(OSError):
                return _connected(info)
        return _connected(last)
    raise AssertionError  # a translated error was raised


def _connected(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, address = info
    with contextlib.ExitStack() as undo:
        plain = undo.enter_context(socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))
        plain.settimeout(CONNECT_S)
        plain.connect(address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()
        return plain
    raise AssertionError  # nothing above is suppressed


def shake_hands(plain: socket.socket, *, context: ssl.SSLContext, where: str = "the camera") -> ssl.SSLSocket:
    """Make a connection a TLS session; raises ``CutError``, and it is closed then.

    Nothing is proved yet: ``require`` or ``shown`` comes next, before anything is sent.
    """
    with _translated(where), contextlib.ExitStack() as undo:
        undo.enter_context(plain)
        plain.settimeout(HANDSHAKE_S)
        secured = undo.enter_context(context.wrap_socket(plain, do_handshake_on_connect=False))
        secured.do_handshake()
        undo.pop_all()
        return secured
    raise AssertionError  # a translated error was raised


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise CutError(f"{where}: no TLS session ({error.reason})", hint="is this a camera's port?") from error
    except TimeoutError as error:
        raise CutError(f"{where} did not answer", hint="check the network; the camera may be off") from error
    except (OSError, OverflowError, UnicodeError) as error:
        raise CutError(f"{where}: {error}", hint="check the network; the camera may be off") from error


def shown(session: ssl.SSLSocket) -> Shown:
    """Return what the far end proved; raises ``CorruptError`` for a certificate that cannot be read."""
    raw = session.getpeercert(binary_form=True)
    if raw is None or len(raw) > CERTIFICATE_MAX_BYTES:
        raise CorruptError("the camera showed no certificate, or one that is too large")
    return read_certificate(raw)


def read_certificate(raw: bytes) -> Shown:
    """Read a DER certificate's key and the one camera's id that it names; raises ``CorruptError``."""
    try:
        certificate = x509.load_der_x509_certificate(raw)
        kid = _kid(certificate)
        device = _device(certificate)
    except _UNREADABLE as error:
        raise CorruptError(f"the camera's certificate cannot be read ({error})") from error
    return Shown(
        kid=kid,
        unverified_device=device,
        certificate_sha256=hashlib.sha256(raw).digest(),
        certificate=raw,
    )


def kid_of_pem(certificate_pem: bytes) -> str:
    """Return the id of the key in a certificate of our own."""
    return _kid(x509.load_pem_x509_certificate(certificate_pem))


def require(found: Shown, *, kid: str, device: str) -> None:
    """Raise ``ImpostorError`` unless that is the pinned key, under the id that it was enrolled with."""
    same_key = hmac.compare_digest(found.kid.encode(), kid.encode()) and bool(kid)
    same_id = hmac.compare_digest(found.unverified_device.encode(), device.encode()) and bool(device)
    if not (same_key and same_id):
        raise ImpostorError(
            "what answered does not hold the enrolled camera's key" if not same_key else "the key names another camera",
            reason="camera_impostor",
            hint="nothing was sent; if the camera was replaced: privacy-agent forget-camera ID; then enrol it again",
        )


def require_certificate(found: Shown, *, certificate_sha256: bytes) -> None:
    """Raise ``ImpostorError`` unless that is the pinned certificate."""
    if not certificate_sha256 or not hmac.compare_digest(found.certificate_sha256, certificate_sha256):
        raise ImpostorError(
            "what answered shows another certificate than the pinned one",
            reason="camera_impostor",
            hint="nothing was sent to it; if its certificate was renewed, forget the camera and enrol it again",
        )


def _kid(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return thumbprint(public_jwk(key))
    return ""


def _device(certificate: x509.Certificate) -> str:
    """Return the id that the certificate names: its only DNS name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = names.get_values_for_type(x509.DNSName)
    return found[0] if len(found) == 1 and is_device_id(found[0]) else ""
