"""A household with an ear on its broker: what the benchmark measures at is a client of MQTT, not a part of ours."""

import base64
import json
import queue
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.meter import cpu_s, now_s
from tests.flow.house import House

WITHIN_S: Final = 60.0
TENANT: Final = "acme"
DEVICE: Final = "cam-01"


class Ear:
    """An MQTT client with the owner's TLS identity; every message is kept with the time at which it arrived."""

    def __init__(self, url: str, identity: Path, *, topics: tuple[str, ...], name: str) -> None:
        host, _, port = url.rpartition("/")[2].partition(":")
        self.messages: queue.Queue[tuple[float, str, bytes]] = queue.Queue()
        self._ready = threading.Event()
        self._topics = topics
        context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"bench-{name}", protocol=paho.MQTTv5)
        self.client.tls_set_context(context)
        self.client.on_socket_open = _at_once
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._heard
        self.client.connect(host, int(port))

    def __enter__(self) -> Self:
        self.client.loop_start()
        if not self._ready.wait(WITHIN_S):
            raise TimeoutError("the broker does not answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # else the pair that wakes its thread waits for the garbage collector

    def send(self, topic: str, payload: bytes) -> float:
        """Publish with QoS 1 and return when that began."""
        begin_s = now_s()
        self.client.publish(topic, payload, qos=1)
        return begin_s

    def next(self, *, within_s: float = WITHIN_S) -> tuple[float, str, bytes]:
        """Return the next message: when it came, its topic, its payload."""
        return self.messages.get(timeout=within_s)

    def empty(self) -> None:
        """Forget what came so far."""
        while not self.messages.empty():
            self.messages.get()

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.messages.put((now_s(), message.topic, bytes(message.payload)))


def _at_once(_client: paho.Client, _data: object, sock: Any) -> None:  # noqa: ANN401 - paho's own socket type
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def ear(house: House, *channels: str, name: str = "ear") -> Ear:
    """Listen on channels of the house's device."""
    topics = tuple(f"pv1/{TENANT}/{DEVICE}/{channel}" for channel in channels)
    return Ear(house.url, house.folder / "tls" / "owner", topics=topics, name=name)


def cmd_topic() -> str:
    """Where commands go."""
    return f"pv1/{TENANT}/{DEVICE}/cmd"


def started(house: House, listener: Ear) -> tuple[float, float]:
    """Start the agent, wait for its retained ``state`` and stop it; return the seconds and its processor time."""
    seconds, used_s = start(house, listener)
    house.stop("agent")
    return seconds, used_s


def start(house: House, listener: Ear) -> tuple[float, float]:
    """Do the same and let it run."""
    listener.empty()
    begin_s = now_s()
    house.start("agent", "privacy-agent", "run", "--config", house.config)
    while True:
        came_s, _topic, payload = listener.next()
        if _online(payload):
            break
    return came_s - begin_s, cpu_s(house.process("agent").pid)


def _online(payload: bytes) -> bool:
    body = payload[1:].split(b".")[1]
    told = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    return told["online"] is True
