"""One connection to a camera, from its start to its end, in numbered steps.

    1 credentials are read · 2 the camera is reached, its certificate looked at · 3 FFmpeg opens the stream through the
    relay · 4 packets are cut into segments, each into a pipe whose other end the agent gets · 5 the last segment is
    ended, whatever ended the connection · 6 the agent is told why

A watch in a thread of its own ends it when no picture came for too long, or when the agent does not want any more; the
end is always the same: the relay closes, FFmpeg finds its line closed, and 5 follows.
"""

import contextlib
import fcntl
import os
import select
import socket
import threading
from typing import Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from agent.clock import monotonic_s
from agent.errors import AgentError, ConfigError, CorruptError, LinkError
from agent.rtsp.challenge import Credentials, read_credentials
from agent.rtsp.message import Ask, Began, Ended, Failed, Listened, encode, failure_of
from agent.rtsp.relay import Relay, connect
from agent.rtsp.segment import Cutter
from agent.rtsp.settings import read_address
from agent.rtsp.sound import Sound

CODECS: Final = ("h264", "hevc")
"""Others hold no key frames, or have no place in MP4."""

PIPE_BYTES: Final = 1 << 20
"""Linux lets any user have so much (fs.pipe-max-size)."""

UNREAD_S: Final = 30.0
"""What the agent does not read for so long it does not want; its own disk may be busy for some seconds."""

CREDENTIALS_MAX_BYTES: Final = 4096
_MS_PER_S: Final = 1000
_LOOK_S: Final = 0.25

# Of FFmpeg: only what is wanted is asked for, on the line itself, and the first look at it is short.
_OPTIONS: Final = {
    "rtsp_transport": "tcp",
    "analyzeduration": "2000000",
    "protocol_whitelist": "rtsp,tcp,rtp",
}


class UnwantedError(Exception):
    """The agent closed its end of a segment's pipe, or of the socket."""


def watch(channel: socket.socket, ask: Ask, credentials_fd: int | None) -> None:
    """Do the steps; returns when the connection ended and the agent was told why."""
    try:
        failed = failure_of(_watch(channel, ask, credentials_fd))
    except AgentError as error:
        failed = failure_of(error)
    except (UnwantedError, BrokenPipeError, ConnectionError):
        return
    _tell(channel, failed)


def _watch(channel: socket.socket, ask: Ask, credentials_fd: int | None) -> AgentError:
    # 1 and 2.
    credentials = None if credentials_fd is None else _read(credentials_fd)
    address = read_address(ask.url)
    camera = connect(address, certificate_sha256=ask.certificate_sha256)
    relay = Relay(camera, address, credentials=credentials, monotonic=monotonic_s, sound=ask.sound)
    passing = threading.Thread(target=relay.run, name="relay", daemon=True)
    passing.start()
    watched = _Watched(channel, relay, stall_s=ask.stall_ms / _MS_PER_S)
    threading.Thread(target=watched.run, name="watch", daemon=True).start()
    try:
        return _read_stream(channel, ask, relay, watched)
    finally:
        relay.close()


def _read_stream(channel: socket.socket, ask: Ask, relay: Relay, watched: "_Watched") -> AgentError:
    segments = _Segments(channel, relay)
    cutter: Cutter | None = None
    try:
        # 3.
        with av.open(relay.url, options=_options(ask)) as opened:
            stream = _pictures(opened)
            sound = _sound(channel, opened, relay) if ask.sound else None
            segment_s = ask.segment_ms / _MS_PER_S
            cutter = Cutter(stream, segment_s=segment_s, begin=segments.begin, sound=sound)
            # 4.
            try:
                for packet in opened.demux(*([stream] if sound is None else [stream, sound.stream])):
                    if packet.stream is stream:
                        watched.seen()
                        cutter.take(packet)
                    else:
                        cutter.hear(packet)
            finally:
                # 5.
                cutter.end()
    except av.FFmpegError:
        if segments.unwanted or watched.unwanted:
            raise UnwantedError from None
        return watched.trouble or relay.trouble or _ended(cutter)
    if segments.unwanted or watched.unwanted:
        raise UnwantedError
    return watched.trouble or relay.trouble or _ended(cutter)


def _ended(cutter: Cutter | None) -> AgentError:
    if cutter is None:
        return CorruptError("what the camera sends is no stream that can be read")
    return LinkError("the camera ended the stream")


def _pictures(opened: InputContainer) -> VideoStream:
    for stream in opened.streams.video:
        if stream.codec_context.name in CODECS:
            return stream
    raise ConfigError(
        "the camera streams neither H.264 nor H.265",
        hint="choose one of them in the camera, or the address of another of its streams",
    )


def _sound(channel: socket.socket, opened: InputContainer, relay: Relay) -> Sound | None:
    """Return the sound that is taken, and tell the agent of it."""
    wanted, coding = relay.tracks.sound, relay.tracks.left_out
    if wanted is None:
        _tell(channel, Listened(coding=coding, left_out="cannot_be_kept" if coding else "none_is_sent"))
        return None
    for stream in opened.streams.audio:
        if stream.codec_context.name == "aac" and stream.codec_context.extradata:
            _tell(channel, Listened(coding=wanted.coding, left_out=""))
            return Sound(stream, behind_s=relay.tracks.sound_behind_s)
    _tell(channel, Listened(coding=wanted.coding, left_out="description_is_unclear"))
    return None


def _options(ask: Ask) -> dict[str, str]:
    return {**_OPTIONS, "allowed_media_types": "video+audio" if ask.sound else "video"}


def _read(fd: int) -> Credentials:
    with open(fd, "rb") as file:
        return read_credentials(file.read(CREDENTIALS_MAX_BYTES))


def _tell(channel: socket.socket, told: Listened | Began | Ended | Failed, fd: int | None = None) -> None:
    try:
        socket.send_fds(channel, [encode(told)], [] if fd is None else [fd])
    except OSError:
        raise UnwantedError from None


class _Watched:
    """Looks at the clock and at the agent's end of the socket while FFmpeg reads."""

    def __init__(self, channel: socket.socket, relay: Relay, *, stall_s: float) -> None:
        self.trouble: AgentError | None = None
        self.unwanted = False
        self._channel = channel
        self._relay = relay
        self._stall_s = stall_s
        self._seen_s = monotonic_s()

    def seen(self) -> None:
        """Note that a picture came."""
        self._seen_s = monotonic_s()

    def run(self) -> None:
        """Look until there is a reason to end."""
        while self.trouble is None and not self.unwanted:
            if select.select([self._channel], [], [], _LOOK_S)[0]:
                self.unwanted = True  # the agent has nothing to say but that it ends
            elif monotonic_s() - self._seen_s > self._stall_s:
                self.trouble = LinkError(f"no picture came for {self._stall_s:g} s")
        self._relay.close()


class _Segments:
    """Gives each segment a pipe, and the agent its other end."""

    def __init__(self, channel: socket.socket, relay: Relay) -> None:
        self.unwanted = False
        self._channel = channel
        self._relay = relay
        self._number = 0

    def begin(self, stream_ms: int) -> "_Pipe":
        """Make a pipe and tell of it."""
        self._number += 1
        first_s = self._relay.tracks.first_media_s
        behind_ms = 0 if first_s is None else round((monotonic_s() - first_s) * _MS_PER_S)
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # the usual size does too
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            _tell(self._channel, Began(number=self._number, stream_ms=stream_ms, behind_ms=behind_ms), theirs)
        finally:
            os.close(theirs)
        return _Pipe(self, self._channel, ours, self._number)

    def give_up(self) -> None:
        """The agent does not want what it asked for."""
        self.unwanted = True
        self._relay.close()


class _Pipe:
    """Where one segment goes; what is not read in time is not wanted, and no more is written."""

    def __init__(self, segments: _Segments, channel: socket.socket, fd: int, number: int) -> None:
        self._segments = segments
        self._channel = channel
        self._fd = fd
        self._number = number
        os.set_blocking(fd, False)

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        view = memoryview(data)
        while view and not self._segments.unwanted:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                if not poll.poll(UNREAD_S * _MS_PER_S):
                    self._segments.give_up()
            except OSError:
                self._segments.give_up()
        return len(data)

    def end(self, length_ms: int) -> None:
        """Say that it is whole, and close it."""
        if not self._segments.unwanted:
            _tell(self._channel, Ended(number=self._number, length_ms=length_ms))
        os.close(self._fd)
