"""The sound of one connection, held until it is known which segment it belongs to.

Rules: nothing is decoded and nothing encoded; each packet keeps its distance from the one before it, to the tick of the
sound's own clock, within a segment; where all of them lie on the time of the pictures is settled anew where a segment
begins, for the clocks of the two drift apart, and no step smaller than ``SETTLED_S`` is made. What goes wrong with the
sound costs sound and never a picture.
"""

from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Final

import msgspec
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

SETTLED_S: Final = 0.04
"""Of sound and pictures apart from each other: less is noticed by nobody (ITU-R BT.1359, section 2)."""

HELD_MAX_BYTES: Final = 512 << 10
"""Of sound that waits for its pictures; many seconds of it."""

PACKET_MAX_BYTES: Final = 64 << 10
"""RFC 3640 has no longer one."""


_MS_PER_S: Final = 1000


class Heard(msgspec.Struct, frozen=True):
    """One packet of sound; times in ticks of its own clock."""

    at: int
    duration: int
    data: bytes


class Sound:
    """The packets of one track in their order; ``behind_s`` tells how far its first is behind the first picture."""

    def __init__(self, stream: AudioStream, *, behind_s: Callable[[], float | None]) -> None:
        assert stream.time_base is not None  # noqa: S101 - every stream of FFmpeg's has one
        self.stream = stream
        self.tick: Fraction = stream.time_base
        self._behind_s = behind_s
        self._shift: int | None = None
        self._held: deque[Heard] = deque()
        self._held_bytes = 0
        self._usual = stream.codec_context.frame_size or 1024
        self._next = 0
        self._newest: int | None = None

    def take(self, packet: "Packet[Stream]") -> None:
        """Hold the next packet; the oldest that is held gives way where it is too much."""
        if not 0 < packet.size <= PACKET_MAX_BYTES:
            return
        at = self._next if packet.pts is None else packet.pts
        duration = packet.duration or self._usual
        self._next = self._newest = at + duration
        self._held.append(Heard(at, duration, bytes(packet)))
        self._held_bytes += packet.size
        while self._held_bytes > HELD_MAX_BYTES:
            self._held_bytes -= len(self._held.popleft().data)
        if self._shift is None:
            self.settle()

    def settle(self) -> None:
        """Ask anew where the sound lies on the pictures' time."""
        behind_s = self._behind_s()
        if behind_s is None:
            return
        shift = round(Fraction(round(behind_s * _MS_PER_S), _MS_PER_S) / self.tick)  # nobody says it more exactly
        if self._shift is None or abs(shift - self._shift) * self.tick > SETTLED_S:
            self._shift = shift

    def before(self, end_s: Fraction) -> Iterator[tuple[Fraction, Heard]]:
        """Return, and hold no more, what begins before a moment on the pictures' time, with when it does."""
        while self._held and (begin_s := self._on_pictures_s(self._held[0].at)) < end_s:
            heard = self._held.popleft()
            self._held_bytes -= len(heard.data)
            yield begin_s, heard

    def may_still_come_before(self, end_s: Fraction, *, within_s: Fraction) -> bool:
        """Tell whether the sound, as it came so far, is behind a moment, and not so far that it has ended."""
        if self._newest is None or self._held:
            return False
        return end_s - within_s <= self._on_pictures_s(self._newest) < end_s

    def forget(self) -> None:
        """Hold nothing any more: the pictures' time began anew."""
        self._held.clear()
        self._held_bytes = 0
        self._newest = self._shift = None

    def _on_pictures_s(self, at: int) -> Fraction:
        return (at + (self._shift or 0)) * self.tick
