"""The network interfaces that cameras can be heard on, what lies on their links, and when that changes.

Interfaces and addresses come from the kernel by rtnetlink(7), and so does the word that something changed; each
``POLL_S`` everything is looked at anyway, because such a word can be lost.

Rules: an address that somebody announced is used only if it lies on the link of a usable interface (``Links.on_link``);
loopback is used only where a person named it; a set of interfaces that stays the same wakes nobody.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from agent.clock import pause
from agent.discovery.sighting import Hear, Trouble, TroubleReason, Way

INTERFACES_MAX: Final = 16
"""Interfaces that are listened on, in the kernel's order."""

ADDRESSES_MAX: Final = 16
"""Addresses of one interface that are looked at."""

POLL_S: Final = 10.0
RETRY_S: Final = 5.0
"""Until a port or an interface that could not be used is tried again."""

SETTLE_S: Final = 0.2
"""A link that comes up gets its addresses one after the other."""

CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""What Docker and Podman leave in a container."""

# Linux <linux/rtnetlink.h>, <linux/netlink.h>, <linux/if.h>, <linux/if_link.h>, <linux/if_addr.h>
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_GROUPS: Final = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NLM_F_REQUEST_DUMP: Final = 0x001 | 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_IFF_RUNNING: Final = 0x40
_IFF_MULTICAST: Final = 0x1000
_IFLA_IFNAME: Final = 3
_IFLA_LINK_NETNSID: Final = 37
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_FLAGS: Final = 8
_IFA_F_UNUSABLE: Final = 0x08 | 0x40  # IFA_F_DADFAILED, IFA_F_TENTATIVE

_MESSAGE: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_READ_BYTES: Final = 64 * 1024


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface that is up, as the kernel tells of it."""

    name: str
    index: int
    multicast: bool
    loopback: bool
    far_end_elsewhere: bool
    """Its other end is in another network namespace, as a container's is."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    @property
    def v4(self) -> tuple[IPv4Interface, ...]:
        """Its IPv4 addresses with their networks."""
        return tuple(one for one in self.addresses if isinstance(one, IPv4Interface))

    @property
    def v6_link_local(self) -> IPv6Address | None:
        """The address that multicast on its link is sent from."""
        return next((one.ip for one in self.addresses if isinstance(one, IPv6Interface) and one.is_link_local), None)


class Links(msgspec.Struct, frozen=True):
    """The interfaces that are listened on, and what lies on their links."""

    interfaces: tuple[Interface, ...]

    def on_link(self, address: IPv4Address | IPv6Address, *, zone: int = 0) -> Interface | None:
        """Return the interface whose link an address lies on, else ``None``: it must then not be used.

        ``zone`` is the index of the interface that a link-local IPv6 address was heard on; without it such an address
        means something only where there is one interface.
        """
        if address.is_multicast or address.is_unspecified:
            return None
        if isinstance(address, IPv6Address) and address.is_link_local:
            there = [one for one in self.interfaces if one.index == zone or (not zone and len(self.interfaces) == 1)]
            return next((one for one in there if one.v6_link_local is not None), None)
        for interface in self.interfaces:
            for own in interface.addresses:
                if own.version == address.version and address in own.network and not _edge(address, own):
                    return interface
        return None

    def written(self, raw: str, *, zone: int = 0) -> tuple[str, str] | None:
        """Return an announced address as text, a link-local one with its zone, and its interface's name, if on-link.

        A zone within ``raw`` is the announcer's and says nothing here.
        """
        try:
            address = ipaddress.ip_address(raw.partition("%")[0])
        except ValueError:
            return None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return None  # nobody announces these; they would be another spelling of an address that is refused
        interface = self.on_link(address, zone=zone)
        if interface is None:
            return None
        link_local = isinstance(address, IPv6Address) and address.is_link_local
        return (f"{address}%{interface.name}" if link_local else str(address)), interface.name

    def holds(self, written: str) -> bool:
        """Whether an address that ``written`` gave earlier still lies on one of these links."""
        zone = written.partition("%")[2]
        index = next((one.index for one in self.interfaces if one.name == zone), -1) if zone else 0
        return self.written(written, zone=index) is not None


def _edge(address: IPv4Address | IPv6Address, own: IPv4Interface | IPv6Interface) -> bool:
    """Whether an address is its network's own or its broadcast one, which no camera has."""
    network = own.network
    if network.prefixlen == 0:
        return True  # "everything is on-link" is what somebody would say who wants us to ask anybody
    if isinstance(address, IPv6Address) or network.prefixlen >= network.max_prefixlen - 1:
        return False
    return address in (network.network_address, network.broadcast_address)


def read_interfaces() -> tuple[Interface, ...]:
    """Ask the kernel which interfaces of this network namespace are up, with the addresses that may be used."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        links = [_link(body) for kind, body in _dump(kernel, _RTM_GETLINK) if kind == _RTM_NEWLINK]
        addresses = [_address(body) for kind, body in _dump(kernel, _RTM_GETADDR) if kind == _RTM_NEWADDR]
    return tuple(
        msgspec.structs.replace(
            link, addresses=tuple(own for index, own in filter(None, addresses) if index == link.index)[:ADDRESSES_MAX]
        )
        for link in filter(None, links)
    )


def _dump(kernel: socket.socket, kind: int) -> Iterator[tuple[int, bytes]]:
    body = bytes(_LINK.size)
    kernel.send(_MESSAGE.pack(_MESSAGE.size + len(body), kind, _NLM_F_REQUEST_DUMP, 1, 0) + body)
    while True:
        raw = kernel.recv(_READ_BYTES)
        at = 0
        while at + _MESSAGE.size <= len(raw):
            length, found, _flags, _sequence, _port = _MESSAGE.unpack_from(raw, at)
            if found == _NLMSG_DONE:
                return
            if found == _NLMSG_ERROR:
                raise OSError("the kernel tells nothing of the network interfaces")
            yield found, raw[at + _MESSAGE.size : at + length]
            at += _aligned(length)


def _aligned(length: int) -> int:
    return (max(length, _ATTRIBUTE.size) + 3) & ~3


def _attributes(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        found[kind] = raw[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _link(body: bytes) -> Interface | None:
    _family, _kind, index, flags, _change = _LINK.unpack_from(body)
    told = _attributes(body[_LINK.size :])
    up = _IFF_UP | _IFF_RUNNING
    if flags & up != up:
        return None
    return Interface(
        name=told[_IFLA_IFNAME].rstrip(b"\0").decode("ascii", "replace"),
        index=index,
        multicast=bool(flags & _IFF_MULTICAST),
        loopback=bool(flags & _IFF_LOOPBACK),
        far_end_elsewhere=_IFLA_LINK_NETNSID in told,
        addresses=(),
    )


def _address(body: bytes) -> tuple[int, IPv4Interface | IPv6Interface] | None:
    family, prefix, flags, _scope, index = _ADDRESS.unpack_from(body)
    told = _attributes(body[_ADDRESS.size :])
    flags |= int.from_bytes(told.get(_IFA_FLAGS, b"")[:4], "little" if _LITTLE else "big")
    raw = told.get(_IFA_LOCAL) or told.get(_IFA_ADDRESS)  # of a point-to-point link IFA_ADDRESS is the other end's
    if flags & _IFA_F_UNUSABLE or raw is None:
        return None
    if family == socket.AF_INET:
        return index, IPv4Interface((raw, prefix))
    return (index, IPv6Interface((raw, prefix))) if family == socket.AF_INET6 else None


_LITTLE: Final = struct.pack("=H", 1) == struct.pack("<H", 1)


def usable(interfaces: Sequence[Interface], *, chosen: Sequence[str] = ()) -> Links:
    """Return those to listen on: the chosen ones as far as they are there, else all that can multicast."""
    there = [
        one
        for one in interfaces
        if one.addresses and (one.name in chosen if chosen else one.multicast and not one.loopback)
    ]
    return Links(tuple(there[:INTERFACES_MAX]))


def in_container(marks: Sequence[Path] = CONTAINER_MARKS) -> bool:
    """Whether this is a container, as far as it can be seen from inside."""
    return any(mark.exists() for mark in marks)


def why_nothing_is_heard(interfaces: Sequence[Interface], *, chosen: Sequence[str] = (), container: bool) -> "Why":
    """Return why no camera may be heard on these, and the next step."""
    links = usable(interfaces, chosen=chosen).interfaces
    if chosen and not links:
        return "no_interface", f"none of {', '.join(chosen)} is up with an address: check [discovery] interfaces"
    outside = [one for one in interfaces if not one.loopback and one.addresses]
    if not links and not outside:
        return "no_interface", "only the loopback interface is up: connect the network, then look again"
    if not links:
        names = ", ".join(one.name for one in outside)
        return "no_multicast", f"{names} cannot multicast: use the network that the cameras are on, not a tunnel"
    if container and all(one.far_end_elsewhere for one in links):
        return (
            "container_network",
            "this may be a container's own network, which hears no camera outside: use the host's (--network host)",
        )
    return "", ""


class Changes:
    """The kernel's word that links or addresses changed; only that, not what."""

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        # Where a sandbox forbids it the interfaces are polled.
        with suppress(OSError):
            self._kernel = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
            )
            self._kernel.bind((0, _GROUPS))
            asyncio.get_running_loop().add_reader(self._kernel, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel)
            self._kernel.close()

    async def wait(self, *, within_s: float) -> None:
        """Return when something changed and then nothing for ``SETTLE_S``, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()
                while True:
                    self._changed.clear()
                    async with asyncio.timeout(SETTLE_S):
                        await self._changed.wait()

    def _read(self) -> None:
        assert self._kernel is not None  # noqa: S101 - it called us
        with suppress(OSError):  # nothing left, or ENOBUFS: some are lost, which is a change too
            while self._kernel.recv(_READ_BYTES):
                pass
        self._changed.set()


Why = tuple[TroubleReason | Literal[""], str]
"""Why nothing may be heard, and the next step; two empty texts where nothing speaks against it."""

Listen = Callable[[Links, Callable[[], None]], Awaitable[None]]
"""Listens on these interfaces until cancelled; calls the second once all that it needs is open."""


async def follow(
    listen: Listen, *, way: Way, hear: Hear, chosen: Sequence[str] = (), marks: Sequence[Path] = CONTAINER_MARKS
) -> None:
    """Run ``listen`` on the usable interfaces until cancelled, and anew whenever they are others.

    It may also be told that there are none; why nothing may be heard is told once, and again when it is over.
    """
    container = in_container(marks)
    told: Why = ("", "")
    with Changes() as changes:
        links, why = _look(chosen, container=container)
        while True:
            if why != told:
                hear(Trouble(way=way, place="", reason=why[0], hint=why[1]))
                told = why
            async with asyncio.TaskGroup() as group:
                names = ", ".join(one.name for one in links.interfaces)
                task = group.create_task(_listen(listen, links, why, way=way, hear=hear), name=f"{way} on {names}")
                before = links, why
                while (links, why) == before:
                    await changes.wait(within_s=POLL_S)
                    links, why = _look(chosen, container=container)
                task.cancel()


def _look(chosen: Sequence[str], *, container: bool) -> tuple[Links, Why]:
    try:
        there = read_interfaces()
    except OSError as error:
        hint = f"{error.strerror or error}: let the service use AF_NETLINK, or the agent cannot see its interfaces"
        return Links(()), ("no_interface", hint)
    return usable(there, chosen=chosen), why_nothing_is_heard(there, chosen=chosen, container=container)


async def _listen(listen: Listen, links: Links, why: Why, *, way: Way, hear: Hear) -> None:
    """Listen; a port or an interface that cannot be used now is told of and tried again."""
    failed = False

    def opened() -> None:
        nonlocal failed
        if failed:
            failed = False
            hear(Trouble(way=way, place="", reason=why[0], hint=why[1]))

    while True:
        try:
            await listen(links, opened)
        except OSError as error:
            hint = f"{error.strerror or error}: see who else uses the port, and that a firewall lets UDP through"
            if not failed:
                hear(Trouble(way=way, place="", reason="no_multicast", hint=hint))
            failed = True
            await pause(RETRY_S)
