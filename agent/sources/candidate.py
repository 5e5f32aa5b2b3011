"""What a source says of a file: it may be taken in, it will not be, it cannot be read now.

Paths are beneath the source's folder, and personal.
"""

import hashlib
from typing import Final, Literal

import msgspec

from agent.errors import LinkError
from agent.sources.place import Place

_NS_PER_MS: Final = 1_000_000


class IncompleteError(LinkError):
    """The file is not, or no longer, the complete one that was offered: it comes again if it is still there."""


class MediumError(LinkError):
    """The folder cannot be read: it is given back and opened again later."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera says of a recording on its own storage.

    ``identity`` is the camera's, by its key; ``camera`` its id in the registry; ``card`` the one that it is on.
    ``is_dated`` says whether its capture interval is to be relied on; where it is not, nobody knows when it was made.
    Where it is, it may be off by up to ``doubt_ms`` by our clock.
    What is ``acknowledged`` is never fetched: it is offered for what was deleted here and turns up there again.
    """

    identity: str
    camera: str
    card: str
    sha256: bytes
    is_dated: bool = True
    doubt_ms: int = 0
    acknowledged: bool = False


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is complete and may be taken in: a file, or a camera's recording, of which ``told`` says the rest.

    A file's ``path`` is acceptable, its ``folder`` is ``Root.identity``; a recording's path is its id there, its folder
    the number of its card. ``ctime_ns`` is the last change that nobody can set, also one of its name or rights: what is
    written in place may keep its size, and get its ``mtime_ns`` back.
    """

    source: str
    path: str
    place: Place
    size_bytes: int
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0
    folder: int = 0
    told: Told | None = None

    @property
    def changed_ms(self) -> int:
        """A file's last change, in Unix milliseconds."""
        return self.mtime_ns // _NS_PER_MS

    @property
    def is_dated(self) -> bool:
        """Whether it was recorded when its place says; else nobody knows when."""
        return self.told is None or self.told.is_dated

    @property
    def doubt_ms(self) -> int:
        """By how much its place's times may be off by our clock."""
        return 0 if self.told is None else self.told.doubt_ms


def card_number(card: str) -> int:
    """Return a number of 63 bits that stands for a camera's card; no id of a card is written down."""
    return int.from_bytes(hashlib.sha256(card.encode("ascii")).digest()[:8], "big") >> 1


RefusalKind = Literal["unreadable", "unknown_name"]
"""``unknown_name``: it was not looked into, because its name or its place is none that the source has files at."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A file that will not be taken as it is; ``unverified_path`` may hold anything."""

    source: str
    unverified_path: str
    reason: str
    kind: RefusalKind = "unreadable"
