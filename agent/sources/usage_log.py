"""JSON Lines: whether a usage log is one, and how many of its lines are not what they should be.

Rules: a line is one JSON object in UTF-8 of at most ``LINE_MAX_BYTES``; empty lines are nothing. A log is kept byte for
byte, bad lines included: they are its owner's too, and nowhere else once the source's copy is given up. A file without
a good line is no log and refused as a whole.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.errors import CorruptError

FILE_MAX_BYTES: Final = 16 << 20
"""A camera's usage log of a day is some hundred kilobytes; a larger file is not read into memory."""

LINE_MAX_BYTES: Final = 64 * 1024

LINES_MAX: Final = 100_000
"""One a second for a day. Each costs microseconds and memory of its own, however short it is."""

_object = msgspec.json.Decoder(dict[str, object])


def bad_lines(unverified_log: bytes, *, of_known_log: bool = False) -> int:
    """Return how many lines are bad; ``CorruptError`` when none of what is there is good, or there are too many.

    What follows in a log that is known may well be bad: then only the latter.
    """
    if unverified_log.count(b"\n") > LINES_MAX:
        raise CorruptError(f"it holds more than {LINES_MAX} lines")
    good = bad = 0
    for raw in _split(unverified_log):
        if not raw.strip():
            continue
        if is_object(raw):
            good += 1
        else:
            bad += 1
    if bad and not good and not of_known_log:
        raise CorruptError("it holds no line that is a JSON object")
    return bad


def _split(unverified_log: bytes) -> Iterable[bytes]:
    start = 0
    while start < len(unverified_log):
        end = unverified_log.find(b"\n", start)
        end = len(unverified_log) if end < 0 else end
        yield unverified_log[start:end]
        start = end + 1


def is_object(raw: bytes) -> bool:
    """Tell whether a line is one JSON object, not too long."""
    if len(raw) > LINE_MAX_BYTES:
        return False
    try:
        raw.decode("utf-8")
        _object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
