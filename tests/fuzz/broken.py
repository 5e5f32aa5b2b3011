"""Inputs that broke a parser: of each place and error the shortest, with what was raised."""

import hashlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_INPUT: Final = "input"
_WHY: Final = "why"
_OURS: Final = ("/agent/", "/tests/fuzz/")


class Broke(NamedTuple):
    """One input and what came of it."""

    raw: bytes
    why: str


class Broken:
    """The folder that they are kept in while a target runs; one process writes, another reads it afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}

    def keep(self, raw: bytes, error: Exception) -> None:
        """Keep an input, unless a shorter one broke the same place in the same way."""
        place = _place(error)
        if self._sizes.get(place, len(raw) + 1) <= len(raw):
            return
        self._sizes[place] = len(raw)
        folder = self._folder / hashlib.sha256(place.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _WHY).write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="replace")
        (folder / _INPUT).write_bytes(raw)

    def all(self) -> Iterator[Broke]:
        """Yield what is kept, and what ended the process itself: too slow, too large, or a fault of the machine's."""
        for path in sorted(self._folder.glob(f"*/{_INPUT}")):
            yield Broke(path.read_bytes(), path.with_name(_WHY).read_text(encoding="utf-8"))
        for path in sorted(one for one in self._folder.glob("*-*") if one.is_file()):
            yield Broke(path.read_bytes(), f"it ended the process: {path.name.partition('-')[0]}\n")


def _place(error: Exception) -> str:
    """Return what kind of error it is, and where in our own code it came out."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(part in frame.filename for part in _OURS)]
    last = (ours or list(frames))[-1]
    return f"{type(error).__name__} {last.filename}:{last.lineno}"


def name_of(raw: bytes) -> str:
    """Return how an input's file is called: by what it holds, so that none comes twice."""
    return hashlib.sha256(raw).hexdigest()[:16]
