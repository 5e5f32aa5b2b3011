"""What was deleted here and is not at its source any more needs no tombstone: nothing is left there that could return.

A source is looked over whole, file by file, and every tombstone that waits for its word and meets none of its files is
told to the vault; in the same way bookmarks of logs that are not there (``agent/bookmark.py``). Nothing is confirmed by
a source that cannot be looked at whole, by another folder than the one that its file was in, nor by a recorder's folder
without one file in it: then its disk is away rather than empty.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

import msgspec

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


class _Known(msgspec.Struct, frozen=True):
    """By what a file is known, as far as that was asked for; of a log also the numbers of its file and its path."""

    identity_tag: bytes
    log: tuple[int, int] | None


class _Look:
    """One look over a source's folder: for tombstones if any are ``awaited``, for bookmarks if any are ``marked``."""

    def __init__(self, files: Iterator[Found], *, source: str, key: bytes, awaited: bool, marked: bool) -> None:
        self._files = files
        self._source = source
        self._key = key
        self._awaited = awaited
        self._marked = marked

    def next(self, _root: Root) -> list[_Known]:
        """Return by what the next files are known, nothing when there are no more; called in the source's thread."""
        return [self._known(item) for item in islice(self._files, AT_ONCE)]

    def _known(self, item: Found) -> _Known:
        name, key = self._source, self._key
        tag = identity_tag(name, item.path, item.size_bytes, item.mtime_ns, key=key) if self._awaited else b""
        if not self._marked or not is_log(item.path):
            return _Known(tag, None)
        file, path = file_tag(name, item.inode, key=key), path_tag(name, item.path, key=key)
        return _Known(tag, (bookmark.number(file), bookmark.number(path)))


async def confirm_absences(source: FolderSource, *, vault: Vault) -> None:
    """Look over a source if something waits for its folder; one that cannot be looked at is left for the next time."""
    with suppress(AgentError):
        root = await source.root()
        name, folder = source.settings.name, root.identity

        def newest(tx: Tx) -> tuple[int, int]:
            return tombstone.awaited_from(tx, source=name, folder=folder), bookmark.newest(tx, name, folder)

        awaited, marked = await vault.index.read(newest)
        if not awaited and not marked:
            return
        present = await _present(source, root, vault=vault, awaited=awaited > 0, marked=marked > 0)
        if present is None:
            return
        if awaited:
            gone = partial(tombstone.note_absent, source=name, folder=folder, present=present.tombstones, upto=awaited)
            await _in_pages(vault, gone)
        if marked:
            missed = partial(
                bookmark.note_absent,
                source=name,
                folder=folder,
                files=present.files,
                paths=present.paths,
                upto=marked,
            )
            await _in_pages(vault, missed)


async def _in_pages(vault: Vault, note: Callable[..., int | None]) -> None:
    """Let ``note`` go on, one transaction a page, from where the page before ended."""
    after: int | None = 0
    while after is not None:
        after = await vault.index.write(partial(note, after=after))


async def _present(source: FolderSource, root: Root, *, vault: Vault, awaited: bool, marked: bool) -> _Present | None:
    """Return what the folder has; ``None`` says nothing."""
    present = _Present()
    any_there = False
    name, key = source.settings.name, vault.keystore.tombstone_key()
    look = _Look(root.every_file(), source=name, key=key, awaited=awaited, marked=marked)
    while found := await source.do(look.next):
        any_there = True
        if awaited:
            tags = [item.identity_tag for item in found]
            present.tombstones.extend(await vault.index.read(partial(tombstone.remembered, source_tags=tags)))
        for item in found:
            if item.log is not None:
                present.files.append(item.log[0])
                present.paths.append(item.log[1])
    return present.sort() if any_there or source.settings.takes else None
