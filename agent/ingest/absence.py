"""What was deleted here and is not at its source any more needs no tombstone: nothing is left there that could return.

A source is looked over whole, file by file, and every tombstone that waits for its word and meets none of its files is
told to the vault. Nothing is confirmed by a source that cannot be looked at whole, by another folder than the one that
its file was in, nor by a recorder's folder without one file in it: then its disk is away rather than empty.
"""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

from agent.errors import AgentError
from agent.ingest.work import identity_tag
from agent.sources import FolderSource
from agent.sources.root import Root
from agent.sources.walk import Found
from agent.vault import Vault

AT_ONCE: Final = 256
"""Files of one question to the index."""


async def confirm_absences(source: FolderSource, *, vault: Vault) -> None:
    """Look over a source if tombstones wait for its folder; one that cannot be looked at is left for the next time."""
    with suppress(AgentError):
        root = await source.root()
        upto = await vault.index.read(partial(vault.awaited_from, source=source.settings.name, folder=root.identity))
        present = await _present(source, root, vault=vault) if upto else None
        if present is not None:
            await _note_absent(source.settings.name, root.identity, present, upto=upto, vault=vault)


async def _present(source: FolderSource, root: Root, *, vault: Vault) -> "array[int] | None":
    """Return the sorted numbers of the tombstones whose file the folder still has; ``None`` says nothing."""
    present = array("Q")
    looked_at = 0
    key = vault.keystore.tombstone_key()
    files = root.every_file()
    while tags := await source.do(partial(_next_tags, files, source.settings.name, key)):
        looked_at += len(tags)
        present.extend(await vault.index.read(partial(vault.remembered, source_tags=tags)))
    return array("Q", sorted(present)) if looked_at or source.settings.takes else None


def _next_tags(files: Iterator[Found], source: str, key: bytes, _root: Root) -> list[bytes]:
    return [identity_tag(source, item.path, item.size_bytes, item.mtime_ns, key=key) for item in islice(files, AT_ONCE)]


async def _note_absent(source: str, folder: int, present: "array[int]", *, upto: int, vault: Vault) -> None:
    after: int | None = 0
    while after is not None:
        page = partial(vault.note_absent, source=source, folder=folder, present=present, after=after, upto=upto)
        after = await vault.index.write(page)
