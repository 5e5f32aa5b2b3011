"""Ranges of bytes (RFC 9110 §14): one range or none. Pure."""

import re
from typing import Final

_ONE: Final = re.compile(r"bytes=(?:(\d{1,13})-(\d{1,13})?|-(\d{1,13}))", re.ASCII)


class UnsatisfiableError(Exception):
    """The range is well-formed and holds no byte of the recording."""


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """Return the half-open part that is asked for, or ``None`` for all; raises ``UnsatisfiableError``."""
    found = _ONE.fullmatch(header.strip())
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        if int(suffix) == 0 or size == 0:
            raise UnsatisfiableError
        return max(size - int(suffix), 0), size
    begin = int(first)
    if last is not None and int(last) < begin:
        return None  # not well-formed (§14.1.1), so ignored
    if begin >= size:
        raise UnsatisfiableError
    return begin, size if last is None else min(int(last) + 1, size)
