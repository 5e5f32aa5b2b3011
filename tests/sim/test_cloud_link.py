"""The simulated cloud's connection: packets at any cut, a broker that restarts, another broker, and the shell."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import age
from agent.envelope import parse_descriptor
from device_sim.broker import Broker, Engine, make_identities
from device_sim.cloud import jws, mqtt311, wire
from device_sim.cloud.failure import AwayError, MessageError, SetupError
from device_sim.cloud.keys import read_device
from device_sim.cloud.link import Link
from device_sim.cloud.service import Cloud, init
from tests.sim.cloud_line import DEVICE, BrokerPlace
from tests.sim.fake_device import LIMIT_S, NOW_S, TENANT, FakeDevice, device, recording

COMMAND = (sys.executable, "-m", "device_sim", "cloud")


def test_packets_are_read_however_the_stream_is_cut() -> None:
    large = os.urandom(3_000)
    stream = b"".join(
        [
            b"\x20\x02\x00\x00",
            mqtt311.publish("a/b", b"", packet_id=1),
            b"\xd0\x00",
            mqtt311.publish("a", large, packet_id=65_535, retain=True),
            b"\x90\x04\x00\x01\x01\x80",
            mqtt311.publish("ü", b"x" * 127, packet_id=2),
        ]
    )
    expected = [
        mqtt311.Answer(mqtt311.CONNACK, agreed=True),
        mqtt311.Publish("a/b", b"", retained=False, packet_id=1),
        mqtt311.Publish("a", large, retained=True, packet_id=65_535),
        mqtt311.Answer(mqtt311.SUBACK, agreed=False),
        mqtt311.Publish("ü", b"x" * 127, retained=False, packet_id=2),
    ]
    for step in (1, 2, 7, 100, 1_000, len(stream)):
        reader = mqtt311.Reader(size_bytes=64)  # smaller than a packet: it has to grow
        found: list[mqtt311.Publish | mqtt311.Answer] = []
        at = 0
        while at < len(stream):
            space = reader.space()
            data = stream[at : at + min(step, len(space))]
            space[: len(data)] = data
            reader.filled(len(data))
            at += len(data)
            found += reader.packets()
        assert found == expected


@pytest.mark.parametrize(
    "raw",
    [b"\x30\xff\xff\xff\xff\x01", b"\x30\xff\xff\xff\x7f", b"\x32\x03\x00\x05a", b"\x30\x03\x00\x01\xff", b"\x20\x00"],
)
def test_bytes_that_are_no_mqtt_are_refused(raw: bytes) -> None:
    reader = mqtt311.Reader()
    reader.space()[: len(raw)] = raw
    reader.filled(len(raw))
    with pytest.raises(MessageError):
        list(reader.packets())


@contextmanager
def three(tmp_path: Path, engine: Engine) -> Iterator[tuple[Broker, FakeDevice, Cloud]]:
    """Yield a broker, a device and a cloud at it."""
    certs, folder = tmp_path / "tls", tmp_path / "cloud"
    make_identities(certs)
    init(folder)
    with (
        Broker(tmp_path / "broker", certs, engine=engine) as broker,
        device(broker.url, folder=folder, identity=certs / "device", name=DEVICE) as made,
        Cloud(
            folder,
            broker=broker.url,
            tenant=TENANT,
            identity=certs / "backend",
            descriptors=[folder / f"{DEVICE}.jws"],
        ) as cloud,
    ):
        yield broker, made, cloud


def test_cloud_comes_back_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    one = recording(1_000)
    with three(tmp_path, "mosquitto") as (broker, made, cloud):
        broker.kill()
        broker.start()
        made.stop()
        made.start()
        cloud.journal.wait("subscribed", count=2, timeout_s=LIMIT_S)
        assert made.upload(one)["payload"] == one.parts["payload"]


def test_upload_works_through_amqtt(tmp_path: Path) -> None:
    """A broker of another make, for MQTT 3.1.1 only."""
    one = recording(1_500_000)
    with three(tmp_path, "amqtt") as (_, made, _):
        assert made.upload(one)["payload"] == one.parts["payload"]


def test_device_with_a_post_quantum_recipient_is_answered_in_kind(tmp_path: Path, broker_place: BrokerPlace) -> None:
    init(tmp_path)
    identity = age.generate_identity(post_quantum=True)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        made.recipient = identity.recipient().to_text()
        descriptor = made.descriptor(tmp_path)
        assert read_device(descriptor.read_bytes()).recipient == made.recipient
        with Cloud(
            tmp_path,
            broker=broker_place.url,
            tenant=TENANT,
            identity=broker_place.backend,
            descriptors=[descriptor],
            now_s=lambda: NOW_S,
        ):
            made.begin(recording(1_000))
            made.wait_until(lambda: made.raw)
    payload = made.raw[0][1]
    assert payload[0] == wire.BYTE["go"]
    claims = jws.verify(jws.parse(age.decrypt(payload[1:], [identity])), made.store_key, typ="pv1.go")
    assert claims["offset"] == 0


def test_broker_that_is_not_there_is_named() -> None:
    link = Link("mqtt://127.0.0.1:1", client_id="x", identity=None, topics=["a"], receive=lambda *_: None)
    with pytest.raises(AwayError, match="no broker at"):
        link.start()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "mqtts://127.0.0.1", "mqtt://"])
def test_url_that_is_no_broker_is_named(url: str) -> None:
    with pytest.raises(SetupError):
        Link(url, client_id="x", identity=None, topics=["a"], receive=lambda *_: None)


def test_shell_makes_keys_once(tmp_path: Path) -> None:
    first = subprocess.run([*COMMAND, "init", tmp_path, "--client"], capture_output=True, text=True, check=True)
    assert [line.partition(": ")[0] for line in first.stdout.splitlines()] == [
        str(tmp_path / f"{role}.json") for role in ("store", "backend", "client")
    ]
    for role, line in zip(("store", "backend", "client"), first.stdout.splitlines(), strict=True):
        told = parse_descriptor((tmp_path / f"{role}.json").read_bytes())  # as the owner's tool shows it
        assert f"fingerprint {told.fingerprint};" in line
    again = subprocess.run([*COMMAND, "init", tmp_path], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "not overwritten" in again.stderr


HERE = ("--dir", ".", "--broker", "mqtt://127.0.0.1:1")
WRONG: dict[tuple[str, ...], tuple[int, str, str]] = {
    (): (2, "--dir and --broker", "device-sim cloud --help"),
    ("--dir", "nowhere", *HERE[2:]): (2, "nowhere/store.key is missing", "device-sim cloud init nowhere"),
    ("--dir", ".", "--broker", "x"): (2, "'x' is no broker", "mqtts://host:port"),
    ("--dir", ".", "--broker", "mqtts://127.0.0.1:1"): (2, "needs an identity", "--identity FOLDER"),
    (*HERE, "--fault", "explode=1"): (2, "--fault 'explode=1'", "device-sim cloud --help"),
    (*HERE, "--fault", "roll_back=soon"): (2, "--fault 'roll_back=soon'", "device-sim cloud --help"),
    (*HERE, "--device-descriptor", "store.json"): (2, "store.json: ", "privacy-agent init"),
    (*HERE, "--device-descriptor", "nowhere"): (2, "nowhere: ", "privacy-agent init"),
    HERE: (1, "no broker at 127.0.0.1:1", "device-sim broker"),
    ("init", "."): (2, "not overwritten", "another folder"),
    ("init", "/proc/cloud"): (1, "/proc/cloud", "name a folder that you may write in: device-sim cloud init DIR"),
    ("observe", "--broker", "x", "--out", "seen"): (2, "'x' is no broker", "mqtts://host:port"),
    ("observe", "--broker", "mqtt://127.0.0.1:1", "--out", "seen"): (1, "no broker at", "device-sim broker"),
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_call_says_what_is_wrong_and_what_next(tmp_path: Path, words: tuple[str, ...]) -> None:
    init(tmp_path, roles=("store", "backend"), alg="EdDSA")
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    code, says, step = WRONG[words]
    what, _, following = done.stderr.partition("\n  next: ")
    assert done.returncode == code
    assert says in what
    assert step in following
    assert done.stdout == ""
