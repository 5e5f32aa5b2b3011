"""docs/ble.md as a camera reads it: its half of the proof, its state, the switch. Bytes in, bytes out.

``Talk`` is one connection's side of it. ``WireError`` is the one refusal there is: ATT error 80, and the link ends.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from device_sim.ble.camera import Camera, PrivateKey, kid_bytes, kid_bytes_of_text

SERVICE: Final = UUID("3d20e0b1-2844-4b16-aab5-603bd9006a4e")
STATE: Final = UUID("3d20e0b2-2844-4b16-aab5-603bd9006a4e")
SWITCH: Final = UUID("3d20e0b3-2844-4b16-aab5-603bd9006a4e")
PROOF: Final = UUID("3d20e0b4-2844-4b16-aab5-603bd9006a4e")

REFUSED: Final = 0x80  # the ATT error
PROOF_S: Final = 10.0
BEAT_S: Final = 10.0

_MESSAGE_1_BYTES: Final = 1 + 16 + 32
_STORAGE: Final = {"missing": 0, "ok": 1, "full": 2, "failing": 3}
_FLAGS: Final = ("recording", "microphone", "stream", "indicator", "consent")


class WireError(Exception):
    """Refused; the reason is for the simulator's own log and is not sent."""


@dataclass(frozen=True, slots=True)
class _Offered:
    secret: X25519PrivateKey
    h1: bytes
    z: bytes
    since_s: float


class _Up:
    """A session."""

    def __init__(self, state_key: bytes, switch_key: bytes) -> None:
        self._state, self._switch = AESCCM(state_key, 12), AESCCM(switch_key, 12)
        self._told = self.taken = 0

    def tell(self, plain: bytes) -> bytes:
        """Seal the next value of the state."""
        self._told += 1
        counter = self._told.to_bytes(4, "big")
        return counter + self._state.encrypt(bytes(9) + counter, plain, STATE.bytes)

    def order(self, raw: bytes) -> bool:
        """Open a switch."""
        if len(raw) != 4 + 1 + 12:
            raise WireError("a switch has 17 bytes")
        counter = raw[:4]
        try:
            plain = self._switch.decrypt(bytes(9) + counter, raw[4:], SWITCH.bytes)
        except InvalidTag:
            raise WireError("a switch that the agent did not make in this session") from None
        number = int.from_bytes(counter, "big")
        if number <= self.taken:
            raise WireError("a switch that was taken before")
        if plain not in {b"\0", b"\1"}:
            raise WireError("neither on nor off")
        self.taken = number
        return plain == b"\1"


class Talk:
    """One connection's proof and session with a camera."""

    def __init__(
        self, camera: Camera, *, minds: bool = True, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._camera = camera
        self._random = random
        self._minds = minds
        """Whether it looks at who the agent is; an impostor need not."""
        self._offered: _Offered | None = None
        self._up: _Up | None = None
        self.answer = b""
        """What is read from the proof."""

    @property
    def up(self) -> bool:
        """Whether the agent is proved."""
        return self._up is not None

    def hear(self, raw: bytes, *, now_s: float) -> None:
        """Take message 1 or 3."""
        offered, self._offered, self.answer = self._offered, None, b""
        if raw[:1] == b"\x11":
            self._up = None
            self._offer(raw, now_s=now_s)
        elif raw[:1] == b"\x13" and offered is not None and now_s - offered.since_s <= PROOF_S:
            self._prove(raw, offered)
        else:
            raise WireError("no message of a proof that is going on")

    def _offer(self, raw: bytes, *, now_s: float) -> None:
        if len(raw) != _MESSAGE_1_BYTES:
            raise WireError("message 1 has 49 bytes")
        if not self._camera.agent:
            raise WireError("nobody is pinned")
        secret = X25519PrivateKey.from_private_bytes(self._random(32))
        answer = b"\x12" + self._random(16) + secret.public_key().public_bytes_raw()
        try:
            z = secret.exchange(X25519PublicKey.from_public_bytes(raw[17:]))
        except ValueError:
            raise WireError("all zeros") from None
        h1 = hashlib.sha256(b"pv-camera-ble 1" + raw + answer).digest()
        self._offered = _Offered(secret, h1, z, now_s)
        self.answer = answer

    def _prove(self, raw: bytes, offered: _Offered) -> None:
        camera, h1 = self._camera, offered.h1
        ikm = offered.z + camera.advert_key
        keys = _hkdf(ikm, h1, b"pv-camera-ble proof")
        own, pinned = kid_bytes(camera.key.public_key()), kid_bytes_of_text(camera.agent)
        try:
            shown = AESCCM(keys[:16], 16).decrypt(bytes(13), raw[1:], h1)
        except (InvalidTag, ValueError):
            raise WireError("message 3 does not open") from None
        key, signature = _read_key(shown)
        if self._minds and not hmac.compare_digest(kid_bytes(key), pinned):
            raise WireError("another agent's key")
        if self._minds and not _holds(key, signature, b"pv-camera-ble agent\0" + h1 + pinned + own):
            raise WireError("the agent's signature does not hold")
        h2 = hashlib.sha256(h1 + raw).digest()
        signed = _sign(camera.key, b"pv-camera-ble camera\0" + h2 + own + pinned)
        sealed = AESCCM(keys[16:], 16).encrypt(bytes(13), _write_key(camera.key) + signed, h2)
        self.answer = b"\x14" + sealed
        h3 = hashlib.sha256(h2 + self.answer).digest()
        session = _hkdf(ikm, h3, b"pv-camera-ble session" + own + pinned)
        self._up = _Up(session[:16], session[16:])

    def state(self) -> bytes:
        """Make the next value of the state."""
        if self._up is None:
            raise WireError("no session")
        doing = self._camera.state
        flags = sum(1 << bit for bit, name in enumerate(_FLAGS) if doing[name]) | self._camera.collecting << 5
        return self._up.tell(bytes((flags, _STORAGE[self._camera.storage], self._up.taken & 0xFF)))

    def switch(self, raw: bytes) -> None:
        """Obey a switch."""
        if self._up is None:
            raise WireError("no session")
        self._camera.collect(enabled=self._up.order(raw))


def rotating_id(camera: Camera) -> bytes:
    """The 8 bytes that it advertises."""
    return camera.rotating()[:8]


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _write_key(key: PrivateKey) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return b"\x02" + key.public_key().public_bytes_raw()
    return b"\x01" + key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def _read_key(shown: bytes) -> tuple[Ed25519PublicKey | ec.EllipticCurvePublicKey, bytes]:
    try:
        if shown[:1] == b"\x02" and len(shown) == 1 + 32 + 64:
            return Ed25519PublicKey.from_public_bytes(shown[1:33]), shown[33:]
        if shown[:1] == b"\x01" and len(shown) == 1 + 64 + 64:
            point = b"\x04" + shown[1:65]
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point), shown[65:]
    except ValueError:
        pass
    raise WireError("no key of a known kind")


def _sign(key: PrivateKey, words: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(words)
    r, s = decode_dss_signature(key.sign(words, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _holds(key: Ed25519PublicKey | ec.EllipticCurvePublicKey, signature: bytes, words: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, words)
        else:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), words, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
