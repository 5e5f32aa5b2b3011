"""The thin shell round a ``Transfer``: reads the payload, submits packets, waits for answers, survives a lost link.

What the page cache holds is read at once, straight into the packet's buffer; else a worker thread reads several chunks,
so that a slow card never holds the event loop. Nothing here decides.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from agent.envelope import CHUNK_HEAD_BYTES, Failed, Go, Stored, UploadAck, frame_chunk
from agent.errors import CorruptError, LinkError, RefusedError
from agent.uplink.mail import Mail
from agent.uplink.rate import Rate
from agent.uplink.transfer import (
    CHUNK_BYTES,
    CHUNKS_AHEAD,
    STALLED_AFTER_S,
    Ask,
    Chunk,
    End,
    Idle,
    Manifest,
    MisstatedError,
    Transfer,
)

READ_CHUNKS: Final = 8
LINES_LOST: Final = 3
"""Lines that ended one after the other while packets of this upload were under way and nothing more became durable: a
broker that ends the connection at a packet it does not like would have it end for ever, and for all others too."""

ANEW_AFTER_BYTES: Final = CHUNKS_AHEAD * CHUNK_BYTES
"""So much more must be durable before an upload that the store did not know is begun a second time at once: a store
that answers each ``begin`` or chunk so would get one ``begin`` after the other, for ever."""

_NOT_AT_ONCE: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL})  # preadv2(2) with RWF_NOWAIT
_HASH_BYTES: Final = 1 << 20
_MOST_ANSWERS: Final = 128  # waiting to be looked at; a store that sends more is answered later by its next one


Wait = Callable[[float, asyncio.Event], Awaitable[None]]
"""Lets that many seconds pass, or fewer when the event is set meanwhile."""


async def pause_until(seconds: float, event: asyncio.Event) -> None:
    """Be the ``Wait`` of a running agent."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class Line(Protocol):
    """What of the broker an upload needs."""

    async def submit(self, channel: str, payload: bytes | bytearray, *, bulk: bool = False) -> asyncio.Future[None]:
        """Hand a packet over; the future is done when the broker has it, else ``LinkError`` or ``RefusedError``."""
        ...

    async def next_session(self, after: int) -> int:
        """Return the number of a connection later than ``after``."""
        ...


class Sending:
    """One upload under way; ``deliver`` hands it the store's verified answers, ``run`` ends with the receipt."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        mail: Mail,
        path: Path,
        line: Line,
        rate: Rate,
        clock_s: Callable[[], float],
        wait: Wait,
        now_s: Callable[[], int],
        regions: tuple[str, ...],
    ) -> None:
        self._transfer = Transfer(manifest, now_s=clock_s())
        self._begin = mail.begin(manifest)
        self.manifest_hash = mail.manifest_hash(manifest)
        self.object_id = manifest.object
        self._mail = mail
        self._path = path
        self._line = line
        self._rate = rate
        self._clock_s = clock_s
        self._wait = wait
        self._now_s = now_s
        self._regions = regions
        self._channel = f"up/{manifest.upload}"
        self._answers: list[Go | UploadAck | Stored | Failed] = []
        self._news = asyncio.Event()
        self._trouble: LinkError | RefusedError | None = None
        self._in_flight = 0
        self._lost = 0
        self._durable_at_loss = 0
        self._durable_unknown: int | None = None  # when the store said last that it does not know this upload
        self._chunks: dict[int, bytearray] = {}
        self.kept_elsewhere = False  # the store stated that it keeps the copy in a region that it may not be in

    @property
    def regions(self) -> tuple[str, ...]:
        """Where the store was told that it may keep it; none where that may be anywhere."""
        return self._regions

    @property
    def durable_bytes(self) -> int:
        """What the store said is durable."""
        return self._transfer.durable

    @property
    def resent_bytes(self) -> int:
        """What was sent more than once since the agent started."""
        return self._transfer.resent_bytes

    def deliver(self, answer: Go | UploadAck | Stored | Failed) -> bool:
        """Take a verified answer of our store if it is about exactly this upload and manifest; return whether it is."""
        ours = (self._mail.store_kid, self._transfer.manifest.upload, self.manifest_hash)
        if (answer.iss, answer.upload, answer.manifest) != ours:
            return False
        if len(self._answers) < _MOST_ANSWERS:
            self._answers.append(answer)
            self._news.set()
        return True

    async def run(self) -> Stored:
        """Send until the storage receipt is here.

        Raises ``RefusedError`` with the store's reason (``region_refused`` when the region is not one of ours) or the
        broker's, which took not this upload's packet; ``CorruptError`` when the payload here is not what was sealed,
        and ``MisstatedError`` when the store's word cannot be true: a storage receipt's once the payload was read
        again. A lost link is waited out; ``LinkError`` comes when it is lost again and again over this upload.
        """
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != self._transfer.manifest.payload_bytes:
                raise CorruptError("the sealed payload has another size than when it was sealed")
            stored = await self._run(fd)
            with suppress(OSError):  # only advice: nobody reads it again soon, so the memory is free for the next one
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return stored
        finally:
            os.close(fd)

    async def _run(self, fd: int) -> Stored:
        session = await self._line.next_session(0)
        while True:
            stored = await self._take_answers(fd)
            if stored is not None:
                return stored
            try:
                await self._do_next(fd)
            except LinkError:
                if self._lines_lost_in_vain() >= LINES_LOST:
                    raise
                session = await self._reconnected(session)
                self._trouble = None
                self._transfer.restart(self._clock_s())

    def _lines_lost_in_vain(self) -> int:
        """Return how many lines in a row ended over this upload without anything more of it becoming durable."""
        if self._in_flight or self._trouble is not None:  # else there was no line to lose
            self._lost = self._lost + 1 if self._transfer.durable <= self._durable_at_loss else 1
            self._durable_at_loss = self._transfer.durable
        return self._lost

    async def _reconnected(self, session: int) -> int:
        try:
            async with asyncio.timeout(STALLED_AFTER_S):
                return await self._line.next_session(session)
        except TimeoutError:  # still away
            return session

    async def _do_next(self, fd: int) -> None:
        if self._trouble is not None:
            raise self._trouble
        match self._transfer.step(self._clock_s()):
            case Ask():
                await self._submit(self._begin)
            case Chunk(offset, length):
                pause_s = self._rate.take(length, self._clock_s())
                if pause_s > 0:
                    await self._wait(pause_s, asyncio.Event())
                    self._transfer.held_back(self._clock_s())
                await self._submit(await self._chunk(fd, offset, length), bulk=True)
            case End():
                manifest = self._transfer.manifest
                await self._submit(self._mail.end(manifest.upload, self.manifest_hash, iat_s=self._now_s()))
            case Idle(seconds):
                self._news.clear()
                await self._wait(seconds, self._news)

    async def _submit(self, payload: bytes | bytearray, *, bulk: bool = False) -> None:
        answer = await self._line.submit(self._channel, payload, bulk=bulk)
        self._in_flight += 1
        answer.add_done_callback(self._acknowledged)

    def _acknowledged(self, answer: asyncio.Future[None]) -> None:
        self._in_flight -= 1
        error = None if answer.cancelled() else answer.exception()
        if error is None:
            self._transfer.sent(self._clock_s())
        elif isinstance(error, (LinkError, RefusedError)):
            self._trouble = error
            self._news.set()

    async def _take_answers(self, fd: int) -> Stored | None:
        answers, self._answers = self._answers, []
        for answer in answers:
            match answer:
                case Go():
                    self._check_region(answer.region)
                    self._transfer.go(answer, self._clock_s())
                    self._chunks.clear()
                case UploadAck():
                    self._transfer.acknowledged(answer.offset, self._clock_s())
                case Stored():
                    await self._check_stated(answer, fd)
                    self.kept_elsewhere = True
                    self._check_region(answer.region)
                    self.kept_elsewhere = False
                    return answer
                case Failed():
                    await self._give_up(answer, fd)
        return None

    def _check_region(self, region: str) -> None:
        if self._regions and region not in self._regions:
            raise RefusedError(f"the store would keep it in {region}", reason="region_refused", retry="later")

    async def _check_stated(self, answer: Stored, fd: int) -> None:
        """Compare a storage receipt with what was sent; what is here is read again before the store is blamed."""
        try:
            self._transfer.stored(answer)
        except MisstatedError:
            await self._require_as_sealed(fd)
            raise

    async def _require_as_sealed(self, fd: int) -> None:
        if await asyncio.to_thread(_sha256, fd) != self._payload_sha256():
            raise CorruptError("the sealed payload here changed since it was sealed")

    async def _give_up(self, answer: Failed, fd: int) -> None:
        if answer.reason == "unknown_upload" and self._may_begin_anew():
            self._transfer.restart(self._clock_s())
            return
        if answer.reason == "hash_mismatch":
            await self._require_as_sealed(fd)
        raise RefusedError(f"the store refuses: {answer.reason}", reason=answer.reason, retry="later")

    def _may_begin_anew(self) -> bool:
        """Return whether to begin at once what a store lost: the first time, then only where much went in between."""
        durable, before = self._transfer.durable, self._durable_unknown
        if before is not None and durable < before + ANEW_AFTER_BYTES:
            return False
        self._durable_unknown = durable
        return True

    def _payload_sha256(self) -> str:
        return self._transfer.manifest.payload_sha256

    async def _chunk(self, fd: int, offset: int, length: int) -> bytearray:
        packet = self._chunks.pop(offset, None) or _read_cached(fd, offset, length)
        if packet is None:
            total = self._transfer.manifest.payload_bytes
            self._chunks = await asyncio.to_thread(_read, fd, offset, min(READ_CHUNKS * CHUNK_BYTES, total - offset))
            packet = self._chunks.pop(offset)
        if len(packet) != CHUNK_HEAD_BYTES + length:
            raise CorruptError("the sealed payload became shorter while it was sent")
        return packet


def _read_cached(fd: int, offset: int, length: int) -> bytearray | None:
    packet = frame_chunk(offset, length)
    try:
        got = os.preadv(fd, [memoryview(packet)[CHUNK_HEAD_BYTES:]], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno in _NOT_AT_ONCE:
            return None
        raise
    return packet if got == length else None


def _read(fd: int, offset: int, amount: int) -> dict[int, bytearray]:
    packets: dict[int, bytearray] = {}
    while amount > 0:
        packet = frame_chunk(offset, min(amount, CHUNK_BYTES))
        got = os.preadv(fd, [memoryview(packet)[CHUNK_HEAD_BYTES:]], offset)
        if got < len(packet) - CHUNK_HEAD_BYTES:
            raise CorruptError("the sealed payload became shorter while it was sent")
        packets[offset] = packet
        offset += got
        amount -= got
    return packets


def _sha256(fd: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while data := os.pread(fd, _HASH_BYTES, offset):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()
