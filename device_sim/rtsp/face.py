"""RTSP as a face of a simulated camera: listens, and ends every conversation when it is cancelled.

One stream at ``/main``, pictures and sound, over the line itself (interleaved); a player that wants it over UDP is told
so (461).
"""

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import Final

from device_sim.camera.device import Device
from device_sim.camera.listen import listening, stop_listening
from device_sim.rtsp.reel import PICTURES, SOUND, Reel

PATH: Final = "/main"
HEAD_MAX_BYTES: Final = 8_192
TRACKS: Final = {PATH: PICTURES, f"{PATH}/video": PICTURES, f"{PATH}/audio": SOUND}
WATCHERS_MAX: Final = 4

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    453: "Not Enough Bandwidth",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
}
_Answer = tuple[int, dict[str, str], bytes]
_METHODS: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"


class RtspFace:
    """Shows what ``device`` sees at ``host`` (none: every address); port 0 takes a free one, told as ``rtsp_port``."""

    def __init__(self, device: Device, *, host: str = "", port: int = 0) -> None:
        self._device, self._host, self._port = device, host, port
        self._watching = 0
        self.listening = asyncio.Event()

    @property
    def may_stream(self) -> bool:
        """Consented, and switched on by its agent if it has one."""
        return self._device.may_show

    async def run(self) -> None:
        """Serve until cancelled; raises ``OSError`` where it cannot listen."""
        device = self._device
        reel = await asyncio.to_thread(Reel, device, device.now())
        talking: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio runs this as one
            talking.add(task)
            try:
                await _Conversation(self, reel, reader, writer).run()
            except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return  # by the end of ``run``, or the other side's
            finally:
                talking.discard(task)
                writer.transport.abort()

        def hear() -> None:
            if not self.may_stream:
                for task in talking:
                    task.cancel()

        device.heard_by(hear)
        bound = listening(self._host, self._port)
        server = await asyncio.start_server(accept, sock=bound, limit=HEAD_MAX_BYTES)
        try:
            device.note_rtsp_port(bound.getsockname()[1])
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            device.note_rtsp_port(0)
            await stop_listening(server)
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)

    def count(self, by: int) -> bool:
        """Note one more or one fewer who watches; ``False`` when there is no room for one more."""
        if self._watching + by > WATCHERS_MAX:
            return False
        self._watching += by
        self._device.note_watchers(self._watching)
        return True


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    address: str
    fields: dict[str, str]


class _Conversation:
    """One connection: requests are answered, and after PLAY pictures are sent between the answers."""

    def __init__(self, face: RtspFace, reel: Reel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._face, self._reel = face, reel
        self._reader, self._writer = reader, writer
        self._session = ""
        self._tracks: set[int] = set()
        self._showing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            while (asked := await self._next()) is not None:
                self._answer(asked)
                await self._writer.drain()
                if asked.method == "TEARDOWN":
                    return
        finally:
            if self._showing is not None:
                self._showing.cancel()
                self._face.count(-1)
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await self._showing

    async def _next(self) -> _Asked | None:
        """Return the next request; a player's reports between them are passed over."""
        while True:
            first = await self._reader.read(1)
            if first == b"$":
                head = await self._reader.readexactly(3)
                await self._reader.readexactly(int.from_bytes(head[1:], "big"))
            elif first:
                return _read(first + await self._reader.readuntil(b"\r\n\r\n"))
            else:
                return None

    def _answer(self, asked: _Asked) -> None:
        status, fields, body = self._answered(asked)
        told = {"CSeq": asked.fields.get("cseq", ""), **fields}
        if body:
            told["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._writer.write(f"RTSP/1.0 {status} {_REASONS[status]}\r\n{head}\r\n".encode() + body)
        if asked.method == "PLAY" and status == 200 and self._showing is None:  # noqa: PLR2004 - RFC 2326
            self._showing = asyncio.get_running_loop().create_task(self._show(), name="stream")

    def _answered(self, asked: _Asked) -> _Answer:
        path = _path(asked)
        if asked.method in {"OPTIONS", "GET_PARAMETER", "TEARDOWN"}:
            return 200, {"Public": _METHODS}, b""
        if path not in TRACKS:
            return 404, {}, b""
        if not self._face.may_stream:
            return 403, {}, b""
        answers = {"DESCRIBE": self._described, "SETUP": self._set_up, "PLAY": self._played}
        answer = answers.get(asked.method)
        return answer(asked) if answer is not None else (405, {"Allow": _METHODS}, b"")

    def _described(self, asked: _Asked) -> _Answer:
        base = asked.address.rstrip("/") + "/"
        return 200, {"Content-Base": base, "Content-Type": "application/sdp"}, self._reel.described()

    def _set_up(self, asked: _Asked) -> _Answer:
        if "RTP/AVP/TCP" not in asked.fields.get("transport", ""):
            return 461, {}, b""
        self._session = self._session or secrets.token_hex(8)
        track = TRACKS[_path(asked)]
        self._tracks.add(track)
        return 200, {**self._told, "Transport": f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"}, b""

    def _played(self, _asked: _Asked) -> _Answer:
        if not self._session:
            return 455, {}, b""
        if self._showing is None and not self._face.count(1):
            return 453, {}, b""
        return 200, self._told, b""

    @property
    def _told(self) -> dict[str, str]:
        return {"Session": f"{self._session};timeout=60"}

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for shot in self._reel.shots():
            if shot.track not in self._tracks:
                continue
            await asyncio.sleep(begin_s + shot.at_s - loop.time())
            for channel, packets in enumerate((shot.media, shot.reports), 2 * shot.track):
                for packet in packets:
                    self._writer.write(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
            await self._writer.drain()


def _path(asked: _Asked) -> str:
    return "/" + asked.address.partition("://")[2].partition("/")[2].rstrip("/")


def _read(raw: bytes) -> _Asked:
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    method, _, rest = first.partition(" ")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return _Asked(method, rest.partition(" ")[0], fields)
