"""How answers look to a person: aligned columns and readable sizes. Text from others never steers a terminal."""

from collections.abc import Iterable, Sequence
from typing import Final

CELL_MAX: Final = 60
"""Longer text in a column with another to its right is cut: it would push that one off the screen."""

_STEP: Final = 1000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def table(rows: Iterable[Sequence[object]], *, head: Sequence[str], right: Sequence[int] = ()) -> str:
    """Return rows as aligned columns under a head; ``right`` names the columns of numbers."""
    last = len(head) - 1
    every = [tuple(head)]
    every += [tuple(printable(cell) if at == last else clean(cell) for at, cell in enumerate(row)) for row in rows]
    widths = [max(len(row[at]) for row in every) for at in range(len(head))]
    lines = []
    for row in every:
        cells = (
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def size(count: float) -> str:
    """Return bytes as a person reads them: ``12.4 MB``."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def printable(text: object) -> str:
    """Return text from outside with control and direction characters replaced, so that it cannot draw on a screen."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def clean(text: object) -> str:
    """Return printable text that is no longer than a cell."""
    shown = printable(text)
    return shown if len(shown) <= CELL_MAX else shown[: CELL_MAX - 1] + "…"
