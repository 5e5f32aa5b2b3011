"""The connection of a shell command to the broker: made, used, closed; nothing rests on it.

It listens where the devices answer this client (``rcpt/{kid}``, ``alert``, ``state``) and publishes on ``cmd``. The
broker keeps nothing for us between two commands: the device repeats what was not acknowledged. Two commands at the same
time need two client ids, else each would end the other's connection: a lock file per place gives them.
"""

import asyncio
import fcntl
import os
import secrets
import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from agent import files
from agent.broker import Reconnect, load_identity, parse_url, topic_base
from agent.broker.link import (
    MQTT_3_1_1,
    MQTT_5,
    Acknowledged,
    Arrived,
    Closed,
    Event,
    Link,
    Protocol,
    Subscribed,
)
from agent.clock import monotonic_s, pause
from agent.errors import ConfigError, LinkError
from agent.owner.home import Home, Settings

CONNECT_WITHIN_S: Final = 20.0
SPEAK_5_WITHIN_S: Final = 5.0
"""A broker that does not speak MQTT 5 may say nothing at all; then 3.1.1 is tried."""

PUBACK_WITHIN_S: Final = 20.0
CLOSE_WITHIN_S: Final = 2.0
LONGEST_PAUSE_S: Final = 10.0  # a person is waiting
PLACES: Final = 8
"""Commands of one home that may be connected at the same time."""


class Heard(msgspec.Struct, frozen=True):
    """A message: ``channel`` is the topic behind ``pv1/{tenant}/{device}/``; empty when the link came back."""

    channel: str
    payload: bytes


class Line:
    """An async context manager; inside it the line is connected, or connecting again."""

    def __init__(self, home: Home, settings: Settings, *, device: str, kid: str) -> None:
        if not settings.url or not settings.tenant:
            raise ConfigError(
                "no broker is named",
                hint="add --broker mqtts://HOST:8883 --tenant NAME --tls FOLDER, or --out FILE to go without a broker",
            )
        self._address = parse_url(settings.url)
        self._base = topic_base(settings.tenant, device)
        self._kid = kid
        if self._address.secure and not settings.identity:
            raise ConfigError("mqtts:// needs a TLS identity", hint="add --tls FOLDER with tls.crt, tls.key and ca.crt")
        folder = Path(settings.identity).expanduser() if settings.identity else None
        self._context: ssl.SSLContext | None = load_identity(folder).context if folder is not None else None
        self._home = home
        self._place = -1
        self._client_id = ""
        self._protocol: Protocol = MQTT_5
        self._link: Link | None = None
        self._events: asyncio.Queue[tuple[Link, Event]] = asyncio.Queue()
        self._arrived: list[Heard] = []
        self._reconnect = Reconnect(secrets.SystemRandom().random)

    async def __aenter__(self) -> Self:
        self._place, number = _take_place(self._home)
        self._client_id = f"owner-{self._kid[:16]}-{number}"
        try:
            await self._connect()
        except BaseException:
            os.close(self._place)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link = self._link
        if link is not None:
            link.finish()
            deadline_s = monotonic_s() + CLOSE_WITHIN_S
            ended: Event | None = None
            while not isinstance(ended, Closed) and monotonic_s() < deadline_s:
                ended = await self._take(deadline_s)
            link.abort()
        os.close(self._place)

    async def publish(self, payload: bytes) -> None:
        """Publish on ``cmd`` and return when the broker has it, which says nothing of the device.

        Raises ``LinkError`` when the link ended, or the broker refuses or is too slow.
        """
        link = self._link
        if link is None:
            raise LinkError("the connection to the broker was lost", hint="it is tried again")
        mid = link.send(f"{self._base}/cmd", payload, retain=False)
        deadline_s = monotonic_s() + PUBACK_WITHIN_S
        while True:
            event = await self._take(deadline_s)
            match event:
                case Acknowledged(mid=answered, refusal=refusal) if answered == mid:
                    if refusal:
                        raise LinkError(
                            f"the broker refuses the message: {refusal}",
                            hint="let this owner's certificate publish on pv1/TENANT/DEVICE/cmd (the broker's ACL)",
                        )
                    return
                case Closed(error=error):
                    self._link = None
                    raise LinkError(error.message, hint=error.hint)
                case None:
                    raise LinkError("the broker does not acknowledge", hint="check the broker")

    async def next(self, deadline_s: float) -> Heard | None:
        """Return what arrives next, or ``None`` at the deadline (monotonic seconds); reconnects meanwhile."""
        while True:
            if self._arrived:
                return self._arrived.pop(0)
            if self._link is None:
                return Heard("", b"") if await self._again(deadline_s) else None
            event = await self._take(deadline_s)
            if event is None and not self._arrived:
                return None
            if isinstance(event, Closed):
                self._link = None

    # --- below

    async def _again(self, deadline_s: float) -> bool:
        while monotonic_s() < deadline_s:
            pause_s = min(self._reconnect.failed(), LONGEST_PAUSE_S, max(0.0, deadline_s - monotonic_s()))
            await pause(pause_s)
            try:
                await self._connect()
            except LinkError:
                continue
            self._reconnect = Reconnect(secrets.SystemRandom().random)
            return True
        return False

    async def _connect(self) -> None:
        """Connect with MQTT 5, else 3.1.1; raises why not."""
        deadline_s = monotonic_s() + CONNECT_WITHIN_S
        while True:
            link = self._begin()
            first = self._protocol == MQTT_5
            closed = await self._until_ready(min(deadline_s, monotonic_s() + SPEAK_5_WITHIN_S) if first else deadline_s)
            if closed is None:
                self._link = link
                return
            link.abort()
            if not (closed.other_version and first):
                self._protocol = MQTT_5
                raise closed.error
            self._protocol = MQTT_3_1_1

    def _begin(self) -> Link:
        link = Link(
            self._address,
            context=self._context,
            client_id=self._client_id,
            protocol=self._protocol,
            topics=tuple(f"{self._base}/{channel}" for channel in (f"rcpt/{self._kid}", "alert", "state")),
            will=None,
            keep_session=False,
            on_event=lambda event: self._events.put_nowait((link, event)),
        )
        self._link = link
        link.start()
        return link

    async def _until_ready(self, deadline_s: float) -> Closed | None:
        while True:
            event = await self._take(deadline_s)
            match event:
                case Subscribed(refused=refused):
                    if not any("/rcpt/" in topic for topic in refused):
                        return None
                    self._link = None
                    return Closed(
                        ConfigError(
                            f"the broker refuses {', '.join(refused)}",
                            hint="let this owner's certificate read pv1/TENANT/DEVICE/rcpt/# (the broker's ACL)",
                        )
                    )
                case Closed():
                    self._link = None
                    return event
                case None:
                    self._link = None
                    where = f"{self._address.host}:{self._address.port}"
                    silent = LinkError(f"{where} did not answer", hint="check the network and the broker")
                    return Closed(silent, other_version=True)

    async def _take(self, deadline_s: float) -> Event | None:
        """Return the next event of the present link; what arrives is put aside too."""
        while True:
            try:
                async with asyncio.timeout(max(0.0, deadline_s - monotonic_s())):
                    link, event = await self._events.get()
            except TimeoutError:
                return None
            if link is not self._link:
                continue
            if isinstance(event, Arrived):
                base = f"{self._base}/"
                if event.topic.startswith(base) and event.payload:
                    channel = event.topic.removeprefix(base)
                    if not event.retained or channel == "state":
                        self._arrived.append(Heard(channel, event.payload))
            return event


def _take_place(home: Home) -> tuple[int, int]:
    for number in range(PLACES):
        fd = os.open(home.path / f"line-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        return fd, number
    raise ConfigError(f"{PLACES} commands of this home are connected already", hint="wait until one of them ends")
