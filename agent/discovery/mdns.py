"""Cameras that announce themselves by DNS-SD over multicast DNS (RFC 6762, RFC 6763), heard with python-zeroconf.

1. An advert is a hint (invariant I10): whatever it says becomes a ``Sighting`` and nothing else. ``presence.py`` says
   what becomes of a goodbye, of a name that leads elsewhere, and of silence.
2. Addresses that are not on the link of an interface that is listened on are refused, so that nobody can send the agent
   to a host elsewhere.
3. A name that is no name of its type (control characters, the bare type) raises in the library; it is left out.
4. What came with an answer is told at once, the types in turn; names that change faster than ``WORK_S`` in each
   ``WORK_S`` plus ``REST_S`` allows wait, each once, so that nobody's words hold the loop. Only a name whose records
   did not come along is asked for, by one of ``RESOLVERS`` with ``RESOLVE_MS`` each, taking turns between the types: a
   flood of names that lead nowhere stalls nobody who answers fully.
5. The library does not ask again on an interface that came later, so each set of interfaces gets a new browser.
6. All is bounded: what reaches the library and what it holds of one host (``mdns_listener.py``), and all that it holds.
   A flood of its cache has it made anew (``RECORDS_MAX``, ``CACHE_MAX_BYTES``), and the memory is given back.

zeroconf is imported when this runs, not before: an agent without discovery does not pay for it.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.clock import ReadClock, monotonic_s, pause
from agent.discovery.clean import camera_id, clean
from agent.discovery.interface import Links, follow
from agent.discovery.leak import of_service
from agent.discovery.presence import REFRESH_S, Presence, candidates, moved
from agent.discovery.sighting import Hear, Sighting
from agent.discovery.turns import Turns
from agent.process import give_back_memory

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf._dns import DNSRecord
    from zeroconf.asyncio import AsyncServiceInfo

CAMERA_LINK: Final = "_camera-link._tcp.local."
HOMEKIT: Final = ("_hap._tcp.local.", "_hap._udp.local.")
MATTER_SETUP: Final = "_matterc._udp.local."

SERVICE_TYPES: Final = (
    CAMERA_LINK,
    *("_axis-video._tcp.local.", "_axis-nvr._tcp.local.", "_axis-bwsc._tcp.local."),
    *HOMEKIT,
    MATTER_SETUP,
    *("_rtsp._tcp.local.", "_onvif._tcp.local.", "_psia._tcp.local.", "_CGI._tcp.local."),
    *("_nvr._tcp.local.", "_camera._tcp.local.", "_arlo-video._tcp.local."),
)
"""What cameras, doorbells and recorders announce. Not ``_http._tcp`` and ``_matter._tcp``: every printer and every lamp
that is set up has one of these, and neither says what it is."""

HOMEKIT_CAMERAS: Final = frozenset({"17", "18"})
"""HomeKit's accessory category ``ci``: IP camera, video doorbell."""

MATTER_CAMERAS: Final = frozenset(map(str, range(0x0141, 0x0146)))
"""Matter's device type ``DT``, where it is announced at all: audio doorbell, camera, video doorbell, floodlight camera,
snapshot camera (Matter 1.5, Device Library, chapter 16)."""

RESOLVERS: Final = 16
RESOLVE_MS: Final = 3000
PENDING_MAX: Final = 2048
"""Names that wait to be asked for; beyond it the one that waits longest, of the type that has most, goes."""

NEWS_MAX: Final = 4096
"""Names that wait to be looked at; the same goes for them."""
WORK_S: Final = 0.01
REST_S: Final = 0.01

RECORDS_MAX: Final = 3_000
"""Records in the library's cache; forty cameras that announce all they can have a third of it."""
FRESH_S: Final = 15.0
"""The shortest life of a cache that has many records."""
CACHE_MAX_BYTES: Final = 4_000_000
"""What its records may say in all; forty cameras' TXT records are a hundredth of it."""
CACHE_MIN_S: Final = 2.0
"""The shortest life of a cache that is large."""

_SLICE_S: Final = 0.5


class _FullError(Exception):
    """The cache is too full."""


class Mdns:
    """The discoverer of DNS-SD services; ``interfaces`` are those that a person named, none for all that can."""

    def __init__(self, read_clock: ReadClock, *, interfaces: Sequence[str] = (), refresh_s: float = REFRESH_S) -> None:
        self._read_clock = read_clock
        self._chosen = tuple(interfaces)
        self._refresh_s = refresh_s

    async def run(self, hear: Hear) -> None:
        """Listen until cancelled."""
        presence = Presence(hear, self._read_clock, refresh_s=self._refresh_s)
        ear = _Ear(presence, self._read_clock)
        await presence.run(follow(ear.listen, way="mdns", hear=hear, chosen=self._chosen))


class _Ear:
    """What asks and hears with the library."""

    def __init__(self, presence: Presence, read_clock: ReadClock) -> None:
        self._presence = presence
        self._read_clock = read_clock
        self._links = Links(())
        self._pending = Turns(PENDING_MAX)  # to be asked for
        self._news = Turns(NEWS_MAX)  # to be looked at
        self._zeroconf: Zeroconf | None = None

    async def listen(self, links: Links, opened: Callable[[], None]) -> None:
        """Listen on these interfaces until cancelled; the cache is made anew when somebody floods it."""
        self._links = links
        self._presence.moved_to(links)
        addresses = [str(one.ip) for link in links.interfaces for one in link.v4]
        addresses += [str(link.v6_link_local) for link in links.interfaces if link.v6_link_local is not None]
        if not addresses:
            await asyncio.Event().wait()
        while True:
            await self._browse(addresses, opened)
            give_back_memory()

    async def _browse(self, addresses: list[str], opened: Callable[[], None]) -> None:
        """Browse with one instance of the library, until its cache is too full."""
        from zeroconf.asyncio import AsyncServiceBrowser  # noqa: PLC0415 - memory: see the module

        from agent.discovery.mdns_listener import listen, started  # noqa: PLC0415 - the same

        # It logs what strangers send, and warns of interfaces that ``follow`` tells of.
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
        self._pending.clear()
        self._news.clear()
        library = listen(addresses)
        try:
            await started(library.zeroconf)
            opened()
            async with asyncio.TaskGroup() as group:
                for number in range(RESOLVERS):
                    group.create_task(self._resolve(), name=f"mdns resolver {number}")
                self._zeroconf = library.zeroconf
                group.create_task(self._look(library.zeroconf), name="mdns news")
                browser = AsyncServiceBrowser(library.zeroconf, list(SERVICE_TYPES), handlers=[self._changed])
                try:
                    await self._until_full(library.zeroconf)
                finally:
                    await browser.async_cancel()
        except* _FullError:
            pass
        finally:
            self._zeroconf = None
            await library.async_close()

    async def _until_full(self, zeroconf: "Zeroconf") -> None:
        """Wait until the cache is too full and not too young, and end the tasks by raising."""
        began_s = monotonic_s()
        while not _full(zeroconf.cache.cache.values(), age_s=monotonic_s() - began_s):
            await pause(_SLICE_S)
        raise _FullError

    # -- what the library says ----------------------------------------------------------------------------------------

    def _changed(self, *, service_type: str, name: str, state_change: "ServiceStateChange", **_: object) -> None:
        """Note it and no more: one datagram can change every service of a host."""
        if state_change.name == "Removed":
            self._news.leave(service_type, name)
            self._presence.goodbye(_key(service_type, name))
            return
        self._news.put(service_type, name)

    async def _look(self, zeroconf: "Zeroconf") -> None:
        """Look at what changed, and let everybody else work in between."""
        while True:
            service_type, name = await self._news.take()
            began_s = monotonic_s()
            self._load(zeroconf, service_type, name)
            while self._news and monotonic_s() - began_s < WORK_S:
                self._load(zeroconf, *self._news.next())
            await pause(REST_S)

    def _load(self, zeroconf: "Zeroconf", service_type: str, name: str) -> None:
        info = _info(service_type, name)
        if info is None:
            return
        if info.load_from_cache(zeroconf):
            self._heard(info)
        else:
            self._pending.put(service_type, name)

    async def _resolve(self) -> None:
        """Ask for one name after the other, the types in turn."""
        while True:
            info = _info(*await self._pending.take())
            if info is not None and await self._asked(info):
                self._heard(info)

    async def _asked(self, info: "AsyncServiceInfo") -> bool:
        """Ask for a service's records and wait for them; what is cached and lives is taken as it is."""
        assert self._zeroconf is not None  # noqa: S101 - who asks looked
        return await info.async_request(self._zeroconf, RESOLVE_MS)

    async def _still_said(self, told: Sighting, *, service_type: str, name: str) -> bool:
        """Whether a name leads to the same endpoint by records that live."""
        info = _info(service_type, name)
        if self._zeroconf is None or info is None:
            return info is not None  # between two browsers nobody can be asked
        now = self._sighting(info) if await self._asked(info) else None
        return now is not None and not moved(told, now)

    # -- what is made of it -------------------------------------------------------------------------------------------

    def _heard(self, info: "AsyncServiceInfo") -> None:
        sighting = self._sighting(info)
        if sighting is not None:
            ask = partial(self._still_said, sighting, service_type=info.type, name=info.name)
            self._presence.heard(sighting, ask=ask)

    def _sighting(self, info: "AsyncServiceInfo") -> Sighting | None:
        """Return what is told of a service, or ``None`` if it is no camera or nowhere near."""
        properties = _properties(info)
        if not info.port or not _may_be_a_camera(info.type, properties):
            return None
        on_link = list(self._on_link(info))
        if not on_link:
            return None
        key = _key(info.type, info.name)
        before = self._presence.before(key)
        said, places = zip(*on_link, strict=True)
        known = [address for address in (before.addresses if before else ()) if address in said]
        name = clean(_instance(info.type, info.name))
        return Sighting(
            way="mdns",
            place=before.place if before and before.place in places else places[0],
            key=key,
            service=info.type.removesuffix(".local."),
            seen_ms=self._read_clock().wall_ms,
            unverified_name=name,
            unverified_id=camera_id(properties.get("id", "")) if info.type == CAMERA_LINK else "",
            addresses=candidates(known, said),
            port=info.port,
            leaks=of_service(info.type, name=name, host=info.server or "", properties=properties),
        )

    def _on_link(self, info: "AsyncServiceInfo") -> Iterator[tuple[str, str]]:
        """Yield the addresses that may be used, as text, each with its interface's name."""
        for raw in info.parsed_scoped_addresses():
            zone = raw.partition("%")[2]
            written = self._links.written(raw, zone=int(zone) if zone.isdecimal() else 0)
            if written is not None:
                yield written


def _full(cache: Collection[Mapping["DNSRecord", object]], *, age_s: float) -> bool:
    """Whether the library's cache is to be made anew."""
    if age_s < CACHE_MIN_S:
        return False
    if age_s >= FRESH_S and sum(map(len, cache)) >= RECORDS_MAX:
        return True
    return sum(_said_bytes(record) for there in cache for record in there) >= CACHE_MAX_BYTES


def _said_bytes(record: "DNSRecord") -> int:
    """Return what a record takes beside its names: a text, or a number for each type of an NSEC record."""
    return len(getattr(record, "text", b"")) + 8 * len(getattr(record, "rdtypes", ()))


def _info(service_type: str, name: str) -> "AsyncServiceInfo | None":
    """Return what to ask for a service with, or ``None`` for a name that is none of its type."""
    from zeroconf import Error  # noqa: PLC0415 - memory: see the module
    from zeroconf.asyncio import AsyncServiceInfo  # noqa: PLC0415 - the same

    if not _instance(service_type, name):
        return None
    try:
        return AsyncServiceInfo(service_type, name)
    except (Error, ValueError):
        return None


def _instance(service_type: str, name: str) -> str:
    """Return a service's own name without its type, "" if there is none."""
    own, dot, its_type = name[: -len(service_type) - 1], name[-len(service_type) - 1 :][:1], name[-len(service_type) :]
    return own if dot == "." and its_type.lower() == service_type.lower() else ""


def _key(service_type: str, name: str) -> str:
    """Return what a service is called while it lives; names that look alike once cleaned stay apart."""
    instance = _instance(service_type, name)
    cleaned = clean(instance)
    apart = "" if cleaned == instance else f"#{_digest(instance)}"
    return f"{cleaned}{apart}.{service_type.removesuffix('.local.')}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _properties(info: "AsyncServiceInfo") -> Mapping[str, str]:
    return {key: value or "" for key, value in info.decoded_properties.items()}


def _may_be_a_camera(service_type: str, properties: Mapping[str, str]) -> bool:
    if service_type in HOMEKIT:
        return properties.get("ci", "") in HOMEKIT_CAMERAS
    if service_type == MATTER_SETUP:
        return properties.get("DT", "") in MATTER_CAMERAS or "DT" not in properties
    return True
