"""The broker client against real mosquitto and amqtt, over TLS."""

import asyncio
import contextlib
import datetime as dt
import gc
import itertools
import logging
import os
import shutil
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from agent.broker import Broker, load_identity
from agent.broker.client import QUEUE_MESSAGES
from agent.broker.link import MAX_ARRIVED, Arrived, Event, Link
from agent.errors import ConfigError, LinkError, RefusedError
from certs.__main__ import main as certs_main
from device_sim.broker import Broker as BrokerProcess
from device_sim.broker import access_rules
from tests.upload.conftest import certs
from tests.upload.line import TENANT, observing, running, short_pause, until

BASE = f"pv1/{TENANT}/cam-1"
ONLINE_S = 60.0


class Alerts(list[tuple[str, str]]):
    def __call__(self, code: str, what: str) -> None:
        self.append((code, what))


class Clock:
    """Stands until it is put forward; counts how often it was looked at."""

    now_s, asked = 1000.0, 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now_s


def line(
    process: BrokerProcess, identity: Path, *, alerts: Alerts | None = None, look_s: float = 30.0, probe_s: float = 15.0
) -> Broker:
    return Broker(
        process.url,
        tenant=TENANT,
        identity=identity,
        wait=short_pause,
        alert=Alerts() if alerts is None else alerts,
        look_s=look_s,
        probe_s=probe_s,
    )


class Narrow(BrokerProcess):
    """mosquitto that grants a Receive Maximum of 5 and takes packets of 64 KiB, or of any size."""

    packet_bytes = 131_072

    def _mosquitto(self, port: int) -> list[str]:
        command = super()._mosquitto(port)
        config = self.folder / "mosquitto.conf"
        lines = config.read_text().splitlines()
        words = {"max_inflight_messages": "5", "max_packet_size": str(self.packet_bytes)}
        config.write_text(
            "\n".join(f"{w} {words[w]}" if (w := one.split()[0]) in words else one for one in lines) + "\n"
        )
        return command


def test_published_with_tls_reaches_a_subscriber_under_our_own_name(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> Broker:
        broker = line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend") as observer:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                await broker.publish("alert", b"\x50abc")
                await until(lambda: (f"{BASE}/alert", b"\x50abc", False) in observer.seen)
        return broker

    broker = asyncio.run(act())
    assert broker.protocol == 5
    assert broker.device == broker.client_id == "cam-1"


def test_message_for_us_is_received_in_order(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend", "nothing") as sender:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                for number in range(5):
                    sender.publish(f"{BASE}/cmd", bytes([number]))
                sender.publish(f"{BASE}/cmd", b"")
                sender.publish(f"{BASE}/cmd", b"last")
                async with asyncio.timeout(ONLINE_S):
                    got = [await broker.receive("cmd") for _ in range(6)]
        assert got == [b"\0", b"\1", b"\2", b"\3", b"\4", b"last"]

    asyncio.run(act())


def test_retained_command_is_ignored_and_counted(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend", "nothing") as sender:
            sender.publish(f"{BASE}/cmd", b"\x01old", retain=True)
            async with running(broker):
                await until(lambda: broker.counters.ignored_retained == 1)
                sender.publish(f"{BASE}/cmd", b"\x01new")
                async with asyncio.timeout(ONLINE_S):
                    assert await broker.receive("cmd") == b"\x01new"
                sender.publish(f"{BASE}/cmd", b"\x01live", retain=True)  # MQTT 5 tells a retained one from the first
                await until(lambda: broker.counters.ignored_retained == 2)

    asyncio.run(act())


def test_broker_without_mqtt5_is_spoken_to_in_3_1_1(amqtt: BrokerProcess, tls: Path) -> None:
    async def act() -> Broker:
        broker = line(amqtt, tls / "cam-1")
        with observing(amqtt.url, tls / "backend") as observer:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                await broker.publish("alert", bytes(100_000))
                await until(lambda: (f"{BASE}/alert", bytes(100_000), False) in observer.seen)
                observer.publish(f"{BASE}/upack", b"hello")
                async with asyncio.timeout(ONLINE_S):
                    assert await broker.receive("upack") == b"hello"
        return broker

    broker = asyncio.run(act())
    assert broker.protocol == 4
    assert broker.counters.connections == 1


def test_broker_of_another_ca_is_refused_with_the_file_to_fix(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path
) -> None:
    certs("init", tmp_path / "other", "--device", "cam-1")
    identity = tmp_path / "mixed"
    shutil.copytree(tls / "cam-1", identity)
    (identity / "ca.crt").unlink()
    shutil.copy(tmp_path / "other" / "ca.crt", identity / "ca.crt")
    with pytest.raises(ConfigError, match=r"not signed by ca\.crt"):
        asyncio.run(connect(line(mosquitto, identity)))


def test_device_of_another_ca_is_told_that_the_broker_refuses_it(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path
) -> None:
    certs("init", tmp_path / "other", "--device", "cam-1")
    identity = tmp_path / "other" / "cam-1"
    (identity / "ca.crt").unlink()
    shutil.copy(tls / "ca.crt", identity / "ca.crt")
    with pytest.raises(ConfigError, match="refuses our certificate"):
        asyncio.run(connect(line(mosquitto, identity)))


def test_expired_certificate_is_named_as_the_reason(mosquitto: BrokerProcess, tls: Path, tmp_path: Path) -> None:
    identity = issued(tls, tmp_path, "cam-old", at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(ConfigError, match=r"refuses our certificate.*expired"):
        asyncio.run(connect(line(mosquitto, identity)))


def issued(tls: Path, tmp_path: Path, name: str, *, at: dt.datetime) -> Path:
    """Issue an identity of the same CA at another time, leaving the broker's revocation list alone."""
    copy = tmp_path / "ca"
    shutil.copytree(tls, copy, dirs_exist_ok=True)
    assert certs_main(["issue", str(copy), name, "--json", "--force"], clock=lambda: at) == 0
    return copy / name


def test_broker_that_is_not_there_is_a_link_error_that_says_where(tls: Path) -> None:
    broker = Broker("mqtts://127.0.0.1:1", tenant=TENANT, identity=tls / "cam-1", wait=short_pause)
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1 refused"):
        asyncio.run(connect(broker, within_s=3.0))


@pytest.mark.parametrize(("host", "made"), [("127.1", "127.1"), ("[::ffff:127.0.0.1]", "::ffff:7f00:1")])
def test_name_or_address_that_the_certificate_is_not_for_is_refused_with_the_command_that_mends_it(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, host: str, made: str
) -> None:
    broker = Broker(f"mqtts://{host}:{mosquitto.port}", tenant=TENANT, identity=tls / "cam-1", wait=short_pause)
    with pytest.raises(ConfigError) as refused:
        asyncio.run(connect(broker))
    assert refused.value.message.endswith(f"the broker's certificate does not name {host.strip('[]')}")
    mend = refused.value.hint.partition("python -m certs ")[2].split()
    shutil.copytree(tls, tmp_path / "ca")
    assert certs_main([str(tmp_path / "ca") if word == "DIR" else word for word in mend]) == 0
    renewed = x509.load_pem_x509_certificate((tmp_path / "ca/broker/tls.crt").read_bytes())
    names = renewed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert made in {str(name.value) for name in names}


async def connect(broker: Broker, *, within_s: float = ONLINE_S) -> None:
    try:
        async with running(broker):
            await broker.first_session(within_s=within_s)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def test_acl_that_swallows_our_own_topic_is_found_by_the_probe(mosquitto: BrokerProcess, tls: Path) -> None:
    rules = access_rules(("backend",)).replace("pattern read pv1/+/%u/probe", "")
    (mosquitto.folder / "acl").write_text(rules)
    mosquitto.reload()
    alerts = Alerts()

    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1", alerts=alerts, probe_s=0.5)
        async with running(broker):
            await until(lambda: bool(alerts))

    asyncio.run(act())
    assert [code for code, _ in alerts] == ["acl_broken"]
    assert f"{BASE}/probe" in alerts[0][1]


def test_good_acl_raises_no_alert(mosquitto: BrokerProcess, tls: Path) -> None:
    alerts, clock = Alerts(), Clock()

    async def act() -> None:
        broker = Broker(
            mosquitto.url, tenant=TENANT, identity=tls / "cam-1", alert=alerts, look_s=0.05, probe_s=15.0, clock_s=clock
        )
        with observing(mosquitto.url, tls / "backend", f"{BASE}/probe") as other:
            async with running(broker):
                await until(lambda: bool(other.seen))
                other.publish(f"{BASE}/cmd", b"\x01after it")
                assert await broker.receive("cmd") == b"\x01after it"  # what was sent to us before it came before it
                clock.now_s += 16
                looked = clock.asked
                await until(lambda: clock.asked > looked + 2)

    asyncio.run(act())
    assert not alerts


def test_second_device_of_our_name_is_suspected_and_both_back_off(mosquitto: BrokerProcess, tls: Path) -> None:
    alerts = Alerts()

    async def act() -> tuple[Broker, Broker]:
        one = line(mosquitto, tls / "cam-1", alerts=alerts)
        two = line(mosquitto, tls / "cam-1")
        async with running(one), running(two):
            await until(lambda: bool(alerts))
        return one, two

    asyncio.run(act())
    assert alerts[0][0] == "takeover"
    assert "cam-1" in alerts[0][1]


def test_unacknowledged_packets_never_exceed_the_brokers_receive_maximum(tmp_path: Path, tls: Path) -> None:
    async def act(process: BrokerProcess) -> Broker:
        broker = line(process, tls / "cam-1")
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            async with asyncio.TaskGroup() as group:
                for number in range(100):
                    group.create_task(broker.publish("alert", bytes([number])), name=f"publish-{number}")
            for _ in range(50):
                answer = await broker.submit("up/x", bytes(1000), bulk=True)
            await answer
        return broker

    with Narrow(tmp_path / "narrow", tls, engine="mosquitto") as process:
        broker = asyncio.run(act(process))
    assert broker.window.limit == 5
    assert broker.window.peak == 5


def test_broker_with_too_small_packets_is_named_as_misconfigured(tmp_path: Path, tls: Path) -> None:
    process = Narrow(tmp_path / "narrow", tls, engine="mosquitto")
    process.packet_bytes = 65_536
    with process, pytest.raises(ConfigError, match="65536 bytes only"):
        asyncio.run(connect(line(process, tls / "cam-1")))


def test_revoked_certificate_is_told_with_the_command_that_makes_another(tls: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    shutil.copytree(tls, ca)
    assert certs_main(["revoke", str(ca), "cam-1", "--json"]) == 0
    with (
        BrokerProcess(tmp_path / "broker", ca, engine="mosquitto") as process,
        pytest.raises(ConfigError, match="revoked") as refused,
    ):
        asyncio.run(connect(line(process, ca / "cam-1")))
    assert "renew" not in refused.value.hint
    mend = refused.value.hint.partition("python -m certs ")[2].partition(" with ")[0].split()
    meant = {"DIR": str(ca), "NAME": "cam-1", "KIND": "device"}
    assert certs_main([meant.get(word, word) for word in mend]) == 0


def test_renewed_certificate_is_used_without_a_restart(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    identity = tmp_path / "identity"
    shutil.copytree(tls / "cam-1", identity)
    expires = dt.datetime.fromtimestamp(load_identity(identity).expires_ms / 1000, tz=dt.UTC)
    renewed = issued(tls, tmp_path, "cam-1", at=expires - dt.timedelta(days=732))  # two days older

    async def act() -> None:
        broker = line(mosquitto, identity, look_s=0.1)
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            before = broker.certificate_expires_ms()
            for name in ("tls.key", "tls.crt"):
                shutil.copy(renewed / name, identity / "new")
                (identity / "new").rename(identity / name)
            await until(lambda: broker.session == 2)
            assert broker.certificate_expires_ms() != before
            await broker.publish("alert", b"still here")

    asyncio.run(act())
    assert "the TLS identity was renewed: connecting again with it" in caplog.text


def test_broken_renewal_keeps_the_old_certificate_in_use(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = tmp_path / "identity"
    shutil.copytree(tls / "cam-1", identity)

    async def act() -> None:
        broker = line(mosquitto, identity, look_s=0.1)
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            (identity / "tls.crt").write_text("half a file")
            with caplog.at_level(logging.WARNING):
                await until(lambda: "not used" in caplog.text)
            await broker.publish("alert", b"still here")
            assert broker.session == 1

    asyncio.run(act())


def test_device_that_vanishes_leaves_its_will_and_one_that_leaves_does_not(mosquitto: BrokerProcess, tls: Path) -> None:
    wills = iter(range(100))

    async def will() -> bytes:
        return b"\x40offline-%d" % next(wills)

    async def act() -> None:
        broker = Broker(mosquitto.url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause, will=will)
        with observing(mosquitto.url, tls / "backend") as observer:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                cut(broker)
                await until(lambda: broker.session == 2)
                await until(lambda: (f"{BASE}/state", b"\x40offline-0", False) in observer.seen)
            observer.publish("pv1/acme/x/cmd", b"end")
            await until(lambda: observer.seen[-1][1] == b"end")
            assert [payload for topic, payload, _ in observer.seen if topic.endswith("state")] == [b"\x40offline-0"]

    asyncio.run(act())


def cut(broker: Broker) -> None:
    assert broker._link is not None
    broker._link.abort()


def test_publish_while_offline_is_a_link_error(tls: Path) -> None:
    async def act() -> None:
        broker = Broker("mqtts://127.0.0.1:1", tenant=TENANT, identity=tls / "cam-1", wait=short_pause)
        with pytest.raises(LinkError, match="not connected"):
            await broker.publish("alert", b"")

    asyncio.run(act())


def test_publish_that_a_dying_broker_never_acknowledged_is_a_link_error(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            os.kill(mosquitto.pid, signal.SIGSTOP)
            answers = [await broker.submit("alert", b"x") for _ in range(10)]
            mosquitto.kill()
            for answer in answers:
                with pytest.raises(LinkError):
                    await answer
            mosquitto.start()
            await until(lambda: broker.session == 2)
            await broker.publish("alert", b"again")

    asyncio.run(act())


def test_line_that_is_lost_is_told_once_however_often_it_is_tried_and_once_when_it_is_back(
    mosquitto: BrokerProcess, tls: Path
) -> None:
    told: list[bool] = []
    tries: list[float] = []

    async def tried(seconds: float, _stop: asyncio.Event) -> None:
        tries.append(seconds)
        await asyncio.sleep(0.05)

    async def act() -> None:
        broker = Broker(
            mosquitto.url,
            tenant=TENANT,
            identity=tls / "cam-1",
            wait=tried,
            line_told=lambda error: told.append(error is None),
        )
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            assert told == [], "a first line is no news"
            mosquitto.kill()
            await until(lambda: len(tries) >= 4)
            mosquitto.start()
            await until(lambda: broker.session == 2)

    asyncio.run(act())
    assert told == [False, True]


class Chunk(bytearray):
    """A payload of which it can be seen whether anybody still has it."""


def test_payload_under_way_is_held_by_nobody_beside_its_packet(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            os.kill(mosquitto.pid, signal.SIGSTOP)
            try:
                chunk = Chunk(120 * 1024)
                held = weakref.ref(chunk)
                answer = await broker.submit("alert", chunk)
                del chunk
                assert held() is None
                assert not answer.done()
            finally:
                os.kill(mosquitto.pid, signal.SIGCONT)
            await answer

    asyncio.run(act())


def test_publish_that_the_acl_forbids_is_refused_and_counted_and_the_line_lives(
    mosquitto: BrokerProcess, tls: Path
) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            with pytest.raises(RefusedError, match=f"{BASE}/cmd: Not authorized"):
                await broker.publish("cmd", b"to ourselves")
            assert broker.counters.refused_publishes == 1
            await broker.publish("alert", b"allowed")
            assert broker.session == 1

    asyncio.run(act())


def test_flood_is_dropped_and_counted_and_the_line_lives(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend", "nothing") as sender:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                for _ in range(400):
                    sender.client.publish(f"{BASE}/upack", b"flood", qos=1)
                await until(lambda: broker.counters.dropped_full >= 100)
                sender.publish(f"{BASE}/cmd", b"through")
                async with asyncio.timeout(ONLINE_S):
                    assert await broker.receive("cmd") == b"through"

    asyncio.run(act())


@pytest.mark.parametrize("cut", [False, True], ids=["line stands", "line is lost"])
def test_every_message_that_came_while_the_loop_was_busy_is_queued_or_counted(
    mosquitto: BrokerProcess, tls: Path, monkeypatch: pytest.MonkeyPatch, *, cut: bool
) -> None:
    # Counted were those that the full queue refused; those beyond MAX_ARRIVED were told nobody.
    sent, came, all_came = MAX_ARRIVED + 2 * QUEUE_MESSAGES, itertools.count(1), threading.Event()
    put = Link._put

    def seen(link: Link, event: Event) -> None:
        put(link, event)
        if isinstance(event, Arrived) and event.payload == b"flood" and next(came) == sent:
            all_came.set()

    async def act() -> int:
        broker = line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend", "nothing") as sender:
            async with running(broker):
                await broker.first_session(within_s=ONLINE_S)
                await broker.require_echo(within_s=ONLINE_S)  # else it would be one of those that are dropped
                for _ in range(sent):
                    sender.client.publish(f"{BASE}/cmd", b"flood", qos=1)
                assert all_came.wait(ONLINE_S), "the event loop stands until then"
                if cut:
                    mosquitto.kill()
                    await until(lambda: not broker.online)
                await until(lambda: broker.counters.dropped_full > 0)
                return broker.counters.dropped_full

    monkeypatch.setattr(Link, "_put", seen)
    assert asyncio.run(act()) == sent - QUEUE_MESSAGES


def test_commands_sent_while_away_for_a_moment_are_held_by_the_broker(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        first, second = line(mosquitto, tls / "cam-1"), line(mosquitto, tls / "cam-1")
        with observing(mosquitto.url, tls / "backend", "nothing") as sender:
            async with running(first):
                await first.first_session(within_s=ONLINE_S)
            sender.publish(f"{BASE}/cmd", b"meanwhile")
            async with running(second):
                async with asyncio.timeout(ONLINE_S):
                    assert await second.receive("cmd") == b"meanwhile"

    asyncio.run(act())


def spoil_missing(folder: Path) -> None:
    (folder / "tls.key").unlink()


def spoil_open(folder: Path) -> None:
    (folder / "tls.key").chmod(0o644)


def spoil_other_key(folder: Path) -> None:
    key = (folder.parent / "cam-2" / "tls.key").read_bytes()
    (folder / "tls.key").unlink()
    (folder / "tls.key").touch(mode=0o600)
    (folder / "tls.key").write_bytes(key)


def spoil_ca(folder: Path) -> None:
    (folder / "ca.crt").unlink()
    (folder / "ca.crt").write_text("")


def spoil_certificate(folder: Path) -> None:
    (folder / "tls.crt").write_text("no certificate")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_missing, "tls.key: No such file"),
        (spoil_open, "others may read"),
        (spoil_other_key, "does not belong"),
        (spoil_ca, "ca.crt: no PEM"),
        (spoil_certificate, "not a PEM certificate"),
    ],
)
def test_unusable_identity_names_the_file_and_the_fix(
    tls: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    for name in ("cam-1", "cam-2"):
        shutil.copytree(tls / name, tmp_path / name)
    spoil(tmp_path / "cam-1")
    with pytest.raises(ConfigError, match=words) as caught:
        load_identity(tmp_path / "cam-1")
    assert caught.value.hint


def test_identity_is_read_even_when_it_has_expired(tls: Path, tmp_path: Path) -> None:
    identity = load_identity(issued(tls, tmp_path, "cam-past", at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    assert identity.name == "cam-past"
    assert dt.datetime.fromtimestamp(identity.expires_ms / 1000, tz=dt.UTC) < dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


def test_tool_of_an_owner_reads_receipts_and_state_of_a_device(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        device = line(mosquitto, tls / "cam-1")
        owner = Broker(
            mosquitto.url, tenant=TENANT, identity=tls / "owner", device="cam-1", client_id="owner-tool-1",
            channels=("rcpt/kid", "state"), retained=("state",), keep_session=False, wait=short_pause,
        )  # fmt: skip
        async with running(device):
            await device.first_session(within_s=ONLINE_S)
            await device.publish("state", b"\x40online", retain=True)
            async with running(owner):
                async with asyncio.timeout(ONLINE_S):
                    assert await owner.receive("state") == b"\x40online"
                    await owner.publish("cmd", b"\x01please")
                    assert await device.receive("cmd") == b"\x01please"
                    await device.publish("rcpt/kid", b"\x11done")
                    assert await owner.receive("rcpt/kid") == b"\x11done"

    asyncio.run(act())


def test_connection_that_is_over_leaves_nothing_open_to_the_garbage_collector(
    mosquitto: BrokerProcess, tls: Path
) -> None:
    async def act() -> None:
        broker = line(mosquitto, tls / "cam-1")
        async with running(broker):
            await broker.first_session(within_s=ONLINE_S)
            await broker.publish("alert", b"\x50abc")

    gc.disable()
    try:
        before = open_sockets()
        asyncio.run(act())
        for thread in [one for one in threading.enumerate() if one.name == "mqtt-cam-1"]:
            thread.join(ONLINE_S)
        assert open_sockets() <= before
    finally:
        gc.enable()


def open_sockets() -> set[str]:
    """Name every socket of this process; a file that is closed while they are read is none."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name = str(one.readlink())
            found |= {name} if name.startswith("socket:") else set()
    return found
