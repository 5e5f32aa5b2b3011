"""The agent's side of the sealing process: there while there is work, gone when idle, started again when it dies.

Rules: a job whose process died is tried once more from an empty part file, then it is ``LinkError``; a job that takes
longer than its limit costs the process its life; an idle process ends after ``idle_s``, and its keys with it. A job
that stands still, because its source's medium does not answer, gives its place to another. A camera's recording is
fetched there, where its TLS ends; the process opens nothing itself, so it asks here for connections. One that gets on
slower than a camera may, by what came of it, is cut off: until then it has one of the places of those.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agent.camera.identity import Order
from agent.child import Child
from agent.errors import CorruptError, LinkError
from agent.sealer.fetching import Connect, Pace, Switchboard
from agent.sealer.job import (
    FILES_MAX,
    LIVE_MAX,
    MESSAGE_MAX_BYTES,
    Answer,
    Request,
    Sealed,
    SealJob,
    decode_answer,
    encode,
)

IDLE_S: Final = 4.0
"""Longer than the gap between two segments of one busy moment, shorter than a person's patience with memory use."""

PLACES: Final = 3
"""Jobs at work at once: one waits for its fsync while two are encrypted, on the two to four cores meant."""

FETCHES: Final = 4
"""Recordings of cameras fetched at once: each waits for its network most of the time, so they need no place."""

STILL_S: Final = 10.0
"""A job that wrote nothing for so long waits for its source's medium."""

JOB_LIMIT_S: Final = 900.0
"""A 16 GiB recording at 18 MiB/s, the slowest SD card class that video is written to."""

CLOSE_S: Final = 5.0

_TRIES: Final = 2


class Sealer:
    """Seals through a process that it starts on demand; belongs to the running event loop."""

    def __init__(self, *, idle_s: float = IDLE_S, job_limit_s: float = JOB_LIMIT_S, still_s: float = STILL_S) -> None:
        self._idle_s = idle_s
        self._job_limit_s = job_limit_s
        self._still_s = still_s
        self._room = asyncio.Semaphore(FILES_MAX)
        self._live_room = asyncio.Semaphore(LIVE_MAX)
        self._places = asyncio.Semaphore(PLACES)
        self._fetching = asyncio.Semaphore(FETCHES)
        self._process: _Process | None = None
        self._leaving: set[_Process] = set()
        self._idle: asyncio.TimerHandle | None = None
        self.started = 0

    @property
    def pid(self) -> int | None:
        """The process id while one runs."""
        return self._process.pid if self._process is not None else None

    async def seal(self, job: SealJob, *, source_fd: int, part_fd: int) -> Sealed:
        """Seal the source (file, memfd or pipe, read to its end) into the part file, which is synced on return.

        Raises what ``agent.sealer.worker.seal`` does, and ``LinkError`` when the process died twice, or once with a
        pipe, which cannot be read again. The caller keeps and closes both descriptors.
        """
        async with self._room:
            place = _Place(self._places)
            await self._places.acquire()
            try:
                return await self._sealed(job, place, source_fd=source_fd, part_fd=part_fd)
            finally:
                place.leave()

    async def seal_live(self, job: SealJob, *, source_fd: int, part_fd: int) -> Sealed:
        """Do the same for a pipe that comes as slowly as it is recorded: it takes nobody's place while it waits."""
        async with self._live_room:
            return await self._sealed(job, _Place(None), source_fd=source_fd, part_fd=part_fd)

    async def fetch(self, job: SealJob, order: Order, *, connect: Connect, part_fd: int) -> Sealed:
        """Seal a camera's recording into the part file, which is synced on return; ``connect`` gives connections to it.

        Raises what ``agent.sealer.worker.seal`` does, and ``LinkError`` when the process died or it took too long.
        """
        async with self._fetching, self._room:
            process = self._running()
            try:
                return await self._fetched(process, job, order, connect=connect, part_fd=part_fd)
            except _DiedError:
                raise _died() from None
            finally:
                self._rest()

    async def _fetched(
        self, process: "_Process", job: SealJob, order: Order, *, connect: Connect, part_fd: int
    ) -> Sealed:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (
            theirs,
            Switchboard(ours, connect) as switchboard,
            process.asked(job, order=order, source_fd=theirs.fileno(), part_fd=part_fd) as answer,
        ):
            theirs.close()
            pace = Pace(limit_s=self._job_limit_s)
            while not answer.done():
                await asyncio.wait((answer,), timeout=self._still_s)
                got_bytes = max(os.fstat(part_fd).st_size, switchboard.read_bytes)
                if pace.is_lost(got_bytes, waited_s=self._still_s):
                    switchboard.give_up()
            return _sealed(answer.result())

    async def _sealed(self, job: SealJob, place: "_Place", *, source_fd: int, part_fd: int) -> Sealed:
        for _ in range(_TRIES if _can_be_read_again(source_fd) else 1):
            process = self._running()
            try:
                async with asyncio.timeout(self._job_limit_s):
                    answer = await self._answer(process, job, place, source_fd=source_fd, part_fd=part_fd)
            except _DiedError:
                continue
            except TimeoutError:
                process.kill()
                raise LinkError(
                    f"sealing took longer than {self._job_limit_s:.0f} s",
                    hint="look at the source's disk or network",
                ) from None
            finally:
                self._rest()
            return _sealed(answer)
        raise _died()

    async def _answer(
        self, process: "_Process", job: SealJob, place: "_Place", *, source_fd: int, part_fd: int
    ) -> Answer:
        """Wait for the answer; a job that stands still loses its place, and goes on all the same."""
        written = os.fstat(part_fd).st_size
        with process.asked(job, source_fd=source_fd, part_fd=part_fd) as answer:
            while True:
                await asyncio.wait((answer,), timeout=self._still_s)
                if answer.done():
                    return answer.result()
                before, written = written, os.fstat(part_fd).st_size
                if written == before:
                    place.leave()

    async def aclose(self) -> None:
        """End the process and wait until it is gone; jobs under way fail with ``LinkError``."""
        self._retire()
        for process in tuple(self._leaving):
            await process.gone()

    def _running(self) -> "_Process":
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is None or self._process.dead:
            if self._process is not None:
                self._leave(self._process)
            self._process = _Process()
            self.started += 1
        return self._process

    def _rest(self) -> None:
        """Arrange the end of an idle process."""
        if self._process is None or self._process.busy:
            return
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._retire)

    def _retire(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is not None:
            self._leave(self._process)
            self._process = None

    def _leave(self, process: "_Process") -> None:
        process.close()
        self._leaving = {other for other in self._leaving if not other.reaped}
        self._leaving.add(process)


class _Place:
    """One of the places, or none; whoever leaves it twice left it once."""

    def __init__(self, places: asyncio.Semaphore | None) -> None:
        self._places = places

    def leave(self) -> None:
        if self._places is not None:
            self._places.release()
            self._places = None


def _died() -> LinkError:
    return LinkError("the sealing process died while it worked", hint="see the log of the system for why")


def _can_be_read_again(source_fd: int) -> bool:
    try:
        os.lseek(source_fd, 0, os.SEEK_CUR)  # unlike fstat(2) it asks no server
    except OSError:
        return False
    return True


class _DiedError(Exception):
    """The process went away before it answered."""


class _Process:
    """One sealing process, its socket and the jobs that wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._child = Child("agent.sealer")
        self._channel = self._child.channel
        # The requests of a moment fit, and they are read at once, so a send never waits.
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PLACES * MESSAGE_MAX_BYTES)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = 0
        self._loop.add_reader(self._channel, self._hear)
        self.dead = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def reaped(self) -> bool:
        return self._child.exited.done()

    @contextmanager
    def asked(
        self, job: SealJob, *, source_fd: int, part_fd: int, order: Order | None = None
    ) -> "Iterator[asyncio.Future[Answer]]":
        """Ask, and give the answer's future; raises ``_DiedError``, now or from the future, when there is none."""
        self._numbers += 1
        number = self._numbers
        message = encode(Request(number, job, order))
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            socket.send_fds(self._channel, [message], [source_fd, part_fd])
            yield answer
        except (BrokenPipeError, ConnectionError):
            self._died()
            raise _DiedError from None
        except BlockingIOError:
            raise LinkError("the sealing process does not read its jobs", hint="the machine is overloaded") from None
        finally:
            self._waiting.pop(number, None)
            answer.cancel()

    def kill(self) -> None:
        self._child.kill()
        self._died()

    def close(self) -> None:
        """Let it end: it does when its socket closes."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()
        self._died()

    async def gone(self) -> None:
        """Wait for its end, hurried after ``CLOSE_S``; one that waits for a dead server cannot even be killed."""
        await asyncio.wait((self._child.exited,), timeout=CLOSE_S)
        if not self._child.exited.done():
            self._child.kill()
            await asyncio.wait((self._child.exited,), timeout=CLOSE_S)

    def _hear(self) -> None:
        try:
            raw = self._channel.recv(MESSAGE_MAX_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            raw = b""
        if not raw:
            self._loop.remove_reader(self._channel)
            self._died()
            return
        try:
            answer = decode_answer(raw)
        except CorruptError:
            self.kill()  # what it read took it over, or it is no process of ours
            return
        waiting = self._waiting.get(answer.number)  # none: its asker was cancelled
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _died(self) -> None:
        self.dead = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_DiedError())


def _sealed(answer: Answer) -> Sealed:
    if answer.failure is not None:
        raise answer.failure.error()
    assert answer.sealed is not None  # noqa: S101 - a message of our own process, one of the two is set
    return answer.sealed
