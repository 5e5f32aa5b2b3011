"""Field rules on the clear side of a sealing: a usage log is read through them, and never whole.

Loaded only for a job that has rules. The content's tag is that of what the source has: so a log is known again, and
what was deleted stays deleted, whatever the rules left of it.
"""

from collections.abc import Callable
from typing import Final

from agent.age.format import Reader
from agent.policy.fields.line import Deidentifier
from agent.policy.fields.log import Cleaned
from agent.policy.fields.rule import decode_rules

PART_BYTES: Final = 64 * 1024


class Cleaning:
    """Reads what stays of ``source``; ``on_read`` gets each part as it was."""

    def __init__(self, source: Reader, rules: bytes, *, on_read: Callable[[memoryview], None]) -> None:
        told = decode_rules(rules)
        self._by = Deidentifier(told.fields, keys=told.keys, counted=told.counted)
        self._log = Cleaned(self._by)
        self._source = source
        self._on_read = on_read
        self._part = memoryview(bytearray(PART_BYTES))
        self._left = memoryview(b"")
        self._ended = False
        self.read_bytes = 0

    @property
    def tally(self) -> tuple[int, ...]:
        """What the rules did so far."""
        return self._log.tally.numbers()

    @property
    def counted(self) -> dict[str, dict[str, int]]:
        """How often each value that is counted was there so far, by field."""
        return self._by.values

    def readinto(self, buffer: memoryview, /) -> int:
        """Give what stays of what comes next; 0 behind the end of the source."""
        while not self._left and not self._ended:
            self._left = memoryview(self._next())
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _next(self) -> bytes:
        count = self._source.readinto(self._part)
        if not count:
            self._ended = True
            return self._log.end()
        self.read_bytes += count
        self._on_read(self._part[:count])
        return self._log.add(bytes(self._part[:count]))
