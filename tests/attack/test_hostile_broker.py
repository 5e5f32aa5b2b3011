"""A broker is trusted with nothing: what it sends that it should not fills no memory."""

import asyncio
import contextlib
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path

from agent.broker import Broker
from tests.flow.house import House
from tests.upload.conftest import tls
from tests.upload.line import TENANT, running, short_pause, until

__all__ = ["tls"]  # a fixture
TOPIC = f"pv1/{TENANT}/cam-1/cmd".encode()
MEMORY_BYTES = 8 << 20

Say = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def remaining(length: int) -> bytes:
    """Write a length as MQTT does (MQTT 5, 1.5.5)."""
    low, high = length & 127, length >> 7
    return bytes((low | 128,)) + remaining(high) if high else bytes((low,))


def publish(quality: int, payload_bytes: int, number: int = 1, topic: bytes = TOPIC) -> tuple[bytes, int]:
    """Return the head of a PUBLISH of MQTT 5 and how many bytes follow it."""
    about = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number) + b"\0"
    return bytes((0x30 | quality << 1,)) + remaining(len(about) + payload_bytes) + about, payload_bytes


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind >> 4, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def broker_that(say: Say, identity: Path) -> AsyncIterator[str]:
    """Accept whoever comes, grant what is asked for, then let ``say`` talk."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await _packet(reader)
            writer.write(b"\x20\x03\0\0\0")
            kind, body = await _packet(reader)
            while kind != 8:
                kind, body = await _packet(reader)
            writer.write(b"\x90\x06" + body[:2] + b"\0\1\1\1")
            await say(reader, writer)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def line(url: str, tls: Path) -> Broker:
    return Broker(url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause, alert=lambda _code, _what: None)


async def _send(writer: asyncio.StreamWriter, head: bytes, payload_bytes: int) -> None:
    block = bytes(64 * 1024)
    writer.write(head)
    for start in range(0, payload_bytes, len(block)):
        writer.write(block[: payload_bytes - start])
        await writer.drain()


def run_in_little_memory(act: Coroutine[None, None, None]) -> None:
    tracemalloc.start()
    try:
        asyncio.run(act)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def test_packet_of_any_length_is_dropped_without_being_held_and_the_line_goes_on(tls: Path) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _send(writer, *publish(1, 64 << 20))
        await _send(writer, *publish(1, 4))
        await reader.read()

    async def act() -> None:
        async with broker_that(say, tls / "broker") as url, running(line(url, tls)) as broker:
            async with asyncio.timeout(60):
                assert await broker.receive("cmd") == bytes(4)
            assert broker.counters.dropped_large == 1
            assert broker.counters.connections == 1

    run_in_little_memory(act())


def test_messages_on_a_topic_that_is_no_text_are_counted_and_the_line_goes_on(tls: Path) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in (1, 2, 3):
            await _send(writer, *publish(1, 4, number, topic=b"\xff" * len(TOPIC)))
        await _send(writer, *publish(1, 4, 4))
        await reader.read()

    async def act() -> None:
        async with broker_that(say, tls / "broker") as url, running(line(url, tls)) as broker:
            async with asyncio.timeout(60):
                assert await broker.receive("cmd") == bytes(4)
            assert broker.counters.dropped_topic == 3
            assert broker.counters.connections == 1

    asyncio.run(act())


def test_messages_of_quality_2_are_not_kept_for_a_broker_that_never_lets_go_of_them(tls: Path) -> None:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(1, 200):
            await _send(writer, *publish(2, 128_000, number))

    async def act() -> None:
        async with broker_that(say, tls / "broker") as url, running(line(url, tls)) as broker:
            await until(lambda: broker.counters.connections >= 2, what="a broker that may not send this is left")

    run_in_little_memory(act())


def test_broker_that_never_acknowledges_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    async def say(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def act(house: House) -> int:
        async with broker_that(say, house.folder / "tls" / "broker") as url:
            house.config.write_text(house.config.read_text().replace(house.url, url))
            await asyncio.to_thread(house.start_agent)
            return await asyncio.to_thread(house.stop, "agent")

    with House(tmp_path) as house:
        assert asyncio.run(act(house)) == 0
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        assert '"kind":"stopped"' in log
