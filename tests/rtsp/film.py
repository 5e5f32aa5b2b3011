"""A film as a camera sends it: H.264 whose pictures stand at uneven times, each of them another one, and AAC."""

import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame

TICK = Fraction(1, 90_000)  # of RTP's clock for pictures, RFC 6184 section 8.2.1
SIZE = (192, 108)
SOUND_HZ = 16_000
SOUND_TICK = Fraction(1, SOUND_HZ)
SAMPLES = 1024  # of a packet of AAC

Codec = Literal["libx264", "libx265"]

_X265 = "keyint=10:min-keyint=10:scenecut=0:bframes=0:open-gop=0:log-level=none"


@dataclass(frozen=True)
class Picture:
    """One picture as it lies in a file: its time in ticks, and its coded bytes."""

    pts: int
    is_key: bool
    coded: bytes


@dataclass(frozen=True)
class Heard:
    """One packet of sound as it lies in a file: its time in ticks of its own, and its coded bytes."""

    pts: int
    coded: bytes


def shoot(
    file: Path,
    *,
    pictures: int,
    per_s: int = 10,
    reordered: bool = False,
    codec: Codec = "libx264",
    sound_from: int | None = None,
) -> tuple[Picture, ...]:
    """Write a film with a key frame each second; return its pictures in the order of the file.

    With sound from a tick of its own clock on, where that is given.
    """
    with av.open(str(file), mode="w", format="mp4") as output:
        track = output.add_stream(codec, rate=per_s)
        track.width, track.height = SIZE
        track.pix_fmt = "yuv420p"
        if codec == "libx265":
            track.options = {"x265-params": _X265}
            track.codec_context.codec_tag = "hvc1"  # what GStreamer takes
        else:
            track.options = {
                "g": str(per_s),
                "keyint_min": str(per_s),
                "sc_threshold": "0",
                "bf": "2" if reordered else "0",
                "x264-params": "slices=1:sliced-threads=0",
                "threads": "1",
            }
        track.codec_context.time_base = TICK
        speaker = None if sound_from is None else output.add_stream("aac", rate=SOUND_HZ, layout="mono")
        said = iter(()) if sound_from is None else _said(sound_from)
        at = 0
        for number in range(pictures):
            frame = VideoFrame(*SIZE, "yuv420p")
            for plane in frame.planes:
                row = bytes((number * 7 + column * (3 + number % 5)) % 256 for column in range(plane.line_size))
                plane.update(row * plane.height)
            frame.pts, frame.time_base = at, TICK
            at += round(1 / TICK / per_s) + 90 * (number % 3)  # a camera's pictures do not come like a clock's ticks
            for packet in track.encode(frame):
                output.mux(packet)
            while speaker is not None and (sound := next(said)).pts is not None:
                sound.stream = speaker
                output.mux(sound)
                if sound.pts * SOUND_TICK > at * TICK:
                    break
        for packet in track.encode():
            output.mux(packet)
    return seen(file.read_bytes())


def _said(begin: int) -> Iterator["Packet[AudioStream]"]:
    """Return packets of sound for ever, each of them another one, from a tick on."""
    encoder = AudioCodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = SOUND_HZ, "mono", "fltp", 48_000
    number = 0
    while True:
        frame = AudioFrame("fltp", "mono", SAMPLES)
        pitch = 20 + number % 61
        frame.planes[0].update(array("f", (at * pitch % 400 / 800 - 0.25 for at in range(SAMPLES))).tobytes())
        frame.rate, frame.pts, frame.time_base = SOUND_HZ, number * SAMPLES, SOUND_TICK
        number += 1
        for packet in encoder.encode(frame):
            packet.pts = packet.dts = begin
            packet.time_base = SOUND_TICK
            begin += SAMPLES
            yield packet


def seen(clip: bytes) -> tuple[Picture, ...]:
    """Return the pictures of a clip, in the order of the file."""
    with av.open(io.BytesIO(clip), mode="r") as opened:
        (track,) = opened.streams.video
        assert track.time_base == TICK
        packets = [packet for packet in opened.demux(track) if packet.size]
        return tuple(Picture(int(packet.pts or 0), packet.is_keyframe, bytes(packet)) for packet in packets)


def heard(clip: bytes) -> tuple[Heard, ...]:
    """Return the packets of sound of a clip, none where it has no track for them."""
    with av.open(io.BytesIO(clip), mode="r") as opened:
        for track in opened.streams.audio:
            assert track.time_base == SOUND_TICK
            return tuple(Heard(int(packet.pts or 0), bytes(packet)) for packet in opened.demux(track) if packet.size)
    return ()


def shown(clip: bytes) -> int:
    """Return how many pictures a player shows of it."""
    with av.open(io.BytesIO(clip), mode="r") as opened:
        return sum(1 for _ in opened.decode(video=0))


def played(clip: bytes) -> int:
    """Return how many samples of sound a player plays of it."""
    with av.open(io.BytesIO(clip), mode="r") as opened:
        return sum(frame.samples for frame in opened.decode(audio=0))
