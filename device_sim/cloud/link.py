"""One MQTT connection of the cloud: one thread, ``TCP_NODELAY``, reconnecting until it is stopped.

MQTT 3.1.1, because every broker speaks it and the protocol needs nothing of 5. The session is clean: what was missed
while away comes back by the protocol's own repeats, never by a broker's queue. A message is acknowledged to the broker
after ``receive`` returned, so a receiver that waits makes the broker wait.
"""

import contextlib
import os
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from device_sim.cloud import clock, mqtt311
from device_sim.cloud.failure import AwayError, MessageError, SetupError

Receive = Callable[[str, bytes, bool], None]
"""topic, payload, retained."""

KEEPALIVE_S: Final = 30
PING_EVERY_S: Final = 10.0
ANSWER_WITHIN_S: Final = 15.0
FLUSH_WITHIN_S: Final = 5.0
RETRY_S: Final = 0.5
READ_AT_ONCE_BYTES: Final = 1024 * 1024
"""So much is read before what waits to be sent gets its turn."""
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_IDS: Final = 65_535


class _LostError(Exception):
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the callers' threads and the link's thread share."""

    client_id: str
    topics: tuple[str, ...]
    receive: Receive
    connected: Callable[[], None]
    up: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    waiting: deque[bytes] = field(default_factory=deque)
    wake: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))


class Link:
    """A connection that stays up from ``start`` to ``stop``; used once."""

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
            raise SetupError(f"{url!r} is no broker", hint="write mqtts://host:port or mqtt://host:port")
        if parts.scheme == "mqtts" and identity is None:
            raise SetupError("mqtts:// needs an identity", hint="--identity FOLDER with tls.crt, tls.key and ca.crt")
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._context = _context(identity) if parts.scheme == "mqtts" and identity else None
        self._desk = _Desk(client_id, tuple(topics), receive, connected)
        self._packet_id = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"link-{client_id}", daemon=True)
        self._first: socket.socket | None = None

    def start(self, *, timeout_s: float = ANSWER_WITHIN_S) -> None:
        """Connect and subscribe; raises ``AwayError`` if the broker does not answer in time."""
        try:
            self._first = self._open()
        except OSError as error:
            self._close_wake()
            raise AwayError(
                f"no broker at {self._host}:{self._port} ({error})", hint="start one: device-sim broker"
            ) from error
        self._thread.start()
        if not self._desk.up.wait(timeout_s):
            self.stop()
            raise AwayError(
                f"the broker at {self._host}:{self._port} does not let us subscribe", hint="check its access rules"
            )

    def stop(self) -> None:
        """Send what is waiting, disconnect and end the thread."""
        with self._lock:
            self._desk.stopping.set()
            self._poke()
        self._thread.join()
        self._close_wake()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over a message, QoS 1; any thread may call. After ``stop`` it goes nowhere."""
        with self._lock:
            if self._desk.stopping.is_set():
                return
            self._packet_id = self._packet_id % _IDS + 1
            self._desk.waiting.append(mqtt311.publish(topic, payload, packet_id=self._packet_id, retain=retain))
            if threading.current_thread() is not self._thread:
                self._poke()

    def _poke(self) -> None:
        with contextlib.suppress(BlockingIOError):  # poked often enough
            os.eventfd_write(self._desk.wake, 1)

    def _close_wake(self) -> None:
        os.close(self._desk.wake)

    # The thread.

    def _run(self) -> None:
        opened, self._first = self._first, None
        while True:
            try:
                with opened or self._open() as connection:
                    opened = None
                    _Session(self._desk, connection).run()
            except (OSError, MessageError, _LostError):
                self._desk.up.clear()
            if self._desk.stopping.wait(RETRY_S):
                return

    def _open(self) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), timeout=ANSWER_WITHIN_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise


class _Session:
    """One connection from CONNECT to its end; lives in the link's thread."""

    def __init__(self, desk: _Desk, connection: socket.socket) -> None:
        self._desk = desk
        self._connection = connection
        self._reader = mqtt311.Reader()
        self._out = bytearray(mqtt311.connect(desk.client_id, keepalive_s=KEEPALIVE_S))
        connection.settimeout(0)
        self._heard_s = self._pinged_s = clock.monotonic_s()

    def run(self) -> None:
        """Read and write until the link stops; raises when the connection is gone."""
        desk = self._desk
        while not desk.stopping.is_set():
            writing = [self._connection] if self._out else []
            ready, _, _ = select.select([self._connection.fileno(), desk.wake], writing, [], PING_EVERY_S)
            if desk.wake in ready:
                os.eventfd_read(desk.wake)
            if self._connection.fileno() in ready:
                self._read()
            self._keep_alive()
            self._write()
        self._finish()

    def _read(self) -> None:
        done = 0
        while done < READ_AT_ONCE_BYTES or self._pending():
            try:
                count = self._connection.recv_into(self._reader.space())
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not count:
                raise _LostError
            self._heard_s = clock.monotonic_s()
            done += count
            self._reader.filled(count)
            for packet in self._reader.packets():
                self._take(packet)

    def _take(self, packet: mqtt311.Publish | mqtt311.Answer) -> None:
        desk = self._desk
        if isinstance(packet, mqtt311.Publish):
            desk.receive(packet.topic, packet.payload, packet.retained)
            if packet.packet_id is not None:
                self._out += mqtt311.puback(packet.packet_id)
        elif not packet.agreed:
            raise _LostError
        elif packet.kind == mqtt311.CONNACK:
            self._out += mqtt311.subscribe(desk.topics, packet_id=_IDS)
        else:
            desk.up.set()
            desk.connected()

    def _pending(self) -> bool:
        """Say whether TLS holds bytes that select cannot see."""
        return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0

    def _keep_alive(self) -> None:
        now_s = clock.monotonic_s()
        if now_s - self._heard_s > KEEPALIVE_S:
            raise _LostError
        if now_s - self._pinged_s >= PING_EVERY_S:
            self._pinged_s = now_s
            self._out += mqtt311.PINGREQ_PACKET

    def _write(self) -> None:
        """Send what fits; what waits joins only once the broker let us in, so nothing is lost on the way there."""
        while True:
            if self._desk.up.is_set():
                while self._desk.waiting and len(self._out) < READ_AT_ONCE_BYTES:
                    self._out += self._desk.waiting.popleft()
            if not self._out:
                return
            try:
                sent = self._connection.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            del self._out[:sent]

    def _finish(self) -> None:
        """Send what waits, as far as the broker takes it in time, and say goodbye."""
        end_s = clock.monotonic_s() + FLUSH_WITHIN_S
        self._write()
        while (self._out or self._desk.waiting) and self._desk.up.is_set() and clock.monotonic_s() < end_s:
            select.select([], [self._connection], [], RETRY_S)
            self._write()
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            self._connection.send(mqtt311.DISCONNECT_PACKET)


def _context(identity: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
    except OSError as error:
        raise SetupError(
            f"{identity} has no usable tls.crt, tls.key and ca.crt", hint="make them: python -m certs init DIR"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
