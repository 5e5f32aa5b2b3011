"""Is a byte of the clear recordings anywhere? A search that finds every copied sample, at whatever offset it lies.

From every 4 KiB of a source a sample of 63 bytes is taken; all its 32-byte windows are kept. A file is then looked at
in steps of 32 bytes: whatever the offset of a copied sample, one of its windows lies exactly on a step. So one pass
over the file finds all samples, and no copy of a sample can be missed. A sample with a window that hardly varies
(padding, a container's tables) says nothing, would be found in any file, and is left out. Texts such as names are
searched for as they are, in UTF-16, hexadecimal and base64.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WINDOW_BYTES: Final = 32
SAMPLE_BYTES: Final = 2 * WINDOW_BYTES - 1
EVERY_BYTES: Final = 4096
_LEAST_VARIETY: Final = 12
_READ_BYTES: Final = 1 << 20
_TEXT_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Needles:
    """The samples of one source: how many, and all their windows."""

    count: int
    windows: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Hit:
    """A clear sample, or a text, in a file."""

    file: Path
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search went through and found."""

    files: int
    bytes: int
    hits: tuple[Hit, ...]


def sample(data: bytes) -> Needles:
    """Take the samples of a source."""
    windows: set[bytes] = set()
    count = 0
    for start in range(0, len(data) - SAMPLE_BYTES + 1, EVERY_BYTES):
        piece = data[start : start + SAMPLE_BYTES]
        parts = [piece[at : at + WINDOW_BYTES] for at in range(WINDOW_BYTES)]
        if min(len(set(part)) for part in parts) >= _LEAST_VARIETY:
            count += 1
            windows.update(parts)
    return Needles(count, frozenset(windows))


def text_forms(text: str) -> tuple[bytes, ...]:
    """Return the ways in which a text could lie in a file; of base64 the part that is the same at every alignment."""
    raw = text.encode()
    coded = [base64.b64encode(b"\0" * lead + raw)[4 if lead else 0 :].rstrip(b"=")[:-1] for lead in range(3)]
    return (raw, text.encode("utf-16-le"), raw.hex().encode(), *coded)


def search(folders: Iterable[Path], needles: Iterable[Needles], *, texts: Iterable[str] = ()) -> Search:
    """Look at every byte of every plain file beneath the folders (a file may be named as well)."""
    windows = frozenset().union(*(needle.windows for needle in needles))
    forms = tuple(form for text in texts for form in text_forms(text))
    hits: list[Hit] = []
    files = size = 0
    for path in _files(folders):
        files += 1
        read, found = _look(path, windows, forms)
        size += read
        hits += found
    return Search(files=files, bytes=size, hits=tuple(hits))


def _files(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        if folder.is_file():
            yield folder
            continue
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _look(path: Path, windows: frozenset[bytes], forms: tuple[bytes, ...]) -> tuple[int, list[Hit]]:
    hits: list[Hit] = []
    at = 0
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            steps = range(0, len(block), WINDOW_BYTES)
            hits += [Hit(path, at + step) for step in steps if block[step : step + WINDOW_BYTES] in windows]
            seam = tail + block
            hits += [Hit(path, at - len(tail) + seam.find(form)) for form in forms if form in seam]
            tail = block[-_TEXT_BYTES_MAX:]
            at += len(block)
    return at, hits
