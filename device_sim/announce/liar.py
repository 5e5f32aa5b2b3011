"""False adverts, each for one trap that a listener may fall into; for tests, on a network of their own.

    python -m device_sim.announce.liar LIE [options]

Those about multicast DNS are sent once and the program ends. Until told to end, ``onvif-answers`` answers every Probe
with every false answer, ``copy`` announces each camera link that it hears as its own, and two tell no lie and make a
listener work for the truth: ``sparse`` answers each question of multicast DNS with that record alone, and
``onvif-lossy`` hears only the Probes after the first ``--count``.
"""

import argparse
import ipaddress
import json
import os
import random
import signal
import socket
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf._dns import DNSAddress, DNSPointer, DNSRecord, DNSService, DNSText
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import (
    _CLASS_IN,
    _CLASS_UNIQUE,
    _FLAGS_AA,
    _FLAGS_QR_RESPONSE,
    _TYPE_A,
    _TYPE_AAAA,
    _TYPE_NSEC,
    _TYPE_PTR,
    _TYPE_SRV,
    _TYPE_TXT,
)

from device_sim.announce import wsdiscovery as ws
from device_sim.announce.link import links

_MDNS_GROUP: Final = ("224.0.0.251", 5353)
_FLUSH: Final = _CLASS_IN | _CLASS_UNIQUE
_TTL_S: Final = 4500
_PER_PACKET: Final = 5
_AGAIN: Final = 100
_BURST: Final = 20
_BREATH_S: Final = 0.005
_XML_BOMB: Final = (
    '<?xml version="1.0"?><!DOCTYPE s:Envelope [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9)).replace("&a0;", "&a;")
    + "]>"
)

Options = argparse.Namespace
Lie = Callable[[Options], Iterator[DNSOutgoing | bytes]]


def _response() -> DNSOutgoing:
    return DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)


def _service(
    out: DNSOutgoing, name: str, told: Options, *, host: str, address: str, ttl: int = _TTL_S, flush: bool = False
) -> None:
    """Add all records of a service."""
    unique = _FLUSH if flush else _CLASS_IN
    out.add_answer_at_time(DNSPointer(f"{told.type}.local.", _TYPE_PTR, _CLASS_IN, ttl, name), 0)
    out.add_answer_at_time(DNSService(name, _TYPE_SRV, unique, ttl, 0, 0, told.port, host), 0)
    out.add_answer_at_time(DNSText(name, _TYPE_TXT, unique, ttl, b"\x03v=1"), 0)
    out.add_answer_at_time(DNSAddress(host, _TYPE_A, unique, ttl, socket.inet_aton(address)), 0)


def _name(told: Options) -> str:
    return f"{told.instance}.{told.type}.local."


def goodbye(told: Options) -> Iterator[DNSOutgoing]:
    """Say goodbye for a camera that lives (RFC 6762 §10.1: TTL 0)."""
    out = _response()
    out.add_answer_at_time(DNSPointer(f"{told.type}.local.", _TYPE_PTR, _CLASS_IN, 0, _name(told)), 0)
    yield out


def takeover(told: Options) -> Iterator[DNSOutgoing]:
    """Put another host and port behind a name that is taken, and have everybody forget the true ones."""
    out = _response()
    _service(out, _name(told), told, host=f"{told.host}.local.", address=told.address, flush=True)
    yield out


def service(told: Options) -> Iterator[DNSOutgoing]:
    """Announce a service at an address that is somebody else's, or on no link at all."""
    out = _response()
    _service(out, _name(told), told, host=f"{told.host}.local.", address=told.address)
    yield out


def control(told: Options) -> Iterator[DNSOutgoing]:
    """Use names that no service may have: control characters, escape sequences, turned writing, the bare type."""
    for number, instance in enumerate(
        ("bell\x07", "red\x1b[31m", "new\nline", "\N{RIGHT-TO-LEFT OVERRIDE}turned", "a" * 63, "z" + "\u0301" * 25)
    ):
        out = _response()
        _service(out, f"{instance}.{told.type}.local.", told, host=f"odd{number}.local.", address=told.address)
        yield out
    for alias in (f"{told.type}.local.", f"x.{told.type}.example.", f"x._{'y' * 40}._tcp.local.", "."):
        out = _response()
        _service(out, alias, told, host="odd.local.", address=told.address)
        yield out


def unresolvable(told: Options) -> Iterator[DNSOutgoing]:
    """Name services that lead nowhere."""
    for first in range(0, told.count, _PER_PACKET):
        out = _response()
        for number in range(first, min(first + _PER_PACKET, told.count)):
            name = f"nowhere {number}.{told.type}.local."
            out.add_answer_at_time(DNSPointer(f"{told.type}.local.", _TYPE_PTR, _CLASS_IN, _TTL_S, name), 0)
        yield out


def flood(told: Options) -> Iterator[DNSOutgoing]:
    """Announce many services with all their records."""
    for first in range(0, told.count, _PER_PACKET):
        out = _response()
        for number in range(first, min(first + _PER_PACKET, told.count)):
            name = f"bogus {number}.{told.type}.local."
            _service(out, name, told, host=f"bogus{number}.local.", address=told.address)
        yield out


def _record(name: bytes, kind: int, data: bytes) -> bytes:
    """Write a response of one record, which may be larger than the library would write."""
    header = struct.pack("!6H", 0, _FLAGS_QR_RESPONSE | _FLAGS_AA, 0, 1, 0, 0)
    return header + name + struct.pack("!HHIH", kind, _CLASS_IN, _TTL_S, len(data)) + data


def windows(told: Options) -> Iterator[bytes]:
    """Say of many names that there is a record of every type, in 258 blocks of bits."""
    blocks = b"".join(bytes((number % 256, 32)) + b"\xff" * 32 for number in range(258))
    for number in range(told.count):
        yield _record(b"\x08%08d\x05local\0" % number, _TYPE_NSEC, b"\xc0\x0c" + blocks)


def texts(told: Options) -> Iterator[bytes]:
    """Say 8,700 bytes of each of many names."""
    for number in range(told.count):
        yield _record(b"\x08%08d\x05local\0" % number, _TYPE_TXT, random.Random(number).randbytes(8700))


def crowd(told: Options) -> Iterator[DNSOutgoing]:
    """Put many services on one host, give it as many addresses, and then another one again and again."""
    host = f"{told.host}.local."
    address = ipaddress.IPv6Address("fd77::1:0:0:0")
    for first in range(0, told.count, _PER_PACKET):
        out = _response()
        for number in range(first, min(first + _PER_PACKET, told.count)):
            _service(out, f"crowd {number}.{told.type}.local.", told, host=host, address=told.address)
            out.add_answer_at_time(DNSAddress(host, _TYPE_AAAA, _CLASS_IN, _TTL_S, (address + number).packed), 0)
        yield out
    for number in range(told.count, told.count + _AGAIN):
        out = _response()
        out.add_answer_at_time(DNSAddress(host, _TYPE_AAAA, _CLASS_IN, _TTL_S, (address + number).packed), 0)
        yield out


def noise(told: Options) -> Iterator[bytes]:
    """Send what is no DNS at all, and what begins as if it were."""
    seeded = random.Random(told.seed)
    out = _response()
    _service(out, _name(told), told, host=f"{told.host}.local.", address=told.address)
    whole = out.packets()[0]
    for _ in range(told.count):
        broken = bytearray(whole)
        for _ in range(seeded.randrange(1, 4)):
            broken[seeded.randrange(len(broken))] = seeded.randrange(256)
        yield bytes(broken)  # most of these can still be read
        yield bytes(broken[: seeded.randrange(1, len(broken))])
        yield seeded.randbytes(seeded.randrange(1, 600))


_MDNS_LIES: Final[dict[str, Lie]] = {
    lie.__name__: lie
    for lie in (goodbye, takeover, service, control, unresolvable, flood, windows, texts, crowd, noise)
}


def _sparse(told: Options) -> None:
    """Be a camera that adds nothing to what it is asked (RFC 6763 §12 leaves additional records to whoever answers)."""
    name, host = _name(told), f"{told.host}.local."
    pointer = DNSPointer(f"{told.type}.local.", _TYPE_PTR, _CLASS_IN, _TTL_S, name)
    records = (
        pointer,
        DNSService(name, _TYPE_SRV, _CLASS_IN, _TTL_S, 0, 0, told.port, host),
        DNSText(name, _TYPE_TXT, _CLASS_IN, _TTL_S, b"\x03v=1"),
        DNSAddress(host, _TYPE_A, _CLASS_IN, _TTL_S, socket.inet_aton(told.address)),
    )

    def say(*answers: DNSRecord) -> None:
        out = _response()
        for answer in answers:
            out.add_answer_at_time(answer, 0)
        for packet in out.packets() if answers else ():
            bound.sendto(packet, _MDNS_GROUP)

    with _listening(*_MDNS_GROUP) as bound:
        say(pointer)
        print(json.dumps({"ready": True}), flush=True)
        while True:
            asked = DNSIncoming(bound.recv(65_536))
            if asked.is_query():
                say(*(record for record in records if any(one.answered_by(record) for one in asked.questions)))


def _copy(told: Options) -> None:
    """Announce what every camera link announces, its rotating id too, at an address of one's own."""

    def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        found = None if state_change is ServiceStateChange.Removed else zeroconf.get_service_info(service_type, name)
        if found is None or found.port == told.port or name in copied:
            return
        copied.add(name)
        mine = ServiceInfo(
            service_type,
            f"copy-{len(copied)}.{service_type}",
            port=told.port,
            properties=found.text,
            server=f"{told.host}.local.",
            parsed_addresses=[told.address],
        )
        zeroconf.register_service(mine)
        print(json.dumps({"copied": name}), flush=True)

    copied: set[str] = set()
    library = Zeroconf(interfaces=[told.address])
    ServiceBrowser(library, f"{told.type}.local.", handlers=[heard])
    print(json.dumps({"ready": True}), flush=True)
    signal.pause()


# -- WS-Discovery -----------------------------------------------------------------------------------------------------


def _target(endpoint: str, xaddrs: str, *, element: str = "ProbeMatch") -> str:
    reference = f"<a:EndpointReference><a:Address>{endpoint}</a:Address></a:EndpointReference>" if endpoint else ""
    return (
        f"<d:{element}>{reference}<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/name/liar"
        f"</d:Scopes><d:XAddrs>{xaddrs}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:{element}>"
    )


def _message(action: str, body: str, *, relates_to: str = "") -> bytes:
    return ws.envelope(action, body, message_id=uuid.uuid4().urn, relates_to=relates_to)


def false_answers(relates_to: str, told: Options) -> Iterator[bytes]:
    """Yield a false answer for each rule that an answer has to keep."""

    def answer(matches: str, *, to: str = relates_to) -> bytes:
        return _message("ProbeMatches", f"<d:ProbeMatches>{matches}</d:ProbeMatches>", relates_to=to)

    good = f"http://{told.address}:{told.port}/onvif/device_service"
    yield answer(_target("urn:uuid:unasked", good), to=uuid.uuid4().urn)
    yield answer(_target("", good))
    for number, xaddr in enumerate(
        (
            "http://169.254.169.254/latest/meta-data",
            "http://8.8.8.8/onvif/device_service",
            "file:///etc/passwd",
            f"gopher://{told.address}/",
            "http://localhost:631/",
            "http://127.0.0.1:631/",
            "http://[::1]:631/",
            "http://camera.example/onvif/device_service",
            f"http://user:secret@{told.address}/onvif/device_service",
            f"http://{told.address}@8.8.8.8/",
            "http://[::ffff:8.8.8.8]/",
            f"http://{told.address}:0/",
            f"http://{told.address}:99999/",
            "http://[",
        )
    ):
        yield answer(_target(f"urn:uuid:away-{number}", xaddr))
    whole = answer(_target("urn:uuid:bomb", good)).decode()
    yield (_XML_BOMB + whole.partition("?>")[2].replace("urn:uuid:bomb", "urn:uuid:bomb&a8;")).encode()
    external = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    yield (external + whole.partition("?>")[2].replace("name/liar", "name/&f;")).encode()
    yield (_XML_BOMB + whole.partition("?>")[2]).encode("utf-16")
    yield whole.replace("<s:Body>", "<s:Body>" + "<x>" * 2_000).encode()
    yield whole.replace("urn:uuid:bomb", "urn:uuid:long").replace("</d:Scopes>", " x" * 9_000 + "</d:Scopes>").encode()
    yield answer("".join(_target(f"urn:uuid:many-{number}", good) for number in range(40)))
    yield whole.encode()[: len(whole) // 2]
    yield os.urandom(500)
    yield answer(_target("urn:uuid:\x1b[31mred".replace("\x1b", "&#27;"), good))
    yield answer(_target("urn:uuid:turned\N{RIGHT-TO-LEFT OVERRIDE}", good))


def _onvif_answers(told: Options) -> None:
    with _listening(ws.GROUP_V4, ws.PORT) as bound:
        print(json.dumps({"ready": True}), flush=True)
        while True:
            raw, sender = bound.recvfrom(65_536)
            asked = raw.decode("utf-8", "replace")
            if "/Probe<" not in asked:
                continue
            message_id = asked.partition("MessageID>")[2].partition("<")[0]
            for answer in false_answers(message_id, told):
                bound.sendto(answer, sender)
            print(json.dumps({"answered": message_id}), flush=True)


def _onvif_lossy(told: Options) -> None:
    good = f"http://{told.address}:{told.port}/onvif/device_service"
    heard = 0
    with _listening(ws.GROUP_V4, ws.PORT) as bound:
        print(json.dumps({"ready": True}), flush=True)
        while True:
            raw, sender = bound.recvfrom(65_536)
            asked = raw.decode("utf-8", "replace")
            heard += "/Probe<" in asked
            if heard > told.count:
                message_id = asked.partition("MessageID>")[2].partition("<")[0]
                answer = f"<d:ProbeMatches>{_target(told.endpoint, good)}</d:ProbeMatches>"
                bound.sendto(_message("ProbeMatches", answer, relates_to=message_id), sender)


_LASTING: Final[dict[str, Callable[[Options], None]]] = {
    "sparse": _sparse,
    "copy": _copy,
    "onvif-answers": _onvif_answers,
    "onvif-lossy": _onvif_lossy,
}


def _onvif_bye(told: Options) -> Iterator[bytes]:
    good = f"http://{told.address}:{told.port}/onvif/device_service"
    yield _message("Bye", _target(told.endpoint, good, element="Bye"))


def _onvif_hello(told: Options) -> Iterator[bytes]:
    good = f"http://{told.address}:{told.port}/onvif/device_service"
    yield _message("Hello", _target(told.endpoint, good, element="Hello"))


def _onvif_flood(told: Options) -> Iterator[bytes]:
    good = f"http://{told.address}:{told.port}/onvif/device_service"
    for number in range(told.count):
        yield _message("Hello", _target(f"urn:uuid:bogus-{number}", good, element="Hello"))


_ONVIF_LIES: Final[dict[str, Callable[[Options], Iterator[bytes]]]] = {
    "onvif-bye": _onvif_bye,
    "onvif-hello": _onvif_hello,
    "onvif-flood": _onvif_flood,
}


def _own() -> bytes:
    """Return the address of the interface that the lies leave by."""
    return socket.inet_aton(links()[0].v4[0])


def _listening(group: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("", port))
    bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + _own())
    bound.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _own())
    return bound


def main() -> int:
    """Tell one lie."""
    parser = argparse.ArgumentParser(
        prog="python -m device_sim.announce.liar", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("lie", choices=(*_MDNS_LIES, *_ONVIF_LIES, *_LASTING))
    parser.add_argument("--address", required=True, help="what is announced")
    parser.add_argument("--from", dest="sender", default="", help="leave from this address of this machine")
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--type", default="_camera-link._tcp")
    parser.add_argument("--instance", default="liar")
    parser.add_argument("--host", default="liar")
    parser.add_argument("--endpoint", default=uuid.uuid4().urn)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if told.lie in _LASTING:
        _LASTING[told.lie](told)
    group = _MDNS_GROUP if told.lie in _MDNS_LIES else (ws.GROUP_V4, ws.PORT)
    lies = _MDNS_LIES[told.lie](told) if told.lie in _MDNS_LIES else _ONVIF_LIES[told.lie](told)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
        voice.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        voice.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        voice.bind((told.sender, group[1]))
        voice.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _own())
        voice.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        for number, lie in enumerate(lies):
            if number % _BURST == _BURST - 1:
                time.sleep(_BREATH_S)  # noqa: TID251 - a listener's buffer holds about a hundred
            for packet in lie.packets() if isinstance(lie, DNSOutgoing) else [lie]:
                voice.sendto(packet, group)
    print(json.dumps({"told": told.lie}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
