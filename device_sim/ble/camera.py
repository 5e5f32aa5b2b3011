"""What a camera is for its Bluetooth, and one that is no more than that."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey

_ADVERT: Final = b"pv-camera-advert"
_DAY_S: Final = 86_400


class Camera(Protocol):
    """What the peripheral shows."""

    @property
    def key(self) -> PrivateKey:
        """The device key that it proves itself with."""

    @property
    def agent(self) -> str:
        """The ``kid`` of its agent, empty without one."""

    @property
    def advert_key(self) -> bytes:
        """Known to it and its agent."""

    @property
    def model(self) -> str:
        """For the Device Information Service."""

    @property
    def firmware(self) -> str:
        """The same."""

    @property
    def state(self) -> dict[str, bool]:
        """recording, microphone, stream, indicator, consent."""

    @property
    def storage(self) -> str:
        """Of its card, as docs/camera-link.md §5 names it."""

    @property
    def collecting(self) -> bool:
        """Whether collection is on."""

    def rotating(self) -> bytes:
        """Today's 32 bytes of which the advert carries the beginning."""

    def collect(self, *, enabled: bool) -> None:
        """Switch collection."""

    def heard_by(self, hear: Callable[[], None]) -> None:
        """Call this whenever something of the above changed."""


class BareCamera:
    """A camera that is nothing but its Bluetooth: no disk, no network; paired when it is made."""

    def __init__(self, *, agent: str, now_s: Callable[[], float], key: PrivateKey | None = None) -> None:
        self.key: PrivateKey = key or ec.generate_private_key(ec.SECP256R1())
        self.agent = agent
        self.advert_key = secrets.token_bytes(32)
        self.model, self.firmware = "Simulated camera", "1.0.0"
        self.storage = "ok"
        self.state = {"recording": False, "microphone": False, "stream": False, "indicator": False, "consent": True}
        self.collecting = False
        self._now_s = now_s
        self._hearers: list[Callable[[], None]] = []

    def rotating(self) -> bytes:
        """Today's bytes."""
        day = int(self._now_s()) // _DAY_S
        return hmac.digest(self.advert_key, _ADVERT + day.to_bytes(8, "big"), "sha256")

    def collect(self, *, enabled: bool) -> None:
        """Switched off, all of it ends."""
        self.collecting = enabled
        for name in ("recording", "microphone", "indicator"):
            self.state[name] = enabled and self.state["consent"]
        self.state["stream"] &= enabled
        self.tell()

    def note(self, name: str, *, on: bool) -> None:
        """Somebody at the camera did something."""
        self.state[name] = on
        self.tell()

    def heard_by(self, hear: Callable[[], None]) -> None:
        """Tell this one too."""
        self._hearers.append(hear)

    def tell(self) -> None:
        """Something changed."""
        for hear in self._hearers:
            hear()


def kid_bytes(key: object) -> bytes:
    """RFC 7638 thumbprint, before its base64url."""
    if isinstance(key, Ed25519PublicKey):
        members = {"crv": "Ed25519", "kty": "OKP", "x": b64(key.public_bytes_raw())}
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - there are two kinds
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        members = {"crv": "P-256", "kty": "EC", "x": b64(point[1:33]), "y": b64(point[33:])}
    return hashlib.sha256(json.dumps(members, separators=(",", ":")).encode("ascii")).digest()


def kid_bytes_of_text(kid: str) -> bytes:
    """The 32 bytes of a ``kid``."""
    return base64.urlsafe_b64decode(kid + "=")


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
