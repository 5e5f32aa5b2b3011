"""Clips and photos as a camera writes them: H.264 and AAC in MP4 or Matroska, JPEG with Exif.

Rules: same arguments, same bytes; the camera's name, serial number and place stand in the file's metadata as clear
text, as real cameras put them there, so that a search for leaks has something to find.
"""

import io
import json
import math
import random
from array import array
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import IO, Final, Literal

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from device_sim.camera.exif import with_exif
from device_sim.camera.identity import Identity, identity
from device_sim.camera.layout import private_file
from device_sim.camera.scene import Canvas, Scene, scene

Container = Literal["mp4", "mkv"]

DEFAULT_SIZE: Final = (640, 360)
DEFAULT_FPS: Final = 25
DEFAULT_BITS_PER_S: Final = 1_000_000

_MUXER: Final = {"mp4": "mp4", "mkv": "matroska"}
_SOUND_HZ: Final = 16_000
_SOUND_BITS_PER_S: Final = 48_000
_SAMPLE_BYTES: Final = 4
_AAC_SAMPLES: Final = 1024  # per frame, ISO/IEC 14496-3
_JPEG_QUALITY: Final = 4  # the encoder's quantiser: 2 best, 31 worst
_GRAIN_RANGE: Final = (2, 60)


def write_clip(
    target: Path | IO[bytes],
    *,
    seed: int,
    start: datetime,
    seconds: float,
    size: tuple[int, int] = DEFAULT_SIZE,
    fps: int = DEFAULT_FPS,
    container: Container = "mp4",
    audio: bool = True,
    label: str = "",
    bits_per_s: int = DEFAULT_BITS_PER_S,
) -> None:
    """Write one clip to a path or a binary file; ``OSError`` when there is no room for it.

    ``label`` is the camera's name, burnt in and in the metadata. The picture's rate steers to ``bits_per_s`` (8,000,000
    makes about 10 MB of 10 s); sensor grain grows with it, so the size is reached with real picture data. ``start``
    must know its zone. An MP4's index comes last, as a camera without a second pass writes it.
    """
    who = identity(seed, name=label)
    start = start.astimezone(UTC)
    memory = io.BytesIO()  # the muxer goes back to fill in lengths, and tells of a full disk in its own way
    with av.open(memory, "w", format=_MUXER[container], options=_muxer_options(container)) as clip:
        clip.metadata.update(_metadata(who, start))
        picture = _picture_stream(clip, size=size, fps=fps, bits_per_s=bits_per_s)
        sound = _sound_stream(clip) if audio else None
        hum = _hum(seed, start)
        frames = max(round(seconds * fps), 1)
        samples = round(frames / fps * _SOUND_HZ)
        heard = 0
        camera = _Lens(seed, start, size=size, fps=fps, label=label, grain=_grain(size, fps, bits_per_s))
        for index in range(frames):
            clip.mux(picture.encode(camera.frame(index)))
            while sound is not None and heard < min(samples, (index + 1) * _SOUND_HZ // fps):
                clip.mux(sound.encode(_sound_frame(hum, heard, min(_AAC_SAMPLES, samples - heard))))
                heard += _AAC_SAMPLES
        clip.mux(picture.encode(None))
        if sound is not None:
            clip.mux(sound.encode(None))
    _put(memory.getvalue(), target)


def write_photo(
    target: Path | IO[bytes], *, seed: int, start: datetime, size: tuple[int, int] = DEFAULT_SIZE, label: str = ""
) -> None:
    """Write one JPEG taken at ``start`` with Exif (place, serial number, time) to a path or a binary file."""
    start = start.astimezone(UTC)
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1, DEFAULT_FPS)
    encoder.thread_count = 1
    encoder.options = {"flags": "+bitexact+qscale", "global_quality": str(_JPEG_QUALITY * 118)}
    frame = _Lens(seed, start, size=size, fps=DEFAULT_FPS, label=label, grain=_GRAIN_RANGE[0]).frame(0)
    frame = frame.reformat(format="yuvj420p")
    frame.time_base = encoder.time_base
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    photo = with_exif(b"".join(bytes(packet) for packet in packets), identity(seed, name=label), start)
    _put(photo, target)


def _put(raw: bytes, target: Path | IO[bytes]) -> None:
    if isinstance(target, Path):
        with private_file(target) as file:
            file.write(raw)
    else:
        target.write(raw)


class _Lens:
    """Turns drawn canvases into frames with sensor grain; lives as long as one clip."""

    def __init__(self, seed: int, start: datetime, *, size: tuple[int, int], fps: int, label: str, grain: int) -> None:
        if size[0] % 2 or size[1] % 2 or min(size) < 2:  # noqa: PLR2004 - chroma has half the pixels
            raise ValueError(f"picture size {size} must be even and positive")
        self._start = start
        self._fps = fps
        blank = VideoFrame(*size, "yuv420p")
        luma, blue, red = (plane.line_size for plane in blank.planes)
        self._scene: Scene = scene(seed, start, size=size, strides=(luma, blue, red), label=label)
        graph = Graph()
        pixels = VideoFormat("yuv420p", *size)
        source = graph.add_buffer(width=size[0], height=size[1], format=pixels, time_base=Fraction(1, fps))
        noise = graph.add("noise", f"c0_seed={seed % 2**31}:c0_strength={grain}:c0_flags=t")
        sink = graph.add("buffersink")
        source.link_to(noise)
        noise.link_to(sink)
        graph.configure()
        self._graph = graph

    def frame(self, index: int) -> VideoFrame:
        now = self._start + timedelta(seconds=index / self._fps)
        clock = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}Z"
        drawn = _frame(self._scene.frame(index / self._fps, clock))
        drawn.pts, drawn.time_base = index, Fraction(1, self._fps)
        self._graph.push(drawn)
        seen = self._graph.pull()
        assert isinstance(seen, VideoFrame)  # noqa: S101 - the graph has one video sink
        return seen


def _frame(canvas: Canvas) -> VideoFrame:
    frame = VideoFrame(canvas.width, canvas.height, "yuv420p")
    for plane, pixels in zip(frame.planes, canvas.planes, strict=True):
        plane.update(bytes(pixels))
    return frame


def _grain(size: tuple[int, int], fps: int, bits_per_s: int) -> int:
    per_pixel = bits_per_s / (size[0] * size[1] * fps)
    low, high = _GRAIN_RANGE
    return min(max(round(per_pixel * 20), low), high)


def _muxer_options(container: Container) -> dict[str, str]:
    options = {"fflags": "+bitexact"}
    return options | ({"movflags": "use_metadata_tags"} if container == "mp4" else {})


def _metadata(who: Identity, start: datetime) -> dict[str, str]:
    told = {"camera": who.name, "serial": who.serial, "mac": who.mac, "ssid": who.ssid, "gps": who.gps}
    return {
        "creation_time": f"{start:%Y-%m-%dT%H:%M:%S}.{start.microsecond // 1000:03d}Z",
        "title": who.name,
        "model": "device-sim camera",
        "location": who.gps,
        "comment": json.dumps(told, ensure_ascii=False),
    }


def _picture_stream(clip: OutputContainer, *, size: tuple[int, int], fps: int, bits_per_s: int) -> VideoStream:
    options = {"preset": "ultrafast", "tune": "zerolatency", "flags": "+bitexact"}
    stream = clip.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = bits_per_s
    stream.gop_size = 2 * fps
    stream.thread_count = 1
    return stream


def _sound_stream(clip: OutputContainer) -> AudioStream:
    stream = clip.add_stream("aac", rate=_SOUND_HZ, options={"flags": "+bitexact"}, layout="mono")
    stream.bit_rate = _SOUND_BITS_PER_S
    return stream


def _hum(seed: int, start: datetime) -> bytes:
    """One second of a street as 32-bit samples: a low hum, some hiss, and a tick on the full second."""
    dice = random.Random(f"hum/{seed}/{start.isoformat()}")
    pitch_hz = dice.randrange(90, 160)
    tone = array("f")
    for index in range(_SOUND_HZ):
        at_s = index / _SOUND_HZ
        tick = 0.3 * math.exp(-at_s * 60) * math.sin(2 * math.pi * 1200 * at_s)
        tone.append(0.08 * math.sin(2 * math.pi * pitch_hz * at_s) + 0.02 * dice.uniform(-1, 1) + tick)
    return tone.tobytes()


def _sound_frame(hum: bytes, at: int, samples: int) -> AudioFrame:
    begin = at % _SOUND_HZ * _SAMPLE_BYTES
    frame = AudioFrame("fltp", "mono", samples)
    frame.planes[0].update((hum + hum)[begin : begin + samples * _SAMPLE_BYTES])
    frame.rate = _SOUND_HZ
    frame.pts, frame.time_base = at, Fraction(1, _SOUND_HZ)
    return frame
