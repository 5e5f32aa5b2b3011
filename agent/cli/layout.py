"""How answers look to a person: aligned columns, readable sizes and times; nothing personal is decided here."""

from collections.abc import Sequence
from typing import Final

_STEP: Final = 1000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def table(rows: Sequence[Sequence[str]], *, head: Sequence[str], right: Sequence[int] = ()) -> str:
    """Return rows as aligned columns under a head; ``right`` names the columns of numbers."""
    every = [tuple(head), *(tuple(row) for row in rows)]
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


def time(rfc3339: str) -> str:
    """Return an RFC 3339 time in UTC without its noise: ``2026-03-01 10:15:00``."""
    return rfc3339.replace("T", " ").split(".", maxsplit=1)[0]


def printable(text: str) -> str:
    """Return a name from outside with control and direction characters replaced, so that it cannot draw on a screen."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
