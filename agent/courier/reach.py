"""Which addresses are the world's: a name may stand for one of this house, and a stranger's name for the router. Pure.

Of an address that holds an IPv4 address (mapped, 6to4, NAT64, Teredo) that one counts too.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 §2.5.5.1, deprecated
_NOBODYS: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890; Python before 3.11.10 takes some of it for global
    ipaddress.IPv4Network("192.88.99.0/24"),  # RFC 7526: relays of 6to4, deprecated
    ipaddress.IPv6Network("3fff::/20"),  # RFC 9637: documentation; older Pythons take it for global
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_IPV4_MASK: Final = 0xFFFF_FFFF


def is_public(text: str) -> bool:
    """Tell whether an address is one of the world's: none of this machine, this link, a private network or a group."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return "%" not in text and all(_is_public(one) for one in _meant(address))


def _meant(address: Address) -> Iterator[Address]:
    """Yield what packets to an address may reach."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64 or address in _IPV4_COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & _IPV4_MASK)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in one for one in _NOBODYS):
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_private
        and not address.is_loopback
        and not address.is_link_local
        and not address.is_reserved
        and not address.is_unspecified
    )
