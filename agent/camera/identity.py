"""Whom we expect at the other end of a camera link, and what we show there, as values."""

import msgspec


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as it was enrolled: by its key's id (RFC 7638) and its own id, or by its certificate's SHA-256 alone."""

    device: str = ""
    kid: str = ""
    certificate_sha256: bytes = b""

    @property
    def identity(self) -> str:
        """What its recordings are known again by: it stays when the camera is forgotten and enrolled again."""
        return self.kid or self.certificate_sha256.hex()


class LinkIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What this agent shows to every camera: PEM of a P-256 key and of its self-signed certificate, named at random."""

    key_pem: bytes
    certificate_pem: bytes

    def __repr__(self) -> str:
        return "LinkIdentity(…)"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which recording of which camera to read; what it has to be is what the camera said in its list."""

    pinned: Pinned
    credentials: LinkIdentity
    recording: str
    size_bytes: int
    sha256: bytes


class Address(msgspec.Struct, frozen=True):
    """Where a camera may be: an IP address, with its zone where it has one, and a port.

    Only one that a person configured may be a host's name, and is not ``numeric``.
    """

    host: str
    port: int
    numeric: bool = True
