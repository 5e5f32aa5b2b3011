"""Files that a cut-off covers and their source keeps: each is told to the command's sender once, also by a later start.

Rules: a file is known by a keyed hash of its identity and the command; of more than ``FILES_MAX`` the oldest are
forgotten (I11), and counted again if a start meets them again.
"""

import hmac
from typing import Final

from agent.index import Tx
from agent.index import remaining as rows

FILES_MAX: Final = 100_000

_TAG_BYTES: Final = 16


def note(tx: Tx, source_tag: bytes, command: str, *, key: bytes) -> bool:
    """Note a file by its source identity; return whether it was not noted before."""
    tag = hmac.digest(key, b"remaining\0" + command.encode() + source_tag, "sha256")[:_TAG_BYTES]
    fresh = rows.note(tx, tag)
    rows.bound(tx, FILES_MAX)
    return fresh
