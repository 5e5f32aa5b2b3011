"""Which interfaces and addresses of this machine a camera speaks on."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import ifaddr


@dataclass(frozen=True, slots=True)
class Link:
    """One interface with its addresses, IPv6 ones without their zone."""

    name: str
    index: int
    v4: tuple[str, ...]
    v6: tuple[str, ...]

    @property
    def v6_link_local(self) -> str:
        """The address that it speaks from over IPv6, "" if it has none."""
        return next((one for one in self.v6 if ipaddress.IPv6Address(one).is_link_local), "")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All, as they are announced."""
        return self.v4 + self.v6


def links(names: Sequence[str] = ()) -> list[Link]:
    """Return the named interfaces, or all but loopback where none is named; those without an address are left out."""
    loopback = {name for _, name in socket.if_nameindex() if name == "lo"}
    found: list[Link] = []
    for adapter in ifaddr.get_adapters():
        name = str(adapter.name)
        if (name not in names) if names else (name in loopback):
            continue
        v4 = tuple(str(one.ip) for one in adapter.ips if one.is_IPv4)
        v6 = tuple(str(one.ip[0]) for one in adapter.ips if one.is_IPv6)
        if (v4 or v6) and adapter.index is not None:
            found.append(Link(name, adapter.index, v4, v6))
    return found
