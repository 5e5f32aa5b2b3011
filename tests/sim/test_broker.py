"""The broker stand-in, driven by paho, by Eclipse's own client: what each engine holds and what it does not."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_sim.broker import HOST, PACKET_LIMIT_BYTES, Broker, BrokerError, Engine, make_identities

V311 = MQTTProtocolVersion.MQTTv311
V5 = MQTTProtocolVersion.MQTTv5
WAIT_S = 60
LIMIT = "MaximumPacketSize"  # paho sets its properties by name only
ENGINES: tuple[Engine, ...] = ("mosquitto", "amqtt")


class Peer:
    """One paho client: connected when made, keeps what it receives."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        version: MQTTProtocolVersion = V311,
        identity: Path | None = None,
        keep_session: bool = False,
    ) -> None:
        self.inbox: Queue[tuple[str, bytes]] = Queue()
        self.connack: Queue[tuple[ReasonCode, Properties | None]] = Queue()
        self._acks: Queue[object] = Queue()
        self.lost = threading.Event()
        clean = None if version == V5 else not keep_session
        self.client = Client(CallbackAPIVersion.VERSION2, name, clean, protocol=version)
        context = ssl.create_default_context(cafile=broker.certs / "ca.crt")
        if identity:
            context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
        self.client.tls_set_context(context)
        self.client.on_connect = lambda _c, _u, _f, code, props: self.connack.put((code, props))
        self.client.on_message = self._receive
        self.client.on_subscribe = lambda *_: self._acks.put(None)
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.connect(HOST, broker.port)
        self.client.loop_start()

    def _receive(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.inbox.put((message.topic, bytes(message.payload)))

    def accepted(self) -> "Peer":
        """Wait for the CONNACK and return; fails if it is a refusal."""
        code, _ = self.connack.get(timeout=WAIT_S)
        assert not code.is_failure, code
        return self

    def subscribe(self, topic: str) -> None:
        """Subscribe and wait for the answer, which says `granted` whatever the access rules are."""
        self.client.subscribe(topic, qos=1)
        self._acks.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 and wait for the PUBACK."""
        self.client.publish(topic, payload, qos=1).wait_for_publish(WAIT_S)

    def close(self) -> None:
        """Disconnect and end the thread."""
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # else the pair that wakes its thread waits for the garbage collector


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One CA for all tests here; nothing changes it."""
    folder = tmp_path_factory.mktemp("ca") / "tls"
    make_identities(folder)
    return folder


@pytest.fixture
def run_broker(tmp_path: Path, certs: Path) -> Iterator[Callable[[Engine], Broker]]:
    """Start a broker of one engine; ended with the test."""
    running: list[Broker] = []

    def start(engine: Engine) -> Broker:
        broker = Broker(tmp_path / engine, certs, engine=engine)
        broker.start()
        running.append(broker)
        return broker

    yield start
    for broker in running:
        broker.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., Peer]]:
    """Connect a client as one of the identities; closed with the test."""
    peers: list[Peer] = []

    def make(broker: Broker, name: str, *, version: MQTTProtocolVersion = V311, keep_session: bool = False) -> Peer:
        peer = Peer(broker, name, version=version, identity=broker.certs / name, keep_session=keep_session)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_message_between_device_and_backend_arrives_unchanged(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer], engine: Engine
) -> None:
    broker = run_broker(engine)
    backend = connect(broker, "backend").accepted()
    device = connect(broker, "device").accepted()
    backend.subscribe("pv1/+/+/up/#")
    device.subscribe("pv1/acme/device/upack")
    chunk = os.urandom(PACKET_LIMIT_BYTES - 64)
    device.publish("pv1/acme/device/up/u1", chunk)
    assert backend.inbox.get(timeout=WAIT_S) == ("pv1/acme/device/up/u1", chunk)
    backend.publish("pv1/acme/device/upack", b"\x31ok")
    assert device.inbox.get(timeout=WAIT_S) == ("pv1/acme/device/upack", b"\x31ok")


def test_mosquitto_speaks_mqtt_5_and_says_its_packet_limit(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer]
) -> None:
    code, properties = connect(run_broker("mosquitto"), "device", version=V5).connack.get(timeout=WAIT_S)
    assert not code.is_failure
    assert getattr(properties, LIMIT) == PACKET_LIMIT_BYTES


def test_amqtt_refuses_mqtt_5(run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer]) -> None:
    """The agent's fallback to 3.1.1 rests on this."""
    peer = connect(run_broker("amqtt"), "device", version=V5)
    assert peer.lost.wait(WAIT_S)
    assert peer.connack.empty() or peer.connack.get()[0].is_failure


@pytest.mark.parametrize("over", [0, 5])
def test_mosquitto_takes_a_packet_of_the_limit_and_none_above(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer], over: int
) -> None:
    """Of a packet, mosquitto does not count the four bytes of the fixed header: the first refused is five above."""
    broker = run_broker("mosquitto")
    backend = connect(broker, "backend").accepted()
    backend.subscribe("pv1/+/+/state")
    device = connect(broker, "device").accepted()
    topic = "pv1/acme/device/state"
    overhead = 1 + 3 + 2 + len(topic) + 2  # fixed header, remaining length, topic length, topic, packet id
    payload = bytes(PACKET_LIMIT_BYTES - overhead + over)
    device.client.publish(topic, payload, qos=1)
    if over:
        assert device.lost.wait(WAIT_S)
        assert backend.inbox.empty()
    else:
        assert backend.inbox.get(timeout=WAIT_S)[1] == payload


@pytest.mark.parametrize(
    ("who", "topic", "arrives"),
    [
        ("device", "pv1/acme/device/rcpt/k1", True),
        ("device", "pv1/acme/device/up/u1", True),
        ("device", "pv1/acme/device/state", True),
        ("device", "pv1/acme/device/alert", True),
        ("device", "pv1/acme/device/cmd", False),
        ("device", "pv1/acme/device/upack", False),
        ("device", "pv1/acme/other/up/u1", False),
        ("device", "pv1/acme/other/cmd", False),
        ("backend", "pv1/acme/device/cmd", True),
        ("backend", "pv1/acme/device/upack", True),
        ("backend", "pv1/acme/device/rcpt/k1", False),
        ("owner", "pv1/acme/device/cmd", True),
    ],
)
def test_mosquitto_holds_each_writer_to_its_topics(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer], who: str, topic: str, *, arrives: bool
) -> None:
    broker = run_broker("mosquitto")
    writer = connect(broker, who).accepted()
    reader = connect(broker, "owner" if who == "backend" else "backend").accepted()
    reader.subscribe("#")
    writer.publish(topic, b"x")
    # A message that is always allowed comes after it, so nothing has to be waited for that never comes.
    end = "pv1/acme/device/state" if who == "device" else "pv1/acme/device/cmd"
    writer.publish(end, b"end")
    seen: list[str] = []
    while (message := reader.inbox.get(timeout=WAIT_S))[1] != b"end":
        seen.append(message[0])
    assert seen == ([topic] if arrives else [])


def test_mosquitto_lets_a_device_read_its_own_commands_only(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer]
) -> None:
    broker = run_broker("mosquitto")
    device = connect(broker, "device").accepted()
    device.subscribe("#")
    backend = connect(broker, "backend").accepted()
    backend.publish("pv1/acme/other/cmd", b"not yours")
    backend.publish("pv1/acme/device/cmd", b"yours")
    assert device.inbox.get(timeout=WAIT_S) == ("pv1/acme/device/cmd", b"yours")


def test_mosquitto_returns_a_device_its_own_probe(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer]
) -> None:
    device = connect(run_broker("mosquitto"), "device").accepted()
    device.subscribe("pv1/acme/device/probe")
    device.publish("pv1/acme/device/probe", b"r")
    assert device.inbox.get(timeout=WAIT_S) == ("pv1/acme/device/probe", b"r")


def test_amqtt_lets_anybody_without_certificate_in_and_says_so(
    run_broker: Callable[[Engine], Broker], certs: Path
) -> None:
    """If this fails, amqtt got better and our words about it are wrong."""
    broker = run_broker("amqtt")
    peer = Peer(broker, "nobody").accepted()
    peer.close()
    told = subprocess.Popen(
        [sys.executable, "-m", "device_sim", "broker", "--engine", "amqtt", "--certs", str(certs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert told.stdout
    assert "client certificates are NOT asked for" in told.stdout.readline()
    told.send_signal(signal.SIGINT)
    told.communicate(timeout=WAIT_S)
    assert told.returncode == 0


def test_mosquitto_keeps_a_session_over_a_restart(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer]
) -> None:
    broker = run_broker("mosquitto")
    device = connect(broker, "device", keep_session=True).accepted()
    device.subscribe("pv1/acme/device/cmd")
    device.close()
    backend = connect(broker, "backend").accepted()
    backend.publish("pv1/acme/device/cmd", b"while away")
    backend.close()
    port = broker.port
    broker.restart()
    assert broker.port == port
    again = connect(broker, "device", keep_session=True).accepted()
    assert again.inbox.get(timeout=WAIT_S) == ("pv1/acme/device/cmd", b"while away")


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_broker_comes_back_on_the_same_port(
    run_broker: Callable[[Engine], Broker], connect: Callable[..., Peer], engine: Engine
) -> None:
    broker = run_broker(engine)
    port, pid = broker.port, broker.pid
    connect(broker, "device").accepted()
    broker.kill()
    broker.start()
    assert (broker.port, broker.pid != pid) == (port, True)
    connect(broker, "backend").accepted()


@pytest.mark.parametrize("engine", ENGINES)
def test_taken_port_is_said(tmp_path: Path, certs: Path, engine: Engine) -> None:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} .* is taken"):
            Broker(tmp_path / "b", certs, port=port, engine=engine).start()


@pytest.mark.parametrize("engine", ENGINES)
def test_broker_listens_on_loopback_only(run_broker: Callable[[Engine], Broker], engine: Engine) -> None:
    broker = run_broker(engine)
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{broker.port:04X}")}
    assert listening == {f"0100007F:{broker.port:04X}"}


def test_unreadable_certificate_is_said_with_the_log(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="next: read"):
        Broker(tmp_path / "b", tmp_path / "nowhere", engine="mosquitto").start()


def test_command_makes_identities_says_where_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "device_sim", "broker", "--dir", str(tmp_path / "b"), "--json"]
    process = subprocess.Popen([*command, "--engine", "mosquitto"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    facts = json.loads(process.stdout.readline())
    assert facts["client_certificates"] == "required"
    assert Path(facts["certs"], "device", "tls.crt").is_file()
    port = int(facts["url"].rpartition(":")[2])
    socket.create_connection((HOST, port), timeout=WAIT_S).close()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, port), timeout=WAIT_S)


def test_command_whose_broker_dies_says_so_and_exits_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device_sim", "broker", "--dir", str(tmp_path / "b"), "--engine", "mosquitto"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "next: read" in said


def test_reload_lets_rules_of_a_new_owner_in(tmp_path: Path, certs: Path, connect: Callable[..., Peer]) -> None:
    with Broker(tmp_path / "b", certs, engine="mosquitto", privileged=("backend",)) as broker:
        owner = connect(broker, "owner").accepted()
        device = connect(broker, "device").accepted()
        device.subscribe("pv1/acme/device/cmd")
        owner.publish("pv1/acme/device/cmd", b"an owner is found by its folder's name")
        assert device.inbox.get(timeout=WAIT_S)[1].startswith(b"an owner")
        broker.reload()
        with pytest.raises(Empty):
            device.inbox.get(block=False)
