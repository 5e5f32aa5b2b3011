"""The cameras that are known, by random id.

Rules: a camera's id is random and is all that policy, messages and audit ever say; its label, as paths of the source
call it, lives in the encrypted index alone. An id is minted when the first object of a camera is let in, never for one
that is refused, or when a person enrols it. It lasts while it is enrolled, or switched off by hand, or something is
held of the camera, or a cut-off or the policy names it; beyond that until everything is deleted or its place is needed.
A label is one camera's within its source alone, so the source's name is part of who a camera is. Which folder was taken
in from under which name is kept: under another one nothing more is.
"""

import secrets
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.errors import ConfigError, SpaceError
from agent.index import Tx
from agent.index import registry as rows
from agent.model import Moment, RandomBytes, new_camera_id

CAMERAS_MAX: Final = 4096
"""Labels come from folder names that anybody who may write there can make up; a hub has some dozens of cameras."""

FOLDERS_MAX: Final = 1024
"""Folders that are known by the name of their source; each disk that takes another's place has one."""

PAGE_MAX: Final = 500


class CamerasFullError(SpaceError):
    """``CAMERAS_MAX`` are known, and each is needed: nothing is taken in of another one."""


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as its source calls it; ``label`` is personal."""

    id: str
    source: str
    label: str
    name: str = ""
    """What its owner called it when it was enrolled; kept when it is forgotten."""

    @property
    def called(self) -> str:
        """What a person knows it by."""
        return self.name or self.label


def find_camera(tx: Tx, source: str, label: str) -> str | None:
    """Return the id of a camera that was taken in from before."""
    return rows.camera_id(tx, source, label)


def camera_id(
    tx: Tx,
    source: str,
    label: str,
    *,
    moment: Moment,
    named: Collection[str] = (),
    random: RandomBytes = secrets.token_bytes,
) -> str:
    """Return the camera's id, minted if it is new; raises ``CamerasFullError`` when none can be.

    ``named`` are those of the policy: their rules must find them again, so they are never forgotten.
    """
    known = rows.camera_id(tx, source, label)
    if known is not None:
        return known
    if rows.count_cameras(tx) >= CAMERAS_MAX and forget_cameras(tx, named=named) == 0:
        raise CamerasFullError(
            f"something is held of {CAMERAS_MAX} cameras", hint="check which folders the source's patterns match"
        )
    while True:
        fresh = new_camera_id(random)
        if rows.insert_camera(tx, fresh, source=source, label=label):
            audit.append(tx, Event(kind="camera_enrolled", detail={"camera": fresh}), moment=moment)
            return fresh


def keep_camera(tx: Tx, camera_id: str, *, source: str, label: str) -> None:
    """Put a camera back that was forgotten while something of it was being sealed; for that one's transaction."""
    rows.insert_camera(tx, camera_id, source=source, label=label)


def require_name(tx: Tx, folder: int, *, source: str, path: str, named: Collection[str]) -> None:
    """Raise ``ConfigError`` where something was taken in from this folder, but only under other names of its source.

    Under another its cameras would be new ones: nothing that was said of them, and no delete, would hold for those.
    ``named`` are the names that sources have now.
    """
    names = rows.names_of(tx, folder)
    if names and source not in names:
        fix = f'write name = "{names[0]}" in its [[source]]'
        if names[0] in named:  # two cannot have it
            other = f"give the source that is {names[0]!r} now another name (and another folder, if that is refused)"
            fix = f"{other}, and {fix}"
        raise ConfigError(
            f"{path} is known as source {names[0]!r}, and what was said of its cameras holds under that name alone, "
            f"not as {source!r}: {fix}; what another recorder writes belongs in another folder",
            hint=fix,
        )


def keep_folder(tx: Tx, folder: int, *, source: str) -> None:
    """Note that something is taken in from this folder under this name; for that one's transaction."""
    rows.keep_folder(tx, folder, source, at_most=FOLDERS_MAX)


def forget_cameras(tx: Tx, *, named: Collection[str], all_deleted: bool = False) -> int:
    """Forget the cameras that nothing needs any more; return how many.

    That is one that is not enrolled nor switched off by hand (enrolled again it is off still), of which nothing is
    held, and no cut-off is, whose copies at sources need no refusal by camera, and that the policy does not name.
    Where everything was deleted the cut-off of all refuses those copies.
    """
    unneeded = [one for one in rows.unheld_cameras(tx, all_deleted=all_deleted) if one not in named]
    rows.delete_cameras(tx, unneeded)
    return len(unneeded)


def camera(tx: Tx, camera_id: str) -> Camera | None:
    """Return one camera."""
    row = rows.camera(tx, camera_id)
    return None if row is None else _camera(row)


def label(tx: Tx, camera_id: str) -> str:
    """Return what a camera is called, "" for one that is not known."""
    known = camera(tx, camera_id)
    return "" if known is None else known.called


def keep_name(tx: Tx, camera_id: str, name: str) -> None:
    """Keep what its owner called a camera that is forgotten: what is held of it is known by that still."""
    rows.set_name(tx, camera_id, name)


def cameras(tx: Tx, *, after: str = "", limit: int = PAGE_MAX) -> tuple[Camera, ...]:
    """Return a page of cameras with ids above ``after``."""
    return tuple(map(_camera, rows.cameras(tx, after=after, limit=min(limit, PAGE_MAX))))


def every_camera(tx: Tx) -> Iterator[Camera]:
    """Yield every camera, ``CAMERAS_MAX`` at most, by id."""
    after = ""
    while page := cameras(tx, after=after):
        yield from page
        after = page[-1].id


def _camera(row: tuple[str, str, str, str]) -> Camera:
    return Camera(id=row[0], source=row[1], label=row[2], name=row[3])
