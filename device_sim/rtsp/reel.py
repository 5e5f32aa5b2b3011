"""What a camera sees, as RTP packets: some seconds are drawn once, and shown again and again with times that go on.

FFmpeg's muxer cuts the pictures into packets; of its own reports (RTCP) the ones that it writes between them are kept,
for a player may ask them for the time.
"""

import base64
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

import av

from device_sim.camera.device import Device
from device_sim.camera.media import write_clip

PAYLOAD_TYPE: Final = 96
CLOCK_HZ: Final = 90_000
PACKET_BYTES: Final = 1_400
SECONDS: Final = 4.0
SIZE: Final = (320, 180)
FPS: Final = 10

_RTCP: Final = range(200, 205)  # RFC 3550, section 12.1


@dataclass(frozen=True, slots=True)
class Shot:
    """The packets of one picture, due ``at_s`` after the first."""

    at_s: float
    media: tuple[bytes, ...]
    reports: tuple[bytes, ...]


class Reel:
    """Some seconds of what one camera sees."""

    def __init__(self, device: Device, start: datetime, *, seconds: float = SECONDS) -> None:
        clip = io.BytesIO()
        write_clip(
            clip, seed=device.seed, start=start, seconds=seconds, size=SIZE, fps=FPS, audio=False, label=device.name
        )
        self._clip = clip.getvalue()
        self._seconds = round(seconds * FPS) / FPS
        with av.open(io.BytesIO(self._clip), "r") as opened:
            self._avcc = opened.streams.video[0].codec_context.extradata or b""

    def described(self) -> bytes:
        """Return its description (RFC 4566)."""
        sets = _parameter_sets(self._avcc)
        profile = sets[0][1:4].hex()
        sent = ",".join(base64.b64encode(one).decode("ascii") for one in sets)
        lines = (
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=stream",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sent}",
            "a=control:video",
            "",
        )
        return "\r\n".join(lines).encode("ascii")

    def shots(self) -> Iterator[Shot]:
        """Return picture after picture, without an end."""
        packets = _Packets()
        options = {"packetsize": str(PACKET_BYTES), "payload_type": str(PAYLOAD_TYPE)}
        with av.open(packets, "w", format="rtp", options=options) as muxer:
            track = None
            for turn in itertools.count():
                with av.open(io.BytesIO(self._clip), "r") as opened:
                    seen = opened.streams.video[0]
                    track = track or muxer.add_stream_from_template(seen)
                    for packet in opened.demux(seen):
                        if packet.pts is None or packet.time_base is None:
                            continue
                        shift = round(turn * self._seconds / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, (packet.dts or packet.pts) + shift
                        at_s = float(Fraction(packet.pts) * packet.time_base)
                        packet.stream = track
                        muxer.mux(packet)
                        yield packets.taken(at_s)


class _Packets:
    """What the muxer writes, a packet a call."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._written.append(bytes(data))
        return len(data)

    def taken(self, at_s: float) -> Shot:
        written, self._written = self._written, []
        return Shot(
            at_s,
            media=tuple(one for one in written if one[1] not in _RTCP),
            reports=tuple(one for one in written if one[1] in _RTCP),
        )


def _parameter_sets(avcc: bytes) -> tuple[bytes, ...]:
    """Return the sequence and picture parameter sets of an MP4's description (ISO/IEC 14496-15, section 5.3.3)."""
    sets, at = [], 5
    for mask in (0x1F, 0xFF):
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2], "big")
            sets.append(avcc[at + 2 : at + 2 + size])
            at += 2 + size
    return tuple(sets)
