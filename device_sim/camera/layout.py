"""Where a camera system puts its files: one function from a moment to a path, per system.

- ``spool``: ours: ``{camera}/recording/2026-11-22T10-15-00.000Z_10s.mp4``, ``{camera}/photo/2026-….jpg``,
  ``{camera}/usage-log/2026-….jsonl``. The time is when the capture began.
- ``frigate``: ``recordings/YYYY-MM-DD/HH/{camera}/MM.SS.mp4``, UTC; photos as its snapshots,
  ``clips/{camera}-{Unix time}-{id}.jpg``.
- ``motioneye``: ``{camera}/YYYY-MM-DD/HH-MM-SS.mp4``, photos beside them; taken as UTC here.
- ``timelapse``: ``{camera}/YYYY-MM-DD/IMG_0001.jpg``: numbered from 1 each day, clips as ``MOV_0001.mp4``.

Only ``spool`` has a place for usage logs; the other systems keep none, so there logs go to ``{camera}/usage-log`` too.

Rule: a file is written as ``NAME.part`` and renamed when it is whole, so a final name never holds a partial file
(but see ``fault``). Files are 0600, folders 0700.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal

Layout = Literal["spool", "frigate", "motioneye", "timelapse"]
Kind = Literal["recording", "photo", "usage-log"]

LAYOUTS: Final[tuple[Layout, ...]] = ("spool", "frigate", "motioneye", "timelapse")
PART: Final = ".part"

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


def slug(name: str) -> str:
    """The camera's name as a folder: small letters and digits of any script, the rest one underscore each run."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return "_".join(words) or "camera"


def place(
    layout: Layout, kind: Kind, *, camera: str, start: datetime, seconds: float, number: int, ending: str
) -> PurePosixPath:
    """The file's path beneath the folder; ``number`` counts this day's files of one kind from 1."""
    at = start.astimezone(UTC)
    folder = slug(camera)
    if kind == "usage-log" or layout == "spool":
        moment = f"{at:%Y-%m-%dT%H-%M-%S}.{at.microsecond // 1000:03d}Z"
        length = f"_{seconds:g}s" if kind == "recording" else ""
        return PurePosixPath(folder, kind, f"{moment}{length}{ending}")
    if layout == "frigate" and kind == "photo":
        return PurePosixPath("clips", f"{folder}-{at.timestamp():.6f}-{number:06x}{ending}")
    if layout == "frigate":
        return PurePosixPath("recordings", f"{at:%Y-%m-%d}", f"{at:%H}", folder, f"{at:%M.%S}{ending}")
    if layout == "motioneye":
        return PurePosixPath(folder, f"{at:%Y-%m-%d}", f"{at:%H-%M-%S}{ending}")
    stem = "IMG" if kind == "photo" else "MOV"
    return PurePosixPath(folder, f"{at:%Y-%m-%d}", f"{stem}_{number:04d}{ending}")


@contextmanager
def finished(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under ``path`` only when the block ended well; else nothing remains."""
    part = path.with_name(path.name + PART)
    make_folders(path.parent)
    try:
        with private_file(part) as file:
            yield file
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def make_folders(folder: Path) -> None:
    """The folder and those above it, each 0700 where it is new (``Path.mkdir`` gives its mode to the last only)."""
    missing = [level for level in (folder, *folder.parents) if not level.exists()]
    for level in reversed(missing):
        level.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def private_file(path: Path) -> IO[bytes]:
    """An empty file of this name, 0600, open for writing and reading."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE), "w+b")
