"""The published vectors as examples: what each message is signed over, and a way to sign anything in its place.

A signature refuses nearly every change, and what is behind it would hardly be tried. So an input of most targets is the
claims alone: they are signed here with the vectors' keys, which everybody has.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.envelope import Descriptor, PrivateKey, b64url, b64url_decode, parse_keyset, raw_signature
from agent.envelope.json import encode
from tests.docs.make_vectors import read_vectors

PARTIES: Final[dict[str, dict[str, Any]]] = read_vectors("keys.json")["parties"]
GOOD: Final[list[dict[str, Any]]] = read_vectors("messages.json")["vectors"]
REFUSED: Final[list[dict[str, Any]]] = read_vectors("refused.json")["vectors"]
DESCRIPTORS: Final[list[dict[str, Any]]] = read_vectors("descriptors.json")["vectors"]
KEYSETS: Final = read_vectors("keysets.json")
BLE: Final = read_vectors("ble.json")
HASHES: Final = read_vectors("hashes.json")

IDENTITIES: Final = tuple(age.parse_identity(party["identity"]) for party in PARTIES.values())
FIRST: Final = parse_keyset(KEYSETS["chain"][0]["jws"].encode(), root_jwk=PARTIES["owner"]["jwk"], current=None)


def _private(party: str) -> PrivateKey:
    secret = b64url_decode(PARTIES[party]["private_jwk"]["d"])
    if PARTIES[party]["alg"] == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(secret)
    return derive_private_key(int.from_bytes(secret, "big"), SECP256R1())


_KEYS: Final = {party: _private(party) for party in PARTIES}


def sign(party: str, data: bytes) -> bytes:
    """Sign as a party of the vectors."""
    return raw_signature(_KEYS[party], data)


def signed(payload: bytes, *, typ: str, party: str) -> bytes:
    """Return the JWS of any payload, signed by a party of the vectors."""
    header = encode({"alg": PARTIES[party]["alg"], "kid": PARTIES[party]["kid"], "typ": typ})
    covered = f"{b64url(header)}.{b64url(payload)}".encode("ascii")
    return covered + b"." + b64url(sign(party, covered)).encode("ascii")


def descriptor(party: str) -> Descriptor:
    """Return the descriptor of a party."""
    return Descriptor(v=1, **{name: PARTIES[party][name] for name in ("role", "name", "jwk", "alg", "recipient")})


def payload_of(vector: dict[str, Any]) -> bytes:
    """Return the MQTT payload of a message."""
    return base64.b64decode(vector["payload"])


def claims(*kinds: str) -> Iterator[bytes]:
    """Yield what the messages of some kinds are signed over, refused ones too."""
    for vector in (*GOOD, *REFUSED):
        if vector["kind"] in kinds and vector.get("jws"):
            yield from signed_over(vector["jws"])


def signed_over(jws: str) -> Iterator[bytes]:
    """Yield the payload of a JWS, if it has the form of one."""
    parts = jws.split(".")
    if len(parts) == 3:
        yield base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))


def payloads(*channels: str) -> Iterator[bytes]:
    """Yield the MQTT payloads of some channels, refused ones too."""
    for vector in (*GOOD, *REFUSED):
        if vector["channel"].partition("/")[0] in channels:
            yield payload_of(vector)
