"""The folder of the sealed payloads, and whether anything may be in it that no row accounts for.

A payload is the file ``<id>``; it has its name before its row is durable, so that a crash may leave a file without a
row, or a part file. A start sweeps them, and so must look for every file in the index, unless it knows better:

- a name is *loose* from before it exists until its row is durable or it is removed;
- an agent that stops in order (``leave``) makes no file any more, removes its part files and syncs the folder. If
  nothing is loose then, what ``leave`` returns, which folder it is and when it last changed, goes into the index;
- the next start takes that out of the index before it makes a file, and sweeps the folder unless it is as it was left.

A sync of the folder that failed counts for none of the names that it was to make durable: what the kernel says of them
at the next one is nothing to rely on, unless the folder was changed anew before.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.errors import AgentError, ConfigError, LinkError, SpaceError
from agent.files import (
    PART_SUFFIX,
    make_folder,
    new_file,
    remove,
    settle,
    sync_folder,
    translated_removal,
    translated_space,
)
from agent.ids import ID_BYTES, Ids

_LOG: Final = logging.getLogger(__name__)

_LOOK: Final = "look at the disk that holds the vault"

LOOKED_UP: Final = 4_096
"""Names that a sweep asks the index for at once: bounds how long others wait for it."""


class Payloads:
    """The payloads in ``folder``, which is made when it is not there.

    ``new_part``, ``put_in_place`` and ``remove`` may be called in any thread, the rest in one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settled = 0
        self._synced = 0
        self._failed = 0
        self._syncing = threading.Lock()
        self._unsynced = False
        self._settling = asyncio.Lock()
        self._lock = threading.Lock()
        self._loose: set[Path] = set()
        self._left = False
        make_folder(folder)

    def path(self, object_id: str) -> Path:
        """Return where the payload (nonce and chunks) of an object is, or would be."""
        return self.folder / object_id

    def new_part(self) -> tuple[int, Path]:
        """Create a part file; the caller closes the descriptor.

        Raises ``LinkError`` once the agent stops, or when the folder cannot be written.
        """
        with self._lock:
            if self._left:
                raise LinkError("the agent stops", hint="it is tried again at the next start")
            with _translated_failure():
                fd, part = new_file(self.folder)
            self._loose.add(part)
        return fd, part

    async def settle(self, part: Path, object_id: str) -> None:
        """Give a part file, which its writer synced, its final name, durably; it stays loose.

        Raises ``LinkError`` where the sync failed that was to serve this name, whoever of several asked for it.
        """
        final = self.path(object_id)
        self._loose.add(final)
        with _translated_failure(), translated_space():
            settle(part, final, folder_synced=False)
        self._loose.discard(part)
        self._settled += 1
        mine = self._settled
        async with self._settling:  # one sync serves every name that was settled before it began
            if self._failed >= mine:
                raise LinkError("the vault cannot be written: a sync of its folder failed", hint=_LOOK)
            if self._synced < mine:
                now = self._settled
                try:
                    with _translated_failure():
                        await asyncio.to_thread(self._sync)
                except LinkError:
                    self._failed = self._settled  # those that came while it ran, too: it may have been told of them
                    raise
                self._synced = now

    def _sync(self) -> None:
        """Make every name in the folder durable; one sync at a time, for any thread."""
        with self._syncing:
            if self._unsynced:
                fd, part = new_file(self.folder)
                os.close(fd)
                remove(part, folder_synced=False)
            self._unsynced = True
            sync_folder(self.folder)
            self._unsynced = False

    def accounted(self, object_id: str) -> None:
        """Note that an object's row is durable."""
        self._loose.discard(self.path(object_id))

    def put_in_place(self, payload: str, object_id: str) -> None:
        """Give the payload ``payload`` the name of an object in place of what has it, durably; done before is done."""
        path = self.path(payload)
        with _translated_failure():
            if path.exists():
                settle(path, self.path(object_id), folder_synced=False)
            self._sync()
        self._loose.discard(path)

    def discard(self, path: Path) -> None:
        """Remove a part file or a payload without a row. What a power cut brings back can never be opened."""
        remove(path, folder_synced=False)
        self._loose.discard(path)

    def remove(self, ids: Sequence[str]) -> dict[str, AgentError]:
        """Remove payloads, durably; return those that are, or after a power cut may be, there still, and why."""
        kept: dict[str, AgentError] = {}
        for object_id in ids:
            try:
                remove(self.path(object_id), folder_synced=False)
            except (ConfigError, LinkError) as error:
                kept[object_id] = error
        try:
            with translated_removal(self.folder):
                self._sync()
        except (ConfigError, LinkError, SpaceError) as error:
            kept = dict.fromkeys(ids, error)
        return kept

    def remove_or_leave(self, ids: Sequence[str]) -> None:
        """Remove payloads that nobody needs, durably; what cannot be removed is left to a sweep."""
        kept = self.remove(ids)
        self._loose.difference_update(self.path(one) for one in ids if one not in kept)
        self._loose.update(map(self.path, kept))

    def leave(self) -> str:
        """Make no file any more; return what the folder is now, or ``""`` when something in it may have no row.

        Called when nobody seals or admits any more. What is in the folder, and what is not, is durable on return.
        """
        with self._lock:
            self._left = True
        parts = [path for path in self._loose if path.suffix == PART_SUFFIX]
        if parts:
            kept = self.remove([path.name for path in parts])
            self._loose.difference_update(path for path in parts if path.name not in kept)
        else:
            self._sync()  # once: what a second one says after a failure is nothing to rely on
        return "" if self._loose else self.state()

    def state(self) -> str:
        """Return which folder this is and when a name in it last came, went or changed."""
        status = self.folder.stat()
        return f"{status.st_ino} {status.st_mtime_ns}"

    def sweep(self, unknown: Callable[[Sequence[str]], Iterable[str]]) -> int:
        """Remove every file whose name is among what ``unknown`` returns of some names, durably; return how many.

        It is asked in the order of names, the index's own: in the folder's each name would be a look at another page.
        A folder is none of ours and left alone; a file that cannot be removed is told and left to the next start.
        """
        stray, sealed = self._names()
        for some in _pages(sealed):
            stray += unknown(some)
        kept = self.remove(stray) if stray else {}
        if kept:
            self._loose.update(self.folder / name for name in kept)
            _LOG.warning("%s files without a row stay: %s", len(kept), next(iter(kept.values())).message)
        return len(stray) - len(kept)

    def _names(self) -> tuple[list[str], dict[str, bytearray]]:
        """Return names that no payload has, and those that one may have, by their first letter, 26 bytes each."""
        others: list[str] = []
        sealed: dict[str, bytearray] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                if len(entry.name) == ID_BYTES and entry.name.isascii():
                    sealed.setdefault(entry.name[0], bytearray()).extend(entry.name.encode("ascii"))
                else:
                    others.append(entry.name)
        return others, sealed


@contextmanager
def _translated_failure() -> Iterator[None]:
    """Turn what a medium says that takes no file into ``LinkError``: read-only, or failing."""
    try:
        yield
    except OSError as error:
        raise LinkError(f"the vault cannot be written: {error.strerror}", hint=_LOOK) from error


def _pages(sealed: dict[str, bytearray]) -> Iterator[Sequence[str]]:
    for _letter, names in sorted(sealed.items()):
        ids = Ids.of(Ids(bytes(names)))
        for start in range(0, len(ids), LOOKED_UP):
            yield ids[start : start + LOOKED_UP]
