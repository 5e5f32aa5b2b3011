"""The post office: what waits in the outbox goes out, at each connection and every so often until acknowledged.

Also ``state``: retained at each connection and on change, with the same session number as the connection's will
(``docs/protocol.md`` §7). Losing the line costs nothing: the rows stay until their reader names them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from agent.clock import MS_PER_S
from agent.envelope import MAX_OUTCOMES, MAX_PUBLISH_BYTES, TYP, VERBS, frame, sign
from agent.errors import LinkError
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.model import Moment
from agent.outbox import REPEAT_S, Outbox
from agent.trust import Trust
from agent.uplink import CHUNKS_AHEAD

AGAIN_S: Final = 15.0
"""After a message that the broker refused, or a line that was lost."""

_PAGE: Final = 32
_SETTLE_S: Final = 0.02
"""A burst of news is let settle before ``state`` tells of it; no message of the outbox waits for that."""

_ROUNDS: Final = 16
"""So often may news put ``state`` off."""

_log = logging.getLogger(__name__)


class Line(Protocol):
    """What of the broker the post office needs."""

    async def publish(self, channel: str, payload: bytes | bytearray, *, retain: bool = False) -> None:
        """Publish and wait for the broker's acknowledgement; raises ``LinkError``."""
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
    ) -> None:
        self._device = device
        self._index = index
        self._keystore = keystore
        self._outbox = outbox
        self._trust = trust
        self._now = now
        self._waiting = waiting
        self._news = asyncio.Event()
        self._session = 0
        self._told: dict[str, Any] = {}

    def news(self) -> None:
        """Say that the outbox or the state may have changed."""
        self._news.set()

    async def will(self) -> bytes:
        """Return the ``state`` that the broker publishes when we vanish; begins the next session number."""
        self._session = max(self._session + 1, self._now().agent_ms // MS_PER_S)
        return self._framed(await self._claims(online=False))

    async def run(self, line: Line) -> None:
        """Send for ever."""
        connection = 0
        while True:
            with contextlib.suppress(TimeoutError):  # refused by the broker on a line that stands: try again on it
                async with asyncio.timeout(AGAIN_S if connection else None):
                    connection = await line.next_session(connection)
            self._told = {}
            try:
                await self._serve(line)
            except LinkError as error:
                _log.info("not sent for now: %s", error.message)

    async def goodbye(self, line: Line) -> None:
        """Say offline before a stop; a line that is away already says it by the will."""
        try:
            await line.publish("state", self._framed(await self._claims(online=False)), retain=True)
        except LinkError:
            return

    async def _serve(self, line: Line) -> None:
        """Send at once what there is news of; ``state`` follows when the news settled, or was long enough about it."""
        after = rounds = 0
        await self._tell_state(line)
        while True:
            self._news.clear()
            after = await self._send_from(line, after)
            rounds += 1
            settled = not await self._hears(_SETTLE_S)
            if settled or rounds >= _ROUNDS:
                await self._tell_state(line)
                rounds = 0
            if settled and not await self._hears(REPEAT_S):
                after = 0

    async def _hears(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _send_from(self, line: Line, after: int) -> int:
        while True:
            page = await self._index.read(partial(self._outbox.pending, after=after, limit=_PAGE))
            if not page:
                return after
            for message in page:
                await line.publish(message.channel, message.body)
                after = message.row

    async def _tell_state(self, line: Line) -> None:
        claims = await self._claims(online=True)
        shown = {name: value for name, value in claims.items() if name != "iat"}
        if shown != self._told:
            await line.publish("state", self._framed(claims), retain=True)
            self._told = shown

    async def _claims(self, *, online: bool) -> dict[str, Any]:
        moment = self._now()

        def read(tx: Tx) -> tuple[dict[str, dict[str, int]], tuple[int, int]]:
            return self._trust.issuers(tx), self._waiting(tx)

        issuers, (objects, size_bytes) = await self._index.read(read)
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
        key = self._keystore
        return frame("state", sign(claims, typ=TYP["state"], kid=key.kid, alg=key.alg, sign=key.sign))
