import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.broker import Broker
from agent.clock import monotonic_s
from agent.envelope import KIND, Erased, Failed, Key, Rectified, Stored
from agent.errors import AgentError
from agent.uplink import Mail, Manifest, Rate, Sending, pause_until
from agent.uplink.transfer import CHUNK_BYTES, STALLED_AFTER_S
from device_sim.broker import Broker as BrokerProcess
from tests.commands.office import party
from tests.upload.cloud import Keys, cloud_at, payload_file
from tests.upload.line import TENANT, no_pause, running


def sending(broker: Broker, keys: Keys, store: Key, path: Path, manifest: Manifest) -> tuple[Sending, Mail]:
    mail = Mail(keys.device, store)
    one = Sending(
        manifest,
        mail=mail,
        path=path,
        line=broker,
        rate=Rate(None, now_s=monotonic_s()),
        clock_s=monotonic_s,
        wait=pause_until,
        now_s=lambda: 1_700_000_000,
        regions=manifest.regions,
    )
    return one, mail


async def deliver(broker: Broker, mail: Mail, one: Sending, refused: list[AgentError]) -> None:
    while True:
        try:
            value = mail.read(await broker.receive("upack"))
        except AgentError as error:
            refused.append(error)
            continue
        if not isinstance(value, Erased | Rectified):
            one.deliver(value)


async def complete(broker: Broker, one: Sending, mail: Mail, *, within_s: float = 30) -> Stored:
    async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
        hearing = group.create_task(deliver(broker, mail, one, []), name="hear")
        stored = await one.run()
        hearing.cancel()
    return stored


@pytest.mark.parametrize("cached", [True, False])
def test_payload_sent_through_mosquitto_is_stored_with_the_same_hashes(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, *, cached: bool
) -> None:
    keys = Keys.new("cam-1")
    path, manifest = payload_file(tmp_path, size_bytes=3_000_001)
    if not cached:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    async def act() -> Stored:
        broker = Broker(mosquitto.url, tenant=TENANT, identity=tls / "cam-1", wait=no_pause)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=keys) as (cloud, store):
            async with running(broker):
                one, mail = sending(broker, keys, store, path, manifest)
                stored = await complete(broker, one, mail)
            assert [row.payload.sha256 for row in cloud.store.stored()] == [manifest.payload_sha256]
            assert one.resent_bytes == 0
        return stored

    stored = asyncio.run(act())
    assert stored.payload.sha256 == manifest.payload_sha256
    assert stored.header.sha256 == manifest.header_sha256


class Counting:
    """Hands everything on to the broker and keeps the kinds of what was sent."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.kinds: list[int] = []

    async def submit(self, channel: str, payload: bytes | bytearray, *, bulk: bool = False) -> asyncio.Future[None]:
        self.kinds.append(payload[0])
        return await self._broker.submit(channel, payload, bulk=bulk)

    async def next_session(self, after: int) -> int:
        return await self._broker.next_session(after)


def test_limit_that_makes_each_chunk_wait_longer_than_a_stall_asks_the_store_once(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path
) -> None:
    """The limiter was taken for a stall, and ``begin`` went out before each chunk."""
    keys = Keys.new("cam-1")
    path, manifest = payload_file(tmp_path, size_bytes=6 * CHUNK_BYTES)
    clock_s = 0.0

    async def wait(seconds: float, event: asyncio.Event) -> None:
        nonlocal clock_s
        if seconds > STALLED_AFTER_S:  # only the limiter waits so long; for the store's answers it waits as ever
            clock_s += seconds
        else:
            await pause_until(seconds, event)

    async def act(store: Key) -> Counting:
        broker = Broker(mosquitto.url, tenant=TENANT, identity=tls / "cam-1", wait=no_pause)
        line = Counting(broker)
        mail = Mail(keys.device, store)
        one = Sending(
            manifest,
            mail=mail,
            path=path,
            line=line,
            rate=Rate(CHUNK_BYTES // 20, now_s=clock_s),
            clock_s=lambda: clock_s,
            wait=wait,
            now_s=lambda: 1_700_000_000,
            regions=(),
        )
        async with running(broker):
            await complete(broker, one, mail)
        return line

    with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=keys) as (_cloud, store):
        line = asyncio.run(act(store))
    assert clock_s > 6 * STALLED_AFTER_S
    assert line.kinds.count(KIND["begin"]) == 1
    assert line.kinds.count(KIND["chunk"]) == 6


def test_answer_of_another_store_is_not_this_uploads(tls: Path, tmp_path: Path) -> None:
    keys = Keys.new("cam-1")
    path, manifest = payload_file(tmp_path, size_bytes=1000)
    broker = Broker("mqtts://localhost:1", tenant=TENANT, identity=tls / "cam-1")
    one, mail = sending(broker, keys, party("store", "bucket").key(), path, manifest)
    about: dict[str, Any] = {"aud": "cam-1", "iat": 1, "upload": manifest.upload, "manifest": one.manifest_hash}
    gone = Failed(iss=party("store", "another").kid, reason="erased", **about)
    assert not one.deliver(gone)
    assert one.deliver(msgspec.structs.replace(gone, iss=mail.store_kid))
