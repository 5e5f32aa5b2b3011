"""Mistakes that this harness must find: each is put into a process that is about to be tormented, never into the code.

A harness that finds nothing proves nothing until it is seen finding. Each mistake is one that has been made in real
programs: a sync left out, an acknowledgement before the commit, a removal in the wrong order.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent import files, payload
from agent.commands.admission import Admission
from agent.errors import AgentError
from agent.index import opening
from agent.index import tombstone as tombstones
from agent.index.connection import Index
from agent.ingest import IngestEvent, flow
from agent.keystore import Keystore
from agent.payload import Payloads
from agent.vault import Vault


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake: ``make`` puts it into this process; it shows in ``scenario``."""

    name: str
    scenario: str
    make: Callable[[], None]


def _nothing(*_arguments: object, **_options: object) -> None:
    return None


def _payload_not_synced() -> None:
    real = os.fsync

    def fsync(fd: Any) -> None:  # noqa: ANN401 - as the real one
        if "/objects/" not in str(Path(f"/proc/self/fd/{fd}").readlink()):
            real(fd)

    os.fsync = fsync


def _folder_not_synced() -> None:
    setattr(payload, "sync_folder", _nothing)  # noqa: B010 - a seeded mistake


def _removal_not_synced() -> None:
    # The payload's folder is not synced after a delete: the file is back after a cut although a receipt was given.
    def remove(self: Payloads, ids: Sequence[str]) -> dict[str, AgentError]:
        for object_id in ids:
            files.remove(self.path(object_id), folder_synced=False)
        return {}

    Payloads.remove = remove  # type: ignore[method-assign]  # a seeded mistake


def _commits_not_synced() -> None:
    opening._SETTINGS = tuple(  # type: ignore[misc]  # a seeded mistake
        (name, "NORMAL", 1) if name == "synchronous" else (name, value, expected)
        for name, value, expected in opening._SETTINGS
    )


def _source_given_up_first() -> None:
    real = flow.Ingest._seal_and_admit

    async def seal_and_admit(self: Any, opened: Any, let: Any, *, moment: Any) -> Any:  # noqa: ANN401 - the flow's own
        await self._giving_up.destroy(opened.work)
        return await real(self, opened, let, moment=moment)

    flow.Ingest._seal_and_admit = seal_and_admit  # type: ignore[method-assign]  # a seeded mistake


def _acknowledged_before_the_commit() -> None:
    real = flow.Ingest._admit_all

    async def admit_all(self: Any, all_told: Any) -> Any:  # noqa: ANN401 - the flow's own
        for told, *_ in all_told:
            self._telling.tell(IngestEvent(kind="admitted", source=told.source, object=told.id))
        return await real(self, all_told)

    flow.Ingest._admit_all = admit_all  # type: ignore[method-assign]  # a seeded mistake


def _unlinked_before_the_tombstone() -> None:
    real = Admission._take_up

    def take_up(self: Any, tx: Any, heard: Any, selection: Any, weight: Any, *, moment: Any) -> Any:  # noqa: ANN401 - as the real one
        for object_id in selection:
            files.remove(self._vault.payload_path(object_id))
        return real(self, tx, heard, selection, weight, moment=moment)

    Admission._take_up = take_up  # type: ignore[method-assign]  # a seeded mistake


def _log_not_truncated() -> None:
    Index.truncate_log = lambda _self: asyncio.sleep(0)  # type: ignore[method-assign, assignment]  # a seeded mistake


def _old_root_not_destroyed() -> None:
    Keystore.destroy_root = _nothing  # type: ignore[method-assign]  # a seeded mistake


def _root_destroyed_early() -> None:
    real = Keystore.stage_root

    def stage_root(self: Keystore, root: Any) -> None:  # noqa: ANN401 - as the real one
        old = self.roots()[0].id
        real(self, root)
        self.destroy_root(old)

    Keystore.stage_root = stage_root  # type: ignore[method-assign]  # a seeded mistake


def _event_beside_the_change() -> None:
    real = Vault._insert

    def insert(self: Vault, tx: Any, draft: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        found = real(self, tx, draft, **options)
        tx.execute("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
        return found

    Vault._insert = insert  # type: ignore[method-assign]  # a seeded mistake


def _clear_copy() -> None:
    real = flow.Ingest._seal_and_admit

    async def seal_and_admit(self: Any, opened: Any, let: Any, *, moment: Any) -> Any:  # noqa: ANN401 - the flow's own
        clear = os.pread(opened.source_fd, os.fstat(opened.source_fd).st_size, 0)
        (self._vault.folder / "thumbnail").write_bytes(clear)
        return await real(self, opened, let, moment=moment)

    flow.Ingest._seal_and_admit = seal_and_admit  # type: ignore[method-assign]  # a seeded mistake


def _no_tombstone() -> None:
    tombstones.insert = _nothing


BUGS: Final = (
    Bug("payload not synced", "ingest", _payload_not_synced),
    Bug("folder not synced after a payload's name", "ingest", _folder_not_synced),
    Bug("index with synchronous=NORMAL", "ingest", _commits_not_synced),
    Bug("source given up before the commit", "ingest", _source_given_up_first),
    Bug("acknowledged before the commit", "ingest", _acknowledged_before_the_commit),
    Bug("clear copy beside the sealed one", "ingest", _clear_copy),
    Bug("audit event not in the change's transaction", "ingest", _event_beside_the_change),
    Bug("folder not synced after a delete", "delete", _removal_not_synced),
    Bug("payload unlinked before the tombstone", "delete", _unlinked_before_the_tombstone),
    Bug("no tombstone", "delete", _no_tombstone),
    Bug("log not truncated before the old root goes", "delete", _log_not_truncated),
    Bug("old root not destroyed", "delete", _old_root_not_destroyed),
    Bug("old root destroyed before the index names the next", "delete", _root_destroyed_early),
)
