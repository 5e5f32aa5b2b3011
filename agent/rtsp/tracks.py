"""What of a connection's media FFmpeg is given: one track of pictures, and one of sound where that is asked for.

Bytes and values only; ``relay`` calls it with what passes, in this order: a description, for each track that is asked
for the request and its answer, the answer to the wish to play, and then frames of media.
"""

import re
from collections.abc import Sequence
from typing import Final

from agent.rtsp.rtp import BEGIN, TrackTimes, behind_s, is_report
from agent.rtsp.sdp import Track, choose
from agent.rtsp.wire import Frame

_CHANNELS: Final = re.compile(r"interleaved=(\d{1,3})-(\d{1,3})")
_URL: Final = re.compile(r"(?:^|;)\s*url=\"?([^;\"\s]+)")
_TIME: Final = re.compile(r";\s*rtptime=(\d{1,10})")

GOODBYE_S: Final = 1.0
"""So long sound may still come when the pictures have ended."""

# An empty report of a receiver, and a goodbye (RFC 3550, sections 6.4.2 and 6.6).
_GOODBYE: Final = bytes((0x80, 201, 0, 1, 0, 0, 0, 0, 0x81, 203, 0, 1, 0, 0, 0, 0))
_MARK: Final = b"$"


class _Asked:
    """A track that FFmpeg asked for: at which address, as it and as the camera call it."""

    def __init__(self, own: str, sent: str) -> None:
        self.own = own
        self.last = _last(sent)


class Tracks:
    """The tracks of one connection; ``left_out`` names the coding of a sound that cannot be kept."""

    def __init__(self, *, sound: bool) -> None:
        self.left_out = ""
        self.sound: Track | None = None
        self.first_media_s: float | None = None
        """When the first packet of pictures came."""
        self._wanted = sound
        self._tracks: tuple[Track, ...] = ()
        self._times: list[TrackTimes] = []
        self._asked: list[_Asked] = []
        self._by_channel: dict[int, int] = {}
        self._plays = False
        self._ended_s: dict[int, float] = {}

    def describe(self, body: bytes) -> bytes:
        """Take a description and return what FFmpeg is told of it."""
        description = choose(body, sound=self._wanted)
        self._tracks = description.tracks
        self._times = [TrackTimes(track.clock_hz) for track in self._tracks]
        self._asked, self._by_channel = [], {}
        self.sound = next((track for track in self._tracks if track.kind == "audio"), None)
        self.left_out = description.left_out
        return description.body

    def ask(self, *, own: str, sent: str) -> None:
        """Note that FFmpeg asks for the next track, at its ``own`` address, which the camera knows as ``sent``."""
        self._asked.append(_Asked(own, sent))

    def answered(self, transports: Sequence[str]) -> None:
        """Note on which channels the track that was asked for last will come."""
        number = len(self._asked) - 1
        for match in map(_CHANNELS.search, transports):
            if match is not None and 0 <= number < len(self._tracks):
                self._by_channel |= {int(match[1]): number, int(match[2]): number}

    def play(self, told: str) -> str:
        """Take what the camera says of where its tracks begin; return what FFmpeg is told in its place."""
        self._plays = True
        for part in told.split(","):
            url, time = _URL.search(part), _TIME.search(part)
            if url is None or time is None:
                continue
            for times, asked in zip(self._times, self._asked, strict=False):
                if asked.last == _last(url[1]):
                    times.told = int(time[1])
        return ",".join(
            f"url={asked.own};seq=0;rtptime={BEGIN}" for _, asked in zip(self._times, self._asked, strict=False)
        )

    def pass_on(self, frame: Frame, *, came_s: float) -> bytes:
        """Return what FFmpeg is given for a frame."""
        if not self._times:  # a description of which nothing is known: as it comes
            self.first_media_s = came_s if self.first_media_s is None else self.first_media_s
            return frame.raw
        number = self._by_channel.get(frame.channel)
        if number is None or not self._plays:  # what comes before the answer FFmpeg passes over, and counts wrongly
            return b""
        times, is_pictures = self._times[number], self._tracks[number].kind == "video"
        if is_report(frame.content):
            return self._goodbye(number, frame, came_s) if times.hear(frame.content) else b""
        if not is_pictures and came_s - min(self._ended_s.values(), default=came_s) > GOODBYE_S:
            return self._goodbye(number, frame, came_s)
        stamped = times.stamped(frame.content, came_s=came_s)
        if is_pictures and self.first_media_s is None:
            self.first_media_s = times.first_came_s
        return _framed(frame.channel, stamped) if stamped else b""

    def _goodbye(self, number: int, frame: Frame, came_s: float) -> bytes:
        """Return the end of a track; FFmpeg ends once it was told so of each."""
        if number in self._ended_s:
            return b""
        self._ended_s[number] = came_s
        return _framed(frame.channel, _GOODBYE)

    def sound_behind_s(self) -> float | None:
        """Return how far the first packet of sound lies behind the first of pictures, as well as is known now."""
        kinds = {track.kind: times for track, times in zip(self._tracks, self._times, strict=True)}
        return behind_s(kinds["audio"], kinds["video"]) if "audio" in kinds else None


def _framed(channel: int, packet: bytes) -> bytes:
    return b"".join((_MARK, bytes((channel,)), len(packet).to_bytes(2, "big"), packet))


def _last(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2]
