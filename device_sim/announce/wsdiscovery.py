"""The discovery of an ONVIF camera: a target of WS-Discovery (April 2005), as that and ONVIF's Core §7 describe it.

It says Hello when it comes, answers Probe and Resolve for what matches, and says Bye when it goes, over IPv4 and IPv6
on each interface. Multicasts go out twice, as SOAP-over-UDP asks for.
"""

import asyncio
import io
import random
import socket
import struct
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, cast
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from device_sim.announce.link import Link, links

PORT: Final = 3702
GROUP_V4: Final = "239.255.255.250"
GROUP_V6: Final = "ff02::c"

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
DISCOVERY: Final = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
NETWORK: Final = "http://www.onvif.org/ver10/network/wsdl"
DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
ANONYMOUS: Final = f"{ADDRESSING}/role/anonymous"
EVERYBODY: Final = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"

_TYPES: Final = {
    f"{{{NETWORK}}}NetworkVideoTransmitter": "dn:NetworkVideoTransmitter",
    f"{{{DEVICE}}}Device": "tds:Device",
}
_APP_MAX_DELAY_S: Final = 0.1  # at most 0.5 by the specification; an answer waits a random part of it
_REPEAT_S: Final = 0.15
_LOOK_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a camera says of itself. It names nobody and no hardware unless it is told to."""

    port: int
    endpoint: str = field(default_factory=lambda: uuid.uuid4().urn)
    scopes: tuple[str, ...] = ("onvif://www.onvif.org/type/video_encoder", "onvif://www.onvif.org/Profile/T")
    xaddrs: tuple[str, ...] = ()
    """Its own addresses where empty."""
    scheme: str = "http"

    def matches(self, types: str, prefixes: dict[str, str]) -> bool:
        """Whether a Probe for these types is for it."""
        asked = []
        for qname in types.split():
            prefix, _, name = qname.rpartition(":")
            asked.append(f"{{{prefixes.get(prefix, '')}}}{name}")
        return all(one in _TYPES for one in asked)

    def said(self, link: Link) -> str:
        """Return the elements that describe it, as one interface sees it."""
        hosts = [*link.v4, *(f"[{one}]" for one in link.v6 if one != link.v6_link_local)]
        xaddrs = self.xaddrs or tuple(f"{self.scheme}://{host}:{self.port}/onvif/device_service" for host in hosts)
        return (
            f"<a:EndpointReference><a:Address>{escape(self.endpoint)}</a:Address></a:EndpointReference>"
            f"<d:Types>{' '.join(_TYPES.values())}</d:Types><d:Scopes>{escape(' '.join(self.scopes))}</d:Scopes>"
            f"<d:XAddrs>{escape(' '.join(xaddrs))}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
        )


class OnvifFace:
    """Lets one target be found until cancelled; it then says Bye, unless ``goodbye`` is false: its power was cut."""

    def __init__(
        self,
        target: Target,
        *,
        interfaces: Sequence[str] = (),
        goodbye: Callable[[], bool] = lambda: True,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self._target = target
        self._goodbye = goodbye
        self._interfaces = tuple(interfaces)
        self._new_id = new_id
        self._numbers = count(1)
        self._instance = random.randrange(1, 1 << 31)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            here = links(self._interfaces)
            with ExitStack() as stack:
                speakers = [await self._open(link, stack) for link in here]
                try:
                    for _ in range(2):
                        for say, link in speakers:
                            say(self._message("Hello", f"<d:Hello>{self._target.said(link)}</d:Hello>"))
                        await asyncio.sleep(_REPEAT_S)
                    while links(self._interfaces) == here:  # noqa: ASYNC110 - nobody tells of a change
                        await asyncio.sleep(_LOOK_AGAIN_S)
                finally:
                    for say, link in speakers if self._goodbye() else ():
                        say(self._message("Bye", f"<d:Bye>{self._target.said(link)}</d:Bye>"))

    async def _open(self, link: Link, stack: ExitStack) -> tuple[Callable[[bytes], None], Link]:
        """Open the sockets of one interface; returns what speaks to everybody on it."""
        loop = asyncio.get_running_loop()
        groups: list[tuple[asyncio.DatagramTransport, tuple[Any, ...]]] = []
        for bound, group in _sockets(link):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Answering(self, link), sock=bound)
            stack.callback(transport.close)
            groups.append((transport, group))

        def say(message: bytes) -> None:
            for transport, group in groups:
                transport.sendto(message, group)

        return say, link

    def answer(self, raw: bytes, link: Link) -> bytes | None:
        """Return the answer to one datagram, or ``None`` if it asks nothing of this camera."""
        try:
            parsed = list(ET.iterparse(io.BytesIO(raw), ("start-ns", "end")))  # noqa: S314 - a simulator
        except ET.ParseError:
            return None
        prefixes = dict(what for event, what in parsed if event == "start-ns")
        return self._answered(parsed[-1][1], prefixes, link)

    def _answered(self, root: ET.Element, prefixes: dict[str, str], link: Link) -> bytes | None:
        relates_to = root.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}MessageID", "")
        probe = root.find(f"{{{SOAP}}}Body/{{{DISCOVERY}}}Probe")
        if probe is not None and self._target.matches(probe.findtext(f"{{{DISCOVERY}}}Types", ""), prefixes):
            said = self._target.said(link)
            body = f"<d:ProbeMatches><d:ProbeMatch>{said}</d:ProbeMatch></d:ProbeMatches>"
            return self._message("ProbeMatches", body, relates_to=relates_to)
        resolve = root.find(f"{{{SOAP}}}Body/{{{DISCOVERY}}}Resolve")
        wanted = f"{{{ADDRESSING}}}EndpointReference/{{{ADDRESSING}}}Address"
        if resolve is not None and resolve.findtext(wanted, "").strip() == self._target.endpoint:
            said = self._target.said(link)
            body = f"<d:ResolveMatches><d:ResolveMatch>{said}</d:ResolveMatch></d:ResolveMatches>"
            return self._message("ResolveMatches", body, relates_to=relates_to)
        return None

    def _message(self, action: str, body: str, *, relates_to: str = "") -> bytes:
        return envelope(
            action,
            body,
            message_id=self._new_id().urn,
            relates_to=relates_to,
            more=f'<d:AppSequence InstanceId="{self._instance}" MessageNumber="{next(self._numbers)}"/>',
        )


def envelope(action: str, body: str, *, message_id: str, relates_to: str = "", more: str = "") -> bytes:
    """Write a message; with ``relates_to`` it is an answer to whoever asked, else it is for everybody."""
    to = ANONYMOUS if relates_to else EVERYBODY
    relates = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:d="{DISCOVERY}" xmlns:dn="{NETWORK}"'
        f' xmlns:tds="{DEVICE}"><s:Header><a:MessageID>{message_id}</a:MessageID>{relates}<a:To>{to}</a:To>'
        f"<a:Action>{DISCOVERY}/{action}</a:Action>{more}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


class _Answering(asyncio.DatagramProtocol):
    """Answers whoever asks, after a random while, as the specification wants it."""

    def __init__(self, face: OnvifFace, link: Link) -> None:
        self._face, self._link = face, link
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer one datagram."""
        answer = self._face.answer(data, self._link)
        if answer is not None:
            delay_s = random.uniform(0, _APP_MAX_DELAY_S)
            asyncio.get_running_loop().call_later(delay_s, self._say, answer, addr)

    def _say(self, answer: bytes, addr: tuple[Any, ...]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


def _sockets(link: Link) -> list[tuple[socket.socket, tuple[Any, ...]]]:
    """Open the sockets that hear the groups on one interface, each with the address of its group."""
    found: list[tuple[socket.socket, tuple[Any, ...]]] = []
    for address in link.v4[:1]:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", PORT))
        own = socket.inet_aton(address)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP_V4) + own)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        found.append((one, (GROUP_V4, PORT)))
    if link.v6_link_local:
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(("::", PORT))
        joined = socket.inet_pton(socket.AF_INET6, GROUP_V6) + struct.pack("@I", link.index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        found.append((one, (GROUP_V6, PORT, 0, link.index)))
    return found
