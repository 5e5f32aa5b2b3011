"""What a person at a terminal sees: tables that fit, a line that changes, and never a byte that garbles the screen.

In a pipe nothing changes and nothing is broken: a program reads that.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from agent.errors import ConfigError
from agent.shell import layout

if TYPE_CHECKING:
    from agent.age.stream import Writer

# Below this a bar would only flicker: a tenth of a second of work.
_PROGRESS_MIN_BYTES: Final = 128 * 1024 * 1024
_PROGRESS_WIDTH: Final = 28
_SHOWN_CONTROLS: Final = frozenset(b"\t\n\r\x1b")
_FIRST_PRINTABLE: Final = 0x20


def columns(stream: TextIO) -> int:
    """Return how wide the terminal is that a stream goes to; 0 where it goes to none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal, or nothing with a descriptor
        return 0


def table(rows: Iterable[Sequence[object]], *, head: Sequence[str], right: Sequence[int] = ()) -> str:
    """Return a table for stdout, fitted to its width."""
    return layout.table(rows, head=head, right=right, columns=columns(sys.stdout))


def noted(rows: Iterable[tuple[Sequence[object], Iterable[object]]], *, head: Sequence[str]) -> str:
    """Return a table for stdout with what is said of each row beneath it, fitted to its width."""
    return layout.noted(rows, head=head, columns=columns(sys.stdout))


def pairs(rows: Sequence[tuple[str, object]]) -> str:
    """Return names and values for stdout, fitted to its width."""
    return layout.pairs(rows, columns=columns(sys.stdout))


def heading(text: str, *, stream: TextIO | None = None) -> str:
    """Return what stands over or under a table on stdout, or on another stream, fitted to its width."""
    return layout.heading(text, columns=columns(stream or sys.stdout))


class LiveLine:
    """One line on stderr that changes while something goes on, never wider than the terminal; in a pipe, none."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.shown = wanted and sys.stderr.isatty()
        self._length = 0

    def show(self, text: str) -> None:
        """Put the text where the one before stood."""
        if self.shown:
            width = columns(sys.stderr)
            line = layout.printable(text)[: width - 1 if width else None]  # a full line would push the cursor on
            print(f"\r{line:<{self._length}}", end="", file=sys.stderr, flush=True)
            self._length = len(line)

    def clear(self) -> None:
        """Leave the line as it was before."""
        if self._length:
            print(f"\r{'':<{self._length}}\r", end="", file=sys.stderr, flush=True)
            self._length = 0


class LiveTable:
    """Lines on stdout that are drawn anew in their place, as many as the terminal shows."""

    def __init__(self) -> None:
        self._height = 0
        self._whole = ""

    def show(self, text: str) -> None:
        """Draw the text over the one before."""
        try:
            room = os.get_terminal_size(sys.stdout.fileno()).lines - 1
        except (OSError, ValueError):
            room = 0
        lines = text.split("\n")
        self._whole = ""
        if 0 < room < len(lines):
            self._whole = text
            more = f"… {len(lines) - room + 1} more lines: make the window higher, or see them all after Ctrl-C"
            lines = [*lines[: room - 1], more]
        up = f"\x1b[{self._height}F" if self._height else ""
        print(up + "\n".join(f"{line}\x1b[K" for line in lines) + "\n\x1b[J", end="", flush=True)
        self._height = len(lines)

    def end(self) -> None:
        """Leave the last text where it stands, whole."""
        if self._whole:
            whole = "\n".join(f"{line}\x1b[K" for line in self._whole.split("\n"))
            print(f"\x1b[{self._height}F{whole}\n\x1b[J", end="", flush=True)
        self._height, self._whole = 0, ""


class TextOnly:
    """Lets text through to a terminal and refuses what would garble it."""

    def __init__(self, target: "Writer") -> None:
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
        self._percent = -1
        self._line = LiveLine(wanted=self._size >= _PROGRESS_MIN_BYTES)
        self.hook = self._advance if self._line.shown else None

    def _advance(self, piece: memoryview) -> None:
        self._done += len(piece)
        percent = min(100, self._done * 100 // self._size)
        if percent != self._percent:
            self._percent = percent
            bar = "#" * (percent * _PROGRESS_WIDTH // 100)
            self._line.show(f"[{bar:<{_PROGRESS_WIDTH}}] {percent:3d} %")

    def clear(self) -> None:
        """Leave the line as it was before."""
        self._line.clear()
