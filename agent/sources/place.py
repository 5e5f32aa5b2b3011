r"""A path becomes a place: camera label, category, media type and capture interval.

A template is a path with words in braces and optional parts in brackets::

    {camera}/{category}/{time}[_{duration_s}s].{ext}

``{camera}``, ``{any}``: within one name · ``{folders}``: one or more folders · ``{category}``: recording, photo or
usage-log · ``{time}``: UTC as ``2026-11-22T10-15-00.000Z`` (separators and fraction optional) · ``{unix}``: seconds
since 1970 · ``{year} {month} {day} {hour} {minute} {second}``: local to the source, frigate's are UTC ·
``{duration_s}`` · ``{ext}``: one of the endings below, large or small (cameras that keep to DCF write IMG_0001.JPG),
which decides the category where the path does not.

The interval is what the name says. Where it says only a start, the end is the file's last change, if that is
plausible (a photo has no length); where it says nothing, the last change is all there is. Nothing inside the file is
read for this.
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Final

import msgspec

from agent.errors import ConfigError, CorruptError
from agent.model import Category
from agent.sources.settings import SourceKind, SourceSettings

MEDIA: Final[dict[str, tuple[str, Category]]] = {
    "mp4": ("video/mp4", "recording"),
    "m4v": ("video/mp4", "recording"),
    "mkv": ("video/x-matroska", "recording"),
    "jpg": ("image/jpeg", "photo"),
    "jpeg": ("image/jpeg", "photo"),
    "jsonl": ("application/jsonl", "usage-log"),
    "ndjson": ("application/jsonl", "usage-log"),
}

_LOGS: Final = "{camera}/usage-log/{time}.{ext}"

PRESETS: Final[dict[SourceKind, tuple[str, ...]]] = {
    "spool": (
        "{camera}/{category}/{time}[_{duration_s}s].{ext}",
        "{camera}/{category}/{any}.{ext}",
        "{camera}/{any}.{ext}",
        "{any}.{ext}",
    ),
    "frigate": (
        "[recordings/]{year}-{month}-{day}/{hour}/{camera}/{minute}.{second}.{ext}",
        "clips/{camera}-{unix}-{any}.{ext}",
        _LOGS,
    ),
    "motioneye": ("{camera}/{year}-{month}-{day}/{hour}-{minute}-{second}.{ext}", _LOGS),
    "timelapse": (
        _LOGS,
        "{camera}/{year}-{month}-{day}/{any}.{ext}",
        "{camera}/{folders}/{any}.{ext}",
        "{camera}/{any}.{ext}",
    ),
}

FRIGATE_SEGMENT_MS: Final = 10_000
"""Frigate cuts its recordings every ten seconds; the name holds the start alone."""

LONGEST_MS: Final = 6 * 3_600_000
"""A last change further from the start than this is no end of a recording but a copy or a touch."""

LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999: what lies later cannot be written as RFC 3339, in no inventory and no manifest."""

_WORDS: Final = {
    "camera": r"[^/]+",
    "any": r"[^/]+",
    "folders": r"[^/]+(?:/[^/]+)*",
    "category": r"recording|photo|usage-log",
    "time": r"\d{4}-?\d\d-?\d\dT\d\d[-:]?\d\d[-:]?\d\d(?:\.\d{1,6})?Z",
    "unix": r"\d{9,10}(?:\.\d{1,6})?",
    "year": r"\d{4}",
    "month": r"\d\d",
    "day": r"\d\d",
    "hour": r"\d\d",
    "minute": r"\d\d",
    "second": r"\d\d",
    "duration_s": r"\d{1,6}(?:\.\d{1,6})?",
    "ext": f"(?i:{'|'.join(MEDIA)})",
}
_PIECE: Final = re.compile(r"\{(\w+)\}|([\[\]])|([^{}\[\]]+)|(.)", re.DOTALL)
_TIME_PARTS: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d)[-:]?(\d\d)[-:]?(\d\d)(?:\.(\d{1,6}))?Z")
_MS_PER_S: Final = 1000
_DAY_MS: Final = 86_400_000


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a path says; the interval is half open, in Unix milliseconds.

    ``is_told`` that it begins by what the name says, and not by the file's last change, which is all there is else.
    """

    label: str
    category: Category
    media_type: str
    captured_from_ms: int
    captured_to_ms: int
    is_told: bool = True

    @property
    def is_log(self) -> bool:
        """Whether it is read line by line."""
        return self.category == "usage-log"


FindPlace = Callable[[str, int], Place | None]
"""(path beneath the folder, last change in Unix ms) → its place; ``None`` when it is none of ours."""


def place_finder(settings: SourceSettings) -> FindPlace:
    """Return the reader of this source's paths; raises ``ConfigError`` for a bad template or time zone.

    A config with one of these was refused before (``agent/config.py``). The reader raises ``CorruptError`` when a
    template matches but what it says is impossible (a 13th month, a photo among the recordings).
    """
    templates = settings.patterns or PRESETS[settings.kind]
    patterns = [read_template(template) for template in templates]
    zone = _zone(settings)
    default_ms = FRIGATE_SEGMENT_MS if settings.kind == "frigate" and not settings.patterns else None

    def find(path: str, changed_ms: int) -> Place | None:
        for pattern in patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                words = {name: text for name, text in match.groupdict().items() if text is not None}
                return _place(words, changed_ms, zone=zone, default_ms=default_ms, source=settings.name)
        return None

    return find


def read_template(template: str) -> re.Pattern[str]:
    """Return the expression of one template; raises ``ConfigError`` saying what is wrong with it."""

    def wrong(problem: str) -> ConfigError:
        return ConfigError(
            f"{template!r}: {problem}",
            hint="write for example {camera}/{year}-{month}-{day}/{hour}-{minute}-{second}.{ext}",
        )

    out = []
    used: set[str] = set()
    for word, bracket, text, other in _PIECE.findall(template):
        if other:
            raise wrong(f"{other!r} has no partner")
        if word:
            if word not in _WORDS:
                raise wrong(f"{{{word}}} is no word; there are {', '.join(_WORDS)}")
            name = f"?P<{word}>" if word not in {"any", "folders"} else "?:"
            if word in used and name != "?:":
                raise wrong(f"{{{word}}} stands there twice")
            used.add(word)
            out.append(f"({name}{_WORDS[word]})")
        elif bracket:
            out.append("(?:" if bracket == "[" else ")?")
        else:
            out.append(re.escape(text))
    if "ext" not in used:
        raise wrong("{ext} is missing")
    try:
        return re.compile("".join(out))
    except re.error:
        raise wrong("its brackets do not pair") from None


def _zone(settings: SourceSettings) -> dt.tzinfo | None:
    if settings.kind == "frigate" and not settings.timezone:
        return dt.UTC
    if not settings.timezone:
        return None  # this machine's
    return read_zone(settings.timezone)


def read_zone(name: str) -> dt.tzinfo:
    """Return a time zone by its IANA name; raises ``ConfigError`` where this machine knows none of that name."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - few sources name a zone, and it loads much

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"there is no time zone {name!r}", hint="write a name such as Europe/Berlin or UTC") from None


def _place(
    words: dict[str, str], changed_ms: int, *, zone: dt.tzinfo | None, default_ms: int | None, source: str
) -> Place:
    media_type, by_ending = MEDIA[words["ext"].lower()]
    category = words.get("category", by_ending)
    if category != by_ending:
        raise CorruptError(f"a file ending in .{words['ext']} is no {category}")
    if not 0 <= changed_ms <= LAST_MS:
        raise CorruptError("its last change lies at an impossible time")
    try:
        start_ms, end_ms, is_told = _interval(words, changed_ms, zone=zone, default_ms=default_ms)
    except (ValueError, OverflowError):
        raise CorruptError("its name holds an impossible time") from None
    if not 0 <= start_ms < end_ms <= LAST_MS:
        raise CorruptError("its name holds an impossible time")
    return Place(
        label=words.get("camera", source),
        category=by_ending,
        media_type=media_type,
        captured_from_ms=start_ms,
        captured_to_ms=end_ms,
        is_told=is_told,
    )


def _interval(
    words: dict[str, str], changed_ms: int, *, zone: dt.tzinfo | None, default_ms: int | None
) -> tuple[int, int, bool]:
    start_ms = _start_ms(words, zone)
    if start_ms is None:
        return changed_ms, changed_ms + 1, False
    if "year" in words and "hour" not in words:  # only the day is told
        within = start_ms <= changed_ms < start_ms + _DAY_MS
        return (changed_ms, changed_ms + 1, False) if within else (start_ms, start_ms + _DAY_MS, True)
    if "duration_s" in words:
        return start_ms, start_ms + max(1, round(float(words["duration_s"]) * _MS_PER_S)), True
    category = MEDIA[words["ext"].lower()][1]
    if default_ms is not None and category == "recording":
        return start_ms, start_ms + default_ms, True
    plausible = category != "photo" and start_ms < changed_ms <= start_ms + LONGEST_MS
    return start_ms, changed_ms if plausible else start_ms + 1, True


def _start_ms(words: dict[str, str], zone: dt.tzinfo | None) -> int | None:
    if "time" in words:
        match = _TIME_PARTS.fullmatch(words["time"])
        assert match is not None  # noqa: S101 - the template's own expression matched before
        *parts, fraction = match.groups()
        micro = int((fraction or "0").ljust(6, "0"))
        year, month, day, hour, minute, second = map(int, parts)
        return _unix_ms(dt.datetime(year, month, day, hour, minute, second, micro, tzinfo=dt.UTC))
    if "unix" in words:
        return round(float(words["unix"]) * _MS_PER_S)
    if "year" in words:
        return _unix_ms(_local(words, zone))
    return None


def _local(words: dict[str, str], zone: dt.tzinfo | None) -> dt.datetime:
    year, month, day, hour, minute, second = (
        int(words.get(name, default))
        for name, default in (
            ("year", ""),
            ("month", "1"),
            ("day", "1"),
            ("hour", "0"),
            ("minute", "0"),
            ("second", "0"),
        )
    )
    naive = dt.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the zone comes in the next line
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)


def _unix_ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * _MS_PER_S)
