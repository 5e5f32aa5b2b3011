"""Compact JWS by hand, a second reading of docs/protocol.md §2 and §3.

Rules: the header has exactly ``alg kid typ``; ``alg`` is pinned by the key that verifies; ``kid`` is that key's RFC
7638 thumbprint; base64url is canonical and unpadded. Everything that is wrong raises ``MessageError``.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from device_sim.cloud import strictjson
from device_sim.cloud.failure import MessageError, SetupError
from device_sim.cloud.strictjson import Claims

Alg = Literal["EdDSA", "ES256"]

MAX_JWS_BYTES: Final = 96 * 1024
"""docs/protocol.md §9."""
_P256_BYTES: Final = 32
_PARTS: Final = 3


def b64(data: bytes) -> str:
    """Encode to base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: object) -> bytes:
    """Decode canonical, unpadded base64url; raises ``MessageError``."""
    if not isinstance(text, str):
        raise MessageError("not a base64url string")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError("not base64url") from error
    if b64(data) != text:
        raise MessageError("base64url is not canonical")
    return data


def thumbprint(jwk: dict[str, str]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint: the key id."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    return b64(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def _coordinate(text: str) -> bytes:
    data = unb64(text)
    if len(data) != _P256_BYTES:
        raise MessageError("a P-256 coordinate has 32 bytes")
    return data


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verifying key with its algorithm pinned."""

    key: Ed25519PublicKey | ec.EllipticCurvePublicKey
    alg: Alg
    kid: str

    @classmethod
    def from_jwk(cls, raw: object) -> Self:
        """Read a JWK with exactly the members of docs/protocol.md §3; raises ``MessageError``."""
        if not isinstance(raw, dict):
            raise MessageError("a JWK is a JSON object")
        jwk = {str(name): str(value) for name, value in raw.items()}
        try:
            match (jwk.get("kty"), jwk.get("crv"), frozenset(jwk)):
                case ("OKP", "Ed25519", names) if names == {"kty", "crv", "x"}:
                    return cls(Ed25519PublicKey.from_public_bytes(unb64(jwk["x"])), "EdDSA", thumbprint(jwk))
                case ("EC", "P-256", names) if names == {"kty", "crv", "x", "y"}:
                    point = b"\x04" + _coordinate(jwk["x"]) + _coordinate(jwk["y"])
                    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
                    return cls(key, "ES256", thumbprint(jwk))
        except ValueError as error:
            raise MessageError("the JWK is no key") from error
        raise MessageError("the JWK is of no known kind")

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise ``MessageError`` unless the signature is this key's over the data."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, data)
                return
            if len(signature) != 2 * _P256_BYTES:
                raise MessageError("an ES256 signature has 64 bytes")
            r, s = (int.from_bytes(half) for half in (signature[:_P256_BYTES], signature[_P256_BYTES:]))
            self.key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise MessageError("the signature does not hold") from error


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs."""

    private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls, alg: Alg = "EdDSA") -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate() if alg == "EdDSA" else ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read what ``pem`` wrote; raises ``SetupError``."""
        try:
            key = load_pem_private_key(pem, None)
        except ValueError as error:
            raise SetupError(
                "the private key cannot be read", hint="make new keys: device-sim cloud init DIR"
            ) from error
        if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise SetupError("the private key is of no known kind", hint="make new keys: device-sim cloud init DIR")
        return cls(key)

    def pem(self) -> bytes:
        """Return the key for a 0600 file."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def alg(self) -> Alg:
        """The algorithm that the key is pinned to."""
        return "EdDSA" if isinstance(self.private, Ed25519PrivateKey) else "ES256"

    @property
    def jwk(self) -> dict[str, str]:
        """The public half."""
        public = self.private.public_key()
        if isinstance(public, Ed25519PublicKey):
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"kty": "EC", "crv": "P-256", "x": b64(point[1 : 1 + _P256_BYTES]), "y": b64(point[1 + _P256_BYTES :])}

    @cached_property
    def kid(self) -> str:
        """The key id; kept, because every acknowledgement names it."""
        return thumbprint(self.jwk)

    @property
    def public(self) -> PublicKey:
        """The verifying half."""
        return PublicKey.from_jwk(self.jwk)

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature of a JWS over the data."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(data)
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)


@dataclass(frozen=True, slots=True)
class Jws:
    """A JWS whose form was read and whose signature was not: nothing in it is believed yet."""

    unverified_alg: str
    unverified_kid: str
    unverified_typ: str
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes

    @property
    def signing_input_sha256(self) -> str:
        """The hash that binds an upload to its ``begin`` and a command to its bytes."""
        return hashlib.sha256(self.signing_input).hexdigest()


def parse(raw: bytes) -> Jws:
    """Read the form of a compact JWS; raises ``MessageError``."""
    if len(raw) > MAX_JWS_BYTES:
        raise MessageError("a JWS above 96 KiB")
    try:
        parts = raw.decode("ascii").split(".")
    except UnicodeDecodeError as error:
        raise MessageError("a JWS is ASCII") from error
    if len(parts) != _PARTS:
        raise MessageError("a JWS has three parts")
    header = strictjson.loads(unb64(parts[0]))
    if set(header) != {"alg", "kid", "typ"}:
        raise MessageError("the JWS header has exactly alg, kid and typ")
    return Jws(
        unverified_alg=str(header["alg"]),
        unverified_kid=str(header["kid"]),
        unverified_typ=str(header["typ"]),
        unverified_payload=unb64(parts[1]),
        signing_input=f"{parts[0]}.{parts[1]}".encode(),
        signature=unb64(parts[2]),
    )


def verify(jws: Jws, key: PublicKey, *, typ: str) -> Claims:
    """Return the claims of a JWS that this key signed as this type; raises ``MessageError``."""
    if jws.unverified_kid != key.kid:
        raise MessageError("signed by another key")
    if jws.unverified_alg != key.alg:
        raise MessageError("the algorithm is not the key's")
    if jws.unverified_typ != typ:
        raise MessageError(f"{jws.unverified_typ!r} stands where {typ!r} belongs")
    key.verify(jws.signature, jws.signing_input)
    return strictjson.loads(jws.unverified_payload)


def sign(claims: Claims, key: SigningKey, *, typ: str, kid: str | None = None) -> bytes:
    """Return the compact JWS of claims; another ``kid`` than the key's own makes a forgery for a test."""
    header: Claims = {"alg": key.alg, "kid": kid or key.kid, "typ": typ}
    signing_input = f"{b64(strictjson.dumps(header))}.{b64(strictjson.dumps(claims))}".encode()
    return signing_input + b"." + b64(key.sign(signing_input)).encode()
