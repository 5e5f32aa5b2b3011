"""The name of a public key: its RFC 7638 thumbprint (docs/camera-link.md §1)."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class KeyKindError(Exception):
    """Neither P-256 nor Ed25519."""


def kid_of(key: object) -> str:
    """Return the SHA-256 thumbprint, base64url; raises ``KeyKindError``."""
    if isinstance(key, Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": b64(raw)}
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        jwk = {"crv": "P-256", "kty": "EC", "x": b64(point[1:33]), "y": b64(point[33:])}
    else:
        raise KeyKindError("a key of the camera link is P-256 or Ed25519")
    return b64(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode("ascii")).digest())


def b64(data: bytes) -> str:
    """Encode to base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
