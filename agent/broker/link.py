"""One connection to the broker: the MQTT library in a thread of its own, for as long as the connection lives.

A new library object for each connection: nothing unacknowledged is silently repeated (the flows know better what is
still wanted), each has its own will, and a renewed certificate takes effect. The library's reconnecting is off; its
callbacks only put an event into a list and wake the event loop once for many. The thread sleeps in ``select`` and wakes
every ``_LOOK_UP_S`` for the keepalive.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, cast

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.broker.address import Address
from agent.envelope import MAX_PUBLISH_BYTES
from agent.errors import AgentError, ConfigError, LinkError

MAX_PACKET_BYTES: Final = MAX_PUBLISH_BYTES
KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 10.0
SESSION_EXPIRY_S: Final = 86_400
DEFAULT_RECEIVE_MAXIMUM: Final = 65_535  # MQTT 5, 3.2.2.3.3
MAX_ARRIVED: Final = 512  # messages between two turns of the event loop; what is above is dropped and counted

_RECEIVE_BYTES: Final = 64 * 1024
_KEPT_BYTES: Final = 2 * MAX_PACKET_BYTES  # of a larger packet; enough that it is seen to be too large
_PACKET_TYPE: Final = 0xF0  # of a packet's first byte (MQTT 5, 2.1.1)
_PUBLISH: Final = 0x30
_QOS_BITS: Final = 0x06  # of a PUBLISH's first byte (MQTT 5, 3.3.1.2)
_QOS_2: Final = 0x04
_LOOK_UP_S: Final = 5.0  # together with the keepalive still below the broker's limit of 1.5 keepalives
_CERTIFICATE_EXPIRED: Final = 10  # OpenSSL <openssl/x509_vfy.h>
_CERTIFICATE_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_SESSION_TAKEN_OVER: Final = 0x8E  # MQTT 5, 3.14.2.1
_UNSUPPORTED_VERSION: Final = 0x84
_FIRST_ERROR_CODE: Final = 0x80
_UNSPECIFIED: Final = 0x80
_PUBACK_REASONS: Final = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})  # MQTT 5, 3.4.2.1

Protocol = Literal[4, 5]
MQTT_3_1_1: Final = 4  # the protocol levels of CONNECT
MQTT_5: Final = 5


class Opened(msgspec.Struct, frozen=True):
    """TCP and TLS stand; the broker has not answered yet."""


class Connected(msgspec.Struct, frozen=True):
    """The broker accepted us."""

    receive_maximum: int
    largest_packet: int
    session_present: bool


class Subscribed(msgspec.Struct, frozen=True):
    """The broker answered the subscription; ``refused`` says how, per topic that it refused."""

    refused: tuple[str, ...]


class Acknowledged(msgspec.Struct, frozen=True):
    """A PUBACK; ``refusal`` is the broker's reason or empty, ``code`` its number (MQTT 5, 3.4.2.1)."""

    mid: int
    refusal: str
    code: int = 0


class Arrived(msgspec.Struct, frozen=True):
    """A message."""

    topic: str
    payload: bytes
    retained: bool


class Dropped(msgspec.Struct, frozen=True):
    """So many messages came between two turns of the event loop beyond ``MAX_ARRIVED``; told before what was kept."""

    count: int


class Closed(msgspec.Struct, frozen=True):
    """The connection is over; always the last event. ``other_version``: asking with MQTT 3.1.1 may help."""

    error: AgentError
    other_version: bool = False
    taken_over: bool = False


Event = Opened | Connected | Subscribed | Acknowledged | Arrived | Dropped | Closed


class _Client(paho.Client):
    """The library, with a socket that is closed when its handshake fails, and with packets that are sent uncopied.

    It holds little of what a broker sends that should not (invariant I11): of a packet above our limit its beginning,
    and nothing of quality of service 2, which the library would keep until the broker lets go of it.

    TLS takes 16 KiB at a time, and the library copies the rest of the packet each time: half a megabyte per chunk.
    Should a later version of the library not call these methods any more, its own do the same but for that.
    """

    connect_context: ssl.SSLContext | None = None
    unlisted: dict[int, int]  # reasons of PUBACK that the standard does not list, by packet id
    waking: threading.Lock  # the pair of sockets with which a packet wakes the thread is not closed under it

    def _packet_queue(
        self, command: int, packet: "bytes | bytearray", mid: int, qos: int, info: "paho.MQTTMessageInfo | None" = None
    ) -> MQTTErrorCode:
        # A message that waits for its acknowledgement is kept for another connection of this client, which there never
        # is: its payload would be here twice.
        if command & _PACKET_TYPE == _PUBLISH and mid in self._out_messages:
            self._out_messages[mid].payload = b""
        # A slice of a view is a view.
        with self.waking:
            return super()._packet_queue(command, cast("bytes", memoryview(packet)), mid, qos, info)

    def close(self) -> None:
        """Close what a connection that is over still has open; the library leaves it to the garbage collector."""
        with self.waking:
            self._reset_sockets()

    def _sock_send(self, buf: "bytes | bytearray") -> int:
        sent = super()._sock_send(buf)
        while sent < len(buf):
            try:
                sent += super()._sock_send(buf[sent:])
            except BlockingIOError:
                break  # the library asks again when there is room
        return sent

    def _sock_recv(self, bufsize: int) -> bytes:
        return super()._sock_recv(min(bufsize, _RECEIVE_BYTES))

    def _packet_read(self) -> MQTTErrorCode:
        code = super()._packet_read()
        del self._in_packet["packet"][_KEPT_BYTES:]  # what is read later is appended, and goes in its turn
        return code

    def _handle_publish(self) -> MQTTErrorCode:
        if self._in_packet["command"] & _QOS_BITS == _QOS_2:  # we subscribe with 1, so no broker may send it
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        # mosquitto refuses a payload above its message_size_limit with 0x95, which is none of PUBACK's reasons: the
        # library would call the packet malformed and end the connection over one message.
        packet = self._in_packet["packet"]
        if self._protocol == MQTT_5 and cmd == "PUBACK" and len(packet) > 2 and packet[2] not in _PUBACK_REASONS:  # noqa: PLR2004 - id, then reason
            self.unlisted[int.from_bytes(packet[:2])] = packet[2]
            packet[2] = _UNSPECIFIED
        return super()._handle_pubackcomp(cmd)

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        if self.connect_context is None:
            raise AssertionError("called for TLS only")
        wrapped = self.connect_context.wrap_socket(tcp_sock, server_hostname=self.host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(CONNECT_TIMEOUT_S)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class Link:
    """A connection; all methods are called from the event loop's thread, and ``on_event`` is called there too."""

    def __init__(
        self,
        address: Address,
        *,
        context: ssl.SSLContext | None,
        client_id: str,
        protocol: Protocol,
        topics: tuple[str, ...],
        will: tuple[str, bytes] | None,
        keep_session: bool,
        on_event: Callable[[Event], None],
    ) -> None:
        self._address = address
        self._protocol = protocol
        self._topics = topics
        self._keep_session = keep_session
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._drain_due = False
        self._lock = threading.Lock()
        self._raw: socket.socket | None = None
        self._stopping = False
        self._said: list[str] = []
        self._closed: Closed | None = None
        self._dropped = 0
        self._client = self._make_client(client_id, context=context, will=will)
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{client_id}", daemon=True)

    def start(self) -> None:
        """Begin to connect; events tell the rest."""
        self._thread.start()

    def send(self, topic: str, payload: bytes | bytearray, *, retain: bool) -> int:
        """Hand one QoS 1 packet to the library and return its id; the caller keeps to the window."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise LinkError(f"not sent: {paho.error_string(info.rc)}")
        return int(info.mid)

    def finish(self) -> None:
        """Say goodbye: the broker publishes no will."""
        self._stopping = True
        self._client.disconnect()

    def abort(self) -> None:
        """End the connection at once, as a cut would; the broker publishes the will."""
        self._stopping = True
        with self._lock:
            if self._raw is not None:
                try:
                    self._raw.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # it is over already

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    # -- below: the connection's thread --------------------------------------------------------------------------

    def _make_client(
        self, client_id: str, *, context: ssl.SSLContext | None, will: tuple[str, bytes] | None
    ) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if self._protocol == MQTT_5 else paho.MQTTv311,
            clean_session=None if self._protocol == MQTT_5 else not self._keep_session,
            reconnect_on_failure=False,
        )
        client.unlisted = {}
        client.waking = threading.Lock()
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(DEFAULT_RECEIVE_MAXIMUM)  # the window is ours, see window.py
        if context is not None:
            client.tls_set_context(context)
            client.connect_context = context
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_socket_open = self._opened
        client.on_socket_close = self._shut
        client.on_socket_register_write = _nothing  # keeps publish() from writing in the caller's thread
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_message = self._message
        client.on_disconnect = self._disconnected
        client.on_log = self._log
        return client

    def _run(self) -> None:
        client = self._client
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            if self._protocol == MQTT_5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
                properties.SessionExpiryInterval = SESSION_EXPIRY_S if self._keep_session else 0
                properties.MaximumPacketSize = MAX_PACKET_BYTES
                client.connect(
                    self._address.host,
                    self._address.port,
                    keepalive=KEEPALIVE_S,
                    clean_start=not self._keep_session,
                    properties=properties,
                )
            else:
                client.connect(self._address.host, self._address.port, keepalive=KEEPALIVE_S)
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS and not (self._stopping and self._raw is None):
                code = client.loop(_LOOK_UP_S)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            self._closed = self._closed or Closed(explain(error, self._address))
        finally:
            client.close()
            self._put(self._closed or self._unexplained(code))

    def _unexplained(self, code: MQTTErrorCode) -> Closed:
        said = " ".join(self._said)
        where = f"{self._address.host}:{self._address.port}"
        if "ALERT" in said.upper():
            return Closed(
                ConfigError(
                    f"{where} refuses our certificate ({_alert(said)})",
                    hint="it was revoked: python -m certs issue DIR NAME --kind KIND --force with another key"
                    if "REVOKED" in said.upper()
                    else "renew tls.crt, or have it accepted by the broker's CA (python -m certs renew)",
                )
            )
        if self._stopping:
            return Closed(LinkError("the connection was ended"))
        return Closed(
            LinkError(
                f"{where} closed the connection ({paho.error_string(code)})",
                hint="see the broker's log: it may refuse our certificate or our client id",
            ),
            other_version=self._protocol == MQTT_5,
        )

    def _put(self, event: Event) -> None:
        with self._lock:
            if type(event) is Arrived and len(self._events) >= MAX_ARRIVED:
                self._dropped += 1  # a drain is due: there are events
                return
            self._events.append(event)
            if self._drain_due:
                return
            self._drain_due = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            return  # the event loop is gone: nobody listens any more

    def _opened(self, _client: paho.Client, _data: object, sock: "paho.SocketLike") -> None:
        raw = socket.socket(fileno=os.dup(sock.fileno()))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms for each small packet
        with self._lock:
            self._raw = raw
        self._put(Opened())
        if self._stopping:
            self.abort()

    def _shut(self, _client: paho.Client, _data: object, _sock: "paho.SocketLike") -> None:
        with self._lock:
            if self._raw is not None:
                self._raw.close()
                self._raw = None

    def _connected(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        answer: Properties | None,
    ) -> None:
        client.on_log = None  # its texts are wanted until here only
        if reason.is_failure:
            self._closed = _refusal(reason, self._address)
            client.disconnect()
            return
        self._put(
            Connected(
                receive_maximum=int(getattr(answer, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM)),
                largest_packet=int(getattr(answer, "MaximumPacketSize", MAX_PACKET_BYTES)),
                session_present=bool(flags.session_present),
            )
        )
        if self._protocol == MQTT_5:
            keep = SubscribeOptions(qos=1, retainAsPublished=True)
            client.subscribe([(topic, keep) for topic in self._topics])
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _subscribed(
        self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _answer: Properties | None
    ) -> None:
        refused = zip(self._topics, reasons, strict=False)
        self._put(Subscribed(tuple(f"{topic}: {reason}" for topic, reason in refused if reason.is_failure)))

    def _published(
        self, _client: paho.Client, _data: object, mid: int, reason: ReasonCode, _answer: Properties | None
    ) -> None:
        code = self._client.unlisted.pop(mid, reason.value)
        self._put(Acknowledged(mid, str(reason) if code >= _FIRST_ERROR_CODE else "", code))

    def _message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # counted with those on topics that are not ours, and as bounded
            self._put(Arrived("", b"", message.retain))
            return
        self._put(Arrived(topic, bytes(message.payload), message.retain))

    def _disconnected(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _answer: Properties | None,
    ) -> None:
        if self._closed is None and flags.is_disconnect_packet_from_server:
            taken_over = reason.value == _SESSION_TAKEN_OVER
            self._closed = Closed(LinkError(f"the broker ended the connection: {reason}"), taken_over=taken_over)

    def _log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        if level in {paho.MQTT_LOG_ERR, paho.MQTT_LOG_WARNING}:
            self._said.append(text)

    # -- the event loop's thread again ---------------------------------------------------------------------------

    def _drain(self) -> None:
        with self._lock:
            events, self._events = self._events, deque()
            dropped, self._dropped = self._dropped, 0
            self._drain_due = False
        if dropped:
            self._on_event(Dropped(dropped))
        for event in events:
            self._on_event(event)


def explain(error: Exception, address: Address) -> AgentError:
    """Turn what connecting raised into words with a next step."""
    where = f"{address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, where, host=address.host)
    if isinstance(error, ssl.SSLError):
        return LinkError(f"TLS with {where} failed: {error.reason}", hint="see the broker's log; is this its TLS port?")
    if isinstance(error, socket.gaierror):
        return LinkError(f"{address.host}: the name is not known", hint="check the broker url and this machine's DNS")
    if isinstance(error, TimeoutError):
        return LinkError(f"{where} did not answer", hint="check the network and any firewall on the way")
    if isinstance(error, ConnectionRefusedError):
        return LinkError(f"{where} refused the connection", hint="is the broker running on that port?")
    return LinkError(f"{where}: {error}", hint="check the network; the agent tries again by itself")


def _explain_certificate(error: ssl.SSLCertVerificationError, where: str, *, host: str) -> AgentError:
    if error.verify_code in _OTHER_NAME:
        return ConfigError(
            f"{where}: the broker's certificate does not name {host}",
            hint="use a name that it was made for; or make it for this one too, and put it in place at the broker: "
            f"python -m certs issue DIR broker --kind broker --force --san {host.strip('[]')}",
        )
    if error.verify_code == _CERTIFICATE_EXPIRED:
        return LinkError(
            f"{where}: the broker's certificate has expired", hint="renew it at the broker, or set this machine's clock"
        )
    if error.verify_code == _CERTIFICATE_NOT_YET_VALID:
        return LinkError(f"{where}: the broker's certificate is not valid yet", hint="set this machine's clock")
    return ConfigError(
        f"{where}: the broker's certificate is not signed by ca.crt ({error.verify_message})",
        hint="put the certificate of the broker's CA into ca.crt",
    )


def _refusal(reason: ReasonCode, address: Address) -> Closed:
    where = f"{address.host}:{address.port}"
    if reason.value == _UNSUPPORTED_VERSION:
        return Closed(LinkError(f"{where} does not speak this version of MQTT"), other_version=True)
    return Closed(
        ConfigError(
            f"{where} refuses this device: {reason}", hint="have the certificate's common name accepted at the broker"
        )
    )


def _alert(said: str) -> str:
    words = said.upper().split("ALERT", 1)[1].split("]", 1)[0].strip("_ ")
    return words.replace("_", " ").lower() or "TLS alert"


def _nothing(*_: object) -> None:
    return
