"""Compact JWS (RFC 7515) with exactly the header that the protocol names and two algorithms.

- The key pins the algorithm; the header only repeats it. ``none`` is not a case here, it is an unknown string.
- ``kid`` is the RFC 7638 thumbprint, so a key cannot be presented under another's name.
- Base64url has one spelling for each byte string; every other spelling is refused, so one message has one form.
- ``parse`` gives an ``Unverified``; only ``verify`` gives claims.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from agent.envelope.json import decode_strictly, encode
from agent.envelope.kinds import MAX_JWS_BYTES
from agent.errors import ConfigError, CorruptError, RefusedError

Alg = Literal["EdDSA", "ES256"]
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
_MAX_HEADER_BYTES: Final = 256
_COORDINATE_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64  # Ed25519 (RFC 8032) and ES256 (RFC 7518 3.4) alike
_PARTS: Final = 3
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MEMBERS: Final[dict[str, tuple[str, ...]]] = {"EdDSA": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y")}


class Unverified(msgspec.Struct, frozen=True):
    """A JWS taken apart; nothing in it was checked but its form."""

    unverified_alg: str
    unverified_kid: str
    typ: str
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes


def b64url(data: bytes) -> str:
    """Write base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Read base64url without padding; raises ``CorruptError`` for any spelling but the canonical one."""
    if _BASE64URL.fullmatch(text) is None:
        raise CorruptError("not base64url without padding")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise CorruptError("not base64url") from error
    if b64url(data) != text:
        raise CorruptError("base64url with stray bits at its end")
    return data


def is_kid(text: str) -> bool:
    """Tell whether ``text`` has the form of a key id."""
    return _KID.fullmatch(text) is not None


def sign(
    claims: Mapping[str, Any],
    *,
    typ: str,
    kid: str,
    alg: Alg,
    sign: Callable[[bytes], bytes],
    max_bytes: int = MAX_JWS_BYTES,
) -> bytes:
    """Return the compact JWS of ``claims``; ``sign`` turns the signing input into the raw 64-byte signature."""
    header = encode({"alg": alg, "kid": kid, "typ": typ})
    signing_input = f"{b64url(header)}.{b64url(encode(claims))}".encode("ascii")
    jws = signing_input + b"." + b64url(sign(signing_input)).encode("ascii")
    assert len(jws) <= max_bytes, "the writer pages what would not fit into one JWS"  # noqa: S101 - a caller's bug
    return jws


def signing_input_sha256(jws: bytes) -> str:
    """Return the SHA-256 in hex of what a JWS's signature covers: a message's identity, whoever signs it again."""
    return hashlib.sha256(jws.rpartition(b".")[0]).hexdigest()


def parse(raw: bytes, *, typ: str, max_bytes: int = MAX_JWS_BYTES) -> Unverified:
    """Take a compact JWS of type ``typ`` apart; raises ``CorruptError`` for every other form."""
    if len(raw) > max_bytes:
        raise CorruptError(f"JWS of {len(raw)} bytes; the limit is {max_bytes}")
    try:
        parts = raw.decode("ascii").split(".")
    except UnicodeDecodeError as error:
        raise CorruptError("a JWS is ASCII") from error
    if len(parts) != _PARTS:
        raise CorruptError("a compact JWS has three parts")
    header = decode_strictly(b64url_decode(parts[0]), max_bytes=_MAX_HEADER_BYTES)
    if header.keys() != _HEADER_MEMBERS or not all(isinstance(value, str) for value in header.values()):
        raise CorruptError("the protected header has exactly alg, kid and typ")
    if header["typ"] != typ:
        raise CorruptError(f"typ is not {typ}")
    if not is_kid(header["kid"]):
        raise CorruptError("kid is no thumbprint")
    signature = b64url_decode(parts[2])
    if len(signature) != _SIGNATURE_BYTES:
        raise CorruptError("a signature has 64 bytes")
    return Unverified(
        unverified_alg=header["alg"],
        unverified_kid=header["kid"],
        typ=typ,
        unverified_payload=b64url_decode(parts[1]),
        signing_input=raw.rpartition(b".")[0],
        signature=signature,
    )


def verify(unverified: Unverified, *, jwk: Mapping[str, str], alg: Alg) -> dict[str, Any]:
    """Return the claims if this key signed them with its pinned algorithm.

    Raises ``RefusedError`` (``bad_signature``) when it did not, ``CorruptError`` when it did but the payload is not
    strict JSON.
    """
    problem = ""
    if unverified.unverified_alg != alg:
        problem = "the header names another algorithm than the key"
    elif unverified.unverified_kid != thumbprint(jwk):
        problem = "the header names another key"
    else:
        try:
            verify_raw(public_key(jwk, alg=alg), unverified.signature, unverified.signing_input)
        except InvalidSignature:
            problem = "the signature does not hold"
    if problem:
        raise RefusedError(problem, reason="bad_signature")
    return decode_strictly(unverified.unverified_payload, max_bytes=len(unverified.unverified_payload))


def verify_raw(key: Ed25519PublicKey | EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
    """Check a raw 64-byte signature, the counterpart of ``raw_signature``; raises ``InvalidSignature``."""
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, data)
        return
    r = int.from_bytes(signature[:_COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[_COORDINATE_BYTES:], "big")
    key.verify(encode_dss_signature(r, s), data, ECDSA(SHA256()))


def raw_signature(key: PrivateKey, data: bytes) -> bytes:
    """Sign as JWS wants it: Ed25519 as it is, ECDSA P-256 as R‖S of 32 bytes each (RFC 7518 3.4)."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256())))
    return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")


def private_key_from_pem(pem: bytes) -> PrivateKey:
    """Read an unencrypted Ed25519 or P-256 private key; raises ``ConfigError`` for anything else."""
    hint = "make one with: openssl genpkey -algorithm ed25519"
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("not an unencrypted PEM private key", hint=hint) from error
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise ConfigError("a signing key is Ed25519 or EC P-256", hint=hint)


def alg_of(jwk: Mapping[str, str]) -> Alg:
    """Return the one algorithm that a key of this type can have."""
    return "EdDSA" if jwk.get("kty") == "OKP" else "ES256"


def public_jwk(key: PrivateKey | Ed25519PublicKey | EllipticCurvePublicKey) -> dict[str, str]:
    """Write the public half as a JWK with exactly the members of ``docs/protocol.md`` §3."""
    if isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        key = key.public_key()
    if isinstance(key, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    numbers = key.public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": b64url(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
        "y": b64url(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
    }


def public_key(jwk: Mapping[str, str], *, alg: Alg) -> Ed25519PublicKey | EllipticCurvePublicKey:
    """Read a public JWK for its pinned algorithm; raises ``CorruptError`` when the two do not fit."""
    if tuple(sorted(jwk)) != _MEMBERS[alg] or not all(isinstance(value, str) for value in jwk.values()):
        raise CorruptError(f"not a JWK for {alg}: exactly {', '.join(_MEMBERS[alg])}")
    want = ("OKP", "Ed25519") if alg == "EdDSA" else ("EC", "P-256")
    if (jwk["kty"], jwk["crv"]) != want:
        raise CorruptError(f"not a JWK for {alg}: kty {want[0]}, crv {want[1]}")
    coordinates = [b64url_decode(jwk[name]) for name in ("x", "y") if name in jwk]
    if any(len(coordinate) != _COORDINATE_BYTES for coordinate in coordinates):
        raise CorruptError("a coordinate has 32 bytes")
    try:
        if alg == "EdDSA":
            return Ed25519PublicKey.from_public_bytes(coordinates[0])
        x, y = (int.from_bytes(coordinate, "big") for coordinate in coordinates)
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError as error:
        raise CorruptError("the JWK is no point of its curve") from error


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the key id: RFC 7638 SHA-256 over the required members in order, base64url, 43 characters."""
    return b64url(hashlib.sha256(encode({name: jwk[name] for name in sorted(jwk)})).digest())
