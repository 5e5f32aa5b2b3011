"""A TLS listener on loopback that shows the certificate it is given, and tells what was sent to it.

With ``caller`` it takes nobody but the holder of that PEM certificate's key.
"""

import datetime as dt
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

DEVICE, OTHER_DEVICE = "abcdefgh234567xy", "bcdefgh234567xyz"
PATIENCE_S = 20.0


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate_of(
    key: Key,
    *names: str,
    serial: str = "",
    issuer: "tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None" = None,
    authority: bool = False,
    begins: dt.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    ends: dt.datetime = dt.datetime(2049, 1, 1, tzinfo=dt.UTC),
) -> x509.Certificate:
    """Make a certificate that names these as DNS names; signed by itself where no issuer is given."""
    told = [x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "camera")]
    if serial:
        told.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    subject = x509.Name(told)
    signer = issuer[1] if issuer is not None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else SHA256())


def pem_of(key: Key, *certificates: x509.Certificate) -> bytes:
    """Write a key and its chain as one PEM text."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


class FarEnd:
    """Listens until it is closed; ``sent`` is what callers sent after their handshakes, ``callers`` their keys."""

    def __init__(
        self,
        pem: bytes,
        *,
        maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        caller: bytes = b"",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = maximum
        memory = os.memfd_create("far-end")
        os.write(memory, pem)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
        os.close(memory)
        if caller:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=caller.decode("ascii"))
        self._context = context
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = self._listener.getsockname()[:2]
        self.sent = b""
        self.calls = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
            pass
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            plain, _ = self._listener.accept()
            plain.settimeout(PATIENCE_S)
            with plain, suppress(OSError), self._context.wrap_socket(plain, server_side=True) as session:
                self.calls += 1
                while piece := session.recv(4096):
                    self.sent += piece


@contextmanager
def camera(key: Key, *names: str, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[FarEnd]:
    """A camera with this key that names itself like this."""
    with FarEnd(pem_of(key, certificate_of(key, *names)), maximum=maximum) as far_end:
        yield far_end


def digest_of(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def written(path: Path, *certificates: x509.Certificate) -> Path:
    """Write certificates into a PEM file."""
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    return path
