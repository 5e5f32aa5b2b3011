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
"""A camera's usage log of a day is some hundred kilobytes; of a file that is taken whole, a larger one is refused."""

LINE_MAX_BYTES: Final = 64 * 1024

LINES_MAX: Final = 100_000
"""One a second for a day. Each costs microseconds and memory of its own, however short it is."""

_object = msgspec.json.Decoder(dict[str, object])


class Lines:
    """Looks at a log part by part, and holds no more of it than a line."""

    def __init__(self) -> None:
        self._ends = 0
        self._good = 0
        self._bad = 0
        self._half = b""

    def add(self, unverified_part: bytes) -> None:
        """Look at the next part; ``CorruptError`` when there are too many lines."""
        self._ends += unverified_part.count(b"\n")
        if self._ends > LINES_MAX:
            raise CorruptError(f"it holds more than {LINES_MAX} lines")
        joined = self._half + unverified_part
        whole = joined.rfind(b"\n") + 1
        for raw in _split(joined[:whole]):
            self._count(raw)
        self._half = joined[whole : whole + LINE_MAX_BYTES + 1]  # a longer one is bad, whatever follows

    def bad(self, *, of_known_log: bool = False) -> int:
        """Return how many are bad; ``CorruptError`` when none of what is there is good.

        What follows in a log that is known may well be bad.
        """
        self._count(self._half)
        self._half = b""
        if self._bad and not self._good and not of_known_log:
            raise CorruptError("it holds no line that is a JSON object")
        return self._bad

    def _count(self, raw: bytes) -> None:
        if not raw.strip():
            return
        if is_object(raw):
            self._good += 1
        else:
            self._bad += 1


def bad_lines(unverified_log: bytes, *, of_known_log: bool = False) -> int:
    """Return how many lines are bad; ``CorruptError`` as ``Lines``."""
    lines = Lines()
    lines.add(unverified_log)
    return lines.bad(of_known_log=of_known_log)


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
