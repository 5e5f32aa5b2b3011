"""The TLS identity of this device: a folder with ``tls.crt``, ``tls.key`` and ``ca.crt``.

The certificate is read by letting it answer a handshake with itself in memory: that needs no certificate parser in
the resident process (6 MB), proves that key and certificate belong together, and uses nothing but ``ssl``. Its validity
period is not judged there, because the clock of a device may be wrong (invariant I8): the broker judges, and the
caller warns before the end.
"""

import os
import ssl
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.access import denied
from agent.errors import ConfigError

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"

_X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000  # OpenSSL <openssl/x509_vfy.h>
_HANDSHAKE_TURNS: Final = 8  # a TLS 1.3 handshake with client certificate needs 3
_MS_PER_S: Final = 1000

Stamp = tuple[tuple[int, int, int], ...]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A checked identity; ``stamp`` changes when any of its files is replaced."""

    folder: Path
    name: str
    expires_ms: int
    context: ssl.SSLContext
    stamp: Stamp


def load_identity(folder: Path) -> Identity:
    """Read and check the folder; ``ConfigError`` names the file and the fix."""
    stamp = identity_stamp(folder)
    context = _client_context(folder)
    claims = _own_claims(folder)
    subject = dict(pair for group in claims.get("subject", ()) for pair in group)
    name = subject.get("commonName", "")
    if not name:
        raise ConfigError(
            f"{folder / CERTIFICATE}: the certificate has no common name",
            hint="the device id goes there: issue it anew",
        )
    return Identity(
        folder=folder,
        name=str(name),
        expires_ms=int(ssl.cert_time_to_seconds(str(claims["notAfter"]))) * _MS_PER_S,
        context=context,
        stamp=stamp,
    )


def identity_stamp(folder: Path) -> Stamp:
    """Tell the three files apart from any replacement of theirs; ``ConfigError`` when one is missing or too open."""
    return tuple(_stamp(folder / name, private=name == KEY) for name in (CERTIFICATE, KEY, AUTHORITY))


def _stamp(path: Path, *, private: bool) -> tuple[int, int, int]:
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise denied(path, handed=path.parent) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: {os.strerror(error.errno or 0)}", hint="put tls.crt, tls.key and ca.crt there (python -m certs)"
        ) from error
    if private and stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(f"{path}: others may read this private key", hint=f"chmod 600 {path}")
    return status.st_ino, status.st_mtime_ns, status.st_size


def _client_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the chain and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=folder / AUTHORITY)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{folder / AUTHORITY}: no PEM certificate can be read from it",
            hint="copy the broker's CA certificate there",
        ) from error
    _load_chain(context, folder)
    return context


def _load_chain(context: ssl.SSLContext, folder: Path) -> None:
    try:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=_refuse_password)
    except ssl.SSLError as error:
        mismatch = "MISMATCH" in str(error).upper()
        raise ConfigError(
            f"{folder / CERTIFICATE}, {KEY}: "
            + ("the key does not belong to the certificate" if mismatch else "not a PEM certificate and its key"),
            hint="issue both together, and put both in place (python -m certs issue)",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{folder / KEY}: {os.strerror(error.errno or 0)}", hint="the agent's user must be able to read it"
        ) from error


def _refuse_password() -> str:
    raise ConfigError("tls.key is encrypted with a password", hint="store it without one, mode 0600")


def _own_claims(folder: Path) -> dict[str, Any]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_chain(server, folder)
    server.load_verify_locations(cafile=folder / CERTIFICATE)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # it talks to itself
    _load_chain(client, folder)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_HANDSHAKE_TURNS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                raise ConfigError(
                    f"{folder / CERTIFICATE}: cannot be used to call a broker ({error.reason})",
                    hint="issue it for client authentication (python -m certs issue)",
                ) from error
    return dict(ends[1].getpeercert() or {})
