"""Packets of RTP and RTCP (RFC 3550) on their way to FFmpeg, and where the sound lies on the time of the pictures.

Bytes and values only; when a packet came is told. FFmpeg counts each track from a packet of its own choice, moves both
when a camera's first report comes, and takes a time of 0 for none. So it is given times that begin at ``BEGIN`` with
a track's first packet and go on as the camera's do, and no reports: what those say is read here.

Where the first packet of sound lies behind the first of pictures is known, best first, from both tracks' reports
(section 6.4.1), from what was said when they were asked for (``RTP-Info``, RFC 2326 section 12.33), or from when they
come. Many cameras say nonsense in the first two: what is far from when they come is not believed. Over days the clocks
of the two tracks drift apart, so each of these is asked of the newest report and the newest packet.
"""

from typing import Final

import msgspec

BEGIN: Final = 1
"""The time that FFmpeg is given of a track's first packet, and told so: it must not be 0."""

REPORT_APART_S: Final = 10.0
"""So far what a camera reports may be from when its packets come: some first send the last seconds at once."""

ANSWER_APART_S: Final = 2.0
"""And what it said once, when it was asked: later on only the drift of its clocks counts."""

_HEAD_BYTES: Final = 12
_REPORT_BYTES: Final = 28
_PARTS_MAX: Final = 16
_VERSION: Final = 2
_RTCP: Final = range(200, 205)
_SENDER_REPORT: Final = 200
_BYE: Final = 203
_WRAP: Final = 1 << 32
_NTP_S: Final = 1 << 32


class Report(msgspec.Struct, frozen=True):
    """A moment on the camera's clock (seconds), and on a track's, in ticks behind its first packet."""

    clock_s: float
    ticks: int


class TrackTimes:
    """The times of one track."""

    def __init__(self, clock_hz: int) -> None:
        self.clock_hz = clock_hz
        self.first_came_s: float | None = None
        self.told: int | None = None
        """Its time, as it counts itself, at the moment in which the stream begins."""
        self._came_s = 0.0
        self._report: Report | None = None
        self._first = 0
        self._last = 0
        self._ticks = 0

    def stamped(self, packet: bytes, *, came_s: float) -> bytes:
        """Return a packet of media with its time from ``BEGIN`` on; empty for what is none."""
        if len(packet) < _HEAD_BYTES or packet[0] >> 6 != _VERSION:
            return b""
        stamp = int.from_bytes(packet[4:8], "big")
        if self.first_came_s is None:
            self.first_came_s, self._first, self._last = came_s, stamp, stamp
        self._came_s = came_s
        self._ticks += _step(stamp, self._last)
        self._last = stamp
        return b"".join((packet[:4], ((BEGIN + self._ticks) % _WRAP).to_bytes(4, "big"), packet[8:]))

    def hear(self, packet: bytes) -> bool:
        """Take what a camera reports; return whether it ends the track."""
        for _ in range(_PARTS_MAX):
            if len(packet) < 4 or packet[0] >> 6 != _VERSION:  # noqa: PLR2004 - a part's head
                return False
            size = 4 * (1 + int.from_bytes(packet[2:4], "big"))
            if packet[1] == _BYE:
                return True
            if (
                packet[1] == _SENDER_REPORT
                and min(size, len(packet)) >= _REPORT_BYTES
                and self.first_came_s is not None
            ):
                clock = int.from_bytes(packet[8:16], "big")
                ticks = self._ticks + _step(int.from_bytes(packet[16:20], "big"), self._last)
                self._report = Report(clock / _NTP_S, ticks) if clock else None
            packet = packet[size:]
        return False

    def by_report_s(self) -> float | None:
        """Return when its first packet was recorded, on the camera's clock."""
        return None if self._report is None else self._report.clock_s - self._report.ticks / self.clock_hz

    def by_answer_s(self) -> float | None:
        """Return how far its first packet is behind the moment in which the stream begins."""
        return None if self.told is None else _step(self._first, self.told) / self.clock_hz

    def by_coming_s(self) -> float:
        """Return when its first packet would have come, had it taken as long as the newest."""
        return self._came_s - self._ticks / self.clock_hz


def is_report(packet: bytes) -> bool:
    """Tell RTCP from RTP, as FFmpeg does: by its second byte, on whichever channel it comes."""
    return len(packet) > 1 and packet[1] in _RTCP


def behind_s(sound: TrackTimes, pictures: TrackTimes) -> float | None:
    """Return how far the first packet of sound lies behind the first of pictures; ``None`` before both came."""
    if sound.first_came_s is None or pictures.first_came_s is None:
        return None
    came_s = sound.by_coming_s() - pictures.by_coming_s()
    for one, other, apart_s in (
        (sound.by_report_s(), pictures.by_report_s(), REPORT_APART_S),
        (sound.by_answer_s(), pictures.by_answer_s(), ANSWER_APART_S),
    ):
        if one is not None and other is not None and abs(one - other - came_s) <= apart_s:
            return one - other
    return came_s


def _step(later: int, earlier: int) -> int:
    """Return how many ticks lie between two times that wrap at 32 bits."""
    return (later - earlier + _WRAP // 2) % _WRAP - _WRAP // 2
