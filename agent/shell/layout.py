"""How answers look to a person: aligned columns and readable sizes. Text from others never steers a terminal."""

from collections.abc import Iterable, Sequence
from typing import Final

CELL_MAX: Final = 60
"""Longer text in a column with another to its right is cut: it would push that one off the screen."""

_GAP: Final = "  "
_DOT: Final = " \N{MIDDLE DOT} "
_INDENT_PART: Final = 4  # of the screen at most is left blank before what stands beneath a row
_WORDS_MIN: Final = 24  # a narrower column of words is harder to read than a block
_STEP: Final = 1000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def table(rows: Iterable[Sequence[object]], *, head: Sequence[str], right: Sequence[int] = (), columns: int = 0) -> str:
    """Return rows as aligned columns under a head; ``right`` names the columns of numbers.

    ``columns`` is how wide the screen is, 0 where there is none. What is too wide for it has its last column broken
    where that leaves room for words, else each row becomes a block of lines: a screen breaks lines anywhere.
    """
    last = len(head) - 1
    every = [tuple(head)]
    every += [tuple(printable(cell) if at == last else clean(cell) for at, cell in enumerate(row)) for row in rows]
    widths = [max(len(row[at]) for row in every) for at in range(len(head))]
    before = sum(widths[:-1]) + len(_GAP) * last
    if not columns or before + widths[-1] <= columns:
        broken = [(row, [row[-1]]) for row in every]
    elif columns - before >= _WORDS_MIN:
        broken = [(row, _words(row[-1], columns - before)) for row in every]
    else:
        return "\n\n".join(_block(row, head=head, columns=columns) for row in every[1:])
    lines = []
    for row, (first, *others) in broken:
        cells = (
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip((*row[:-1], first), widths, strict=True))
        )
        lines.append(_GAP.join(cells).rstrip())
        lines += [" " * before + other for other in others]
    return "\n".join(lines)


def noted(rows: Iterable[tuple[Sequence[object], Iterable[object]]], *, head: Sequence[str], columns: int = 0) -> str:
    """Return rows as aligned columns under a head, each with what else is to be said of it beneath.

    Columns that a screen has no room for, from the last one on, stand beneath as well.
    """
    every = [(tuple(map(clean, cells)), [printable(word) for word in words if word]) for cells, words in rows]
    lines = [tuple(head), *(cells for cells, _words_of in every)]
    widths = [max(len(row[at]) for row in lines) for at in range(len(head))]
    kept = len(head)
    while columns and kept > 1 and sum(widths[:kept]) + len(_GAP) * (kept - 1) > columns:
        kept -= 1
    indent = " " * (widths[0] + len(_GAP))
    if columns and len(indent) * _INDENT_PART > columns:
        indent = _GAP
    shown = [_line(head, widths[:kept])]
    for cells, words in every:
        shown.append(_line(cells, widths[:kept]))
        beneath = _DOT.join((*(cell for cell in cells[kept:] if cell not in {"", "-"}), *words))
        if beneath:
            room = _words(beneath, columns - len(indent)) if columns else [beneath]
            shown += [indent + one for one in room]
    return "\n".join(shown)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()


def pairs(rows: Sequence[tuple[str, object]], *, columns: int = 0) -> str:
    """Return names and what each stands for, one under the other; broken between words where the screen is narrow."""
    width = max((len(name) for name, _value in rows), default=0) + len(_GAP)
    lines = []
    for name, value in rows:
        first, *others = _words(printable(value), columns - width) if columns else [printable(value)]
        lines.append(f"{name.ljust(width)}{first}")
        lines += [" " * width + other for other in others]
    return "\n".join(lines)


def heading(text: str, *, columns: int = 0) -> str:
    """Return what stands over or under a table, broken between words where the screen is narrow."""
    if not columns:
        return text
    return "\n".join(part for line in text.split("\n") for part in _words(line, columns))


def _block(row: Sequence[str], *, head: Sequence[str], columns: int) -> str:
    """Return a row as lines of its own: the first cell behind its name, and under it what else there is, by name.

    The first one's name tells two tables apart: what would go from what stays.
    """
    told = [(f"{_GAP}{name}", cell) for name, cell in zip(head[1:], row[1:], strict=True) if cell]
    first = f"{head[0]}{_GAP}{row[0]}" if head[0] else row[0]
    return "\n".join((first, pairs(told, columns=columns))).rstrip("\n")


def _words(text: str, width: int) -> list[str]:
    """Break text between words; an id or a path stays whole, so that it can be copied."""
    from textwrap import wrap

    return wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]


def size(count: float) -> str:
    """Return bytes as a person reads them: ``12.4 MB``."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def counted(count: object, of: str = "object") -> str:
    """Return how many there are of something: ``1 object``, ``12 objects``."""
    return f"1 {of}" if count == 1 else f"{count} {of}s"


def printable(text: object) -> str:
    """Return text from outside with control and direction characters replaced, so that it cannot draw on a screen."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def clean(text: object) -> str:
    """Return printable text that is no longer than a cell."""
    shown = printable(text)
    return shown if len(shown) <= CELL_MAX else shown[: CELL_MAX - 1] + "…"
