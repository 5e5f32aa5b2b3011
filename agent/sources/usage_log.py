"""JSON Lines, line by line: what of a usage log is kept.

Rules: a line is one JSON object in UTF-8 of at most ``LINE_MAX_BYTES``; empty lines are nothing. A bad line is dropped
and counted. A file without a good line is refused as a whole. Good lines are kept byte for byte.
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


class Lines(msgspec.Struct, frozen=True):
    """The good lines of one file, each with its line end; and how many were dropped."""

    kept: bytes
    kept_lines: int
    dropped_lines: int


def read_lines(unverified_log: bytes) -> Lines:
    """Return the good lines; raises ``CorruptError`` when none of what is there is good, or there are too many."""
    if unverified_log.count(b"\n") > LINES_MAX:
        raise CorruptError(f"it holds more than {LINES_MAX} lines")
    kept = []
    dropped = 0
    for raw in _split(unverified_log):
        if not raw.strip():
            continue
        if _is_good(raw):
            kept.append(raw.rstrip(b"\r") + b"\n")
        else:
            dropped += 1
    if dropped and not kept:
        raise CorruptError("it holds no line that is a JSON object")
    return Lines(b"".join(kept), len(kept), dropped)


def _split(unverified_log: bytes) -> Iterable[bytes]:
    start = 0
    while start < len(unverified_log):
        end = unverified_log.find(b"\n", start)
        end = len(unverified_log) if end < 0 else end
        yield unverified_log[start:end]
        start = end + 1


def _is_good(raw: bytes) -> bool:
    if len(raw) > LINE_MAX_BYTES:
        return False
    try:
        raw.decode("utf-8")
        _object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
