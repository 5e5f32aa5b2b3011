"""The files that ``docs/formats.md`` lists, and what lies in a folder and is not among them."""

import fnmatch
import re
from pathlib import Path
from typing import Final

TEXT: Final = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def part(number: int) -> str:
    """Return one numbered section."""
    return TEXT.split(f"\n## {number}. ", 1)[1].split("\n## ", 1)[0]


def unlisted(names: list[str], *, section: int) -> list[str]:
    """Return the paths that no row of a section's table means."""
    patterns = _as_patterns(_first_cells(section))
    return [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _first_cells(number: int) -> list[str]:
    """Return the first cell of every row of a section's tables."""
    rows = re.findall(r"^\| (`.+?) \|", part(number), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def _as_patterns(names: list[str]) -> list[str]:
    """Turn documented names into patterns: words in capitals stand for anything."""
    patterns = [re.sub(r"\b(?:ID|NAME|SEQ|JTI|CMD|N)\b", "*", name) for name in names]
    return [pattern.replace("….msg", "devices/*/commands/*.msg") for pattern in patterns]
