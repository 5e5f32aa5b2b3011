"""What a camera sees and hears, as RTP packets: some seconds are made once, and shown again and again as time goes on.

FFmpeg's muxer cuts pictures and sound into packets; of its own reports (RTCP) the ones that it writes between them are
kept, for a player may ask them for the time.
"""

import base64
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final, Self

import av
from av.packet import Packet
from av.stream import Stream

from device_sim.camera.device import Device
from device_sim.camera.media import write_clip

PICTURES, SOUND = 0, 1
PAYLOAD_TYPES: Final = (96, 97)
CLOCK_HZ: Final = 90_000
PACKET_BYTES: Final = 1_400
SECONDS: Final = 3.2
"""Whole pictures and whole packets of sound: 32 and 50."""

SIZE: Final = (320, 180)
FPS: Final = 10

AAC_HBR: Final = "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"
"""RFC 3640, section 3.3.6."""

_RTCP: Final = range(200, 205)  # RFC 3550, section 12.1


@dataclass(frozen=True, slots=True)
class Shot:
    """The packets of one picture, or of some of the sound, due ``at_s`` after the first."""

    track: int
    at_s: float
    media: tuple[bytes, ...]
    reports: tuple[bytes, ...]


class Reel:
    """Some seconds of what one camera sees and hears."""

    def __init__(self, device: Device, start: datetime, *, seconds: float = SECONDS) -> None:
        clip = io.BytesIO()
        write_clip(clip, seed=device.seed, start=start, seconds=seconds, size=SIZE, fps=FPS, label=device.name)
        self._clip = clip.getvalue()
        self._seconds = round(seconds * FPS) / FPS
        with av.open(io.BytesIO(self._clip), "r") as opened:
            self._avcc = opened.streams.video[0].codec_context.extradata or b""
            sound = opened.streams.audio[0].codec_context
            self._sound_hz, self._sound_config = sound.sample_rate, sound.extradata or b""

    def described(self) -> bytes:
        """Return its description (RFC 4566)."""
        sets = _parameter_sets(self._avcc)
        seen, heard = PAYLOAD_TYPES
        profile = sets[0][1:4].hex()
        sent = ",".join(base64.b64encode(one).decode("ascii") for one in sets)
        lines = (
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=stream",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {seen}",
            f"a=rtpmap:{seen} H264/{CLOCK_HZ}",
            f"a=fmtp:{seen} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sent}",
            "a=control:video",
            f"m=audio 0 RTP/AVP {heard}",
            f"a=rtpmap:{heard} MPEG4-GENERIC/{self._sound_hz}/1",
            f"a=fmtp:{heard} {AAC_HBR};config={self._sound_config.hex()}",
            "a=control:audio",
            "",
        )
        return "\r\n".join(lines).encode("ascii")

    def shots(self) -> Iterator[Shot]:
        """Return picture after picture and the sound between them, in their order, without an end."""
        with _Track(PICTURES) as pictures, _Track(SOUND) as sound:
            tracks = {"video": pictures, "audio": sound}
            for turn in itertools.count():
                with av.open(io.BytesIO(self._clip), "r") as opened:
                    packets = [(packet, tracks[packet.stream.type]) for packet in opened.demux() if packet.size]
                    timed = [(packet, track, float((packet.pts or 0) * packet.time_base)) for packet, track in packets]
                    for packet, track, at_s in sorted(timed, key=lambda one: one[2]):
                        if 0 <= at_s < self._seconds:  # the encoder of sound begins before it, and ends behind it
                            yield track.shot(packet, turn * self._seconds)


class _Track:
    """One track on its way into packets of RTP."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._packets = _Packets()
        self._stream: Stream | None = None
        options = {"packetsize": str(PACKET_BYTES), "payload_type": str(PAYLOAD_TYPES[number]), "max_delay": "0"}
        self._muxer = av.open(self._packets, "w", format="rtp", options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._muxer.close()

    def shot(self, packet: "Packet[Stream]", later_s: float) -> Shot:
        """Return what becomes of a packet of the clip, so much later."""
        self._stream = self._stream or self._muxer.add_stream_from_template(packet.stream)
        shift = round(later_s / packet.time_base)
        packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or packet.pts or 0) + shift
        at_s = float(Fraction(packet.pts) * packet.time_base)
        packet.stream = self._stream
        self._muxer.mux(packet)
        return self._packets.taken(self._number, at_s)


class _Packets:
    """What the muxer writes, a packet a call."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._written.append(bytes(data))
        return len(data)

    def taken(self, track: int, at_s: float) -> Shot:
        written, self._written = self._written, []
        return Shot(
            track,
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
