"""The agent's half of the mutual proof (docs/ble.md §3): bytes and values only; randomness is handed in.

    opening = open_proof(agent, camera_kid=…, advert_key=…, random=os.urandom)
    opening.message  →  the camera;  its message 2  →  claim = opening.claim(…)
    claim.message    →  the camera;  its message 4  →  session = claim.session(…)

What does not hold raises: ``CorruptError`` for bytes without the form, ``RefusedError`` (``camera_impostor``) where
what answers is not the camera that was enrolled. Nothing that it said is then taken as true.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.discovery.ble.session import KEY_BYTES, Session
from agent.envelope import Alg, b64url, b64url_decode, thumbprint
from agent.envelope.jws import alg_of, public_key, verify_raw
from agent.errors import CorruptError, RefusedError

NONCE_BYTES: Final = 16
SHARE_BYTES: Final = 32
TAG_BYTES: Final = 16
_KEY_BYTES: Final[dict[Alg, int]] = {"ES256": 64, "EdDSA": 32}
_ALG_BYTE: Final[dict[Alg, int]] = {"ES256": 1, "EdDSA": 2}
_SIGNATURE_BYTES: Final = 64
_COORDINATE_BYTES: Final = 32
_ONCE: Final = bytes(13)  # each of these keys seals one message

_PROTOCOL: Final = b"pv-camera-ble 1"
_PROOF_INFO: Final = b"pv-camera-ble proof"
_SESSION_INFO: Final = b"pv-camera-ble session"
_SIGNED_BY: Final[dict[Literal["agent", "camera"], bytes]] = {
    "agent": b"pv-camera-ble agent\x00",
    "camera": b"pv-camera-ble camera\x00",
}

_OPEN, _OFFER, _AGENT, _CAMERA = b"\x11", b"\x12", b"\x13", b"\x14"

OFFER_BYTES: Final = 1 + NONCE_BYTES + SHARE_BYTES
PROOF_MAX_BYTES: Final = 1 + 1 + 64 + _SIGNATURE_BYTES + TAG_BYTES


class AgentKey(msgspec.Struct, frozen=True):
    """The agent's key for camera links: its public half, and what signs with the other (raw, 64 bytes)."""

    jwk: Mapping[str, str]
    sign: Callable[[bytes], bytes]


class Opening(msgspec.Struct, frozen=True):
    """Message 1 is made; message 2 is awaited."""

    message: bytes
    _agent: AgentKey
    _camera_kid: str
    _advert_key: bytes
    _secret: X25519PrivateKey

    def claim(self, raw_offer: bytes) -> "Claim":
        """Take message 2 and make message 3."""
        if len(raw_offer) != OFFER_BYTES or raw_offer[:1] != _OFFER:
            raise CorruptError("the camera's offer has not the form of docs/ble.md §3")
        first = hashlib.sha256(_PROTOCOL + self.message + raw_offer).digest()
        try:
            shared = self._secret.exchange(X25519PublicKey.from_public_bytes(raw_offer[-SHARE_BYTES:]))
        except ValueError as error:  # all zeros
            raise CorruptError("the camera's share is no key") from error
        keys = _derive(shared + self._advert_key, salt=first, info=_PROOF_INFO)
        alg = alg_of(self._agent.jwk)
        agent_kid = b64url_decode(thumbprint(self._agent.jwk))
        camera_kid = b64url_decode(self._camera_kid)
        signature = self._agent.sign(_SIGNED_BY["agent"] + first + agent_kid + camera_kid)
        shown = bytes((_ALG_BYTE[alg],)) + _raw_key(self._agent.jwk) + signature
        message = _AGENT + AESCCM(keys[0], tag_length=TAG_BYTES).encrypt(_ONCE, shown, first)
        return Claim(
            message, hashlib.sha256(first + message).digest(), shared + self._advert_key, keys[1], agent_kid, camera_kid
        )


class Claim(msgspec.Struct, frozen=True):
    """Message 3 is made; message 4 is awaited."""

    message: bytes
    _second: bytes
    _secret: bytes
    _key: bytes
    _agent_kid: bytes
    _camera_kid: bytes

    def session(self, raw_proof: bytes) -> Session:
        """Take message 4; the session is up if it is the enrolled camera's."""
        if not 0 < len(raw_proof) <= PROOF_MAX_BYTES or raw_proof[:1] != _CAMERA:
            raise CorruptError("the camera's proof has not the form of docs/ble.md §3")
        try:
            shown = AESCCM(self._key, tag_length=TAG_BYTES).decrypt(_ONCE, raw_proof[1:], self._second)
        except (InvalidTag, ValueError) as error:
            raise _refused("what answered does not hold the camera's advert key, or changed what was said") from error
        jwk, signature = _shown(shown)
        if not hmac.compare_digest(b64url_decode(thumbprint(jwk)), self._camera_kid):
            raise _refused("what answered has another key than the camera that was enrolled")
        signed = _SIGNED_BY["camera"] + self._second + self._camera_kid + self._agent_kid
        try:
            verify_raw(public_key(jwk, alg=alg_of(jwk)), signature, signed)
        except InvalidSignature as error:
            raise _refused("what answered does not hold the camera's key") from error
        third = hashlib.sha256(self._second + raw_proof).digest()
        state, switch = _derive(self._secret, salt=third, info=_SESSION_INFO + self._camera_kid + self._agent_kid)
        return Session(state_key=state, switch_key=switch)


def open_proof(agent: AgentKey, *, camera_kid: str, advert_key: bytes, random: Callable[[int], bytes]) -> Opening:
    """Begin a proof with the camera whose key was pinned as ``camera_kid``."""
    secret = X25519PrivateKey.from_private_bytes(random(SHARE_BYTES))
    message = _OPEN + random(NONCE_BYTES) + secret.public_key().public_bytes_raw()
    return Opening(message, agent, camera_kid, advert_key, secret)


def _derive(secret: bytes, *, salt: bytes, info: bytes) -> tuple[bytes, bytes]:
    both = HKDF(algorithm=SHA256(), length=2 * KEY_BYTES, salt=salt, info=info).derive(secret)
    return both[:KEY_BYTES], both[KEY_BYTES:]


def _raw_key(jwk: Mapping[str, str]) -> bytes:
    return b"".join(b64url_decode(jwk[name]) for name in ("x", "y") if name in jwk)


def _shown(shown: bytes) -> tuple[dict[str, str], bytes]:
    """Take ``alg ‖ key ‖ signature`` apart."""
    for alg, size in _KEY_BYTES.items():
        if len(shown) == 1 + size + _SIGNATURE_BYTES and shown[0] == _ALG_BYTE[alg]:
            key, signature = shown[1 : 1 + size], shown[1 + size :]
            if alg == "EdDSA":
                return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key)}, signature
            x, y = key[:_COORDINATE_BYTES], key[_COORDINATE_BYTES:]
            return {"kty": "EC", "crv": "P-256", "x": b64url(x), "y": b64url(y)}, signature
    raise CorruptError("the camera shows a key of no known kind")


def _refused(message: str) -> RefusedError:
    return RefusedError(
        message,
        reason="camera_impostor",
        hint="look at the camera; if it was exchanged or reset, enrol it anew from its label",
    )
