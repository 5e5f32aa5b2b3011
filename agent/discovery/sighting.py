"""What was heard of a camera, as frozen values; every field is what a stranger said (invariant I10).

Rules: text is cleaned of control characters and cut to ``TEXT_MAX`` before it is put into one of these; addresses are
on-link; nothing here is an identity, ``key`` least of all.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

Way = Literal["mdns", "onvif", "ble"]
"""How it was heard: DNS-SD over multicast DNS (RFC 6762, 6763), ONVIF's WS-Discovery, or Bluetooth LE advertising."""

LeakCode = Literal["serial", "mac", "owner_name", "version", "setup_mode", "cleartext_rtsp"]
"""What an advert tells to everybody near, or what stands open because of it."""

TroubleReason = Literal[
    "no_interface",
    "no_multicast",
    "container_network",
    "no_adapter",
    "adapter_off",
    "no_daemon",
    "stalled",
]

TEXT_MAX: Final = 64
"""Characters of a name or a type that are kept."""

SIGHTINGS_MAX: Final = 512
"""Live sightings of one way; the one that was heard least recently goes first."""


class Leak(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One thing that an advert gives away, and a person's next step."""

    code: LeakCode
    advice: str


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One thing heard once; heard again it comes again, with its newest words."""

    way: Way
    place: str
    """Where it was heard: a network interface, or a Bluetooth adapter."""
    key: str
    """What this way calls it while it lives: a service instance, an endpoint reference, a Bluetooth address."""
    service: str
    """A DNS-SD service type, ``onvif``, or a Bluetooth service's 128-bit UUID."""
    seen_ms: int
    """When, in Unix milliseconds of the clock that was handed in."""
    unverified_name: str = ""
    unverified_id: str = ""
    """The rotating id that cameras with a camera link announce (docs/camera-link.md); empty of all others."""
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6 texts, all on-link; link-local ones with their zone, ``fe80::1%eth0``. Empty over Bluetooth."""
    port: int = 0
    signal_dbm: int | None = None
    leaks: tuple[Leak, ...] = ()


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """It said goodbye, or its lease ran out: of the display alone, since anybody can say so."""

    way: Way
    place: str
    key: str


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing may be heard this way at this place; an empty ``reason`` ends the trouble before."""

    way: Way
    place: str
    reason: TroubleReason | Literal[""]
    hint: str = ""


Heard = Sighting | Lost | Trouble
Hear = Callable[[Heard], None]
"""Called in the event loop; does not wait."""


class Discoverer(Protocol):
    """One way of hearing."""

    async def run(self, hear: Hear) -> None:
        """Listen until cancelled; what is heard, and what is wrong with the machine, is told and ends nothing."""
