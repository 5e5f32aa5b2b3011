"""What a Bluetooth LE advert says of a camera: pure, and nothing in it is believed (invariant I10).

Heard are cameras that advertise the privacy state (docs/ble.md), those of a maker whose advert is documented, and
devices that wait to be given a network, because a camera left so can be taken over. Everything else near is not
looked at: other people's things are nobody's business here.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from agent.discovery.ble.service import GOPRO, IMPROV, IMPROV_DATA, SERVICE
from agent.discovery.clean import clean
from agent.discovery.rotating import digest_of, id_text
from agent.discovery.sighting import Leak, Sighting

ROTATING_ID_BYTES: Final = 8

# What is looked for, and the service that it is told as; the first that is there counts.
_SERVICES: Final = {SERVICE: SERVICE, GOPRO: GOPRO, IMPROV: IMPROV, IMPROV_DATA: IMPROV}
_SIGNS: Final = frozenset(_SERVICES)

# Improv's first byte of service data: who may give it a network now.
_SETUP_OPEN: Final = frozenset({1, 2, 3})  # authorisation required, authorised, provisioning

_ADVICE: Final = {
    "mac": "it advertises its fixed address, by which anybody near knows it again: switch its Bluetooth off if unused",
    "owner_name": "it advertises a name: rename it in its own app to something that says nothing of you",
    "serial": "the end of its serial number stands in its name: rename it in its own app",
    "setup_mode": "it waits for anybody near to give it a network: finish its set-up, or switch it off",
}


class Advert(msgspec.Struct, frozen=True, kw_only=True):
    """One advert and scan response as Bluetooth's stack gives them, put together; all of it a stranger's words."""

    address: str
    address_type: Literal["public", "random"]
    name: str = ""
    uuids: Sequence[str] = ()
    service_data: Mapping[str, bytes] = {}
    rssi_dbm: int | None = None


def sighting(advert: Advert, *, adapter: str, now_ms: int) -> Sighting | None:
    """Return what is told of this advert, or ``None`` where it is no camera's."""
    service = _service(advert)
    if service is None:
        return None
    raw_id = advert.service_data.get(SERVICE, b"") if service == SERVICE else b""
    return Sighting(
        way="ble",
        place=adapter,
        key=advert.address,
        service=service,
        seen_ms=now_ms,
        unverified_name=clean(advert.name),
        unverified_id=id_text(raw_id) if len(raw_id) == ROTATING_ID_BYTES else "",
        signal_dbm=advert.rssi_dbm,
        leaks=_leaks(advert, service=service),
    )


def is_camera(uuids: Sequence[str], service_data: Mapping[str, bytes]) -> bool:
    """Tell whether a ``sighting`` can come of it; cheap, because it is asked of everything that advertises."""
    return not (_SIGNS.isdisjoint(uuids) and _SIGNS.isdisjoint(service_data))


def rotating_id(advert_key: bytes, *, unix_day: int) -> bytes:
    """Return what the camera with this advert key advertises on that day (docs/ble.md §2)."""
    return digest_of(advert_key, unix_day=unix_day)[:ROTATING_ID_BYTES]


def _service(advert: Advert) -> str | None:
    heard = {*advert.uuids, *advert.service_data}
    return next((service for sign, service in _SERVICES.items() if sign in heard), None)


def _leaks(advert: Advert, *, service: str) -> tuple[Leak, ...]:
    found: list[Literal["mac", "owner_name", "serial", "setup_mode"]] = []
    if advert.address_type == "public":
        found.append("mac")
    if advert.name and service == SERVICE:
        found.append("owner_name")
    if service == GOPRO and advert.name[-4:].isdecimal():
        found.append("serial")
    if advert.service_data.get(IMPROV_DATA, b"")[:1] in {bytes((state,)) for state in _SETUP_OPEN}:
        found.append("setup_mode")
    return tuple(Leak(code=code, advice=_ADVICE[code]) for code in found)
