"""One upload as a state machine without input or output: told what happened and when, it says what to do next.

    asking ──go──▶ sending ──all sent──▶ closing ──stored──▶ (over)
       ▲              │ │                   │
       └── 15 s without progress, or the link was lost ─────┘      a ``go`` at any time: send on from its offset

While no ``go`` came, ``begin`` is repeated sooner (after 2, 4, 8 s): after a broker restarts, the store may be back
later than we are.

Rules of docs/protocol.md §6: no chunk before ``go``; at most 128 chunks beyond what the store said is durable; what it
said is durable is sent again only if it asks for it; progress is anything that the broker or the store acknowledged,
and the end of a wait that our own rate limit asked for.
"""

from typing import Final

import msgspec

from agent.envelope import Go, Stored
from agent.errors import CorruptError

CHUNK_BYTES: Final = 120 * 1024
CHUNKS_AHEAD: Final = 128
"""Sent and not yet covered by an acknowledgement (docs/protocol.md §9). Measured: with 64 an upload is a twentieth
slower while other files are sealed."""
STALLED_AFTER_S: Final = 15.0
FIRST_ASK_AGAIN_S: Final = 2.0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``begin`` states of an upload; every repeat is made from the same values, so its hash stays the same."""

    upload: str
    object: str
    iat_s: int
    payload_bytes: int
    payload_sha256: str
    header: bytes
    header_sha256: str
    regions: tuple[str, ...]


class MisstatedError(CorruptError):
    """What the store states of an upload cannot be true, whatever is here."""


class Ask(msgspec.Struct, frozen=True):
    """Send ``begin``."""


class Chunk(msgspec.Struct, frozen=True):
    """Send these bytes of the payload."""

    offset: int
    length: int


class End(msgspec.Struct, frozen=True):
    """Send ``end``."""


class Idle(msgspec.Struct, frozen=True):
    """Nothing to do before an answer, or ``seconds`` from now at the latest."""

    seconds: float


Step = Ask | Chunk | End | Idle


class Transfer:
    """The state of one upload since the agent started; ``durable`` is what the store said last."""

    def __init__(self, manifest: Manifest, *, now_s: float, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.manifest = manifest
        self.durable = 0
        self.resent_bytes = 0
        self._chunk_bytes = chunk_bytes
        self._next = 0
        self._highest = 0
        self._allowed = False
        self._asked = False
        self._ended = False
        self._asks_open = 0
        self._ask_again_s = FIRST_ASK_AGAIN_S
        self._progress_s = now_s

    def step(self, now_s: float) -> Step:
        """Return what to do now; doing it is assumed."""
        if now_s - self._progress_s >= self._patience_s():
            if not self._allowed:
                self._ask_again_s = min(STALLED_AFTER_S, 2 * self._ask_again_s)
            self._allowed = self._asked = self._ended = False
        if not self._allowed:
            if self._asked:
                return self._idle(now_s)
            self._asked = True
            self._asks_open += 1
            self._progress_s = now_s
            return Ask()
        left = self.manifest.payload_bytes - self._next
        if left > 0:
            return self._chunk(left, now_s)
        if not self._ended:
            self._ended = True
            self._progress_s = now_s
            return End()
        return self._idle(now_s)

    def restart(self, now_s: float) -> None:
        """Ask again: the link was lost, and with it every answer under way."""
        self._allowed = self._asked = self._ended = False
        self._asks_open = 0
        self._ask_again_s = FIRST_ASK_AGAIN_S
        self._progress_s = now_s

    def sent(self, now_s: float) -> None:
        """Note that the broker acknowledged a packet."""
        self._progress_s = now_s

    def held_back(self, now_s: float) -> None:
        """Note that we kept a packet back until now for our own limit; that is no silence of the other side."""
        self._progress_s = now_s

    def go(self, value: Go, now_s: float) -> None:
        """Send on from the offset of the store's ``go``; raises ``MisstatedError`` for one outside the payload."""
        if value.offset > self.manifest.payload_bytes:
            raise MisstatedError("the store asks for bytes beyond the end of the payload")
        self._progress_s = now_s
        self._ask_again_s = FIRST_ASK_AGAIN_S
        answers_a_repeat = self._allowed and self._asks_open > 0
        self._asks_open = max(0, self._asks_open - 1)
        if answers_a_repeat:
            return  # it was written before the store saw what was sent since
        self._allowed = True
        self._ended = False
        self._next = value.offset
        self.durable = value.offset

    def acknowledged(self, offset: int, now_s: float) -> None:
        """Note that everything below ``offset`` is durable; raises ``MisstatedError`` for one outside the payload.

        It is believed as the offset of a ``go`` is, also beyond what was sent since the agent started: the broker keeps
        for us what the store said to us before we ended. Of a store that is wrong, ``end`` asks for the rest.
        """
        if offset > self.manifest.payload_bytes:
            raise MisstatedError("the store acknowledges bytes beyond the end of the payload")
        if offset > self.durable:
            self.durable = offset
            self._next = max(self._next, offset)
            self._progress_s = now_s

    def stored(self, value: Stored) -> None:
        """Check the storage receipt against what was sent; raises ``MisstatedError`` when it names anything else."""
        manifest = self.manifest
        same = (
            value.object == manifest.object
            and value.payload.bytes == manifest.payload_bytes
            and value.payload.sha256 == manifest.payload_sha256
            and value.header.bytes == len(manifest.header)
            and value.header.sha256 == manifest.header_sha256
        )
        if not same:
            raise MisstatedError("the storage receipt names other bytes than were sent")

    def _chunk(self, left: int, now_s: float) -> Step:
        length = min(left, self._chunk_bytes)
        if self._next + length - self.durable > CHUNKS_AHEAD * self._chunk_bytes:
            return self._idle(now_s)
        offset = self._next
        self._next += length
        self.resent_bytes += max(0, min(self._highest, self._next) - offset)
        self._highest = max(self._highest, self._next)
        return Chunk(offset, length)

    def _idle(self, now_s: float) -> Idle:
        return Idle(max(0.0, self._patience_s() - (now_s - self._progress_s)))

    def _patience_s(self) -> float:
        return STALLED_AFTER_S if self._allowed else self._ask_again_s
