"""What was deleted here and is not at its source any more needs no tombstone: nothing is left there that could return.

A source is looked over whole, file by file, and every tombstone that waits for its word and meets none of its files is
told to the vault; in the same way bookmarks of logs that are not there (``agent/bookmark.py``). Nothing is confirmed by
a source that cannot be looked at whole, by another folder than the one that its file was in, nor by a recorder's folder
without one file in it: then its disk is away rather than empty.
"""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

from agent import bookmark, tombstone
from agent.errors import AgentError
from agent.index import Tx
from agent.ingest.growing import file_tag, path_tag
from agent.ingest.work import identity_tag
from agent.sources import FolderSource
from agent.sources.root import Root
from agent.sources.rotation import is_log
from agent.sources.walk import Found
from agent.vault import Vault

AT_ONCE: Final = 256
"""Files of one question to the index."""


class _Present:
    """Sorted numbers of what a folder has: of tombstones whose file it still has, of logs' files and of their paths."""

    def __init__(self) -> None:
        self.tombstones = array("Q")
        self.files = array("Q")
        self.paths = array("Q")

    def sort(self) -> "_Present":
        self.tombstones, self.files, self.paths = (
            array("Q", sorted(one)) for one in (self.tombstones, self.files, self.paths)
        )
        return self


async def confirm_absences(source: FolderSource, *, vault: Vault) -> None:
    """Look over a source if something waits for its folder; one that cannot be looked at is left for the next time."""
    with suppress(AgentError):
        root = await source.root()
        name, folder = source.settings.name, root.identity

        def newest(tx: Tx) -> tuple[int, int]:
            return tombstone.awaited_from(tx, source=name, folder=folder), bookmark.newest(tx, name, folder)

        awaited, marked = await vault.index.read(newest)
        present = await _present(source, root, vault=vault) if awaited or marked else None
        if present is None:
            return
        after: int | None = 0
        while after is not None:
            page = partial(
                tombstone.note_absent, source=name, folder=folder, present=present.tombstones, after=after, upto=awaited
            )
            after = await vault.index.write(page)
        after = 0
        while after is not None:
            page = partial(
                bookmark.note_absent,
                source=name,
                folder=folder,
                files=present.files,
                paths=present.paths,
                after=after,
                upto=marked,
            )
            after = await vault.index.write(page)


async def _present(source: FolderSource, root: Root, *, vault: Vault) -> _Present | None:
    """Return what the folder has; ``None`` says nothing."""
    present = _Present()
    looked_at = 0
    name, key = source.settings.name, vault.keystore.tombstone_key()
    files = root.every_file()
    while found := await source.do(partial(_next, files)):
        looked_at += len(found)
        tags = [identity_tag(name, item.path, item.size_bytes, item.mtime_ns, key=key) for item in found]
        present.tombstones.extend(await vault.index.read(partial(tombstone.remembered, source_tags=tags)))
        for item in found:
            if is_log(item.path):
                present.files.append(bookmark.number(file_tag(name, item.inode, key=key)))
                present.paths.append(bookmark.number(path_tag(name, item.path, key=key)))
    return present.sort() if looked_at or source.settings.takes else None


def _next(files: Iterator[Found], _root: Root) -> list[Found]:
    return list(islice(files, AT_ONCE))
