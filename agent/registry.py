"""The cameras that are known, by random id.

Rules: a camera's id is random and is all that policy, messages and audit ever say; its label, as paths of the source
call it, lives in the encrypted index alone. An id is minted when the first object of a camera is let in, never for one
that is refused.
"""

import secrets
from typing import Final

import msgspec

from agent.errors import SpaceError
from agent.index import Tx
from agent.index import registry as rows
from agent.model import RandomBytes, new_camera_id

CAMERAS_MAX: Final = 4096
"""Labels come from folder names that anybody who may write there can make up; a hub has some dozens of cameras."""

PAGE_MAX: Final = 500


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as its source calls it; ``label`` is personal."""

    id: str
    source: str
    label: str


def find_camera(tx: Tx, source: str, label: str) -> str | None:
    """Return the id of a camera that was taken in from before."""
    return rows.camera_id(tx, source, label)


def camera_id(tx: Tx, source: str, label: str, *, random: RandomBytes = secrets.token_bytes) -> str:
    """Return the camera's id, minted if it is new; raises ``SpaceError`` when ``CAMERAS_MAX`` are known already."""
    known = rows.camera_id(tx, source, label)
    if known is not None:
        return known
    if rows.count_cameras(tx) >= CAMERAS_MAX:
        raise SpaceError(f"more than {CAMERAS_MAX} cameras", hint="check which folders the source's patterns match")
    while True:
        fresh = new_camera_id(random)
        if rows.insert_camera(tx, fresh, source=source, label=label):
            return fresh


def camera(tx: Tx, camera_id: str) -> Camera | None:
    """Return one camera."""
    row = rows.camera(tx, camera_id)
    return None if row is None else Camera(id=row[0], source=row[1], label=row[2])


def cameras(tx: Tx, *, after: str = "", limit: int = PAGE_MAX) -> tuple[Camera, ...]:
    """Return a page of cameras with ids above ``after``."""
    found = rows.cameras(tx, after=after, limit=min(limit, PAGE_MAX))
    return tuple(Camera(id=row[0], source=row[1], label=row[2]) for row in found)
