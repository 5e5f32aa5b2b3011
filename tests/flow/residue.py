"""A search for clear personal data in what programs wrote: exact, for many samples at once, whatever the offset.

A sample is 32 bytes. Wherever a copy of it (or of its hexadecimal, base64 or UTF-16 form, which are longer) lies in a
file, one aligned 16-byte block of the file lies wholly inside the copy; so all 16-byte windows of all forms go into one
table, the file is looked at block by block, and a block that is in the table is compared in full. Words that are
shorter than that are searched for one by one.
"""

import base64
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAMPLE_BYTES: Final = 32
EVERY_BYTES: Final = 4096
LEAST_VALUES: Final = 16
"""A sample with fewer distinct byte values is padding and would be found anywhere."""

_PAGE_BYTES: Final = 4096
_BLOCK_BYTES: Final = 16
_LONG_ENOUGH: Final = 2 * _BLOCK_BYTES - 1


@dataclass(frozen=True, slots=True)
class Hit:
    """Where something clear was found, and what it was."""

    file: Path
    offset: int
    what: bytes


def samples(content: bytes) -> tuple[bytes, ...]:
    """Return 32 bytes of every 4 KiB of a source's file that say something."""
    taken = (content[at : at + SAMPLE_BYTES] for at in range(0, len(content), EVERY_BYTES))
    return tuple(piece for piece in taken if len(piece) == SAMPLE_BYTES and len(set(piece)) >= LEAST_VALUES)


def forms(raw: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, in hexadecimal, and of base64 what is the same at each of the three alignments."""
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for lead in range(3):
        whole = base64.b64encode(b"\0" * lead + raw)
        stable = whole[-(-lead * 8 // 6) : (lead + len(raw)) * 8 // 6]
        yield stable
        yield stable.translate(bytes.maketrans(b"+/", b"-_"))


def word_forms(word: str) -> Iterator[bytes]:
    """Yield a word's forms in UTF-8 and in both kinds of UTF-16."""
    for coding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield from forms(word.encode(coding))


class Search:
    """What is looked for; ``files`` and ``size_bytes`` count what was looked at."""

    def __init__(self, *, pieces: Iterable[bytes], words: Iterable[str]) -> None:
        self.pieces = tuple(pieces)
        self.files = 0
        self.size_bytes = 0
        self._windows: dict[bytes, list[tuple[bytes, int]]] = {}
        self._short: set[bytes] = set()
        for piece in self.pieces:
            for form in forms(piece):
                self._learn(form)
            self._learn(piece.decode("latin-1").encode("utf-16-le"))
        for word in words:
            for form in word_forms(word):
                self._learn(form)

    def _learn(self, form: bytes) -> None:
        if len(form) < _LONG_ENOUGH:
            self._short.add(form)
            return
        for at in range(len(form) - _BLOCK_BYTES + 1):
            entries = self._windows.setdefault(form[at : at + _BLOCK_BYTES], [])
            if (form, at) not in entries:
                entries.append((form, at))

    def look(self, roots: Iterable[Path]) -> list[Hit]:
        """Look at every byte of every file beneath the folders, and at what a zip among them holds."""
        return [hit for root in roots for path in sorted(_files(root)) for hit in self._look_at(path)]

    def look_through(self, stretches: Iterable[tuple[int, bytes]], *, place: Path) -> list[Hit]:
        """Look at stretches of something that is no file, such as a disk or a memory, each with where it begins."""
        return [
            Hit(place, start + hit.offset, hit.what)
            for start, data in stretches
            for hit in self._look_in(self._counted(data), place)
        ]

    def _counted(self, data: bytes) -> bytes:
        self.size_bytes += len(data)
        return data

    def _look_at(self, path: Path) -> Iterator[Hit]:
        data = self._counted(path.read_bytes())
        self.files += 1
        yield from self._look_in(data, path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    yield from self._look_in(archive.read(name), path / name)
        yield from self._look_in(str(path.name).encode(), path)

    def _look_in(self, data: bytes, path: Path) -> Iterator[Hit]:
        windows = self._windows
        for page in range(0, len(data), _PAGE_BYTES):
            some = data[page : page + _PAGE_BYTES]
            if some.count(0) == len(some):
                continue  # most of a disk and much of a memory
            for offset in range(page, min(page + _PAGE_BYTES, len(data) - _BLOCK_BYTES + 1), _BLOCK_BYTES):
                for form, at in windows.get(data[offset : offset + _BLOCK_BYTES], ()):
                    if data[max(0, offset - at) : offset - at + len(form)] == form:
                        yield Hit(path, offset - at, form)
        for form in self._short:
            at = data.find(form)
            if at >= 0:
                yield Hit(path, at, form)


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
