"""A log under the field rules, part by part: of it no more than a line and what stays of one part is held."""

from typing import Final

from agent.policy.fields.line import Deidentifier
from agent.policy.fields.tally import Tally

LINE_MAX_BYTES: Final = 64 * 1024
"""A longer line is no line of a usage log."""


class Cleaned:
    """Takes a log in parts of any size, cut anywhere, and gives back what stays of the lines that ended in each."""

    def __init__(self, by: Deidentifier) -> None:
        self._by = by
        self._half = b""
        self._skips = False  # the end of a line that is too long is awaited

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return self._by.tally

    def add(self, part: bytes) -> bytes:
        """Return what stays of the lines that end in this part, each with its end."""
        head, found, rest = part.partition(b"\n")
        if not found:
            self._hold(head)
            return b""
        *middle, last = rest.split(b"\n")
        left = [self._ended(head), *map(self._whole, middle)]
        self._hold(last)
        return b"".join(left)

    def end(self) -> bytes:
        """Return what stays of the last line, which may have no end; nothing may follow."""
        return self._ended(b"")

    def _hold(self, begun: bytes) -> None:
        if self._skips:
            return
        self._half += begun
        if len(self._half) > LINE_MAX_BYTES:
            self._half = b""
            self._skips = True

    def _ended(self, rest: bytes) -> bytes:
        raw, skipped = self._half + rest, self._skips
        self._half, self._skips = b"", False
        if skipped:
            self._by.bad()
            return b""
        return self._whole(raw)

    def _whole(self, raw: bytes) -> bytes:
        if len(raw) > LINE_MAX_BYTES:
            self._by.bad()
            return b""
        return self._by.line(raw)
