"""What stands in a certificate and in the revocation list (RFC 5280), and for how long.

Values in, values out: no files, no clock. Keys are NIST P-256 with SHA-256, because every TLS stack and every TPM has
them. The common name is the identity's name, which is what a broker's access rules and topics are made of.

Lifetimes:

- CA: ten years; it signs identities only (path length 0).
- broker, backend, owner: 397 days, below the 398 that TLS clients commonly accept at most.
- device: two years, because a camera may lie in a drawer for one and must still be able to ask for its next.
- revocation list: 397 days. A broker whose list is past its date refuses everybody, so it must not end before the
  certificates do; every command that signs anything writes a fresh one.
"""

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.errors import CertsError

Kind = Literal["broker", "backend", "owner", "device"]
KINDS: Final[tuple[Kind, ...]] = ("broker", "backend", "owner", "device")

CA_LIFETIME: Final = dt.timedelta(days=3652)
CRL_LIFETIME: Final = dt.timedelta(days=397)
LIFETIME: Final[dict[Kind, dt.timedelta]] = {
    "broker": dt.timedelta(days=397),
    "backend": dt.timedelta(days=397),
    "owner": dt.timedelta(days=397),
    "device": dt.timedelta(days=730),
}
# A certificate is valid from a little earlier than it was made: clocks of two machines differ.
BACKDATE: Final = dt.timedelta(hours=1)

# The characters that the protocol allows in a topic's {device}; also a safe file name.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
BROKER_SANS: Final = ("localhost", "127.0.0.1", "::1")


class Authority(msgspec.Struct, frozen=True):
    """A CA's certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Revocation(msgspec.Struct, frozen=True):
    """One line of the revocation list."""

    serial: int
    revoked_at: dt.datetime
    key_compromise: bool


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def checked_name(raw: str) -> str:
    """Return the name if it can be a common name, a topic level and a folder; raises ``CertsError``."""
    if not _NAME.fullmatch(raw):
        raise CertsError(
            f"{raw!r} cannot name an identity", hint="use 1 to 64 letters, digits, '-' and '_', for example cam-7"
        )
    return raw


def checked_san(raw: str) -> x509.GeneralName:
    """Read an address or a host name under which a broker is reached; raises ``CertsError``."""
    try:
        return x509.IPAddress(ipaddress.ip_address(raw))
    except ValueError:
        pass
    if not _DNS_NAME.fullmatch(raw):
        raise CertsError(
            f"{raw!r} is neither an address nor a host name", hint="for example --san mqtt.example.org --san 192.0.2.7"
        )
    return x509.DNSName(raw)


def make_authority(*, now: dt.datetime) -> Authority:
    """Make a new CA, valid for ten years; two CAs never have the same name."""
    key = new_key()
    spki = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _common_name(f"camera privacy CA {spki.digest.hex()[:8]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(spki, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key)


def issue(
    authority: Authority,
    name: str,
    *,
    kind: Kind,
    public_key: ec.EllipticCurvePublicKey,
    sans: Iterable[str],
    lifetime: dt.timedelta,
    now: dt.datetime,
) -> x509.Certificate:
    """Sign one identity.

    ``sans`` are a broker's addresses, beside localhost; everybody else is named by a URI. The end is cut to the CA's
    own. Raises ``CertsError`` if the CA has ended, or for a name or address that cannot be used.
    """
    ca = authority.certificate
    if now >= ca.not_valid_after_utc:
        raise CertsError("the CA's certificate has ended", hint="make a new one: python -m certs init NEW-FOLDER")
    usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "broker" else ExtendedKeyUsageOID.CLIENT_AUTH
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(checked_name(name)))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + lifetime, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(name, kind=kind, sans=sans)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_issuer_key(ca), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def revocation_list(
    authority: Authority, revocations: Iterable[Revocation], *, number: int, now: dt.datetime
) -> x509.CertificateRevocationList:
    """Sign the list of what no longer counts; ``number`` rises with every list (RFC 5280, 5.2.3)."""
    ca = authority.certificate
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(now - BACKDATE)
        .next_update(min(now + CRL_LIFETIME, ca.not_valid_after_utc))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_key(ca), critical=False)
    )
    for revocation in revocations:
        builder = builder.add_revoked_certificate(_revoked(revocation))
    return builder.sign(authority.key, hashes.SHA256())


def sans_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses that a certificate carries; an identity's URI is not one of them."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(n.value) for n in names if isinstance(n, x509.DNSName | x509.IPAddress)]


def certificate_pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Write a certificate or list as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key as unencrypted PKCS #8 PEM, as brokers and agents read it unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(name: str, *, kind: Kind, sans: Iterable[str]) -> list[x509.GeneralName]:
    if kind == "broker":
        return [checked_san(raw) for raw in dict.fromkeys([*BROKER_SANS, *sans])]
    if given := list(sans):
        raise CertsError(
            f"a {kind} is not reached under {given[0]!r}: it calls the broker", hint="give --san to a broker only"
        )
    return [x509.UniformResourceIdentifier(f"urn:pv1:{kind}:{name}")]


def _issuer_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _revoked(revocation: Revocation) -> x509.RevokedCertificate:
    reason = x509.ReasonFlags.key_compromise if revocation.key_compromise else x509.ReasonFlags.cessation_of_operation
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(revocation.serial)
        .revocation_date(revocation.revoked_at)
        .add_extension(x509.CRLReason(reason), critical=False)
        .build()
    )
