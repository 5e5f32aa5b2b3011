"""One ``[[source]]`` of the config as a value, and the check that its medium is what it says."""

import hashlib
import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from agent.errors import ConfigError
from agent.files import TMPFS_MAGIC, file_system_magic
from agent.model import Medium, SourceCopy

SourceKind = Literal["spool", "frigate", "motioneye", "timelapse"]
After = Literal["take", "leave"]

BATCH_MAX_BYTES: Final = 8 << 20
"""Of a batch of log files; the last one, which fills it, comes on top. All of it is held in memory."""

RAMFS_MAGIC: Final = 0x858458F6  # statfs(2)


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where files come in and what they mean.

    ``after`` says what becomes of the source's copy once ours is durable; left out it is ``take`` for a spool, which
    is ours to empty, and ``leave`` for a recorder's folder, which breaks when its files vanish. ``patterns`` replace
    the preset of ``kind`` (``place.py`` has the words). ``timezone`` is the IANA zone of local times in names; empty
    means this machine's. ``settle_s`` is how long a file must stay unchanged where the kernel does not tell that its
    writer is done. Usage logs of one camera are sealed together once they hold ``batch_bytes`` or wait ``batch_age_s``.
    """

    name: str
    kind: SourceKind
    path: Path
    after: After | None = None
    medium: Medium
    patterns: tuple[str, ...] = ()
    timezone: str = ""
    settle_s: float = 2.0
    poll_s: float = 5.0
    rescan_s: float = 600.0
    batch_bytes: int = 1 << 20  # BATCH_MAX_BYTES at most
    batch_age_s: float = 300.0

    @property
    def takes(self) -> bool:
        """Whether the source's copy is given up once ours is durable."""
        return self.after == "take" or (self.after is None and self.kind == "spool")

    @property
    def copy(self) -> SourceCopy:
        """What becomes of the source's copy."""
        return "taken" if self.takes else "left"

    def known_by(self, identity: int) -> int:
        """Return what its folder is known by: its ``Root.identity``, or on a tmpfs, which has none, a number below 0.

        That is made of its path, which is all that is there again after a restart.
        """
        if identity:
            return identity
        return ~(int.from_bytes(hashlib.sha256(os.fsencode(self.path)).digest()[:8], "big") >> 1)


def check_medium(settings: SourceSettings) -> str:
    """Return the warning to show at start, empty when there is none; of what is left alone nothing is removed.

    Raises ``ConfigError`` when the medium is not as said.
    """
    if not settings.path.is_dir():
        return "it is not there; nothing is taken in until it is"
    require_medium(settings, settings.path)
    if settings.medium == "disk" and settings.takes:
        return (
            "it is on a disk that is not said to be encrypted: "
            "blocks of clear recordings may remain there after they are removed"
        )
    return ""


def require_medium(settings: SourceSettings, folder: Path | int) -> None:
    """Raise ``ConfigError`` when the folder, a path or open, is not on the medium that the config says (invariant I1).

    That a disk is encrypted cannot be seen from here.
    """
    if settings.medium == "tmpfs" and file_system_magic(folder) not in {TMPFS_MAGIC, RAMFS_MAGIC}:
        mount = f"mount one, over what is there: mount -t tmpfs -o size=256m,mode=0700 tmpfs {settings.path}; or "
        raise ConfigError(
            f"source {settings.name!r}: {settings.path} is not on a tmpfs",
            hint=f'{mount if settings.takes else ""}say what it is on: medium = "encrypted" or "disk"',
        )
