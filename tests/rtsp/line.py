"""Lines that a test holds in its own hands: a camera that answers what it is told to, and TLS before another."""

import datetime as dt
import hashlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PIECE_BYTES = 65_536

Talk = Callable[[socket.socket], None]


class Line:
    """Listens on this machine and has ``talk`` with whoever connects; ``heard`` is all that came on ``copied``."""

    def __init__(self, talk: Talk, *, tls: ssl.SSLContext | None = None) -> None:
        self.talks = 0
        self.heard = bytearray()
        self._talk = talk
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def hear(self, caller: socket.socket) -> bytes:
        """Return what comes next, and keep it."""
        data = caller.recv(PIECE_BYTES)
        self.heard += data
        return data

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self.talks += 1
            caller.settimeout(20)
            try:
                if self._tls is not None:
                    caller = self._tls.wrap_socket(caller, server_side=True)
                self._talk(caller)
            except OSError:
                continue
            finally:
                caller.close()


def passing(port: int, change: Callable[[bytes], bytes] = bytes) -> Talk:
    """Pass both ways between a caller and a server of this machine, and change what that says."""

    def talk(caller: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            caller.settimeout(None)
            while True:
                held = isinstance(caller, ssl.SSLSocket) and caller.pending() > 0
                for one in [caller] if held else select.select([caller, server], [], [])[0]:
                    data = one.recv(PIECE_BYTES)
                    if not data:
                        return
                    if one is caller:
                        server.sendall(data)
                    else:
                        caller.sendall(change(data))

    return talk


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return what a camera with a certificate of its own serves with, and the certificate's SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    file = folder / "camera.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()
