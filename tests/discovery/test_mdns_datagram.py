"""What the library that hears multicast DNS is given of what strangers send, and what it may hold of one host."""

import asyncio
import struct
from typing import Final

import pytest
from zeroconf import _engine
from zeroconf._cache import DNSCache
from zeroconf._dns import DNSAddress, DNSPointer, DNSRecord, DNSService, DNSText
from zeroconf._listener import AsyncListener
from zeroconf.asyncio import AsyncZeroconf

from agent.discovery.mdns import CACHE_MAX_BYTES, CACHE_MIN_S, FRESH_S, RECORDS_MAX, _full
from agent.discovery.mdns_datagram import ADDRESSES_MAX, RDATA_MAX_BYTES, admissible
from agent.discovery.mdns_datagram import RECORDS_MAX as DATAGRAM_RECORDS_MAX
from agent.discovery.mdns_listener import HOST_ADDRESSES_MAX, HOST_SERVICES_MAX, started, thin
from tests.fuzz.heard import packets

pytestmark = pytest.mark.promise("FIND-LAN")

A, PTR, TXT, AAAA, SRV, NSEC = 1, 12, 16, 28, 33, 47
IN: Final = 1
NAME: Final = b"\x06camera\x05local\x00"
POINTER: Final = b"\xc0\x0c"


def record(kind: int, data: bytes, *, name: bytes = POINTER) -> bytes:
    return name + struct.pack("!HHIH", kind, IN, 120, len(data)) + data


def response(*records: bytes, flags: int = 0x8400, said: int | None = None) -> bytes:
    """The first of these is of ``NAME``."""
    first = record(A, bytes(4), name=NAME)
    return struct.pack("!6H", 0, flags, 0, said or 1 + len(records), 0, 0) + first + b"".join(records)


def nsec(*blocks: tuple[int, int]) -> bytes:
    return record(NSEC, POINTER + b"".join(bytes((number, size)) + b"\xff" * size for number, size in blocks))


def test_what_cameras_announce_is_let_through() -> None:
    assert all(map(admissible, packets()))
    assert admissible(response(nsec((0, 4)), nsec((0, 32)), nsec(), record(TXT, bytes(RDATA_MAX_BYTES))))
    assert admissible(response(*(record(PTR, POINTER) for _ in range(DATAGRAM_RECORDS_MAX - 1))))
    assert admissible(response(*(record(AAAA, bytes(16)) for _ in range(ADDRESSES_MAX - 1))))
    assert admissible(response() + b"more"), "what stands behind the last record is nothing"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        response(flags=0),
        response()[:-1],
        response(said=2),
        response(nsec(*((number % 256, 32) for number in range(258)))),
        response(nsec((1, 1))),
        response(nsec((0, 4), (0, 4))),
        response(nsec((0, 33))),
        response(record(NSEC, POINTER + b"\x00")),
        response(record(NSEC, POINTER + b"\x00\x04\xff")),
        response(record(TXT, bytes(RDATA_MAX_BYTES + 1))),
        response(*(record(PTR, POINTER) for _ in range(DATAGRAM_RECORDS_MAX))),
        response(*(record(AAAA, bytes(16)) for _ in range(ADDRESSES_MAX))),
        response(record(A, bytes(4), name=b"\x40")),
        struct.pack("!6H", 0, 0x8400, 0, 65_535, 65_535, 65_535) + bytes(8_000),
    ],
)
def test_what_no_camera_announces_is_not(raw: bytes) -> None:
    assert not admissible(raw)


def test_host_keeps_the_first_and_the_newest_of_its_addresses_and_services() -> None:
    cache = DNSCache()
    addresses: list[DNSRecord] = [
        DNSAddress("Crowd.local.", AAAA, IN, 4500, number.to_bytes(16, "big")) for number in range(200)
    ]
    services: list[DNSRecord] = [
        DNSService(f"{number}._rtsp._tcp.local.", SRV, IN, 4500, 0, 0, 554, "Crowd.local.") for number in range(300)
    ]
    others: list[DNSRecord] = [
        *(DNSPointer("_rtsp._tcp.local.", PTR, IN, 4500, f"{number}._rtsp._tcp.local.") for number in range(300)),
        DNSText("Crowd.local.", TXT, IN, 4500, b"\x00"),
        DNSAddress("other.local.", A, IN, 4500, bytes(4)),
    ]
    for one in (*others, *addresses, *services):
        cache.async_add_records([one])
        thin(cache, [one])
    kept = [one for one in cache.cache["crowd.local."] if isinstance(one, DNSAddress)]
    assert len(kept) == HOST_ADDRESSES_MAX
    assert {addresses[0], addresses[-1]} <= set(kept)
    assert len(cache.service_cache["crowd.local."]) == HOST_SERVICES_MAX
    assert {services[0], services[-1]} <= set(cache.service_cache["crowd.local."])
    assert all(one in cache.cache[one.key] for one in others)


def test_cache_is_made_anew_when_it_holds_many_records_or_many_bytes() -> None:
    many: list[dict[DNSRecord, None]] = [
        {DNSPointer("a.local.", PTR, IN, 1, f"{n}.local."): None for n in range(RECORDS_MAX)}
    ]
    long: list[dict[DNSRecord, None]] = [
        {DNSText(f"{n}.local.", TXT, IN, 1, bytes(1000)): None for n in range(CACHE_MAX_BYTES // 1000)}
    ]
    assert _full(many, age_s=FRESH_S)
    assert not _full(many, age_s=FRESH_S - 1)
    assert _full(long, age_s=CACHE_MIN_S), "also before that"
    assert not _full(long, age_s=0.0)
    assert not _full([], age_s=FRESH_S)


def test_library_that_hears_with_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one may make its listeners elsewhere: what is told to the engine would be in vain, and nobody notice."""

    async def listen() -> None:
        monkeypatch.setattr(_engine, "AsyncListener", AsyncListener)
        library = AsyncZeroconf(interfaces=["127.0.0.1"])
        try:
            with pytest.raises(RuntimeError, match=r"requirements\.lock"):
                await started(library.zeroconf)
        finally:
            await library.async_close()

    asyncio.run(listen())
