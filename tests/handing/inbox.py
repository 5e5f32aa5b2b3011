"""A third party: an HTTPS server that takes what is put, with a certificate of an authority of its own, and faults."""

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LONG: Final = dt.timedelta(days=3650)
_BLOCK: Final = 64 * 1024
_AUTHORITY: Final = x509.BasicConstraints(ca=True, path_length=0)
_LEAF: Final = x509.BasicConstraints(ca=False, path_length=None)


class Inbox(ThreadingHTTPServer):
    """``taken`` are the bodies by their path; ``answers`` what is said to the next requests in place of 201."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, *, names: tuple[str, ...] = ("127.0.0.1",)) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.ca = folder / "inbox-ca.pem"
        self.holds = threading.Event()
        self.holds.set()
        self.arrived = threading.Event()
        certificate = _write(folder, self.ca, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}/claims/42/"

    def handle_error(self, _request: Any, _address: Any) -> None:  # noqa: ANN401 - the library's
        """A client that goes away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: Inbox
    timeout = 20

    def do_PUT(self) -> None:
        self.server.asked.append(self.path)
        left = int(self.headers["Content-Length"])
        body = bytearray()
        while left:
            block = self.rfile.read(min(left, _BLOCK))
            if not block:
                return
            body += block
            left -= len(block)
        self.server.arrived.set()
        self.server.holds.wait(60)
        status, headers = self.server.answers.pop(0) if self.server.answers else (201, {})
        if status == 201:
            self.server.taken[self.path] = bytes(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Be silent."""


@contextmanager
def inbox(folder: Path, *, names: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Inbox]:
    folder.mkdir(exist_ok=True)
    server = Inbox(folder, names=names)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.holds.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _write(folder: Path, ca: Path, names: tuple[str, ...]) -> Path:
    """Write an authority, and a certificate of it for these names; return the file with its key."""
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Inbox Root")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inbox")])
    ca.write_bytes(_signed(issuer, issuer, root, by=root, constraints=_AUTHORITY, names=()))
    leaf = _signed(subject, issuer, key, by=root, constraints=_LEAF, names=names)
    path = folder / "inbox.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + leaf)
    path.chmod(0o600)
    return path


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    by: ec.EllipticCurvePrivateKey,
    constraints: x509.BasicConstraints,
    names: tuple[str, ...],
) -> bytes:
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LONG)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if constraints.ca:
        usage = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    else:
        found: list[x509.GeneralName] = []
        for name in names:
            try:
                found.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                found.append(x509.DNSName(name))
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    return builder.sign(by, SHA256()).public_bytes(Encoding.PEM)
