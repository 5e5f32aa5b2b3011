"""What former owners of this device recorded: never taken in, whoever owns it now.

An owner's erase-all leaves a cut-off for each source that the device had then. It outlives the change of owner, so it
names nobody: a salted hash of where recordings come from, and a time. A source is known again by its name or by its
folder, a camera by the id that it calls itself by, for its id here is another under each owner. What the next owner's
other sources give is not touched. The functions here run in the caller's transaction.
"""

import hmac
from collections.abc import Iterable
from typing import Final

import msgspec

from agent.errors import CorruptError
from agent.index import Tx
from agent.index import farewell as rows
from agent.model import RandomBytes

SALT_BYTES: Final = 32
FILE_BYTES: Final = 1 << 20
"""Some hundred sources and cameras for each owner that there was, at about a hundred bytes each."""

_CAMERA_LINK: Final = "camera-link"


class Former(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is kept of former owners: (tag, agent time in Unix ms before which what it gives was recorded)."""

    salt: bytes
    cutoffs: tuple[tuple[bytes, int], ...]


def gathered(tx: Tx, *, folders: Iterable[tuple[str, str]], before_ms: int, random: RandomBytes) -> Former:
    """Return what is to outlive this owner: of each (name, path) of a source, and what stands of cameras already."""
    salt = rows.salt(tx) or random(SALT_BYTES)
    here = [tag for name, path in folders for tag in (_tag(salt, "source", name), _tag(salt, "folder", path))]
    found = dict(rows.former(tx))
    found |= {tag: max(before_ms, found.get(tag, before_ms)) for tag in here}
    return Former(salt=salt, cutoffs=tuple(sorted(found.items())))


def mark_cameras(tx: Tx, *, before_ms: int, random: RandomBytes) -> None:
    """Let the cut-off of each enrolled camera stand, before it is forgotten."""
    salt = rows.salt(tx) or random(SALT_BYTES)
    rows.keep_former(tx, salt, ((_tag(salt, "camera", device), before_ms) for device in rows.devices(tx)))


def keep(tx: Tx, told: Former) -> None:
    """Let cut-offs of former owners stand; the same ones again change nothing."""
    rows.keep_former(tx, told.salt, told.cutoffs)


def bind(tx: Tx, *, folders: Iterable[tuple[str, str]]) -> None:
    """Let the cut-off of a folder hold under every name that its source is given: (name, path) of each source."""
    salt = rows.salt(tx)
    if not salt:
        return
    for name, path in folders:
        before_ms = rows.former_before(tx, _tag(salt, "folder", path))
        if before_ms is not None:
            rows.keep_former(tx, salt, ((_tag(salt, "source", name), before_ms),))


def before_ms(tx: Tx, source: str) -> int | None:
    """Return before when what this source gives was recorded for a former owner, if it had one."""
    salt = rows.salt(tx)
    if not salt:
        return None
    kind, _, camera = source.partition(":")
    if kind == _CAMERA_LINK:
        return rows.former_before(tx, _tag(salt, "camera", rows.device_of(tx, camera)))
    return rows.former_before(tx, _tag(salt, "source", source))


def encode(told: Former) -> bytes:
    """Return the bytes that are kept while the device is unowned."""
    return msgspec.json.encode(told)


def decode(raw: bytes) -> Former:
    """Read them back; raises ``CorruptError``."""
    try:
        return msgspec.json.decode(raw, type=Former)
    except (msgspec.DecodeError, UnicodeError) as error:  # the latter for a member that is not known
        raise CorruptError(
            f"the cut-offs of the former owner cannot be read ({error})",
            hint="without them what it recorded may be taken in: empty the sources by hand, then remove the file",
        ) from error


def _tag(salt: bytes, what: str, value: str) -> bytes:
    return hmac.digest(salt, f"{what}\0{value}".encode(), "sha256")
