"""The agent's line to its broker: connects, keeps connected, publishes with acknowledgement, hands over what arrives.

Rules: nothing is queued while offline (the index is the outbox; ``publish`` raises ``LinkError``); every wait has an
end; what arrives is untrusted bytes in a bounded queue per channel; a retained message on a channel is dropped and
counted, because a command is never retained.

The MQTT session is kept over reconnects (clean start off, one day): the broker then holds commands for a device that
is away for a moment. Nothing rests on it: a peer repeats what was not answered, and what comes twice acts once.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from agent.broker.address import Address, parse_url, topic_base
from agent.broker.identity import Identity, identity_stamp, load_identity
from agent.broker.link import (
    MAX_PACKET_BYTES,
    MQTT_3_1_1,
    MQTT_5,
    Acknowledged,
    Arrived,
    Closed,
    Connected,
    Dropped,
    Event,
    Link,
    Opened,
    Protocol,
    Subscribed,
)
from agent.broker.memory import keep_buffers, release_buffers
from agent.broker.reconnect import SHORT_SESSION_S, Reconnect
from agent.broker.refusal import refusal_error
from agent.broker.window import Window
from agent.clock import monotonic_s
from agent.errors import AgentError, ConfigError, LinkError, RefusedError
from agent.model import is_id

QUEUE_MESSAGES: Final = 256  # per channel
QUEUE_BYTES: Final = 4 * 1024 * 1024  # per channel
ACKNOWLEDGE_WITHIN_S: Final = 60.0  # a broker that takes longer is treated as gone at the next look around
PROBE_WITHIN_S: Final = 15.0
CONNACK_WITHIN_S: Final[dict[Protocol, float]] = {MQTT_5: 4.0, MQTT_3_1_1: 15.0}
"""How long a broker may take to answer: one that does not know MQTT 5 may just wait for more."""
LOOK_S: Final = 30.0  # how often a renewed certificate and a silent broker are looked for
CLOSE_WITHIN_S: Final = 5.0

CAUSES_MAX: Final = 64  # of one alert that stands: our channels, and the readers of receipts among them
REFUSAL_AGAIN_S: Final = 900.0  # how often the log tells of the same refusal

PROBE: Final = "probe"
STATE: Final = "state"
_PROBE_BYTES: Final = 16
_PACKET_OVERHEAD_BYTES: Final = 16  # fixed header, topic length, packet id, empty properties

_RULES: Final = "correct the broker's access rules: docs/protocol.md section 1"

_log = logging.getLogger(__name__)

Alert = Callable[[str, str], None]
"""Called with a code of docs/protocol.md §8 and a sentence; an empty sentence says that the trouble is over."""


LineTold = Callable[[AgentError | None], None]
"""Called once when the line is lost, or cannot be had, with the reason, and once, without one, when it is back."""


Wait = Callable[[float, asyncio.Event], Awaitable[None]]
"""Lets that many seconds pass, or fewer when the event is set meanwhile."""


class Counters(msgspec.Struct):
    """What happened since the start."""

    connections: int = 0
    ignored_retained: int = 0
    dropped_full: int = 0
    dropped_large: int = 0
    dropped_topic: int = 0
    refused_publishes: int = 0


class _Packet(msgspec.Struct):
    channel: str
    answer: asyncio.Future[None]
    sent_s: float
    bulk: bool


class _Channel:
    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.bytes = 0
        self.filled = asyncio.Event()


class Broker:
    """The line; ``run`` holds it until ``aclose``.

    ``identity`` is the folder of the TLS identity (none only for ``mqtt://`` on this machine, then ``device`` and
    ``client_id`` are needed). ``device`` names whose topics are meant, by default our own. Of ``channels`` only those
    that are also in ``retained`` give retained messages. ``will`` returns the ``state`` message for the broker to
    publish when we vanish, made anew for each connection. A tool that comes and goes sets ``keep_session`` to false.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str,
        identity: Path | None,
        device: str = "",
        client_id: str = "",
        channels: tuple[str, ...] = ("cmd", "upack"),
        retained: tuple[str, ...] = (),
        keep_session: bool = True,
        will: Callable[[], Awaitable[bytes]] | None = None,
        alert: Alert | None = None,
        line_told: LineTold = lambda _error: None,
        random: Callable[[], float] | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        clock_s: Callable[[], float] = monotonic_s,
        wait: Wait | None = None,
        protocol: Protocol = MQTT_5,
        look_s: float = LOOK_S,
        probe_s: float = PROBE_WITHIN_S,
    ) -> None:
        self._address: Address = parse_url(url)
        self._identity: Identity | None = load_identity(identity) if identity is not None else None
        if self._identity is None and self._address.secure:
            raise ConfigError("mqtts:// needs a TLS identity", hint="name the folder with tls.crt, tls.key and ca.crt")
        name = self._identity.name if self._identity is not None else ""
        self.device = device or name
        self.client_id = client_id or name
        self._base = topic_base(tenant, self.device)
        self._channels = {channel: _Channel() for channel in channels}
        self._retained = frozenset(retained)
        self._keep_session = keep_session
        self._may_probe = self.device == name or not self._address.secure
        self._will = will
        self._alert = alert if alert is not None else _log_alert
        self._line_told = line_told
        self._is_away = False
        self._random_bytes = random_bytes
        self._clock_s = clock_s
        self._wait = wait if wait is not None else _pause
        self._look_s = look_s
        self._probe_s = probe_s
        self._reconnect = Reconnect(random if random is not None else secrets.SystemRandom().random)
        self._link: Link | None = None
        self._online = False
        self._opened_s: float | None = None
        self._began_s: float | None = None
        self._closing = asyncio.Event()
        self._news = asyncio.Event()
        self._turn = asyncio.Event()
        self._over: Closed | None = None
        self._renewing = False
        self._packets: dict[int, _Packet] = {}
        self._submitted = False  # bulk packets since the buffers were last given back
        self._probe = b""
        self._probed_s = 0.0
        self._echoed = asyncio.Event()
        self._window = Window(1)
        self._told: dict[str, set[str]] = {}  # causes by alert code
        self._refused: dict[tuple[str, int], float] = {}  # when a refusal of that reason was logged last, by channel
        self.protocol: Protocol = protocol
        self.session = 0
        self.trouble: AgentError | None = None
        self.counters = Counters()

    # -- for the flows -----------------------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Whether there is a connection with its subscriptions in place."""
        return self._online

    @property
    def window(self) -> Window:
        """The window of the present connection."""
        return self._window

    def certificate_expires_ms(self) -> int | None:
        """Return when our certificate ends, in Unix milliseconds; ``None`` without TLS."""
        return self._identity.expires_ms if self._identity is not None else None

    def largest_payload_bytes(self, channel: str) -> int:
        """Return how many payload bytes fit into one packet on ``channel`` (docs/protocol.md §2)."""
        return MAX_PACKET_BYTES - _PACKET_OVERHEAD_BYTES - len(self._base) - 1 - len(channel)

    async def submit(
        self, channel: str, payload: bytes | bytearray, *, retain: bool = False, bulk: bool = False
    ) -> asyncio.Future[None]:
        """Wait for room in the window, hand the packet over, and return what becomes done when it is acknowledged.

        ``bulk`` packets leave room for others. The payload must not change until then. Raises ``LinkError`` when
        offline; the future has one when the connection ends first or the broker is too slow, and a ``RefusedError``
        when the broker refuses this packet on a line that stands: what else is sent goes on.
        """
        if len(payload) > self.largest_payload_bytes(channel):
            raise AssertionError(f"{len(payload)} bytes do not fit into a packet on {channel}")
        window = self._window
        if not self._online:
            raise _offline(self.trouble)
        await window.take(bulk=bulk)
        link = self._link
        if link is None or window is not self._window:
            window.give(bulk=bulk)
            raise _offline(self.trouble)
        try:
            mid = link.send(f"{self._base}/{channel}", payload, retain=retain)
        except LinkError:
            window.give(bulk=bulk)
            raise
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._packets[mid] = _Packet(channel, answer, self._clock_s(), bulk)
        self._submitted = self._submitted or bulk
        return answer

    async def publish(self, channel: str, payload: bytes | bytearray, *, retain: bool = False) -> None:
        """Publish on ``pv1/{tenant}/{device}/{channel}`` and return when the broker acknowledged it.

        That is no storage receipt. Raises what ``submit`` and its future do.
        """
        await (await self.submit(channel, payload, retain=retain))

    async def receive(self, channel: str) -> bytes:
        """Return the next message of a subscribed channel, in order of arrival."""
        queue = self._channels[channel]
        while not queue.messages:
            queue.filled.clear()
            await queue.filled.wait()
        payload = queue.messages.popleft()
        queue.bytes -= len(payload)
        return payload

    async def next_session(self, after: int) -> int:
        """Return the number of the present connection once there is one later than number ``after``."""
        while not (self._online and self.session > after):
            self._news.clear()
            await self._news.wait()
        return self.session

    async def first_session(self, *, within_s: float) -> int:
        """Return once connected; after ``within_s`` seconds, or when a person must act, raise what is in the way."""
        try:
            async with asyncio.timeout(within_s):
                while not self._online:
                    if isinstance(self.trouble, ConfigError):
                        raise self.trouble
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise self.trouble or LinkError(
                f"{self._address.host}:{self._address.port} did not answer", hint="check the network"
            ) from None
        return self.session

    async def require_echo(self, *, within_s: float) -> None:
        """Return once what we published to ourselves (docs/protocol.md §1) came back; raises ``LinkError``."""
        try:
            async with asyncio.timeout(within_s):
                await self._echoed.wait()
        except TimeoutError:
            raise LinkError(self._silence(), hint=_RULES) from None

    def _silence(self) -> str:
        return f"what is published to {self._base}/{PROBE} does not come back"

    def renew(self) -> None:
        """Say goodbye and connect again at once, with a will of now."""
        if self._link is not None:
            self._renewing = True
            self._link.finish()

    async def aclose(self) -> None:
        """End the connection with a goodbye; ``run`` then returns."""
        self._closing.set()
        self._turn.set()
        if self._link is not None:
            self._link.finish()

    # -- the connection's life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the line until ``aclose``: connect, and connect again after full-jitter pauses."""
        keep_buffers()
        while not self._closing.is_set():
            closed = await self._one_connection()
            pause_s = self._pause_after(closed)
            if pause_s > 0:
                await self._wait(pause_s, self._closing)

    async def _one_connection(self) -> Closed:
        will = await self._will() if self._will is not None else None
        self._over, self._opened_s, self._began_s, self._renewing = None, None, None, False
        link = Link(
            self._address,
            context=self._identity.context if self._identity is not None else None,
            client_id=self.client_id,
            protocol=self.protocol,
            topics=tuple(f"{self._base}/{channel}" for channel in self._subscriptions()),
            will=(f"{self._base}/{STATE}", will) if will is not None else None,
            keep_session=self._keep_session,
            on_event=lambda event: self._on_event(link, event),
        )
        self._link = link
        link.start()
        closed = Closed(LinkError("the agent is stopping"))
        try:
            closed = await self._until_over(link)
        finally:
            link.abort()
            self._let_go(closed.error)
        return closed

    def _subscriptions(self) -> tuple[str, ...]:
        return (*self._channels, *((PROBE,) if self._may_probe else ()))

    async def _until_over(self, link: Link) -> Closed:
        while self._over is None:
            limit_s = CLOSE_WITHIN_S if self._closing.is_set() else self._look_again_s()
            self._turn.clear()
            try:
                async with asyncio.timeout(limit_s):
                    await self._turn.wait()
            except TimeoutError:
                if self._closing.is_set():
                    break
                self._look_around(link)
        return self._over or Closed(LinkError("the agent is stopping"))

    def _look_again_s(self) -> float:
        soon = min(self._probe_s, self._look_s)
        return soon if self._began_s is not None else min(soon, CONNACK_WITHIN_S[self.protocol])

    def _look_around(self, link: Link) -> None:
        if self._submitted and not self._packets:
            self._submitted = False
            release_buffers()
        oldest = next(iter(self._packets.values()), None)
        if oldest is not None and self._clock_s() - oldest.sent_s > ACKNOWLEDGE_WITHIN_S:
            _log.warning("the broker acknowledged nothing for %d s", ACKNOWLEDGE_WITHIN_S)
            link.abort()
        if self._opened_s is not None and self._began_s is None:
            late = self._clock_s() - self._opened_s >= CONNACK_WITHIN_S[self.protocol]
            if late:
                where = f"{self._address.host}:{self._address.port}"
                error = LinkError(f"{where} accepts a connection but does not answer", hint="is that an MQTT broker?")
                self._over = Closed(error, other_version=True)
        if self._probe and self._clock_s() - self._probed_s >= self._probe_s:
            self._probe = b""
            self._tell("acl_broken", self._silence(), cause="echo")
        if self._began_s is not None and self._clock_s() - self._began_s >= SHORT_SESSION_S:
            self._untell("takeover")
        if self._identity_changed():
            self._renewing = True
            link.finish()

    def _identity_changed(self) -> bool:
        if self._identity is None:
            return False
        try:
            if identity_stamp(self._identity.folder) == self._identity.stamp:
                return False
            self._identity = load_identity(self._identity.folder)
        except ConfigError as error:
            _log.warning("the renewed certificate is not used: %s", error)
            return False
        _log.info("the TLS identity was renewed: connecting again with it")
        return True

    def _pause_after(self, closed: Closed) -> float:
        if self._closing.is_set() or self._renewing:
            return 0.0
        self.trouble = closed.error
        self._news.set()
        if self._began_s is None:
            self._identity_changed()
            if closed.other_version and self.protocol == MQTT_5:
                self.protocol = MQTT_3_1_1
                return 0.0
            self._note_away(closed.error)
            self.protocol = MQTT_5
            return self._reconnect.failed()
        self._note_away(closed.error)
        pause_s = self._reconnect.ended(self._clock_s() - self._began_s, taken_over=closed.taken_over)
        if self._reconnect.takeover_suspected:
            self._tell("takeover", f"another client connects as {self.client_id} and ends our sessions")
        return pause_s

    def _note_away(self, error: AgentError) -> None:
        """Tell that there is no line, once until there is one again."""
        if not self._is_away:
            self._is_away = True
            self._line_told(error)

    def _let_go(self, error: AgentError) -> None:
        self._link, self._online, self._probe = None, False, b""
        self._echoed.clear()
        self._window.close(error)
        packets, self._packets = self._packets, {}
        for packet in packets.values():
            if not packet.answer.done():
                packet.answer.set_exception(LinkError(error.message, hint=error.hint))
                packet.answer.exception()  # its caller may have been cancelled; then nobody else would look

    # -- events of the connection ------------------------------------------------------------------------------------

    def _on_event(self, link: Link, event: Event) -> None:
        if link is not self._link:
            return  # a connection that was given up meanwhile
        match event:
            case Acknowledged():
                self._on_acknowledged(event)
            case Arrived():
                self._on_arrived(event)
            case Dropped():
                self.counters.dropped_full += event.count
            case Opened():
                self._opened_s = self._clock_s()
                self._turn.set()
            case Connected():
                self._on_connected(link, event)
            case Subscribed():
                self._on_subscribed(link, event)
            case Closed():
                self._over = event
                self._turn.set()

    def _on_connected(self, link: Link, event: Connected) -> None:
        self._window = Window(event.receive_maximum)
        self._began_s = self._clock_s()
        if event.largest_packet < MAX_PACKET_BYTES:
            self._over = Closed(
                ConfigError(
                    f"the broker takes packets of {event.largest_packet} bytes only",
                    hint=f"allow {MAX_PACKET_BYTES} at the broker (mosquitto: max_packet_size)",
                )
            )
            self._began_s = None
            link.finish()
            self._turn.set()

    def _on_subscribed(self, link: Link, event: Subscribed) -> None:
        if event.refused:
            self._tell("acl_broken", f"the broker refuses {', '.join(event.refused)}", cause="subscription")
        else:
            self._untell("acl_broken", cause="subscription")
        self.session += 1
        self.counters.connections += 1
        self.trouble = None
        self._online = True
        if self._is_away:
            self._is_away = False
            self._line_told(None)
        if self._may_probe and self._window.take_now():
            self._probe = self._random_bytes(_PROBE_BYTES)
            self._probed_s = self._clock_s()
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                mid = link.send(f"{self._base}/{PROBE}", self._probe, retain=False)
            except LinkError:
                self._window.give(bulk=False)
            else:
                self._packets[mid] = _Packet(PROBE, answer, self._clock_s(), bulk=False)
        self._news.set()
        self._turn.set()

    def _on_acknowledged(self, event: Acknowledged) -> None:
        packet = self._packets.pop(event.mid, None)
        if packet is None:
            return
        self._window.acknowledged(self._clock_s() - packet.sent_s, bulk=packet.bulk)
        if event.refusal:
            error = refusal_error(event, base=self._base, channel=packet.channel)
            self._note_refusal(_kind(packet.channel), error, code=event.code)
            if not packet.answer.done():
                packet.answer.set_exception(error)
                packet.answer.exception()  # a probe has no caller; the others see it all the same
            return
        if self._told.get("acl_broken"):
            self._untell("acl_broken", cause=_kind(packet.channel))
        if not packet.answer.done():
            packet.answer.set_result(None)

    def _note_refusal(self, channel: str, error: RefusedError, *, code: int) -> None:
        """Tell of a refusal; in the log of each kind once in a while, as each is tried again and again."""
        self.counters.refused_publishes += 1
        now_s = self._clock_s()
        last_s = self._refused.get((channel, code))
        if last_s is None or now_s - last_s >= REFUSAL_AGAIN_S:
            while len(self._refused) >= CAUSES_MAX:
                del self._refused[next(iter(self._refused))]
            self._refused[channel, code] = now_s
            _log.warning("%s; next: %s", error.message, error.hint)
        if error.reason == "not_authorized":
            self._tell("acl_broken", error.message, cause=channel)

    def _on_arrived(self, event: Arrived) -> None:
        channel = event.topic.removeprefix(f"{self._base}/")
        if channel == PROBE and self._may_probe:
            if self._probe and event.payload == self._probe:
                self._probe = b""
                self._echoed.set()
                self._untell("acl_broken", cause="echo")
        elif (queue := self._channels.get(channel)) is None:
            self.counters.dropped_topic += 1
        elif event.retained and channel not in self._retained:
            self.counters.ignored_retained += 1
        elif len(event.payload) > MAX_PACKET_BYTES:
            self.counters.dropped_large += 1
        elif len(queue.messages) >= QUEUE_MESSAGES or queue.bytes + len(event.payload) > QUEUE_BYTES:
            self.counters.dropped_full += 1
        elif event.payload:  # an empty one only clears a retained message
            queue.messages.append(event.payload)
            queue.bytes += len(event.payload)
            queue.filled.set()

    def _tell(self, code: str, what: str, *, cause: str = "") -> None:
        causes = self._told.setdefault(code, set())
        if cause not in causes and len(causes) < CAUSES_MAX:
            causes.add(cause)
            self._alert(code, what)

    def _untell(self, code: str, *, cause: str = "") -> None:
        causes = self._told.get(code, set())
        if cause in causes:
            causes.discard(cause)
            if not causes:
                self._alert(code, "")


def _kind(channel: str) -> str:
    """Return the channel without the id of an upload: access rules do not name it."""
    head, _, rest = channel.partition("/")
    return head if is_id(rest) else channel


def _offline(trouble: AgentError | None) -> LinkError:
    if trouble is None:
        return LinkError("not connected to the broker", hint="it is tried again by itself")
    return LinkError(f"not connected to the broker: {trouble.message}", hint=trouble.hint)


def _log_alert(code: str, what: str) -> None:
    _log.warning("%s: %s", code, what or "over")


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
