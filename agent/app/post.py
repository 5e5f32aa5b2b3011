"""The post office: what waits in the outbox goes out, at each connection and every so often until acknowledged.

Also ``state``: retained at each connection and on change, with the same session number as the connection's will
(``docs/protocol.md`` §7). Of a device that has told its owner its last word (§5a) the broker is to keep none: what it
retained is cleared, and the line is begun anew with an empty will, which clears it again whatever dies behind it. Only
then does the last receipt go out. Losing the line costs nothing: the rows stay until their reader names them. A message
that the broker refuses waits by itself (``parking``); the others go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, Protocol

from agent.app.parking import Parking
from agent.clock import MS_PER_S, monotonic_s
from agent.envelope import MAX_OUTCOMES, MAX_PUBLISH_BYTES, TYP, VERBS, frame, sign
from agent.errors import LinkError, RefusedError
from agent.index import Index, Tx
from agent.index.outbox import Message
from agent.keystore import Keystore
from agent.model import Moment
from agent.outbox import REPEAT_S, Outbox
from agent.trust import Trust
from agent.uplink import CHUNKS_AHEAD, Wait, pause_until

AGAIN_S: Final = 15.0
"""After a line that did not take a message and yet stands."""

_PAGE: Final = 32
_SETTLE_S: Final = 0.02
"""A burst of news is let settle before ``state`` tells of it; no message of the outbox waits for that."""

_ROUNDS: Final = 16
"""So often may news put ``state`` off."""

_log = logging.getLogger(__name__)


_STATE: Final = "state"


class Line(Protocol):
    """What of the broker the post office needs."""

    async def submit(self, channel: str, payload: bytes | bytearray, *, retain: bool = False) -> asyncio.Future[None]:
        """Hand a message over; the future is done when the broker has it, else ``LinkError`` or ``RefusedError``."""
        ...

    def renew(self) -> None:
        """Have another connection in place of this one, with a will of its own."""
        ...

    async def next_session(self, after: int) -> int:
        """Return the number of a connection later than ``after``."""
        ...


class Post:
    """Sends what waits; ``news`` is called by whoever wrote something."""

    def __init__(
        self,
        *,
        device: str,
        index: Index,
        keystore: Keystore,
        outbox: Outbox,
        trust: Trust,
        now: Callable[[], Moment],
        waiting: Callable[[Tx], tuple[int, int]],
        forgotten: Callable[[Tx], bool] = lambda _tx: False,
        clock_s: Callable[[], float] = monotonic_s,
        wait: Wait = pause_until,
    ) -> None:
        self._device = device
        self._index = index
        self._keystore = keystore
        self._outbox = outbox
        self._trust = trust
        self._now = now
        self._waiting = waiting
        self._forgotten = forgotten
        self._wills = True  # whether the will of this connection says anything
        self._clock_s = clock_s
        self._wait = wait
        self._news = asyncio.Event()
        self._session = 0
        self._connection = 0
        self._told: dict[str, Any] | None = None
        self._parking = Parking()
        self._under_way: Hashable = None

    def news(self) -> None:
        """Say that the outbox or the state may have changed."""
        self._news.set()

    async def will(self) -> bytes:
        """Return the ``state`` that the broker publishes when we vanish; begins the next session number."""
        self._session = max(self._session + 1, self._now().agent_ms // MS_PER_S)
        claims = await self._claims(online=False)
        self._wills = bool(claims)
        return self._framed(claims)

    async def run(self, line: Line) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(line), name="post-watch")
            await self._send_always(line)

    async def _watch(self, line: Line) -> None:
        """Notice a new connection also while there is no news: state and what is unread are due at each."""
        while True:
            self._connection = await line.next_session(self._connection)
            self._news.set()

    async def _send_always(self, line: Line) -> None:
        connection = 0
        while True:
            before = connection
            with contextlib.suppress(TimeoutError):  # not taken on a line that stands: try again on it
                async with asyncio.timeout(AGAIN_S if connection else None):
                    connection = await line.next_session(connection)
            if connection != before:
                self._parking.reconnected()
            self._told = None
            try:
                await self._serve(line, connection)
            except LinkError as error:
                _log.info("not sent for now: %s", error.message)
                if self._under_way is not None:
                    self._parking.lost(self._under_way, self._clock_s())

    async def goodbye(self, line: Line) -> None:
        """Say offline before a stop; a line that is away already says it by the will."""
        said = self._framed(await self._claims(online=False))
        try:
            await (await line.submit(_STATE, said, retain=True))
        except (LinkError, RefusedError):
            return

    async def _serve(self, line: Line, connection: int) -> None:
        """Send at once what there is news of; ``state`` follows when the news settled, or was long enough about it.

        Returns when another connection has taken the place of this one, or is to.
        """
        after = rounds = 0
        repeat_s = self._clock_s() + REPEAT_S
        await self._tell_state(line)
        while self._connection <= connection:
            self._news.clear()
            last = await self._send_from(line, after)
            if last is None:
                await self._tell_state(line)
                line.renew()
                return
            after = last
            await self._send_parked(line, after)
            rounds += 1
            await self._wait(_SETTLE_S, self._news)
            settled = not self._news.is_set()
            if settled or rounds >= _ROUNDS:
                await self._tell_state(line)
                rounds = 0
            if settled:
                now_s = self._clock_s()
                parked_s = self._parking.next_s(now_s)
                await self._wait(min(repeat_s - now_s, parked_s or REPEAT_S), self._news)
            if self._clock_s() >= repeat_s:
                after, repeat_s = 0, self._clock_s() + REPEAT_S

    async def _send_from(self, line: Line, after: int) -> int | None:
        """Send what waits behind a row and return the last; ``None`` where this connection must not take it."""

        def read(tx: Tx) -> tuple[tuple[Message, ...], bool]:
            return self._outbox.pending(tx, after=after, limit=_PAGE), self._forgotten(tx)

        while True:
            page, forgotten = await self._index.read(read)
            if forgotten and self._wills:
                return None
            if not page:
                return after
            for message in page:
                await self._send(line, message.row, channel=message.channel, payload=message.body)
                after = message.row

    async def _send_parked(self, line: Line, after: int) -> None:
        """Send what was refused, is no longer told to wait, and lies behind us in the outbox."""
        for row in self._parking.due(self._clock_s()):
            if not isinstance(row, int) or row > after:
                continue
            page = await self._index.read(partial(self._outbox.pending, after=row - 1, limit=1))
            if page and page[0].row == row:
                await self._send(line, row, channel=page[0].channel, payload=page[0].body)
            else:
                self._parking.sent(row)  # taken back, or its reader has it meanwhile

    async def _send(self, line: Line, what: Hashable, *, channel: str, payload: bytes, retain: bool = False) -> bool:
        """Send a message unless it is parked; return whether the broker took it."""
        if not self._parking.may_go(what, self._clock_s()):
            return False
        self._under_way = None
        answer = await line.submit(channel, payload, retain=retain)
        self._under_way = what  # still set after a ``LinkError``: then ``run`` asks which one it was
        taken = True
        try:
            await answer
        except RefusedError:
            taken = False
        self._under_way = None
        if taken:
            self._parking.sent(what)
        else:
            self._parking.refused(what, self._clock_s())
        return taken

    async def _tell_state(self, line: Line) -> None:
        claims = await self._claims(online=True)
        shown = {name: value for name, value in claims.items() if name != "iat"}
        if shown != self._told and await self._send(
            line, _STATE, channel=_STATE, payload=self._framed(claims), retain=True
        ):
            self._told = shown

    async def _claims(self, *, online: bool) -> dict[str, Any]:
        """Return what ``state`` says; nothing of a device that has told its last word."""
        moment = self._now()

        def read(tx: Tx) -> tuple[dict[str, dict[str, int]], tuple[int, int]] | None:
            return None if self._forgotten(tx) else (self._trust.issuers(tx), self._waiting(tx))

        found = await self._index.read(read)
        if found is None:
            return {}
        issuers, (objects, size_bytes) = found
        return {
            "iss": self._device,
            "iat": moment.agent_ms // MS_PER_S,
            "online": online,
            "session": self._session,
            "versions": ["pv1"],
            "verbs": list(VERBS),
            "limits": {
                "publish_bytes": MAX_PUBLISH_BYTES,
                "window": CHUNKS_AHEAD,
                "select_ids": MAX_OUTCOMES,
                "outcomes": MAX_OUTCOMES,
            },
            "clock": "trusted" if moment.trusted else "unsure",
            "issuers": issuers,
            "uploads": {"waiting": objects, "bytes": size_bytes},
        }

    def _framed(self, claims: dict[str, Any]) -> bytes:
        if not claims:  # which clears what the broker retained
            return b""
        key = self._keystore
        return frame("state", sign(claims, typ=TYP["state"], kid=key.kid, alg=key.alg, sign=key.sign))
