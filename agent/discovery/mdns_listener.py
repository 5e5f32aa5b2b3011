"""What python-zeroconf hears with, and what it may hold of one host.

1. It gets the datagrams that ``mdns_datagram.admissible`` lets through.
2. After each, a host keeps ``HOST_ADDRESSES_MAX`` addresses and ``HOST_SERVICES_MAX`` services in the cache: for each
   new address the library goes through every service of its host, and for each service through every address. Half of
   them are the first, half the newest, so that neither who came first nor who came last pushes the camera's out.

The library has no hook for that, so its engine is given this class for its own. Were that in vain, after an update,
``started`` raises: a filter that is silently absent is none.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from zeroconf import NotRunningException, Zeroconf, _engine
from zeroconf._dns import DNSAddress, DNSService
from zeroconf._listener import AsyncListener
from zeroconf.asyncio import AsyncZeroconf

from agent.discovery.mdns_datagram import admissible

if TYPE_CHECKING:
    from zeroconf._cache import DNSCache
    from zeroconf._dns import DNSRecord

HOST_ADDRESSES_MAX: Final = 32
HOST_SERVICES_MAX: Final = 128
"""A hub announces each of its cameras by one or two."""


class Listener(AsyncListener):
    """Takes a socket's datagrams."""

    __slots__ = ()

    def datagram_received(self, data: bytes, addrs: tuple[str, int] | tuple[str, int, int, int]) -> None:
        """Let the library have it, if it may."""
        if admissible(data):
            super().datagram_received(data, addrs)
            if self.last_message is not None:
                thin(self.zc.cache, self.last_message.answers())


def listen(addresses: Sequence[str]) -> AsyncZeroconf:
    """Return the library, which begins to listen; an address that went away raises ``OSError``."""
    _engine.AsyncListener = Listener  # type: ignore[attr-defined] # the library does not export what it makes readers of
    try:
        return AsyncZeroconf(interfaces=list(addresses))
    except RuntimeError as error:
        raise OSError(str(error)) from error


async def started(zeroconf: Zeroconf) -> None:
    """Wait until it listens, and hold it to hearing with nothing but ``Listener``."""
    try:
        await zeroconf.async_wait_for_start()
    except NotRunningException as error:
        raise OSError("multicast DNS did not start") from error
    ears = [reader.transport.get_protocol() for reader in zeroconf.engine.readers]
    if not ears or not all(isinstance(one, Listener) for one in ears):
        raise RuntimeError(
            "this python-zeroconf takes datagrams otherwise than by its engine's AsyncListener, so nothing would be "
            "filtered: install the version that requirements.lock names"
        )


def thin(cache: "DNSCache", heard: Iterable["DNSRecord"]) -> None:
    """Take out of the cache what it has too much of the hosts that these records tell of."""
    records = list(heard)
    for host in {one.key for one in records if isinstance(one, DNSAddress)}:
        there = cache.cache.get(host, {})
        if len(there) > HOST_ADDRESSES_MAX:
            addresses = [one for one in there.values() if isinstance(one, DNSAddress)]
            cache.async_remove_records(_surplus(addresses, HOST_ADDRESSES_MAX))
    for host in {one.server_key for one in records if isinstance(one, DNSService)}:
        services = cache.service_cache.get(host, {})
        cache.async_remove_records(_surplus(services.values(), HOST_SERVICES_MAX))


def _surplus(there: Collection["DNSRecord"], most: int) -> Sequence["DNSRecord"]:
    return list(there)[most // 2 : -(most // 2)] if len(there) > most else ()
