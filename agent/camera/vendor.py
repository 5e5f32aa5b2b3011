"""A vendor's word for a camera: its IEEE 802.1AR certificate, with a serial number, under the vendor's authority.

Rules: the chain is judged by OpenSSL against the file that a person named and nothing else, without dates (neither
clock is to be relied on, and 802.1AR certificates have no end); the serial number in the subject is what a person
compares. Then the key is pinned, and the vendor is asked no more.
"""

import ssl
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from agent.camera.tls import client_context
from agent.errors import ConfigError, CorruptError

AUTHORITY_MAX_BYTES: Final = 256 << 10

_X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000  # OpenSSL <openssl/x509_vfy.h>


def vendor_context(authority_pem: str, *, key_pem: bytes, certificate_pem: bytes) -> ssl.SSLContext:
    """Return a context in which only what that authority issued passes; raises ``ConfigError`` for no authority."""
    context = client_context(key_pem=key_pem, certificate_pem=certificate_pem)
    try:
        context.load_verify_locations(cadata=authority_pem)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            "the vendor's file holds no PEM certificate", hint="name the file of the vendor's 802.1AR authority"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    return context


def serial_of(certificate: bytes) -> str:
    """Return the serial number in a DER certificate's subject, empty for none; raises ``CorruptError``."""
    try:
        found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        return str(found[0].value) if len(found) == 1 else ""
    except ValueError as error:
        raise CorruptError(f"the camera's certificate cannot be read ({error})") from error
