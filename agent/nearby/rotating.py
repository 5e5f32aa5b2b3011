"""Which enrolled camera an advert may be of: a guess that saves checks and proves nothing (docs/camera-link.md §7)."""

from collections.abc import Iterable
from typing import Final

from agent.discovery.rotating import digest_of, id_text
from agent.enrolment import Enrolled

DAY_MS: Final = 86_400_000
ID_CHARACTERS: Final = 16
"""In a DNS-SD text record; a Bluetooth advert has room for ``SHORT_BYTES``."""

SHORT_BYTES: Final = 8

_DAYS: Final = (-1, 0, 1)
"""The camera's clock may be a day off, or in the next day already."""


def rotating_ids(advert_key: bytes, *, unix_day: int) -> tuple[str, str]:
    """Return what a camera announces on a day: over the network, and over Bluetooth."""
    digest = digest_of(advert_key, unix_day=unix_day)
    return id_text(digest)[:ID_CHARACTERS], id_text(digest[:SHORT_BYTES])


def expected_ids(cameras: Iterable[Enrolled], *, now_ms: int) -> dict[str, str]:
    """Return the camera's id in the registry for each rotating id that may be heard these days."""
    today = now_ms // DAY_MS
    return {
        text: one.camera
        for one in cameras
        if one.advert_key
        for off in _DAYS
        for text in rotating_ids(one.advert_key, unix_day=max(0, today + off))
    }
