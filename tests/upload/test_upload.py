"""The flow of uploads over a real vault, broker and store."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.age import generate_identity
from agent.age.filekey import unwrap_header
from agent.broker import Broker
from agent.envelope import Key
from agent.errors import AgentError, SpaceError
from agent.index import Tx
from agent.model import Object, Selection
from agent.rights import freezing
from agent.uplink import CHUNK_BYTES, CHUNKS_AHEAD
from agent.upload.copies import NOTED_AT_ONCE
from device_sim.broker import Broker as BrokerProcess
from device_sim.cloud.faults import Forgery
from device_sim.cloud.service import Cloud
from tests.disk import as_root, fill, small_disk
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import NOW, OWNER, Hub, policy, uploading
from tests.upload.line import TENANT, short_pause, until
from tests.upload.proxy import Proxy, proxy_to

MIB = 1 << 20
AHEAD = CHUNK_BYTES * CHUNKS_AHEAD


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


def line(url: str, tls: Path) -> Broker:
    return Broker(url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause)


def stored(cloud: Cloud) -> dict[str, str]:
    return {row.object: row.payload.sha256 for row in cloud.store.stored()}


def offsets(cloud: Cloud, event: str) -> list[int]:
    return [int(str(one["offset"])) for one in cloud.journal.events(event)]


def test_queued_objects_are_stored_and_only_then_noted(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        items = [await hub.add(size_bytes=size) for size in (1, 100, 400_000, 2_500_000)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(*items))
            assert stored(cloud) == {item.id: item.payload_sha256.hex() for item in items}
        assert not hub.alerts

    asyncio.run(act())


def test_amqtt_without_mqtt5_carries_an_upload_and_the_log_says_so(
    amqtt: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def act() -> None:
        item = await hub.add(size_bytes=2 * MIB)
        with cloud_at(amqtt.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, line(amqtt.url, tls), store):
                await until(lambda: hub.uploaded(item) and f"stored {item.id} upload=" in caplog.text)

    asyncio.run(act())


def test_cut_line_is_resumed_from_what_was_durable(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> Proxy:
        size = 64 * MIB
        item = await hub.add(size_bytes=size)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with proxy_to(mosquitto.port) as proxy, uploading(hub, line(proxy.url, tls), store):
                proxy.cut_after(24 * MIB)
                await until(lambda: proxy.cuts == 1)
                proxy.cut_after(12 * MIB)
                await until(lambda: hub.uploaded(item))
            resumed = [offset for offset in offsets(cloud, "go") if offset > 0]
        assert len(resumed) >= 2
        # Nothing below a durable offset travels again; above it at most what was under way, at each of two cuts.
        assert proxy.passed_bytes < size + 2 * AHEAD + MIB
        return proxy

    assert asyncio.run(act()).cuts == 2


def test_killed_broker_that_comes_back_is_used_on_without_starting_over(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=32 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: bool(offsets(cloud, "ack")))
                mosquitto.kill()
                before = max(offsets(cloud, "ack"))
                mosquitto.start()
                await until(lambda: hub.uploaded(item))
            assert before < 32 * MIB
            assert offsets(cloud, "go")[-1] >= before

    asyncio.run(act())


def upload_of(hub: Hub, item: Object) -> str:
    found = hub.index.read_now(lambda tx: hub.vault.get(tx, item.id))
    assert found is not None
    return found.upload


class Ended:
    """An agent that ended in the middle of an upload, and the next one over the same folder."""

    def __init__(self, hub: Hub, cloud: Cloud, item: Object) -> None:
        hub.close()
        self.acknowledged, self.gone = max(offsets(cloud, "ack")), len(offsets(cloud, "go"))
        self.again = Hub(hub.folder)
        self.item = item
        self.upload = upload_of(self.again, item)

    async def finished(self) -> None:
        await until(lambda: self.again.uploaded(self.item))


@contextlib.asynccontextmanager
async def ended_in_between(
    broker: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> AsyncIterator[tuple[Ended, Cloud, Key]]:
    item = await hub.add(size_bytes=24 * MIB)
    hub.policy = policy("[upload]\nrate = '8MiB'")
    with cloud_at(broker.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
        async with uploading(hub, line(broker.url, tls), store):
            await until(lambda: bool(offsets(cloud, "ack")))
        ended = Ended(hub, cloud, item)
        try:
            yield ended, cloud, store
        finally:
            ended.again.close()


def test_agent_that_ends_and_starts_again_goes_on_where_the_store_is(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        async with ended_in_between(mosquitto, tls, tmp_path, hub) as (ended, cloud, store):
            async with uploading(ended.again, line(mosquitto.url, tls), store):
                await ended.finished()
            resumed = offsets(cloud, "go")[ended.gone :]
            assert resumed
            assert min(resumed) >= ended.acknowledged
            # Of one upload, however often it asked: on a busy machine ``go`` comes after more than two seconds.
            assert {begun["upload"] for begun in cloud.journal.events("begin")} == {ended.upload}

    asyncio.run(act())


def test_what_the_store_said_to_an_agent_that_ended_is_no_lie_to_the_next(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    # The session outlives the agent, so the broker hands it over. It was taken for the acknowledgement of bytes that
    # were never sent: the recording waited a minute, and its owner was told to check the disk.
    async def act() -> None:
        async with ended_in_between(mosquitto, tls, tmp_path, hub) as (ended, cloud, store):
            row = ended.again.index.read_now(lambda tx: ended.again.vault.upload_of(tx, ended.upload))
            assert row is not None
            said = {"upload": ended.upload, "manifest": row.manifest, "offset": ended.acknowledged}
            cloud.faults.lose("go")
            async with uploading(ended.again, line(mosquitto.url, tls), store):
                await until(lambda: bool(cloud.journal.events("fault")))  # it has begun, and nothing is sent yet
                cloud.store.say("cam-1", "upload-ack", said)
                await ended.finished()
            assert not ended.again.alerts

    asyncio.run(act())


def test_lost_repeated_and_disordered_packets_still_make_the_same_bytes(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.hurry = 20

    async def act() -> None:
        items = [await hub.add(size_bytes=3 * MIB + 7), await hub.add(size_bytes=10)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            cloud.faults.lose("begin")
            cloud.faults.lose("go")
            cloud.faults.lose("chunk", nth=3, count=2)
            cloud.faults.duplicate("chunk", nth=7, count=2)
            cloud.faults.reorder("chunk", nth=9)
            cloud.faults.lose("end")
            cloud.faults.lose("stored")
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(*items))
            assert stored(cloud) == {item.id: item.payload_sha256.hex() for item in items}

    asyncio.run(act())


@pytest.mark.parametrize("how", ["unknown_key", "stolen_kid", "other_device", "other_manifest"])
def test_forged_storage_receipt_is_not_believed(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, how: Forgery
) -> None:
    hub.hurry = 20

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            cloud.faults.forge("stored", how, count=1000)
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(flow.refused))
                assert hub.state(item) == "sealed"
                cloud.faults.clear()
                await until(lambda: hub.uploaded(item))

    asyncio.run(act())


def test_storage_receipt_for_other_bytes_is_told_of_the_store_and_of_no_object_that_is_whole_here(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            cloud.faults.lie("wrong_hash")
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: bool(hub.alerts))
            assert hub.state(item) == "sealed"
            ((code, what),) = hub.alerts
            assert (code, hub.suspects) == ("key_misused", [])
            assert store.kid in what

    asyncio.run(act())


def test_store_that_gets_other_bytes_again_and_again_is_told_of_and_no_object_that_is_whole_here(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        broker = line(mosquitto.url, tls)
        submit = broker.submit

        async def spoiled(channel: str, payload: bytes | bytearray, *, bulk: bool = False) -> asyncio.Future[None]:
            return await submit(channel, payload[:-1] + bytes([payload[-1] ^ bulk]), bulk=bulk)

        monkeypatch.setattr(broker, "submit", spoiled)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, broker, store):
                await until(lambda: bool(hub.alerts))
            assert hub.state(item) == "sealed"
            assert ({code for code, _ in hub.alerts}, hub.suspects) == ({"forged_message"}, [])

    asyncio.run(act())


@pytest.mark.parametrize("anew", [False, True])
def test_mismatches_count_in_a_row_and_not_across_a_change_of_store_or_policy(
    mosquitto: BrokerProcess, tls: Path, hub: Hub, *, anew: bool
) -> None:
    async def act() -> None:
        async with uploading(hub, line(mosquitto.url, tls)) as flow:
            for _ in range(2):
                flow._on_mismatch("a" * 26)
            if anew:
                flow.changed()
            flow._turn.failed("a" * 26, 0)  # a broken line is no mismatch
            assert hub.alerts == []
            flow._on_mismatch("a" * 26)

    asyncio.run(act())
    assert [code for code, _ in hub.alerts] == ([] if anew else ["forged_message"])


def test_payload_that_changed_on_disk_is_an_alert_and_never_a_receipt(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=200_000)
        path = hub.vault.payload_path(item.id)
        damaged = bytearray(path.read_bytes())
        damaged[150_000] ^= 1
        path.write_bytes(damaged)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: bool(hub.alerts))
        assert hub.state(item) == "sealed"
        assert hub.alerts[0][0] == "corrupt_object"
        assert "changed since it was sealed" in hub.alerts[0][1]
        assert hub.suspects == [item.id], "it is looked at again, and not only told"

    asyncio.run(act())


def test_region_that_policy_does_not_allow_gets_no_chunk(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nregions = ['eu']")

    async def act() -> None:
        item = await hub.add(size_bytes=2 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "us", keys=Keys.of(hub), region="us") as (cloud, store):
            async with proxy_to(mosquitto.port) as proxy:
                async with uploading(hub, line(proxy.url, tls), store):
                    await until(lambda: bool(hub.alerts))
                assert proxy.passed_bytes < MIB
            assert not stored(cloud)
        assert hub.alerts[0][0] == "upload_region_refused"
        assert hub.state(item) == "sealed"

    asyncio.run(act())


def test_alert_of_a_refused_region_ends_with_what_refused_it(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nregions = ['eu']")
    refused, over = "upload_region_refused", ("upload_region_refused", "")

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "us", keys=Keys.of(hub), region="us") as (_, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(hub.alerts))
                assert [code for code, _what in hub.alerts] == [refused]
                flow.changed()  # nothing did: it is raised anew
                await until(lambda: len(hub.alerts) == 3)
                assert hub.alerts[1] == over
                assert hub.alerts[2][1]
                hub.policy = policy("[upload]\nregions = ['us']")
                flow.changed()
                await until(lambda: hub.uploaded(item))
        assert [code for code, what in hub.alerts if what] == [refused, refused]
        assert hub.alerts[-1] == over

    asyncio.run(act())


def test_store_that_claims_another_region_only_afterwards_is_not_believed(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nregions = ['eu']")

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "c", keys=Keys.of(hub), region="eu") as (cloud, store):
            flow_line = line(mosquitto.url, tls)
            cloud.faults.lose("go", count=1000)
            async with uploading(hub, flow_line, store) as flow:
                await until(lambda: bool(cloud.journal.events("begin")))
                begun = cloud.journal.events("begin")[0]
                assert isinstance(begun["upload"], str)
                await until(lambda: bool(flow.progress()))
                row = hub.index.read_now(lambda tx: hub.vault.upload_of(tx, str(begun["upload"])))
                assert row is not None
                whole = {"bytes": item.size_bytes, "sha256": item.payload_sha256.hex()}
                header = hub.index.read_now(lambda tx: hub.vault.header(tx, item.id))
                assert header is not None
                cloud.store.say(
                    "cam-1",
                    "stored",
                    {
                        "iss": store.kid, "aud": "cam-1", "iat": 1, "upload": row.upload, "manifest": row.manifest,
                        "object": item.id, "payload": whole, "region": "us", "epoch": "e",
                        "header": {"bytes": len(header), "sha256": item.header_sha256.hex()},
                    },
                )  # fmt: skip
                await until(lambda: bool(hub.alerts))
        assert hub.alerts[0][0] == "upload_region_refused"
        assert hub.state(item) == "sealed"

    asyncio.run(act())


def test_copy_that_a_store_keeps_elsewhere_than_it_promised_is_erased_there(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nregions = ['eu']")

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "c", keys=Keys.of(hub), region="eu") as (cloud, store):
            cloud.faults.lie("other_region")
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(cloud.journal.events("erased", result="erased")))
                assert not stored(cloud)
                assert hub.state(item) == "sealed"
                flow.changed()
                await until(lambda: hub.uploaded(item))  # under an upload id of its own
            assert list(stored(cloud)) == [item.id]
        assert ("upload_region_refused", "") in hub.alerts
        assert not hub.index.read_now(lambda tx: hub.erasure.pending_remote(tx, store.kid, 10))

    asyncio.run(act())


def test_store_that_names_a_new_incarnation_each_time_is_not_asked_for_each_answer(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        items = [await hub.add(size_bytes=1000) for _ in range(3)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(*items))
            before = len(cloud.journal.events("resync"))
            cloud.faults.lie("new_epoch", count=1_000_000)
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                # The connection's page, then everything.
                await until(lambda: len(cloud.journal.events("resync")) >= before + 2)
                last = await hub.add(size_bytes=1000)
                flow.wake()
                await until(lambda: hub.uploaded(last))  # its answers name new ones too
            first = len(cloud.journal.events("resync"))
            assert first <= before + 4  # each of the two may be repeated once while its answers come
            hub.hurry = 1000.0  # ten minutes pass
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: len(cloud.journal.events("resync")) >= first + 4)
        assert [code for code, _ in hub.alerts[:1]] == ["store_rolled_back"]

    asyncio.run(act())


def test_policy_that_changes_the_regions_starts_a_new_upload(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            cloud.faults.silent()
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: bool(cloud.journal.events("begin")))
            cloud.faults.clear()
            hub.policy = policy("[upload]\nregions = ['eu']")
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(item))
            first, second = dict.fromkeys(str(one["upload"]) for one in cloud.journal.events("begin"))
            assert [str(one["upload"]) for one in cloud.journal.events("aborted")] == [first]
            assert upload_of(hub, item) == second

    asyncio.run(act())


@pytest.mark.promise("RESIDENCY")
def test_upload_under_way_ends_where_its_region_is_allowed_no_more_and_the_store_erases_what_it_got(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    """Every further byte went to the region that had just been forbidden, and its storage receipt was believed."""
    hub.policy = policy("[upload]\nrate = '1MiB'\nregions = ['eu', 'us']")

    async def act() -> None:
        item = await hub.add(size_bytes=8 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "us", keys=Keys.of(hub), region="us") as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                hub.policy = policy("[upload]\nrate = '40MiB'\nregions = ['eu']")
                flow.changed()
                await until(lambda: bool(hub.alerts) and bool(cloud.journal.events("erased")))
            assert not stored(cloud)
            assert not cloud.journal.events("stored"), "it was stopped, not taken back"
        assert hub.alerts[0][0] == "upload_region_refused"
        assert hub.state(item) == "sealed"

    asyncio.run(act())


def test_upload_under_way_goes_on_where_its_region_is_still_among_those_that_are_allowed(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nrate = '1MiB'\nregions = ['eu']")

    async def act() -> None:
        item = await hub.add(size_bytes=4 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "eu", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                hub.policy = policy("[upload]\nrate = '40MiB'\nregions = ['eu', 'us']")
                flow.changed()
                await until(lambda: hub.uploaded(item))
            assert len({str(one["upload"]) for one in cloud.journal.events("begin")}) == 1

    asyncio.run(act())


def test_upload_that_the_policy_stops_leaves_nothing_half_sent_at_the_store(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nrate = '1MiB'")

    async def act() -> None:
        item = await hub.add(size_bytes=8 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                rules = tuple(msgspec.structs.replace(rule, upload="never") for rule in hub.policy.rules)
                hub.policy = msgspec.structs.replace(hub.policy, rules=rules)
                flow.changed()
                await until(lambda: bool(cloud.journal.events("erased")))
            assert not stored(cloud)
        assert hub.state(item) == "sealed"

    asyncio.run(act())


def test_owners_new_key_opens_what_goes_and_the_one_that_was_lost_opens_nothing(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    new = generate_identity(post_quantum=False)
    owner = new.recipient().to_text()
    hub.policy = policy("[upload]\nrate = '1MiB'")

    async def act() -> None:
        first = await hub.add(size_bytes=8 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                hub.policy = policy("[upload]\nrate = '40MiB'", owner=owner)
                flow.changed()
                later = await hub.add(size_bytes=MIB)
                flow.wake()
                await until(lambda: hub.uploaded(first, later))
                await until(lambda: bool(cloud.journal.events("erased", result="erased")))
        for item in (first, later):
            header = (tmp_path / "cloud" / "store" / "cam-1" / item.id / "header").read_bytes()
            unwrap_header(header, [new])
            with pytest.raises(AgentError):
                unwrap_header(header, [OWNER])
            now = hub.index.read_now(partial(hub.vault.require, object_id=item.id))
            assert (now.recipients, now.purposes) == ((owner,), ("security",))

    asyncio.run(act())


def test_deleted_while_uploading_is_stopped_at_once_and_erased_at_the_store(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nrate = '2MiB'")

    async def act() -> None:
        item = await hub.add(size_bytes=40 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                await hub.erasure.erase(
                    (item.id,), actor="local", rule="owner_erase", command="a" * 26, moment=hub.moment
                )
                flow.stop((item.id,))
                await until(lambda: bool(cloud.journal.events("erased", result="erased")))
                await until(lambda: hub.finished.count("a" * 26) == 2)
                assert not flow.progress()
            assert not stored(cloud)
        assert hub.state(item) == "gone"

    asyncio.run(act())


@pytest.mark.promise("RESTRICT")
def test_restricted_while_uploading_is_stopped_at_once_asked_back_and_kept_here(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nrate = '2MiB'")

    def restrict(tx: Tx) -> None:
        freezing.put(
            tx,
            Selection(all=True),
            kind="restriction",
            freeze_id="a" * 26,
            author="owner",
            reason="claims",
            moment=hub.moment,
        )

    async def act() -> None:
        item = await hub.add(size_bytes=40 * MIB)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(offsets(cloud, "ack")))
                await hub.index.write(restrict)
                flow.changed()
                await until(lambda: bool(cloud.journal.events("erased", result="erased")))
                assert not flow.progress()
            assert not stored(cloud)
        assert hub.state(item) == "sealed"

    asyncio.run(act())


def test_word_of_many_erasures_is_noted_in_short_transactions(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message about a delete of a hundred thousand held every other write up for four seconds."""
    together: dict[Tx, int] = {}
    note = hub.erasure.note_erased

    def noted(tx: Tx, *about: str, **more: Any) -> tuple[str, ...]:  # noqa: ANN401 - as it came
        together[tx] = together.get(tx, 0) + 1
        return note(tx, *about, **more)

    monkeypatch.setattr(hub.erasure, "note_erased", noted)

    async def act() -> None:
        items = [await hub.add(size_bytes=100) for _number in range(2 * NOTED_AT_ONCE + 1)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(*items))
            ids = [item.id for item in items]
            await hub.erasure.erase(ids, actor="local", rule="owner_erase", command="a" * 26, moment=hub.moment)
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.finished.count("a" * 26) == 2)
        # A store that was asked twice while the line came up answers twice.
        assert list(together.values())[:3] == [NOTED_AT_ONCE, NOTED_AT_ONCE, 1]
        assert max(together.values()) == NOTED_AT_ONCE

    asyncio.run(act())


def test_erasure_is_repeated_until_the_store_confirms_it(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.hurry = 20

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            broker = line(mosquitto.url, tls)
            async with uploading(hub, broker, store) as flow:
                await until(lambda: hub.uploaded(item))
                cloud.faults.lose("erase")
                await hub.erasure.erase(
                    (item.id,), actor="local", rule="owner_erase", command="b" * 26, moment=hub.moment
                )
                flow.stop((item.id,))
                await until(lambda: bool(cloud.journal.events("fault", kind="erase")))
                assert hub.finished == ["b" * 26]
                mosquitto.restart()
                await until(lambda: len(hub.finished) == 2)
            assert not stored(cloud)

    asyncio.run(act())


def test_rolled_back_store_gets_again_what_it_lost(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.hurry = 20

    async def act() -> None:
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                kept = await hub.add(size_bytes=1000)
                flow.wake()
                await until(lambda: hub.uploaded(kept))
                snapshot = cloud.snapshot()
                lost = [await hub.add(size_bytes=2000) for _ in range(3)]
                flow.wake()
                await until(lambda: hub.uploaded(*lost))
                before = {upload_of(hub, item) for item in lost}
                cloud.roll_back(snapshot)
                assert set(stored(cloud)) == {kept.id}
                mosquitto.restart()  # the next connection compares
                await until(lambda: set(stored(cloud)) == {kept.id, *(item.id for item in lost)})
                await until(lambda: hub.uploaded(kept, *lost))
                assert before.isdisjoint({upload_of(hub, item) for item in lost})
        assert {code for code, _ in hub.alerts} == {"store_rolled_back"}

    asyncio.run(act())


@as_root
def test_full_disk_lets_objects_go_up_so_that_they_may_go(tmp_path: Path, mosquitto: BrokerProcess, tls: Path) -> None:
    """With ``before-expiry`` only an upload makes room, and the upload asked for room first: neither ever came."""

    async def act(disk: Path) -> None:
        hub = Hub(disk / "hub")
        try:
            item, refused = await hub.add(size_bytes=400_000), await hub.add(size_bytes=1000)
            upload, _ = await hub.index.write(lambda tx: hub.vault.begin_upload(tx, refused.id, moment=NOW))
            fill(disk / "everything else")
            with pytest.raises(SpaceError):
                await hub.index.write(lambda tx: hub.vault.begin_upload(tx, item.id, moment=NOW))
            with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
                shelf = cloud.store._shelf
                cloud.store._call(
                    lambda: shelf.forget("cam-1", upload, refuse_later=refused.id)
                )  # ``failed`` ``erased``
                hub.hurry = 100
                async with uploading(hub, line(mosquitto.url, tls), store) as flow:

                    def both() -> bool:
                        flow.wake()
                        return hub.uploaded(item, refused)

                    await until(both)
        finally:
            hub.close()

    with small_disk(tmp_path / "disk", size="32m") as disk:
        asyncio.run(act(disk))


def test_outside_the_allowed_hours_nothing_is_sent(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    minute = NOW.agent_ms // 60_000 % 1440
    hub.policy = policy(f"[upload]\nhours = ['{hhmm(minute + 60)}-{hhmm(minute + 120)}']")

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.snapshot.judged > 0)
                assert not flow._tasks
                assert not cloud.journal.events("begin")
                hub.moment = msgspec.structs.replace(NOW, agent_ms=NOW.agent_ms + 90 * 60_000)
                flow.changed()
                await until(lambda: hub.uploaded(item))

    asyncio.run(act())


def hhmm(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def test_photo_of_higher_priority_does_not_wait_for_films(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.policy = policy("[upload]\nrate = '1MiB'", photo="priority = 90")

    async def act() -> None:
        films = [await hub.add(size_bytes=12 * MIB) for _ in range(3)]
        photo = await hub.add(size_bytes=1000, category="photo")
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(photo))
                assert not any(hub.uploaded(film) for film in films)
                late = await hub.add(size_bytes=1000, category="photo")
                flow.wake()
                await until(lambda: hub.uploaded(late))
                assert not all(hub.uploaded(film) for film in films)
            begun = {begin["upload"] for begin in cloud.journal.events("begin")}
            assert len(begun) == 4  # two films at a time

    asyncio.run(act())


def test_store_without_room_is_asked_again_later(mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub) -> None:
    hub.hurry = 50

    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            cloud.faults.no_room(count=1)
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: bool(cloud.journal.events("failed", reason="no_room")))
                assert hub.state(item) == "sealed"

                def uploaded_at_last() -> bool:
                    flow.wake()
                    return hub.uploaded(item)

                await until(uploaded_at_last)

    asyncio.run(act())


def test_erased_that_answers_no_request_of_ours_proves_nothing(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=1000)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(item))
                upload = upload_of(hub, item)
                row = hub.index.read_now(lambda tx: hub.vault.upload_of(tx, upload))
                assert row is not None
                cloud.faults.lose("erase", count=1000)
                await hub.erasure.erase(
                    (item.id,), actor="local", rule="owner_erase", command="c" * 26, moment=hub.moment
                )
                flow.stop((item.id,))
                await until(lambda: bool(cloud.journal.events("fault", kind="erase")))
                gone = {"upload": upload, "manifest": row.manifest, "header": "erased", "payload": "erased"}
                cloud.store.say("cam-1", "erased", {"re": "z" * 26, "items": [gone]})
                ack: dict[str, object] = {"upload": upload, "manifest": row.manifest, "offset": 1}
                cloud.store.say("cam-1", "upload-ack", ack)
                await until(lambda: flow.refused["late_uploadack"] == 1)  # it came after the other
            assert hub.finished == ["c" * 26]

    asyncio.run(act())


def test_store_that_nothing_can_be_sealed_to_gets_nothing_and_ends_nothing(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    """The flow ended the agent, at every start, until somebody edited the index by hand."""

    async def act() -> None:
        item = await hub.add(size_bytes=100)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            last = "q" if store.recipient[-1] != "q" else "p"
            wrong = msgspec.structs.replace(store, recipient=store.recipient[:-1] + last)
            async with uploading(hub, line(mosquitto.url, tls), wrong):
                await until(lambda: bool(hub.alerts))
            assert {code for code, _what in hub.alerts} == {"unusable_key"}
            async with uploading(hub, line(mosquitto.url, tls), store):  # the next key set mends it
                await until(lambda: hub.uploaded(item))
            assert list(stored(cloud)) == [item.id]

    asyncio.run(act())


def test_copy_is_erased_by_the_store_that_has_it_whoever_gets_the_uploads_now(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    """A new store was asked instead, had nothing, said so, and the receipt told the owner that nothing was left."""
    keys = Keys.of(hub)

    async def act() -> None:
        with (
            cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "old", keys=keys) as (old, old_key),
            cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "new", keys=keys) as (new, new_key),
        ):
            first, second = await hub.add(size_bytes=100), await hub.add(size_bytes=200)
            async with uploading(hub, line(mosquitto.url, tls), old_key):
                await until(lambda: hub.uploaded(first, second))
            third = await hub.add(size_bytes=300)
            async with uploading(hub, line(mosquitto.url, tls), new_key) as flow:
                await until(lambda: hub.uploaded(third))
                (outcome,) = await hub.erasure.erase(
                    [first.id], actor="owner", rule="owner_erase", command="cmd", moment=NOW
                )
                assert outcome.result == "waiting_for_cloud"
                (theirs,) = await hub.erasure.erase(
                    [third.id], actor="owner", rule="owner_erase", command="their", moment=NOW
                )
                assert theirs.result == "waiting_for_cloud"
                flow.stop([first.id, third.id])
                await until(lambda: hub.finished.count("their") == 2)
            assert hub.finished.count("cmd") == 1, "nobody who has it confirmed that it is gone"
            assert set(stored(old)) == {first.id, second.id}
            async with uploading(hub, line(mosquitto.url, tls), old_key, new_key) as flow:
                await until(lambda: hub.finished.count("cmd") == 2)
                fourth = await hub.add(size_bytes=400)
                flow.wake()
                await until(lambda: hub.uploaded(fourth))
            assert set(stored(old)) == {second.id}
            assert set(stored(new)) == {fourth.id}
            assert hub.uploaded(second)
        assert hub.alerts == []

    asyncio.run(act())


def test_upload_that_is_half_at_one_store_begins_anew_at_the_next(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    keys = Keys.of(hub)

    async def act() -> None:
        item = await hub.add(size_bytes=24 * MIB)
        with (
            cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "old", keys=keys) as (old, old_key),
            cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "new", keys=keys) as (new, new_key),
        ):
            async with proxy_to(mosquitto.port) as proxy, uploading(hub, line(proxy.url, tls), old_key):
                proxy.cut_after(10 * MIB)
                await until(lambda: proxy.cuts == 1)
            async with uploading(hub, line(mosquitto.url, tls), old_key, new_key):
                await until(lambda: hub.uploaded(item))
                await until(lambda: bool(old.journal.events("aborted")))
            assert set(stored(new)) == {item.id}
            assert stored(old) == {}

    asyncio.run(act())
