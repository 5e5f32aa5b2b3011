"""Usage logs as CSV (RFC 4180): one column for each member that any line has, one row for each line.

Lines come from a camera and may hold anything: each is bounded, what is no JSON object goes into the column ``line``
as it is, nested values are written as JSON, and no cell can become a formula. A finite number stays one, but for a
negative one that others follow in its row: where no comma parts cells, the whole row begins as a formula does.
Two passes: columns, then rows.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from agent.bundle.names import MARK, cell

COLUMNS_MAX: Final = 200
LINE_BYTES: Final = 256 * 1024
RAW_COLUMN: Final = "line"


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split a stream into lines; a longer one than ``LINE_BYTES`` is cut there and its rest is the next."""
    kept = b""
    for piece in pieces:
        kept += piece
        *whole, kept = kept.split(b"\n")
        for line in whole:
            yield from _bounded(line)
        while len(kept) > LINE_BYTES:
            yield kept[:LINE_BYTES]
            kept = kept[LINE_BYTES:]
    if kept:
        yield kept


def columns(pieces: Iterable[bytes]) -> tuple[str, ...]:
    """Return the members in the order of their first appearance, at most ``COLUMNS_MAX``, the raw column behind."""
    found: dict[str, None] = {}
    raw = False
    for line in lines(pieces):
        record = _record(line)
        if record is None:
            raw = raw or bool(line.strip())
            continue
        for name in record:
            if len(found) < COLUMNS_MAX:
                found.setdefault(name)
            raw = raw or name not in found
    found.pop(RAW_COLUMN, None)
    return (*found, *([RAW_COLUMN] if raw or not found else []))


def rows(pieces: Iterable[bytes], names: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the CSV, its head first."""
    yield _row([cell(name) for name in names])
    known = frozenset(names) - {RAW_COLUMN}
    for line in lines(pieces):
        if not line.strip():
            continue
        record = _record(line)
        if record is None or not record.keys() <= known:
            whole = line.decode("utf-8", "replace").rstrip("\r")
            record = {**(record or {}), RAW_COLUMN: whole}
        yield _row([_cell(record.get(name)) for name in names])


def _bounded(line: bytes) -> Iterator[bytes]:
    for start in range(0, len(line) or 1, LINE_BYTES):
        yield line[start : start + LINE_BYTES]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return cell(value)
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)  # a number stays one: it cannot be a formula
    return cell(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _row(cells: list[str]) -> bytes:
    if len(cells) > 1 and cells[0].startswith("-"):  # a number: of all else a sign is behind the mark
        cells = [MARK + cells[0], *cells[1:]]
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode("utf-8", "replace")
