"""What an advert gives away to everybody near, and what a person can do about it.

Pure. It reads the words of an advert that everybody on the link can read, so a leak that is found is one for certain;
one that is not found may be there all the same. RFC 8882 lists what DNS-SD gives away; ETSI EN 303 645 asks in
provision 5.6-2 that security-relevant information is not disclosed to whoever is not authenticated.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from agent.discovery.sighting import Leak, LeakCode

ADVICE: Final[Mapping[LeakCode, str]] = {
    "serial": "its serial number is announced to the whole network: give the camera another name, or turn its"
    " announcements off in its settings",
    "mac": "its hardware address is announced, by which it can be followed: give the camera another name, or turn its"
    " announcements off in its settings",
    "owner_name": "somebody's name is announced: rename the camera to something that tells nobody whose it is",
    "version": "its firmware version is announced, which tells what holes it has: keep it updated, or turn its"
    " announcements off in its settings",
    "setup_mode": "it waits to be set up and takes whoever comes first: finish its set-up, or switch it off",
    "cleartext_rtsp": "its pictures are offered without encryption: turn RTSP off in its settings, or let it speak"
    " RTSPS only",
}

_MAC: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-F]{2}([:-]))(?:[0-9A-F]{2}\1){4}[0-9A-F]{2}(?![0-9A-Za-z])", re.IGNORECASE
)
_BARE_MAC: Final = re.compile(
    r"(?<![0-9A-Za-z])(?=[0-9]*[A-F])(?=[A-F]*[0-9])[0-9A-F]{12}(?![0-9A-Za-z])", re.IGNORECASE
)
"""Twelve hexadecimal digits with at least one figure and one letter; twelve figures are more likely a serial number."""
_OWNER: Final = re.compile(r"\w['\N{RIGHT SINGLE QUOTATION MARK}]s\b")
"""``Anna's camera``: the possessive that phones and cameras put before what they are."""

_SERIAL_KEYS: Final = frozenset({"serial", "sn", "serialnumber", "serialno", "deviceserial", "usn"})
_MAC_KEYS: Final = frozenset({"mac", "macaddress", "macaddr", "hwaddr", "ethaddr", "wifimac"})
_VERSION_KEYS: Final = frozenset(
    {
        "fw",
        "fwversion",
        "fwver",
        "firmware",
        "firmwareversion",
        "version",
        "sw",
        "swversion",
        "softwareversion",
        "build",
    }
)
_HOMEKIT: Final = frozenset({"_hap._tcp.local.", "_hap._udp.local."})
_MATTER_SETUP: Final = "_matterc._udp.local."
_CAMERA_LINK: Final = "_camera-link._tcp.local."
_RTSP: Final = "_rtsp._tcp.local."


def of_service(service_type: str, *, name: str, host: str, properties: Mapping[str, str]) -> tuple[Leak, ...]:
    """Return what a DNS-SD service gives away: its instance name, its host's name and its TXT record."""
    found: set[LeakCode] = set()
    homekit = service_type in _HOMEKIT
    for key, value in properties.items():
        # HomeKit's ``id`` looks like a hardware address and is random (HomeKit Accessory Protocol, "Device ID").
        if not (homekit and key.lower() == "id"):
            found |= _in_value(_plain(key), value)
    found |= _in_text(name) | _in_text(host)
    if homekit and _number(properties.get("sf", "")) & 1:  # status flags, bit 0: not paired yet
        found.add("setup_mode")
    if service_type == _MATTER_SETUP and _number(properties.get("CM", "")) > 0:
        found.add("setup_mode")
    if service_type == _CAMERA_LINK and properties.get("setup") == "1":  # docs/camera-link.md §7
        found.add("setup_mode")
    if service_type == _RTSP:
        found.add("cleartext_rtsp")
    return _leaks(found)


def of_onvif(*, endpoint: str, scopes: Iterable[str]) -> tuple[Leak, ...]:
    """Return what a WS-Discovery answer gives away: its endpoint reference and its scopes."""
    found: set[LeakCode] = set()
    with_mac = _version_1_mac(endpoint)
    if with_mac:
        found.add("mac")
    for scope in scopes:
        path = scope.partition("://")[2].partition("/")[2]
        key, _, value = path.partition("/")
        found |= _in_value(_plain(key), value.replace("%20", " ").replace("_", " "))
    return _leaks(found)


def _in_value(key: str, value: str) -> set[LeakCode]:
    if not value:
        return set()
    if key in _SERIAL_KEYS:
        return {"serial"}
    if key in _MAC_KEYS:
        return {"mac"}
    if key in _VERSION_KEYS:
        return {"version"}
    return _in_text(value)


def _in_text(text: str) -> set[LeakCode]:
    found: set[LeakCode] = set()
    if _MAC.search(text) or _BARE_MAC.search(text):
        found.add("mac")
    if _OWNER.search(text):
        found.add("owner_name")
    return found


def _version_1_mac(endpoint: str) -> bool:
    """Whether an endpoint reference is a UUID of version 1 with a real hardware address in it (RFC 9562 §5.1)."""
    try:
        told = uuid.UUID(endpoint.lower().removeprefix("urn:").removeprefix("uuid:"))
    except ValueError:
        return False
    made_up = 1 << 40  # RFC 9562 §6.10: a node id that is no hardware address has the multicast bit
    return told.version == 1 and not told.node & made_up


def _plain(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - a flag is short


def _leaks(found: set[LeakCode]) -> tuple[Leak, ...]:
    return tuple(Leak(code=code, advice=ADVICE[code]) for code in sorted(found))
