import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.broker import Broker
from device_sim.broker import Broker as BrokerProcess
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import Hub, uploading
from tests.upload.line import TENANT, no_pause, until


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


def line(process: BrokerProcess, tls: Path) -> Broker:
    return Broker(process.url, tenant=TENANT, identity=tls / "cam-1", wait=no_pause)


def test_queued_objects_are_stored_and_only_then_noted(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        items = [await hub.add(size_bytes=size) for size in (1, 100, 400_000, 2_500_000)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto, tls), store):
                await until(lambda: all(hub.state(item) == "uploaded" for item in items))
            stored = {row.object: row.payload.sha256 for row in cloud.store.stored()}
        assert stored == {item.id: item.payload_sha256.hex() for item in items}
        assert not hub.alerts

    asyncio.run(act())
