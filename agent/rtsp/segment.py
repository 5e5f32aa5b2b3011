"""Packets of one connection become segments: fragmented MP4 that begins with a key frame, written as it is made.

Rules: nothing is decoded and nothing encoded, so what was sent is what is kept; each picture keeps its distance from
the segment's first to the tick of the stream's clock; a fragment is written at least each second, and little more than
that is held; what comes before the first key frame can be shown by nobody and is left out, its sound too.

A packet of sound belongs to the segment in which it begins. It may come later than the key frame that ends that one: so
the segment takes it in while the next has begun, for ``LATE_S`` at most. Pictures wait for no sound.

FFmpeg gives one picture in one packet or in several of the same time (a camera may send each slice by itself), and to
the very first of a connection no time at all: it counts from that one, so its time is 0.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final, Protocol

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from agent.errors import LinkError
from agent.rtsp.sound import Heard, Sound

FRAGMENT_US: Final = 1_000_000

PICTURE_MAX_BYTES: Final = 32 << 20
"""Of one picture; an 8K key frame has a tenth of it."""

LONGEST: Final = 6
"""So many times its length a segment waits for the next key frame."""

LONGEST_S: Final = 60.0
"""And so long at least: cameras that save bandwidth send one in half a minute."""

LATE_S: Final = Fraction(1)
"""So long a segment that ended waits for the rest of its sound."""

# empty_moov: the head needs nothing of what follows, which is what a pipe takes; default_base_moof: what players expect
# of it; negative_cts_offsets: pictures that are shown in another order keep their times without an edit list;
# frag_discont: sound that begins behind the first picture stays behind it.
_OPTIONS: Final = {
    "movflags": "empty_moov+default_base_moof+negative_cts_offsets+frag_discont",
    "frag_duration": str(FRAGMENT_US),
    "max_interleave_delta": "500000",  # microseconds that pictures are held for a sound that does not come
}
_MS_PER_S: Final = 1000


class Sink(Protocol):
    """Where one segment's bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take all of them."""

    def end(self, length_ms: int) -> None:
        """All was written."""


class Picture:
    """One picture as it came, in one packet or in several."""

    __slots__ = ("dts", "is_key", "pieces", "pts", "size_bytes")

    def __init__(self, pts: int, dts: int | None, data: bytes, *, is_key: bool) -> None:
        self.pts = pts
        self.dts = dts
        self.is_key = is_key
        self.pieces = [data]
        self.size_bytes = len(data)

    def add(self, data: bytes, *, is_key: bool) -> None:
        """Put the next piece to it."""
        self.size_bytes += len(data)
        if self.size_bytes > PICTURE_MAX_BYTES:
            raise LinkError("the camera sends a picture without an end")
        self.pieces.append(data)
        self.is_key |= is_key


class Cutter:
    """Cuts the packets of one stream; ``begin`` is called with a segment's place in it, and returns where it goes."""

    def __init__(
        self, stream: VideoStream, *, segment_s: float, begin: Callable[[int], Sink], sound: Sound | None = None
    ) -> None:
        assert stream.time_base is not None  # noqa: S101 - every stream of FFmpeg's has one
        self._stream = stream
        self._tick: Fraction = stream.time_base
        self._segment_ticks = int(segment_s / self._tick)
        self._longest_ticks = int(max(LONGEST * segment_s, LONGEST_S) / self._tick)
        self._begin = begin
        self._picture: Picture | None = None
        self._step = 0
        self._sound = sound
        self._segment: _Segment | None = None
        self._ended: _Segment | None = None  # but for the rest of its sound

    def hear(self, packet: "Packet[Stream]") -> None:
        """Take the next packet of sound."""
        if self._sound is not None:
            self._sound.take(packet)
            self._put_sound()

    def take(self, packet: "Packet[Stream]") -> None:
        """Take the next packet of pictures."""
        if packet.size == 0:
            return
        pts = packet.pts
        if pts is None:
            if self._picture is not None:
                raise LinkError("the camera sends pictures without a time")
            pts = 0
        held = self._picture
        if held is not None and held.pts == pts:
            held.add(bytes(packet), is_key=packet.is_keyframe)
            return
        if held is not None:
            self._put(held, next_pts=pts)
        self._picture = Picture(pts, packet.dts, bytes(packet), is_key=packet.is_keyframe)

    def end(self) -> None:
        """Put what is held, and end the segment: no more will come."""
        if self._picture is not None:
            self._put(self._picture, next_pts=None)
            self._picture = None
        self._end_segment()
        if self._ended is not None and self._sound is not None:
            self._ended.hear_all(self._sound.before(self._ended.upto * self._tick + LATE_S))
        self._end_ended()

    def _put(self, picture: Picture, *, next_pts: int | None) -> None:
        segment = self._segment
        if segment is not None:
            age = picture.pts - segment.start
            if (picture.is_key and age >= self._segment_ticks) or age > self._longest_ticks or age < 0:
                segment.upto = picture.pts if age > 0 else segment.upto
                self._end_segment()
                self._put_sound()
                if age < 0 and self._sound is not None:
                    self._end_ended()
                    self._sound.forget()
        if self._segment is None:
            if not picture.is_key:
                return
            place_ms = round(picture.pts * self._tick * _MS_PER_S)
            self._segment = _Segment(self._stream, self._tick, picture.pts, self._begin(place_ms), self._sound)
            if self._sound is not None and self._ended is None:
                self._sound.settle()
        if next_pts is not None and next_pts > picture.pts:
            self._step = next_pts - picture.pts
        self._segment.put(picture, step=self._step)
        self._put_sound()

    def _put_sound(self) -> None:
        """Put what is held of the sound where it belongs, up to the newest picture."""
        sound, ended, segment = self._sound, self._ended, self._segment
        if sound is None:
            return
        if ended is not None:
            ended.hear_all(sound.before(ended.upto * self._tick))
            late_s = 0 if segment is None else (segment.newest - ended.upto) * self._tick
            if late_s > LATE_S or not sound.may_still_come_before(ended.upto * self._tick, within_s=LATE_S):
                self._end_ended()
                sound.settle()
        if self._ended is None and segment is not None:
            segment.hear_all(sound.before(segment.newest * self._tick))

    def _end_segment(self) -> None:
        """End the segment, but for the rest of its sound."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        self._end_ended()
        self._ended = segment
        if self._sound is None:
            self._end_ended()

    def _end_ended(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.end(round((ended.upto - ended.start) * self._tick * _MS_PER_S))


class _Segment:
    """One segment on its way; ``newest`` is its newest picture, ``upto`` where it ends so far."""

    def __init__(self, stream: VideoStream, tick: Fraction, start: int, sink: Sink, sound: Sound | None) -> None:
        self.start = start
        self.newest = start
        self.upto = start
        self._sink = sink
        self._reorders = bool(stream.codec_context.has_b_frames)
        self._tick: Fraction = tick
        self._output: OutputContainer = av.open(sink, mode="w", format="mp4", options=_OPTIONS)
        self._track = self._output.add_stream_from_template(stream)
        self._last_dts: int | None = None
        self._sound = sound
        self._sound_track = None if sound is None else self._output.add_stream_from_template(sound.stream)
        self._last_heard: int | None = None

    def put(self, picture: Picture, *, step: int) -> None:
        packet = Packet(b"".join(picture.pieces))
        packet.stream = self._track
        packet.time_base = self._tick
        packet.is_keyframe = picture.is_key
        packet.pts = picture.pts - self.start
        packet.dts = self._decoded_at(picture)
        packet.duration = step
        self._last_dts = packet.dts
        self.newest = max(self.newest, picture.pts)
        self.upto = max(self.upto, picture.pts + step)
        self._output.mux(packet)

    def hear_all(self, all_heard: Iterable[tuple[Fraction, Heard]]) -> None:
        """Put packets of sound, but those from before the first picture, and those that go back in time."""
        if self._sound is None or self._sound_track is None:
            return
        tick, start_s = self._sound.tick, self.start * self._tick
        for begin_s, heard in all_heard:
            at = round(begin_s / tick) - round(start_s / tick)
            if begin_s < start_s or (self._last_heard is not None and at <= self._last_heard):
                continue
            packet = Packet(heard.data)
            packet.stream = self._sound_track
            packet.time_base = tick
            packet.is_keyframe = True
            packet.pts = packet.dts = self._last_heard = at
            packet.duration = heard.duration
            self._output.mux(packet)

    def end(self, length_ms: int) -> None:
        self._output.close()
        self._sink.end(length_ms)

    def _decoded_at(self, picture: Picture) -> int:
        """Return when it is to be decoded, which RTP does not say: FFmpeg infers it, but for the first ones."""
        if not self._reorders:
            return picture.pts - self.start
        after = -3 if self._last_dts is None else self._last_dts + 1
        return after if picture.dts is None else max(after, picture.dts - self.start)
