"""The agent's side of the process that reads a camera: one process for one connection.

Rules: the process gets the address, the pinned certificate and an open file of credentials over its socket, nothing in
its arguments or its environment; what it tells is bounded, and a process that tells more is ended; it is gone when the
connection is.
"""

import asyncio
import importlib.util
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Self

from agent.child import Child
from agent.errors import ConfigError, CorruptError, LinkError
from agent.rtsp.message import MESSAGE_MAX_BYTES, Ask, Began, Ended, Failed, Listened, decode_told, encode
from agent.rtsp.settings import StreamSettings, open_credentials

END_S: Final = 8.0
"""A process that was asked to end is killed then; it ends itself before (``__main__.LAST_WORDS_S``)."""

TOLD_MAX: Final = 16
"""Messages that wait to be looked at; a segment has two, and they are seconds apart."""

_MS_PER_S: Final = 1000


def require_extra() -> None:
    """Raise ``ConfigError`` where PyAV is not installed; it is not loaded for that."""
    if importlib.util.find_spec("av") is None:
        raise ConfigError(
            'a source of kind "rtsp" needs PyAV, which is not installed',
            hint="in the folder of the project: pip install '.[rtsp]'",
        )


class Segment:
    """One segment on its way: read ``fd`` to its end, then ``close``; ``length`` is known by then if it is whole."""

    def __init__(self, began: Began, fd: int) -> None:
        self.fd = fd
        self.stream_ms = began.stream_ms
        self.behind_ms = began.behind_ms
        self.length_ms: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Close the descriptor: the process takes that as a no to all that follows."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def ended(self, length_ms: int | None) -> None:
        """Note how long it is, ``None`` when nobody will ever say."""
        if not self.length_ms.done():
            self.length_ms.set_result(length_ms)


class Watch:
    """One connection to a camera through a process of its own; an asynchronous context, of the running event loop.

    Starting raises ``ConfigError`` for credentials that cannot be used.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Segment | Failed | None] = asyncio.Queue()
        self._open: dict[int, Segment] = {}
        self.listened: Listened | None = None
        """What became of the sound, where it is asked for; known before the first segment."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def __aenter__(self) -> Self:
        settings = self._settings
        credentials = [] if settings.credentials is None else [open_credentials(settings.credentials)]
        try:
            self._start()
            ask = Ask(
                url=settings.url,
                certificate_sha256=settings.certificate_sha256,
                has_credentials=bool(credentials),
                sound=settings.sound,
                segment_ms=round(settings.segment_s * _MS_PER_S),
                stall_ms=round(settings.stall_s * _MS_PER_S),
            )
            with suppress(BrokenPipeError, ConnectionError):  # it died at once: its end is heard
                socket.send_fds(self._channel, [encode(ask)], credentials)
        finally:
            for fd in credentials:
                os.close(fd)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let it end: it does when its socket closes; hurried when it does not."""
        self._loop.remove_reader(self._channel)
        self._channel.close()
        self._lost()
        if not self._child.exited.done():
            self._child.kill()
        await asyncio.shield(self._child.exited)
        while not self._told.empty():
            left = self._told.get_nowait()
            if isinstance(left, Segment):
                left.close()

    async def segments(self) -> AsyncIterator[Segment]:
        """Return each segment as it begins; the caller closes it.

        Raises why the connection ended: ``LinkError``, ``CorruptError`` when what answers there is no camera,
        ``ConfigError`` where trying again does not help.
        """
        while True:
            told = await self._told.get()
            if told is None:
                raise LinkError(
                    "the process that reads the camera died",
                    hint="see the log of the system for why; it is tried again",
                )
            if isinstance(told, Failed):
                raise told.error()
            yield told

    async def finish(self) -> None:
        """Ask for the end of the segment under way, and wait until the process is gone: all it had is in the pipe."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        await asyncio.wait((self._child.exited,), timeout=END_S)

    def drop(self) -> None:
        """End it at once: nothing of what it has is wanted."""
        self._child.kill()

    def _start(self) -> None:
        self._child = Child("agent.rtsp")
        self._channel = self._child.channel
        self._loop.add_reader(self._channel, self._hear)

    def _hear(self) -> None:
        try:
            raw, fds, _, _ = socket.recv_fds(self._channel, MESSAGE_MAX_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError:
            raw, fds = b"", []
        if not raw:
            self._loop.remove_reader(self._channel)
            self._lost()
            return
        try:
            self._take(decode_told(raw), fds)
        except (CorruptError, ValueError):
            for fd in fds:
                os.close(fd)
            self._child.kill()  # a stream took the process over, or it is no process of ours

    def _take(self, told: Listened | Began | Ended | Failed, fds: list[int]) -> None:
        if isinstance(told, Began):
            if len(fds) != 1 or self._told.qsize() >= TOLD_MAX:
                raise ValueError
            segment = self._open[told.number] = Segment(told, fds[0])
            self._told.put_nowait(segment)
        elif fds:
            raise ValueError
        elif isinstance(told, Listened):
            self.listened = told
        elif isinstance(told, Ended):
            segment_ended = self._open.pop(told.number, None)
            if segment_ended is not None:
                segment_ended.ended(told.length_ms)
        else:
            self._told.put_nowait(told)

    def _lost(self) -> None:
        """Nothing more is told."""
        for segment in self._open.values():
            segment.ended(None)
        self._open.clear()
        self._told.put_nowait(None)
