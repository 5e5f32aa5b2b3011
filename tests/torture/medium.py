"""What a power cut leaves: only what was synced, file by file and folder by folder, and nothing that was not.

This is the strictest reading of fsync(2): bytes are there after a sync of their file, a name (new, moved or removed)
after a sync of its folder, and nothing else gets there by luck. A removal that was not synced brings the file back; a
name that was synced before its bytes is an empty file.
"""

import os
from pathlib import Path

from tests.torture.blank import copied, is_blank
from tests.torture.tap import Stop


class Medium:
    """The medium beneath ``top``, which begins as an exact copy of ``origin``, all of it synced."""

    def __init__(self, top: Path, origin: Path) -> None:
        self._top = top
        self._origin = origin
        self._names: dict[int, dict[str, int]] = {}  # of a folder, wherever it was moved to
        self._bytes: dict[int, bytes | int | Path] = {}  # a number is of room without bytes
        self._folders: set[int] = set()
        self._later: list[str] = []
        for folder, _, files in os.walk(top):
            self._look(Path(folder))
            for name in files:
                self._bytes[(Path(folder) / name).stat().st_ino] = origin / os.path.relpath(folder, top) / name

    @property
    def unsettled(self) -> bool:
        """Whether a synchronous write was let through of which it is not known that it is over."""
        return bool(self._later)

    def note(self, stop: Stop) -> None:
        """Learn what a call makes durable; it is about to be let through."""
        path = self._top / stop.path
        if stop.call in {"fsync", "fdatasync"}:
            if path.is_dir():
                self._look(path)
            else:
                self._keep(Path(f"/proc/{stop.tid}/fd/{stop.arguments[0]}"))
        elif stop.call in {"pwrite64", "write"} and _is_synchronous(stop):
            self._later.append(stop.path)  # durable once it is over

    def catch_up(self) -> None:
        """Learn what the calls before this one have done by now."""
        for path in self._later:
            self._keep(self._top / path)
        self._later.clear()

    def after_cut(self, top: Path) -> None:
        """Write what is there after the cut to a new folder."""
        self._restore(self._top.stat().st_ino, top)

    def _restore(self, here: int, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, inode in self._names.get(here, {}).items():
            if inode in self._folders:
                self._restore(inode, folder / name)
                continue
            content = self._bytes.get(inode, b"")
            if isinstance(content, Path):
                copied(str(content), str(folder / name))
            elif isinstance(content, int):
                with (folder / name).open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, content)
                (folder / name).chmod(0o600)
            else:
                (folder / name).write_bytes(content)
                (folder / name).chmod(0o600)

    def _keep(self, path: Path) -> None:
        self._bytes[path.stat().st_ino] = path.stat().st_size if is_blank(path) else path.read_bytes()

    def _look(self, folder: Path) -> None:
        found = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                found[entry.name] = entry.inode()
                if entry.is_dir(follow_symlinks=False):
                    self._folders.add(entry.inode())
        self._names[folder.stat().st_ino] = found


def _is_synchronous(stop: Stop) -> bool:
    info = Path(f"/proc/{stop.tid}/fdinfo/{stop.arguments[0]}").read_text(encoding="ascii")
    flags = next(int(line.split()[1], 8) for line in info.splitlines() if line.startswith("flags:"))
    return bool(flags & os.O_DSYNC)
