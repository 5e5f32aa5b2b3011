"""What a broker refuses, by its access rules or for its size, waits alone; everything else goes on, on the same line.

A receipt that the access rules forbade was sent again every 15 seconds and held up every message behind it; a chunk
that was refused looked like a lost line.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from agent.app.parking import FIRST_WAIT_S, LINES_LOST, LONGEST_WAIT_S, PARKED_MAX, Parking
from agent.app.post import Post
from agent.broker import Broker
from agent.broker.link import MQTT_3_1_1, MQTT_5, Acknowledged, Protocol
from agent.broker.refusal import QUOTA_EXCEEDED, refusal_error
from agent.clock import monotonic_s
from agent.index import Tx
from agent.outbox import Outbox
from agent.uplink import pause_until
from agent.uplink.sending import LINES_LOST as LOST_OVER_UPLOAD
from agent.upload import Upload
from device_sim.broker import Broker as BrokerProcess
from device_sim.broker import access_rules
from tests.commands.office import Office
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import Hub, uploading
from tests.upload.line import TENANT, Observer, observing, running, short_pause, until

BASE = f"pv1/{TENANT}/cam-1"
HURRY = 100.0  # a minute's wait takes as long as a look at the result


class Small(BrokerProcess):
    """mosquitto with lines of its own in the configuration."""

    lines = ""

    def _mosquitto(self, port: int) -> list[str]:
        command = super()._mosquitto(port)
        config = self.folder / "mosquitto.conf"
        names = {line.split()[0] for line in self.lines.splitlines()}
        kept = [line for line in config.read_text().splitlines() if line.split()[0] not in names]
        config.write_text("\n".join([*kept, self.lines]) + "\n")
        return command


def forbid(process: BrokerProcess, *channels: str) -> None:
    """Let the access rules forbid the device these channels."""
    denied = "".join(f"topic deny {BASE}/{channel}\n" for channel in channels)
    (process.folder / "acl").write_text(access_rules(("backend",)) + f"\nuser cam-1\n{denied}" * bool(denied))
    process.reload()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "office")
    yield made
    made.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


class Alerts(list[tuple[str, str]]):
    def __call__(self, code: str, what: str) -> None:
        self.append((code, what))


def line(process: BrokerProcess, tls: Path, *, alerts: Alerts | None = None, protocol: Protocol = MQTT_5) -> Broker:
    return Broker(
        process.url,
        tenant=TENANT,
        identity=tls / "cam-1",
        wait=short_pause,
        alert=Alerts() if alerts is None else alerts,
        protocol=protocol,
    )


def receipts(office: Office, *bodies: tuple[str, bytes]) -> None:
    """Queue receipts to readers, in order."""

    def put(tx: Tx) -> None:
        outbox = Outbox(device="cam-1", signer=office.keystore, random=secrets.token_bytes)
        for to, body in bodies:
            outbox.put_receipt(tx, to=to, about=secrets.token_hex(), jti=secrets.token_hex(), body=body)

    office.index.write_now(put)


def post_office(office: Office, *, hurry: float = 1.0) -> Post:
    return Post(
        device="cam-1",
        index=office.index,
        keystore=office.keystore,
        outbox=office.outbox,
        trust=office.trust,
        now=lambda: office.moment,
        waiting=lambda _tx: (0, 0),
        clock_s=lambda: monotonic_s() * hurry,
        wait=lambda seconds, event: pause_until(seconds / hurry, event),
    )


@asynccontextmanager
async def posting(office: Office, broker: Broker, *, hurry: float = 1.0) -> AsyncIterator[Post]:
    post = post_office(office, hurry=hurry)
    async with running(broker), asyncio.TaskGroup() as group:
        task = group.create_task(post.run(broker), name="post")
        try:
            yield post
        finally:
            task.cancel()


def looked_again(flow: Upload) -> bool:
    flow.wake()
    return True


def arrived(observer: Observer, channel: str) -> list[bytes]:
    return [payload for topic, payload, _ in observer.seen if topic == f"{BASE}/{channel}"]


def test_receipt_that_the_access_rules_forbid_waits_alone_and_goes_once_they_are_mended(
    mosquitto: BrokerProcess, tls: Path, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = f"rcpt/{office.backend.kid}", f"rcpt/{office.client.kid}"
    receipts(office, (office.backend.kid, b"first"), *((office.client.kid, b"%d" % n) for n in range(40)))
    forbid(mosquitto, bad)
    alerts = Alerts()

    async def act() -> None:
        broker = line(mosquitto, tls, alerts=alerts)
        with observing(mosquitto.url, tls / "backend") as observer, caplog.at_level(logging.WARNING):
            async with posting(office, broker, hurry=HURRY) as post:
                await until(lambda: len(set(arrived(observer, good))) == 40)
                await until(lambda: bool(arrived(observer, "state")))
                receipts(office, (office.client.kid, b"later"))
                post.news()
                await until(lambda: b"later" in arrived(observer, good))
                assert arrived(observer, bad) == []
                assert [code for code, _ in alerts] == ["acl_broken"]
                assert f"{BASE}/{bad}" in alerts[0][1]
                forbid(mosquitto)
                await until(lambda: arrived(observer, bad) == [b"first"])
                await until(lambda: alerts[-1] == ("acl_broken", ""))
                assert broker.session == 1

    asyncio.run(act())
    assert caplog.text.count("pattern write pv1/+/%u/rcpt/#") == 1


def test_forbidden_state_keeps_no_receipt_back(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    receipts(office, (office.client.kid, b"receipt"))
    forbid(mosquitto, "state")

    async def act() -> None:
        broker = line(mosquitto, tls)
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, broker, hurry=HURRY):
                await until(lambda: arrived(observer, f"rcpt/{office.client.kid}") == [b"receipt"])
                forbid(mosquitto)
                await until(lambda: bool(arrived(observer, "state")))
                assert broker.session == 1

    asyncio.run(act())


def test_message_that_is_too_large_for_the_broker_waits_alone(
    tmp_path: Path, tls: Path, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    receipts(office, (office.client.kid, bytes(60_000)), (office.client.kid, b"small"))
    alerts = Alerts()

    async def act(process: BrokerProcess) -> None:
        broker = line(process, tls, alerts=alerts)
        with observing(process.url, tls / "backend") as observer, caplog.at_level(logging.WARNING):
            async with posting(office, broker):
                await until(lambda: arrived(observer, f"rcpt/{office.client.kid}") == [b"small"])
                assert broker.session == 1

    process = Small(tmp_path / "small", tls, engine="mosquitto")
    process.lines = "message_size_limit 50000"
    with process:
        asyncio.run(act(process))
    assert "message_size_limit" in caplog.text
    assert not alerts  # the access rules are in order


def test_message_that_ends_the_line_of_a_silent_broker_is_left_out_the_third_time(
    tmp_path: Path, tls: Path, office: Office
) -> None:
    receipts(office, (office.client.kid, bytes(60_000)), (office.client.kid, b"small"))

    async def act(process: BrokerProcess) -> None:
        broker = line(process, tls, protocol=MQTT_3_1_1)
        with observing(process.url, tls / "backend") as observer:
            async with posting(office, broker) as post:
                await until(lambda: arrived(observer, f"rcpt/{office.client.kid}") == [b"small"])
                receipts(office, (office.client.kid, b"later"))
                post.news()
                await until(lambda: b"later" in arrived(observer, f"rcpt/{office.client.kid}"))
                assert broker.session == LINES_LOST + 1

    process = Small(tmp_path / "small", tls, engine="mosquitto")
    process.lines = "max_packet_size 50000"
    with process:
        asyncio.run(act(process))


def test_goodbye_that_is_forbidden_ends_all_the_same(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    forbid(mosquitto, "state")

    async def act() -> None:
        broker = line(mosquitto, tls)
        async with running(broker):
            await broker.first_session(within_s=60)
            await post_office(office).goodbye(broker)
            assert broker.counters.refused_publishes == 1

    asyncio.run(act())


def test_upload_that_the_access_rules_forbid_waits_alone(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.hurry = HURRY

    async def act() -> None:
        items = [await hub.add(size_bytes=size) for size in (1000, 300_000, 1000)]
        names = [
            hub.index.write_now(partial(hub.vault.begin_upload, object_id=item.id, moment=hub.moment))[0]
            for item in items
        ]
        forbid(mosquitto, f"up/{names[2]}")  # the newest, so the first
        broker = line(mosquitto, tls)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, broker, store) as flow:
                await until(lambda: hub.uploaded(*items[:2]))
                assert hub.state(items[2]) == "sealed"
                assert broker.counters.refused_publishes > 0
                forbid(mosquitto)
                await until(lambda: looked_again(flow) and hub.uploaded(items[2]))
                assert broker.session == 1

    asyncio.run(act())


def test_chunk_that_is_too_large_for_the_broker_stops_its_own_upload_only(tmp_path: Path, tls: Path, hub: Hub) -> None:
    async def act(process: BrokerProcess) -> None:
        small = await hub.add(size_bytes=1000)
        large = await hub.add(size_bytes=500_000)
        broker = line(process, tls)
        with cloud_at(process.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, broker, store) as flow:
                await until(lambda: hub.uploaded(small))
                await until(lambda: broker.counters.refused_publishes > 0 and not flow.progress())
                later = await hub.add(size_bytes=1000)
                flow.wake()
                await until(lambda: hub.uploaded(later))
                assert hub.state(large) == "sealed"
                assert broker.session == 1

    process = Small(tmp_path / "small", tls, engine="mosquitto")
    process.lines = "message_size_limit 50000"
    with process:
        asyncio.run(act(process))


def test_chunk_that_ends_the_line_of_a_silent_broker_steps_aside_for_other_uploads(
    tmp_path: Path, tls: Path, hub: Hub
) -> None:
    async def act(process: BrokerProcess) -> None:
        large = await hub.add(size_bytes=500_000)
        broker = line(process, tls, protocol=MQTT_3_1_1)
        with cloud_at(process.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (_, store):
            async with uploading(hub, broker, store) as flow:
                await until(lambda: broker.session == LOST_OVER_UPLOAD + 1)
                small = await hub.add(size_bytes=1000)
                flow.wake()
                await until(lambda: hub.uploaded(small))
                assert hub.state(large) == "sealed"
                assert broker.session == LOST_OVER_UPLOAD + 1

    process = Small(tmp_path / "small", tls, engine="mosquitto")
    process.lines = "max_packet_size 50000"
    with process:
        asyncio.run(act(process))


def test_erasure_that_the_access_rules_forbid_ends_no_upload_and_is_confirmed_once_they_are_mended(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    hub.hurry = HURRY

    async def act() -> None:
        gone = await hub.add(size_bytes=1000)
        broker = line(mosquitto, tls)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, broker, store) as flow:
                await until(lambda: hub.uploaded(gone))
                forbid(mosquitto, "up/erase")
                await hub.erasure.erase([gone.id], actor="o", rule="test", command="c", moment=hub.moment)
                flow.stop([gone.id])
                await until(lambda: broker.counters.refused_publishes > 0)
                kept = await hub.add(size_bytes=1000)
                flow.wake()
                await until(lambda: hub.uploaded(kept))
                assert gone.id in {row.object for row in cloud.store.stored()}
                forbid(mosquitto)
                await until(lambda: gone.id not in {row.object for row in cloud.store.stored()})
                assert broker.session == 1

    asyncio.run(act())


# -- what decides, without a broker


def test_refused_message_waits_longer_each_time_and_no_other_waits_with_it() -> None:
    parking = Parking()
    waits = []
    now_s = 0.0
    for _ in range(8):
        parking.refused("one", now_s)
        assert not parking.may_go("one", now_s)
        assert parking.may_go("other", now_s)
        wait_s = parking.next_s(now_s)
        assert wait_s is not None
        waits.append(wait_s)
        now_s += wait_s
        assert parking.may_go("one", now_s)
        assert parking.due(now_s) == ("one",)
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S
    parking.sent("one")
    assert parking.due(now_s) == ()


def test_new_connection_lets_go_what_was_refused_and_not_what_ended_lines() -> None:
    parking = Parking()
    parking.refused("refused", 0)
    parking.lost("once", 0)
    for _ in range(LINES_LOST):
        parking.lost("fatal", 0)
    assert parking.may_go("once", 0)
    parking.reconnected()
    assert parking.may_go("refused", 0)
    assert not parking.may_go("fatal", 0)
    assert parking.may_go("fatal", FIRST_WAIT_S)


def test_parked_messages_are_bounded() -> None:
    parking = Parking()
    for number in range(PARKED_MAX + 10):
        parking.refused(number, 0)
    assert parking.may_go(9, 0)
    assert not parking.may_go(10, 0)


@pytest.mark.parametrize(
    ("code", "channel", "reason", "fix"),
    [
        (0x87, "up/" + "a" * 26, "not_authorized", "pattern write pv1/+/%u/up/#)"),
        (0x87, "state", "not_authorized", "pattern write pv1/+/%u/state)"),
        (QUOTA_EXCEEDED, "alert", "broker_refused", "quota"),
        (0x95, "alert", "broker_refused", "131072"),
        (0x83, "alert", "broker_refused", "log"),
    ],
)
def test_refusal_says_what_the_brokers_operator_does_about_it(code: int, channel: str, reason: str, fix: str) -> None:
    error = refusal_error(Acknowledged(1, "No", code), base=BASE, channel=channel)
    assert error.reason == reason
    assert error.retry == "later"
    assert fix in error.hint
    assert f"{BASE}/{channel}" in error.message
