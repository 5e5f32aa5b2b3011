"""One frame of a clip as a PNG, for people: what its owner sees when a recording is opened."""

import io
from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame


def first_frame_png(source: Path | bytes, at_s: float = 0.0) -> bytes:
    """The first frame at or after ``at_s`` seconds, or the last one of a shorter clip.

    Raises ``ValueError`` when there is no picture in it: sealed, torn or no clip at all.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with av.open(opened, "r") as clip:
            found: VideoFrame | None = None
            for frame in clip.decode(video=0):
                found = frame
                if frame.time >= at_s:
                    break
            if found is None:
                raise ValueError("no picture in the clip")
            return _png(found)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError("no clip that can be played") from error


def _png(frame: VideoFrame) -> bytes:
    encoder = VideoCodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.time_base = Fraction(1, 1)
    encoder.options = {"flags": "+bitexact"}
    picture = frame.reformat(format="rgb24")
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
