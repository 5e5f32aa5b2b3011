"""Times as people write and read them: this machine's local time, with its offset. What is shown can be typed back.

No clock is read here: "now" is an argument. The zone is this machine's.
"""

import datetime as dt
import re
from typing import Final

from agent.errors import ConfigError

_MS_PER_S: Final = 1000
_AGO: Final = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_AGO_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPACED_OFFSET: Final = re.compile(r" (?=[+-]\d\d:?\d\d\Z)")  # Python in C reads it, Python in Python does not

FORMS: Final = "2026-03-01, 2026-03-01T10:15, 2026-03-01T10:15:00Z, 36h, 14d or now"
"""What ``parse_when`` takes, by example."""


def when(unix_ms: int) -> str:
    """Write Unix milliseconds: ``2026-03-01 10:15:00 +0100``; what no calendar has, as seconds since 1970."""
    try:
        return f"{dt.datetime.fromtimestamp(unix_ms / _MS_PER_S).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (ValueError, OverflowError, OSError):
        return f"{unix_ms // _MS_PER_S} s since 1970"


def when_text(text: object) -> str:
    """Write a data field's RFC 3339 time in the same way; what is no time is returned as it is."""
    try:
        return f"{dt.datetime.fromisoformat(str(text)).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (ValueError, OverflowError):
        return str(text)


def clock_text(text: object) -> str:
    """Write a data field's RFC 3339 time as the time of day alone."""
    try:
        return f"{dt.datetime.fromisoformat(str(text)).astimezone():%H:%M:%S}"
    except (ValueError, OverflowError):
        return str(text)


def parse_until(text: str, *, now_ms: int) -> int:
    """Read a time ahead into Unix milliseconds: as ``parse_when``, but ``30d`` is in 30 days."""
    ahead = _AGO.fullmatch(text.strip())
    return now_ms + int(ahead[1]) * _AGO_MS[ahead[2]] if ahead is not None else parse_when(text, now_ms=now_ms)


def parse_when(text: str, *, now_ms: int) -> int:
    """Read a time that a person wrote into Unix milliseconds; raises ``ConfigError``.

    ``now``; an age such as ``36h`` or ``14d``; RFC 3339; what ``when`` writes; or a date with or without a time,
    which then is this machine's local time.
    """
    text = text.strip()
    ago = _AGO.fullmatch(text)
    if text == "now":
        return now_ms
    if ago is not None:
        return now_ms - int(ago[1]) * _AGO_MS[ago[2]]
    try:
        return round(dt.datetime.fromisoformat(_SPACED_OFFSET.sub("", text)).astimezone().timestamp() * _MS_PER_S)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is not a time", hint=f"write {FORMS}") from error
