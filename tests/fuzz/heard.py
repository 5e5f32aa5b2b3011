"""What strangers near send: mDNS packets, WS-Discovery messages, Bluetooth adverts and a camera's proof of itself."""

import logging
import re
from collections.abc import Iterator
from ipaddress import ip_interface
from types import SimpleNamespace
from typing import Final, cast

from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from zeroconf import Zeroconf
from zeroconf._cache import DNSCache
from zeroconf._dns import DNSNsec, DNSPointer, DNSText
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _FLAGS_AA, _FLAGS_QR_RESPONSE

from agent.clock import Reading
from agent.discovery import leak, onvif
from agent.discovery.ble import proof, service
from agent.discovery.ble.advert import Advert, is_camera, sighting
from agent.discovery.ble.session import Session
from agent.discovery.clean import camera_id, clean
from agent.discovery.interface import Interface, Links
from agent.discovery.mdns import SERVICE_TYPES, _Ear, _info, _key
from agent.discovery.mdns_datagram import RDATA_MAX_BYTES, RECORDS_MAX, admissible
from agent.discovery.onvif_message import MESSAGE_MAX_BYTES, endpoint, read
from agent.discovery.presence import Presence
from agent.discovery.sighting import TEXT_MAX
from agent.errors import CorruptError, RefusedError
from device_sim.announce.link import Link
from device_sim.announce.mdns import Service
from device_sim.ble.wire import _Up
from tests.ble.test_vectors import sign
from tests.discovery.test_heard_fuzz import ANSWERED
from tests.fuzz.target import BETWEEN, Target, parts, text
from tests.fuzz.vectors import BLE

PACKET_MAX: Final = 9000
"""What zeroconf reads of a datagram."""

HERE: Final = Link("lan0", 2, ("10.77.0.2",), ("fe80::2", "fd77::2"))
LINKS: Final = Links(
    (
        Interface(
            name="lan0",
            index=2,
            multicast=True,
            loopback=False,
            far_end_elsewhere=False,
            addresses=tuple(map(ip_interface, ("10.77.0.1/24", "fe80::1/64", "fd77::1/64"))),
        ),
    )
)
NOW: Final = Reading(wall_ms=1_800_000_000_000, boot_ms=0, boot_id="a", synchronised=True)
SIGNS: Final = (service.SERVICE, service.GOPRO, service.IMPROV, service.IMPROV_DATA)

logging.getLogger("zeroconf").setLevel(logging.CRITICAL)


def packet(raw: bytes) -> object:
    """Take in an mDNS answer, and make sightings of every service that it names."""
    answers = DNSIncoming(raw).answers()
    cache = DNSCache()
    cache.async_add_records(answers)
    library = cast("Zeroconf", SimpleNamespace(cache=cache))  # of which a service's records are read
    ear = _Ear(Presence(lambda _heard: None, lambda: NOW), lambda: NOW)
    ear._links = LINKS
    told = 0
    for pointer in answers:
        named = pointer.name if pointer.name in SERVICE_TYPES else ""
        info = _info(named, pointer.alias) if named and isinstance(pointer, DNSPointer) else None
        if info is None:
            continue
        assert len(_key(named, info.name)) < 2 * len(info.name) + TEXT_MAX
        found = ear._sighting(info) if info.load_from_cache(library) else None
        told += found is not None
        assert found is None or found.unverified_name.isprintable()
    return told


def datagram(raw: bytes) -> object:
    """Look at an mDNS datagram; of what is let through the library makes no more than a bounded number of things."""
    let = admissible(raw)
    if let:
        answers = DNSIncoming(raw).answers()
        assert len(answers) <= RECORDS_MAX
        assert all(max(one.rdtypes, default=0) < 256 for one in answers if isinstance(one, DNSNsec))
        assert all(len(one.text) <= RDATA_MAX_BYTES for one in answers if isinstance(one, DNSText))
    return let


def message(raw: bytes) -> object:
    """Read a WS-Discovery message, and what is told of each match."""
    found = read(raw)
    for match in found.matches:
        assert clean(match.name).isprintable()
        onvif._key(match.endpoint)
        leak.of_onvif(endpoint=match.endpoint, scopes=match.scopes)
        where = endpoint(match, written=lambda address: (LINKS.written(address, zone=2) or (None,))[0])
        assert not (where and match.may_be_a_camera) or 0 < where[1] < 1 << 16
    return found


def advert(raw: bytes) -> object:
    """Make a sighting of an advert: its name, a service, and the service's data."""
    name, uuid, data = parts(raw, least=3)[:3]
    known = SIGNS[uuid[0] % len(SIGNS)] if len(uuid) == 1 else text(uuid)
    told = Advert(
        address="50:00:00:00:00:01",
        address_type="public" if len(name) % 2 else "random",
        name=text(name),
        uuids=[known],
        service_data={known: data} if data else {},
    )
    found = sighting(told, adapter="hci0", now_ms=0)
    assert (found is not None) == is_camera(told.uuids, told.service_data)
    return found


def cleaned(raw: bytes) -> object:
    """Make a stranger's text fit to be shown."""
    told = clean(text(raw))
    assert told.isprintable()
    assert len(told) <= TEXT_MAX
    return camera_id(text(raw))


def offer(raw: bytes) -> object:
    """Take a camera's offer."""
    return OPENING.claim(raw).message


def proved(raw: bytes) -> object:
    """Take a camera's proof."""
    return CLAIM.session(raw)


def proved_within(raw: bytes) -> object:
    """Take the proof of somebody who knows the advert key: only what is inside is not the camera's."""
    return CLAIM.session(
        b"\x14" + AESCCM(CLAIM._key, tag_length=proof.TAG_BYTES).encrypt(bytes(13), raw, CLAIM._second)
    )


def state(raw: bytes) -> object:
    """Take a value of a camera's state, as it came and as the camera seals it."""
    session, up = Session(state_key=bytes(16), switch_key=bytes(range(16))), _Up(bytes(16), bytes(range(16)))
    for plain in parts(raw, least=1):
        session.state(up.tell(plain))
    return Session(state_key=bytes(16), switch_key=bytes(16)).state(raw) if len(raw) > len(BETWEEN) else None


def _opening() -> proof.Opening:
    said = bytes.fromhex(BLE["proof"]["message_1"])
    made = iter([bytes.fromhex(BLE["proof"]["agent_x25519_secret"]), said[1:17]])
    return proof.open_proof(
        proof.AgentKey(BLE["agent"]["jwk"], sign),
        camera_kid=BLE["camera"]["kid"],
        advert_key=bytes.fromhex(BLE["advert_key"]),
        random=lambda _count: next(made),
    )


OPENING: Final = _opening()
CLAIM: Final = OPENING.claim(bytes.fromhex(BLE["proof"]["message_2"]))


def packets() -> Iterator[bytes]:
    """Yield announcements of services of every type, as zeroconf writes them."""
    for number, service_type in enumerate(SERVICE_TYPES):
        told = {"id": "abcdefghijklmnop", "v": "1", "ci": "17", "sf": "1", "CM": "1", "serial": "K3X9", "mac": "x"}
        made = Service(
            port=8444, type=service_type.removesuffix(".local."), instance=f"a{number}", host="h", properties=told
        ).info([HERE])
        out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
        for record in (made.dns_pointer(), made.dns_service(), made.dns_text(), *made.dns_addresses()):
            out.add_answer_at_time(record, 0)
        yield from out.packets()


def matches() -> Iterator[bytes]:
    """Yield an answer to a probe, without what the simulator rolls for each: an example is the same at each run."""
    yield re.sub(rb"uuid:[0-9a-f-]{36}|(?<=InstanceId=\")[0-9]+", b"1", ANSWERED)


def adverts() -> Iterator[bytes]:
    """Yield adverts of each kind of service that is looked for."""
    for number in range(len(SIGNS)):
        yield BETWEEN.join((b"Anna's camera 1234", bytes((number,)), b"\x01" + bytes(7)))
    yield BETWEEN.join((b"phone", b"0000180f-0000-1000-8000-00805f9b34fb", b"\x64"))


def proofs() -> Iterator[bytes]:
    """Yield messages 4: the vectors' one and those that are refused."""
    yield bytes.fromhex(BLE["proof"]["message_4"])
    yield from (bytes.fromhex(one["value"]) for one in BLE["refused"]["message_4"])


def shown() -> Iterator[bytes]:
    """Yield what is inside of a proof: an algorithm, a key and a signature, of either kind."""
    sealed = bytes.fromhex(BLE["proof"]["message_4"])[1:]
    yield AESCCM(CLAIM._key, tag_length=proof.TAG_BYTES).decrypt(bytes(13), sealed, CLAIM._second)
    for alg, size in ((1, 64), (2, 32)):
        yield bytes((alg,)) + bytes(range(size)) + bytes(64)


_IMPOSTOR: Final = (CorruptError, RefusedError)

TARGETS: Final = (
    Target(name="mdns", read=packet, seeds=packets, largest=PACKET_MAX),
    Target(name="mdns-datagram", read=datagram, seeds=packets, largest=PACKET_MAX),
    Target(
        name="ws-discovery",
        read=message,
        declared=(CorruptError,),
        seeds=matches,
        largest=MESSAGE_MAX_BYTES + 1,
    ),
    Target(name="ble-advert", read=advert, seeds=adverts),
    Target(
        name="ble-offer",
        read=offer,
        declared=(CorruptError,),
        seeds=lambda: (
            bytes.fromhex(BLE["proof"]["message_2"]),
            bytes.fromhex(BLE["refused"]["message_2"][0]["value"]),
        ),
    ),
    Target(name="ble-proof", read=proved, declared=_IMPOSTOR, seeds=proofs),
    Target(name="ble-proof-within", read=proved_within, declared=_IMPOSTOR, seeds=shown),
    Target(
        name="ble-state",
        read=state,
        declared=(CorruptError,),
        seeds=lambda: (
            b"\x01\x01\x00",
            bytes.fromhex(BLE["states"][0]["value"]),
            b"\x3f\x03\xff" + BETWEEN + b"\x00\x01\x00",
        ),
    ),
    Target(name="shown-text", read=cleaned, seeds=lambda: ("Zoë's camera \u202e\x1b[2J".encode(), b"abcdefghijklmnop")),
)
