"""Passkeys that a person typed in for cameras which demand to be paired, until each is used (docs/ble.md §7).

Rules: in memory alone, for ten minutes, for the one camera that was named; taken when pairing begins, and by that used
up, however it ends: who cuts each pairing would learn a passkey that is used again bit by bit.
"""

from collections.abc import Callable
from typing import Final

from agent.clock import monotonic_s
from agent.errors import ConfigError

DIGITS: Final = 6
GOOD_S: Final = 600.0
"""It is typed in by whoever stands beside the camera, or soon will."""

WAITING_MAX: Final = 256


class Passkeys:
    """Those that wait; belongs to the running event loop."""

    def __init__(self, *, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._monotonic = monotonic
        self._waiting: dict[str, tuple[int, float]] = {}

    def give(self, camera: str, passkey: str) -> None:
        """Keep a camera's passkey; raises ``ConfigError`` for what is none."""
        number = read_passkey(passkey)
        while len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[camera] = number, self._monotonic() + GOOD_S

    def take(self, camera: str) -> int | None:
        """Hand it out, once."""
        number, until_s = self._waiting.pop(camera, (0, 0.0))
        return number if self._monotonic() < until_s else None


def read_passkey(text: str) -> int:
    """Return the number of six digits; raises ``ConfigError``, which never repeats what was typed."""
    if len(text) != DIGITS or not (text.isascii() and text.isdigit()):
        raise ConfigError("a passkey has six digits", hint="take the one that the camera shows, or that is on it")
    return int(text)
