"""Which names are acceptable at all: a name travels into the index, exports and messages, so it must be harmless.

Refused: bytes that are no UTF-8, control and format characters (escape sequences, line ends, direction overrides),
names that are too long or too deep. Passed over in silence: hidden and temporary names, which are nobody's recording
yet.
"""

import unicodedata
from typing import Final

from agent.errors import CorruptError

PATH_MAX_BYTES: Final = 512
"""Far above what recorders write; keeps rows, manifests and file names inside archives small."""

DEPTH_MAX: Final = 12

_TEMPORARY: Final = (".part", ".tmp", ".temp", ".partial", ".crdownload", ".swp", "~")

# Unicode general categories: control, format, surrogate, private use, unassigned, line and paragraph separators.
_FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_temporary(name: str) -> bool:
    """Tell whether the last part of a path belongs to a file that is still being made, or is hidden."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def check_path(unverified_path: str) -> str:
    """Return the path beneath a source's folder if it is acceptable; raises ``CorruptError`` saying why not.

    Bytes that are no UTF-8 arrive as lone surrogates, as ``os.fsdecode`` makes them.
    """
    try:
        raw = unverified_path.encode("utf-8")
    except UnicodeEncodeError:
        raise CorruptError("its name is not UTF-8") from None
    if len(raw) > PATH_MAX_BYTES:
        raise CorruptError(f"its name is longer than {PATH_MAX_BYTES} bytes")
    parts = unverified_path.split("/")
    if len(parts) > DEPTH_MAX:
        raise CorruptError(f"it lies deeper than {DEPTH_MAX} folders")
    if any(part in {"", ".", ".."} for part in parts):
        raise CorruptError("its name leaves the folder")
    # What is printable has none of them; the longer look lets spaces through that are not ASCII's.
    if not unverified_path.isprintable() and any(
        unicodedata.category(letter) in _FORBIDDEN for letter in unverified_path
    ):
        raise CorruptError("its name holds control characters")
    return unverified_path


def printable(unverified_path: str) -> str:
    """Return a form of any name that is safe to show: printable ASCII, the rest escaped, at most 120 characters."""
    return ascii(unverified_path)[1:-1][:120]
