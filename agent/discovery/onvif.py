"""ONVIF cameras, found as the ONVIF Core Specification §7 says: WS-Discovery over UDP multicast, IPv4 and IPv6.

For each interface and IP version two sockets: one asks, and takes the answers; one hears who comes and goes by himself.

1. A question goes out ``len(BURST_S)`` times, because datagrams get lost, and again every ``AGAIN_S``.
2. An answer counts only if it relates to one of our last questions, and anything only if its sender is on-link.
3. A Hello is told like an answer. A Bye is looked into (``presence.py``) and asked after.
4. Endpoint references name devices: the same one over several interfaces and versions is one sighting.
5. Each sender has ``SENDER_MAX`` datagrams a second, so that a flood of one drowns nobody else.
"""

import asyncio
import hashlib
import socket
import struct
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from agent.clock import ReadClock, monotonic_s, pause
from agent.discovery.clean import clean
from agent.discovery.interface import Interface, Links, follow
from agent.discovery.leak import of_onvif
from agent.discovery.onvif_message import (
    GROUP_V4,
    GROUP_V6,
    MESSAGE_MAX_BYTES,
    PORT,
    PROBED_TYPES,
    Match,
    endpoint,
    probe,
    read,
)
from agent.discovery.presence import ADDRESSES_MAX, REFRESH_S, Presence, candidates
from agent.discovery.sighting import Hear, Sighting
from agent.errors import CorruptError

BURST_S: Final = (0.0, 0.4, 1.6)
"""When a question goes out, from its begin."""
AGAIN_S: Final = 30.0
QUESTIONS_MAX: Final = 512
"""Questions whose answers still count."""
SENDER_MAX: Final = 50
SENDERS_MAX: Final = 1024
"""Senders that are counted in one second; further ones wait for the next."""
ASKING_EARLY_S: Final = 5.0
"""A Bye is asked after, but not more often than this."""

# Linux <linux/in.h>, <linux/in6.h>; the socket module has no name for them.
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_SECOND_S: Final = 1.0


class Onvif:
    """The discoverer of ONVIF devices; ``interfaces`` are those that a person named, none for all that can."""

    def __init__(
        self,
        read_clock: ReadClock,
        *,
        interfaces: Sequence[str] = (),
        refresh_s: float = REFRESH_S,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self._read_clock = read_clock
        self._chosen = tuple(interfaces)
        self._refresh_s = refresh_s
        self._new_id = new_id

    async def run(self, hear: Hear) -> None:
        """Listen until cancelled."""
        presence = Presence(hear, self._read_clock, refresh_s=self._refresh_s)
        ear = _Ear(presence, self._read_clock, self._new_id)
        await presence.run(follow(ear.listen, way="onvif", hear=hear, chosen=self._chosen))


class _Ear:
    """What asks and hears."""

    def __init__(self, presence: Presence, read_clock: ReadClock, new_id: Callable[[], uuid.UUID]) -> None:
        self._presence = presence
        self._read_clock = read_clock
        self._new_id = new_id
        self._questions: deque[str] = deque(maxlen=QUESTIONS_MAX)
        self._askers: list[tuple[asyncio.DatagramTransport, tuple[Any, ...]]] = []
        self._early = asyncio.Event()
        self._second_began_s = 0.0
        self._heard_of: dict[str, int] = {}

    async def listen(self, links: Links, opened: Callable[[], None]) -> None:
        """Ask and listen on these interfaces until cancelled."""
        self._presence.moved_to(links)
        with ExitStack() as stack:
            self._askers.clear()
            for interface in links.interfaces:
                await self._open(interface, stack)
            opened()
            while True:
                began_s = 0.0
                for at_s in BURST_S:
                    await pause(at_s - began_s)
                    began_s = at_s
                    self._ask()
                await self._until_again()

    async def _until_again(self) -> None:
        """Wait for the next round, which somebody's goodbye brings forward."""
        await pause(ASKING_EARLY_S)
        try:
            async with asyncio.timeout(AGAIN_S - ASKING_EARLY_S):
                await self._early.wait()
        except TimeoutError:
            pass
        self._early.clear()

    def _ask(self) -> None:
        for transport, group in self._askers:
            for camera_type in PROBED_TYPES:
                question = self._new_id().urn
                self._questions.append(question)
                transport.sendto(probe(question, camera_type), group)

    async def _open(self, interface: Interface, stack: ExitStack) -> None:
        """Open the sockets of one interface."""
        own = Links((interface,))
        if interface.v4:
            address = str(interface.v4[0].ip)
            transport = await self._receive(_asker_v4(address), own, stack)
            self._askers.append((transport, (GROUP_V4, PORT)))
            await self._receive(_listener_v4(address, interface.index), own, stack)
        if interface.v6_link_local is not None:
            transport = await self._receive(_asker_v6(interface.index), own, stack)
            self._askers.append((transport, (GROUP_V6, PORT, 0, interface.index)))
            await self._receive(_listener_v6(interface.index), own, stack)

    async def _receive(self, bound: socket.socket, own: Links, stack: ExitStack) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(partial(self._received, own)), sock=bound)
        stack.callback(transport.close)
        return transport

    def _received(self, own: Links, raw: bytes, sender: str) -> None:
        """Take one datagram; the interface is that of the socket, whatever the datagram says."""
        source = own.written(sender, zone=own.interfaces[0].index)
        if source is None or not self._within_its_share(source[0]):
            return
        try:
            message = read(raw)
        except CorruptError:
            return
        if message.action == "ProbeMatches" and message.relates_to not in self._questions:
            return
        for match in message.matches:
            if message.action == "Bye":
                self._presence.goodbye(_key(match.endpoint))
                self._early.set()
            elif match.may_be_a_camera:
                self._heard(match, own)

    def _heard(self, match: Match, own: Links) -> None:
        interface = own.interfaces[0]

        def written(address: str) -> str | None:
            found = own.written(address, zone=interface.index)
            return found[0] if found else None

        where = endpoint(match, written=written)
        if where is None:
            return
        addresses, port = where
        key = _key(match.endpoint)
        before = self._presence.before(key)
        if before is not None and before.port == port:
            # Over IPv4 and IPv6 it names different addresses of itself; who names others is a candidate beside them.
            addresses = candidates(before.addresses, addresses)
        self._presence.heard(
            Sighting(
                way="onvif",
                place=before.place if before is not None else interface.name,
                key=key,
                service="onvif",
                seen_ms=self._read_clock().wall_ms,
                unverified_name=clean(match.name),
                addresses=addresses[:ADDRESSES_MAX],
                port=port,
                leaks=of_onvif(endpoint=match.endpoint, scopes=match.scopes),
            )
        )

    def _within_its_share(self, sender: str) -> bool:
        now_s = monotonic_s()
        if now_s - self._second_began_s >= _SECOND_S:
            self._second_began_s = now_s
            self._heard_of.clear()
        heard = self._heard_of.get(sender, 0)
        if heard >= SENDER_MAX or (not heard and len(self._heard_of) >= SENDERS_MAX):
            return False
        self._heard_of[sender] = heard + 1
        return True


class _Protocol(asyncio.DatagramProtocol):
    """Hands on what is not too long; an error of one datagram ends nothing."""

    def __init__(self, received: Callable[[bytes, str], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Take what came."""
        if len(data) <= MESSAGE_MAX_BYTES:
            self._received(data, str(addr[0]))


def _key(raw_endpoint: str) -> str:
    cleaned = clean(raw_endpoint)
    digest = hashlib.sha256(raw_endpoint.encode()).hexdigest()[:8]
    return cleaned if cleaned == raw_endpoint else f"{cleaned}#{digest}"


def _opened(family: socket.AddressFamily, prepare: Callable[[socket.socket], None]) -> socket.socket:
    found = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        prepare(found)
    except OSError:
        found.close()
        raise
    return found


def _asker_v4(address: str) -> socket.socket:
    """Open what asks on one interface; answers come back to the port that the kernel gives it with its first question.

    It binds nothing by itself, so a sandbox need only allow the two well-known ports.
    """

    def prepare(found: socket.socket) -> None:
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ip_address(address).packed)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)  # it never leaves the link

    return _opened(socket.AF_INET, prepare)


def _asker_v6(index: int) -> socket.socket:
    def prepare(found: socket.socket) -> None:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)

    return _opened(socket.AF_INET6, prepare)


def _listener_v4(address: str, index: int) -> socket.socket:
    """Open what hears the group on one interface and on no other, beside others who hear it too."""

    def prepare(found: socket.socket) -> None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        found.bind((GROUP_V4, PORT))
        joined = socket.inet_aton(GROUP_V4) + socket.inet_aton(address) + struct.pack("@i", index)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)

    return _opened(socket.AF_INET, prepare)


def _listener_v6(index: int) -> socket.socket:
    def prepare(found: socket.socket) -> None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        found.bind((GROUP_V6, PORT, 0, index))
        joined = socket.inet_pton(socket.AF_INET6, GROUP_V6) + struct.pack("@I", index)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)

    return _opened(socket.AF_INET6, prepare)
