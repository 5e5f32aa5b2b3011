"""A camera's announcement by DNS-SD over multicast DNS.

Of itself a camera tells as little as it can: an instance and a host name made of random letters for each start, and the
rotating id of docs/camera-link.md. What a vendor's camera tells can be set instead.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from device_sim.announce.link import Link, links

CAMERA_LINK: Final = "_camera-link._tcp"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_NAME_LETTERS: Final = 10
_LOOK_AGAIN_S: Final = 1.0


def random_name() -> str:
    """Return a name that tells nothing, for one start."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_NAME_LETTERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is announced; ``host_ttl_s`` is the life of its address in others' caches (RFC 6762 §10: 120 s)."""

    port: int
    type: str = CAMERA_LINK
    instance: str = field(default_factory=random_name)
    host: str = field(default_factory=random_name)
    properties: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    """Those of its interfaces where empty; anything else is what a camera behind a wrong setting says."""
    host_ttl_s: int = 120

    def info(self, here: Sequence[Link]) -> AsyncServiceInfo:
        """Return it as zeroconf announces it."""
        addresses = self.addresses or tuple(address for link in here for address in link.addresses)
        return AsyncServiceInfo(
            f"{self.type}.local.",
            f"{self.instance}.{self.type}.local.",
            port=self.port,
            properties=dict(self.properties),
            server=f"{self.host}.local.",
            parsed_addresses=list(addresses),
            host_ttl=self.host_ttl_s,
        )


class MdnsFace:
    """Announces services until cancelled, then says goodbye, unless ``goodbye`` is false: the power was cut.

    ``services`` is asked again each second and when the interfaces change, so that a rotating id goes over.
    """

    def __init__(
        self,
        services: Callable[[], Sequence[Service]],
        *,
        interfaces: Sequence[str] = (),
        goodbye: Callable[[], bool] = lambda: True,
    ) -> None:
        self._services = services
        self._interfaces = tuple(interfaces)
        self._goodbye = goodbye

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            here = links(self._interfaces)
            if here:
                await self._speak(here)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _speak(self, here: list[Link]) -> None:
        """Announce on these interfaces until they are others."""
        library = AsyncZeroconf(interfaces=[one for link in here for one in (*link.v4, link.v6_link_local) if one])
        said: dict[str, AsyncServiceInfo] = {}
        try:
            while links(self._interfaces) == here:
                wanted = {info.name: info for info in (service.info(here) for service in self._services())}
                for name in said.keys() - wanted.keys():
                    await (await library.async_unregister_service(said.pop(name)))
                for name, info in wanted.items():
                    if name not in said:
                        await (await library.async_register_service(info))
                    elif said[name].text != info.text or said[name].port != info.port:
                        await (await library.async_update_service(info))
                    said[name] = info
                await asyncio.sleep(_LOOK_AGAIN_S)
        finally:
            if not self._goodbye():
                registry = library.zeroconf.registry  # also of what is being announced for the first time just now
                registry.async_remove(registry.async_get_service_infos())
            await library.async_close()
