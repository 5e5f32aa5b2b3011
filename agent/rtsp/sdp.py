"""What a camera says of its stream (SDP, RFC 8866), and the part of it that FFmpeg is told: what is asked for, no more.

Text and values only. Of several tracks of a kind the first that can be kept counts. What names a coding is a camera's
text: only a plain word of it is ever passed on.
"""

import re
from typing import Final, Literal

import msgspec

Kind = Literal["video", "audio"]

PICTURES: Final = ("H264", "H265")

AAC: Final = ("MPEG4-GENERIC", "MP4A-LATM")
"""Codings of sound that MP4 holds as they are (RFC 3640, RFC 6416)."""

HZ_MAX: Final = 192_000

_CODING_MAX: Final = 24
_MEDIA: Final = re.compile(r"m=(video|audio)[ \t]+\d+(?:/\d+)?[ \t]+\S+[ \t]+(\d{1,3})\b.*", re.IGNORECASE)
_RTPMAP: Final = re.compile(r"a=rtpmap:[ \t]*(\d{1,3})[ \t]+([^/\s]+)/(\d{1,9}).*", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")

# RFC 3551, section 6: payload types that need no further word.
_STATIC: Final = {
    0: ("PCMU", 8_000),
    8: ("PCMA", 8_000),
    9: ("G722", 8_000),
    10: ("L16", 44_100),
    11: ("L16", 44_100),
    14: ("MPA", 90_000),
    26: ("JPEG", 90_000),
    33: ("MP2T", 90_000),
}


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One track; ``coding`` is in capitals, ``UNKNOWN`` where nothing plain names it."""

    kind: Kind
    coding: str
    clock_hz: int


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What FFmpeg is told, the tracks in it in their order, and the coding of a sound that cannot be kept."""

    body: bytes
    tracks: tuple[Track, ...]
    left_out: str = ""


def choose(body: bytes, *, sound: bool) -> Description:
    """Return the part of a description that is asked for.

    Where no pictures are found that can be kept, all of it but the sound is left: FFmpeg may know better.
    """
    head, *sections = _sections(body.decode("utf-8", "surrogateescape"))
    found = [(_track(section), section) for section in sections]
    heard = [one for one in found if one[0] is not None and one[0].kind == "audio"]
    pictures = next((one for one in found if one[0] is not None and _are_pictures(one[0])), None)
    if pictures is None:
        silent = [section for one, section in found if one is None or one.kind == "video"]
        return Description(body=_joined(head, *silent), tracks=())
    kept = next((one for one in heard if _can_be_kept(one[0])), None) if sound else None
    chosen = [one for one in found if one is pictures or one is kept]
    return Description(
        body=_joined(head, *(section for _, section in chosen)),
        tracks=tuple(track for track, _ in chosen if track is not None),
        left_out=heard[0][0].coding if sound and kept is None and heard and heard[0][0] is not None else "",
    )


def _are_pictures(track: Track) -> bool:
    return track.kind == "video" and track.coding in PICTURES and track.clock_hz > 0


def _can_be_kept(track: Track | None) -> bool:
    return track is not None and track.coding in AAC and 0 < track.clock_hz <= HZ_MAX


def _sections(text: str) -> list[list[str]]:
    """Return the lines of the session, and of each of its media."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _joined(*sections: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for section in sections for line in section).encode("utf-8", "surrogateescape")


def _track(section: list[str]) -> Track | None:
    """Return what a section says, ``None`` where it is neither pictures nor sound."""
    media = _MEDIA.fullmatch(section[0])
    if media is None:
        return None
    number = int(media[2])
    coding, clock_hz = _STATIC.get(number, ("", 0))
    for line in section:
        told = _RTPMAP.fullmatch(line)
        if told is not None and int(told[1]) == number:
            coding, clock_hz = told[2], int(told[3])
    plain = _PLAIN.fullmatch(coding) and len(coding) <= _CODING_MAX
    kind: Kind = "video" if media[1].lower() == "video" else "audio"
    return Track(kind=kind, coding=coding.upper() if plain else "UNKNOWN", clock_hz=clock_hz)
