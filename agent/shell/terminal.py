"""What a person at a terminal sees: a bar for long work, and never a byte that would garble the screen."""

import sys
from typing import Final

from agent.age.stream import Writer
from agent.errors import ConfigError

# Below this a bar would only flicker: a tenth of a second of work.
_PROGRESS_MIN_BYTES: Final = 128 * 1024 * 1024
_PROGRESS_WIDTH: Final = 32
_SHOWN_CONTROLS: Final = frozenset(b"\t\n\r\x1b")
_FIRST_PRINTABLE: Final = 0x20


class TextOnly:
    """Lets text through to a terminal and refuses what would garble it."""

    def __init__(self, target: Writer) -> None:
        self._target = target

    def write(self, data: memoryview, /) -> int | None:
        """Write text; raises ``ConfigError`` for anything else."""
        if any(byte < _FIRST_PRINTABLE and byte not in _SHOWN_CONTROLS for byte in data):
            raise ConfigError("what was sealed is binary and this is a terminal", hint="add -o FILE")
        return self._target.write(data)


class Progress:
    """A bar on a terminal for long inputs, nothing elsewhere; it counts bytes and asks no clock."""

    def __init__(self, size: int | None) -> None:
        self._size = size or 0
        self._done = 0
        self._shown = -1
        shown = self._size >= _PROGRESS_MIN_BYTES and sys.stderr.isatty()
        self.hook = self._advance if shown else None

    def _advance(self, piece: memoryview) -> None:
        self._done += len(piece)
        percent = min(100, self._done * 100 // self._size)
        if percent != self._shown:
            self._shown = percent
            bar = "#" * (percent * _PROGRESS_WIDTH // 100)
            print(f"\r[{bar:<{_PROGRESS_WIDTH}}] {percent:3d} %", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line as it was before."""
        if self._shown >= 0:
            print("\r" + " " * (_PROGRESS_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)
