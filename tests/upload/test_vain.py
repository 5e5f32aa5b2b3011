"""What a store makes vain: it knows no upload, loses what it confirmed, or refuses for good, each time anew.

One that answered each ``begin`` with ``unknown_upload`` got seventy of them a second, and one that confirmed and lost
everything at each connection filled the index with uploads and the log with entries, as fast as it liked.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.broker import Broker
from agent.clock import monotonic_s
from agent.envelope import Key
from agent.upload import Upload
from agent.upload.flow import GIVEN_UP_MAX
from agent.upload.turn import FIRST_WAIT_S
from device_sim.broker import Broker as BrokerProcess
from device_sim.cloud.keys import Device
from device_sim.cloud.service import Cloud
from device_sim.cloud.wire import Begin, Item
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import Hub, uploading
from tests.upload.line import TENANT, short_pause, until
from tests.upload.proxy import Proxy, proxy_to

HURRY = 500.0


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


def line(url: str, tls: Path) -> Broker:
    return Broker(url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause)


class Vain:
    """A cloud's store that answers ``begin`` as it was told; keeps when each upload was new, and when lost."""

    def __init__(self, cloud: Cloud) -> None:
        self.store = cloud.store
        self.begins = 0
        self.begun: dict[str, float] = {}
        self.lost: dict[str, float] = {}
        self.truly: Callable[[Device, Begin], None] = cloud.store._begin

    def gaps_s(self) -> list[float]:
        """Return how long after each loss the next upload was begun."""
        return [self.begun[after] - self.lost[before] for before, after in itertools.pairwise(self.begun)]

    def answer(self, how: Callable[[Device, Begin], None]) -> None:
        def begin(device: Device, said: Begin) -> None:
            self.begins += 1
            self.begun.setdefault(said.upload, monotonic_s())
            how(device, said)

        self.store._begin = begin  # type: ignore[method-assign,assignment] # the store lies

    def fail(self, device: Device, said: Begin, *, reason: str) -> None:
        self.store._fail(device, said.upload, said.manifest, reason=reason)

    def lie(self) -> None:
        """Confirm at once what never came, and lose it all at the next question."""

        def stored(device: Device, said: Begin) -> None:
            claims: dict[str, Any] = {
                "upload": said.upload, "manifest": said.manifest, "object": said.object, "region": "eu",
                "payload": said.payload.claims(), "header": said.header.claims(), "epoch": "e" * 26,
            }  # fmt: skip
            self.store._answer(device, "stored", claims)

        def resync(device: Device, items: Iterable[Item], *, jti: str) -> None:
            for item in items:
                self.lost.setdefault(item.upload, monotonic_s())
                self.store._fail(device, item.upload, item.manifest, reason="unknown_upload", re=jti)

        self.answer(stored)
        self.store._resync = resync  # type: ignore[method-assign] # the store lies


def waits(flow: Upload, object_id: str) -> bool:
    return object_id in flow._turn._until_s and not flow._tasks


def awake(flow: Upload, true: Callable[[], bool]) -> Callable[[], bool]:
    """Have the flow look at its queue each time that ``true`` is asked, as the hurried clock would."""

    def asked() -> bool:
        flow.wake()
        return true()

    return asked


def test_store_that_knows_no_upload_is_asked_again_after_a_growing_pause(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            vain = Vain(cloud)
            vain.answer(lambda device, said: vain.fail(device, said, reason="unknown_upload"))
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: waits(flow, item.id))
                assert flow._turn._until_s[item.id] >= monotonic_s() + FIRST_WAIT_S / 2
                assert hub.state(item) == "sealed"
                assert vain.begins == 2
                vain.answer(vain.truly)
                flow.changed()
                await until(lambda: hub.uploaded(item))
        assert len(vain.begun) == 1, "it stays the same upload"

    asyncio.run(act())


@pytest.mark.parametrize(("times", "at_once"), [(1, True), (2, False)])
def test_upload_that_a_store_lost_under_way_goes_on_at_once_and_not_again_and_again(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, *, times: int, at_once: bool
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            ended = itertools.count(1)
            end = cloud.store._end

            def forget(device: Device, *, upload: str, manifest: str) -> None:
                if next(ended) > times:
                    end(device, upload=upload, manifest=manifest)
                    return
                cloud.store._shut(device.id, upload)
                cloud.store._shelf.forget(device.id, upload)
                cloud.store._fail(device, upload, manifest, reason="unknown_upload")

            cloud.store._end = forget  # type: ignore[method-assign] # the store loses what it has half
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(item) or waits(flow, item.id))
                assert hub.uploaded(item) == at_once

    asyncio.run(act())


def test_store_that_loses_the_same_again_and_again_gets_it_later_each_time_and_then_no_more(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    keys = Keys.of(hub)

    async def lose(flow: Upload, vain: Vain, proxy: Proxy, *, uploads: int) -> None:
        await until(awake(flow, lambda: len(vain.begun) == uploads and hub.uploaded(item)))
        proxy.cut()  # the next connection compares
        await until(lambda: len(vain.lost) == uploads and hub.state(item) == "sealed")

    async def outlive(proxy: Proxy, cloud: Cloud, store: Key, other: Key) -> None:
        vain = Vain(cloud)
        vain.lie()
        async with uploading(hub, line(proxy.url, tls), store) as flow:
            await lose(flow, vain, proxy, uploads=1)
            await until(lambda: len(vain.begun) == 2)
            assert vain.gaps_s()[0] < FIRST_WAIT_S / 2, "once is no more than a restore"
            await until(lambda: hub.uploaded(item))
        hub.hurry = HURRY
        async with uploading(hub, line(proxy.url, tls), store) as flow:
            await until(lambda: len(vain.lost) == 2 and hub.state(item) == "sealed")  # at its first connection
            for uploads in range(3, GIVEN_UP_MAX + 1):
                await lose(flow, vain, proxy, uploads=uploads)
            await until(awake(flow, lambda: any("not sent there again" in what for _code, what in hub.alerts)))
            assert {code for code, _ in hub.alerts} == {"store_rolled_back"}
            assert len(vain.begun) == GIVEN_UP_MAX
            rows = hub.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM upload WHERE object = ?", (item.id,)))
            assert rows == [(GIVEN_UP_MAX,)]
        waited = [gap_s * HURRY for gap_s in vain.gaps_s()[1:]]
        assert all(gap_s >= FIRST_WAIT_S * 2**doubled for doubled, gap_s in enumerate(waited)), waited
        async with uploading(hub, line(proxy.url, tls), store, other):  # another store has lost nothing
            await until(lambda: hub.uploaded(item))

    async def act() -> None:
        async with proxy_to(mosquitto.port) as proxy:
            with (
                cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=keys) as (cloud, store),
                cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "other", keys=keys) as (_, other),
            ):
                await outlive(proxy, cloud, store, other)

    item = asyncio.run(hub.add(size_bytes=1000))
    asyncio.run(act())


@pytest.mark.parametrize("reason", ["erased", "manifest_changed"])
def test_store_that_refuses_each_upload_of_an_object_for_good_gets_it_no_more(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, reason: str
) -> None:
    hub.hurry = 2 * HURRY

    async def act() -> None:
        await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            vain = Vain(cloud)
            vain.answer(lambda device, said: vain.fail(device, said, reason=reason))
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(awake(flow, lambda: bool(hub.alerts)))
        assert {code for code, _ in hub.alerts} == {"store_rolled_back"}
        assert len(vain.begun) == GIVEN_UP_MAX

    asyncio.run(act())
