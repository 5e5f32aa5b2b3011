"""The rotating id that a camera announces, as bytes and as text (docs/camera-link.md §7, docs/ble.md §2). Pure."""

import base64
import hmac
from typing import Final

_LABEL: Final = b"pv-camera-advert"
_DAY_BYTES: Final = 8


def digest_of(advert_key: bytes, *, unix_day: int) -> bytes:
    """Return the 32 bytes of which a camera announces the first ones on that day, as many as there is room for."""
    return hmac.digest(advert_key, _LABEL + unix_day.to_bytes(_DAY_BYTES, "big"), "sha256")


def id_text(raw: bytes) -> str:
    """Return the text of a rotating id in a ``Sighting``: base32 in lower case, without padding."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()
