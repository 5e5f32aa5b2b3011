"""What a source says of a file: it may be taken in, it will not be, it cannot be read now.

Paths are beneath the source's folder, and personal.
"""

import msgspec

from agent.errors import LinkError
from agent.sources.place import Place


class IncompleteError(LinkError):
    """The file is not, or no longer, the complete one that was offered: it comes again if it is still there."""


class MediumError(LinkError):
    """The folder cannot be read: it is given back and opened again later."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A complete file that may be taken in; ``path`` is acceptable, ``folder`` is ``Root.identity``."""

    source: str
    path: str
    place: Place
    size_bytes: int
    mtime_ns: int
    inode: int
    device: int
    folder: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A file that will not be taken as it is; ``unverified_path`` may hold anything."""

    source: str
    unverified_path: str
    reason: str
