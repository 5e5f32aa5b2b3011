"""What is printed on a camera, as text or in a QR code: its own id and the fingerprint of its device key.

    PVCAM:1:<ID>:<FINGERPRINT>

- ``ID`` is 16 characters of base32, random; ``FINGERPRINT`` is 32 hexadecimal digits: the first 16 bytes of SHA-256 of
  the key's id (``kid``, RFC 7638). All of it is in the set of a QR code's alphanumeric mode, in upper case.
- A person may type it in lower case, and put dashes anywhere between the characters of either part.
- Everything else is refused. A label is no secret and no proof: it says which key the proof has to come from.
"""

import hashlib
import hmac
import re
from typing import Final

import msgspec

from agent.errors import ConfigError

LABEL_MAX: Final = 128
"""Characters; 58 are needed, the rest is dashes."""

DEVICE_ID: Final = r"[a-z2-7]{16}"
"""The form of a camera's own id."""

_PREFIX: Final = ("pvcam", "1")
_FINGERPRINT_BYTES: Final = 16
_GROUP: Final = 4
_DEVICE_ID: Final = re.compile(DEVICE_ID)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")
_HINT: Final = "copy it as it is printed on the camera: PVCAM:1:, 16 letters and digits, a colon, 32 of 0-9 and A-F"


class CameraLabel(msgspec.Struct, frozen=True):
    """A label that was read: both parts in lower case without dashes."""

    id: str
    fingerprint: str

    def __str__(self) -> str:
        """Write it as it is printed."""
        return f"PVCAM:1:{self.id}:{self.fingerprint}".upper()

    def means(self, kid: str) -> bool:
        """Tell whether this is the fingerprint of that key."""
        return hmac.compare_digest(self.fingerprint, _digits(kid))


def is_device_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a camera's own id."""
    return _DEVICE_ID.fullmatch(text) is not None


def camera_fingerprint(kid: str) -> str:
    """Return what two people compare of a camera's key: hex digits in groups of four."""
    digits = _digits(kid)
    return " ".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


def read_label(text: str) -> CameraLabel:
    """Read a label; raises ``ConfigError`` for any text that is none."""
    if len(text) > LABEL_MAX or not text.isascii():
        raise ConfigError(f"a camera's label has at most {LABEL_MAX} plain characters", hint=_HINT)
    parts = text.lower().split(":")
    if len(parts) != len(_PREFIX) + 2 or tuple(parts[:2]) != _PREFIX:
        raise ConfigError("this is no camera's label", hint=_HINT)
    device, fingerprint = (part.replace("-", "") for part in parts[2:])
    if not is_device_id(device):
        raise ConfigError("the label's id is not 16 letters A-Z and digits 2-7", hint=_HINT)
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise ConfigError("the label's fingerprint is not 32 digits of 0-9 and A-F", hint=_HINT)
    return CameraLabel(device, fingerprint)


def read_fingerprint(text: str) -> str:
    """Read a fingerprint as people write it, with dashes or spaces, into 32 digits; raises ``ConfigError``."""
    digits = text.lower().replace("-", "").replace(" ", "") if len(text) <= LABEL_MAX else ""
    if _FINGERPRINT.fullmatch(digits) is None:
        raise ConfigError("a fingerprint has 32 digits of 0-9 and A-F", hint="copy all of it: 8 groups of 4")
    return digits


def _digits(kid: str) -> str:
    return hashlib.sha256(kid.encode("ascii")).digest()[:_FINGERPRINT_BYTES].hex()
