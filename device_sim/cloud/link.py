"""One MQTT connection of the cloud: paho in its own thread, ``TCP_NODELAY``, callbacks that only hand over.

MQTT 3.1.1, because every broker speaks it and the protocol needs nothing of 5. The session is clean: what was missed
while away comes back by the protocol's own repeats, never by a broker's queue.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_sim.cloud.failure import SetupError

Receive = Callable[[str, bytes, bool], None]
"""topic, payload, retained."""

KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 15.0
IN_FLIGHT: Final = 200
"""Our answers are small and few; paho's stock 20 would hold acks back behind a slow broker."""
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class Link:
    """A connection that stays up until ``stop``."""

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        identity: Path | None,
        topics: Sequence[str],
        receive: Receive,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SetupError(f"{url!r} is no broker; write mqtts://host:port or mqtt://host:port")
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._topics = tuple(topics)
        self._receive = receive
        self._connected = connected
        self._up = threading.Event()
        self._suback = 0
        client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv311)
        if parts.scheme == "mqtts":
            if identity is None:
                raise SetupError("mqtts:// needs --identity FOLDER with tls.crt, tls.key and ca.crt")
            client.tls_set_context(_context(identity))
        client.max_inflight_messages_set(IN_FLIGHT)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._client = client

    def start(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect and subscribe; raises ``SetupError`` if the broker does not answer in time."""
        try:
            self._client.connect(self._host, self._port, keepalive=KEEPALIVE_S)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"no broker at {self._host}:{self._port} ({error}); start one first") from error
        self._client.loop_start()
        if not self._up.wait(timeout_s):
            self.stop()
            raise SetupError(f"the broker at {self._host}:{self._port} does not let us subscribe; check its ACL")

    def stop(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()
        self._up.clear()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the broker, QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not reason.is_failure:
            _, mid = client.subscribe([(topic, 1) for topic in self._topics])
            self._suback = mid or 0

    def _on_subscribe(
        self, _client: Client, _data: object, mid: int, _codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if mid == self._suback:
            self._up.set()
            self._connected()

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._up.clear()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._receive(message.topic, message.payload, message.retain)


def _no_delay(_client: Client, _data: object, opened: object) -> None:
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _context(identity: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
    except (OSError, ssl.SSLError) as error:
        raise SetupError(f"{identity} has no usable tls.crt, tls.key and ca.crt; run `python -m certs init`") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
