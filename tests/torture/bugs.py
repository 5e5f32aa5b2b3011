"""Mistakes that this harness must find: each is put into a process that is about to be tormented, never into the code.

A harness that finds nothing proves nothing until it is seen finding. Each mistake is one that has been made in real
programs: a sync left out, an acknowledgement before the commit, a removal in the wrong order.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent import files, payload
from agent.commands.admission import Admission
from agent.envelope import Part, Stored
from agent.errors import AgentError
from agent.index import opening
from agent.index import tombstone as tombstones
from agent.index import vault as vault_rows
from agent.index.connection import Index
from agent.ingest import IngestEvent, flow
from agent.keystore import Keystore
from agent.payload import Payloads
from agent.uplink import Sending, Transfer
from agent.upload import Upload
from agent.upload import flow as flow_of_uploads
from agent.vault import Vault
from tests.torture.bug import Bug, unsynced
from tests.torture.bugs_of_words import WORDS


def _nothing(*_arguments: object, **_options: object) -> None:
    return None


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


def _begun_before_its_manifest() -> None:
    real_set, real_note, waiting = Vault.set_manifest, Upload._note_stored, {}

    def set_manifest(_self: Any, _tx: Any, upload: str, manifest: str, **options: Any) -> None:  # noqa: ANN401 - as the real one
        waiting[upload] = (manifest, options)

    async def note_stored(self: Any, stored: Any) -> None:  # noqa: ANN401 - as the real one
        manifest, options = waiting[stored.upload]
        await self._index.write(lambda tx: real_set(self._vault, tx, stored.upload, manifest, **options))
        await real_note(self, stored)

    Vault.set_manifest = set_manifest  # type: ignore[method-assign, assignment]  # a seeded mistake
    Upload._note_stored = note_stored  # type: ignore[method-assign]  # a seeded mistake


def _stated_anew_at_each_start() -> None:
    # ``iat`` is not kept, so the same upload id stands over another manifest after a restart.
    real = Upload._manifest

    def manifest(self: Any, tx: Any, item: Any, *, moment: Any) -> Any:  # noqa: ANN401 - as the real one
        made, _, store = real(self, tx, item, moment=moment)
        made = msgspec.structs.replace(made, iat_s=int.from_bytes(os.urandom(4)))
        return made, self._mail.manifest_hash(made), store

    def prepare(self: Any, tx: Any, object_id: str, *, mail: Any, moment: Any) -> Any:  # noqa: ANN401 - as the real one
        item = self._vault.get(tx, object_id)
        made, was, _ = self._manifest(tx, item, moment=moment)
        self._vault.set_manifest(tx, made.upload, was, store=mail.store_kid, moment=moment)
        return flow_of_uploads._Prepared(made, "", "", "", None)

    Upload._manifest = manifest  # type: ignore[method-assign]  # a seeded mistake
    Upload._prepare = prepare  # type: ignore[method-assign]  # a seeded mistake


def _brokers_word_is_the_receipt() -> None:
    real = Sending._do_next

    async def do_next(self: Any, fd: Any) -> None:  # noqa: ANN401 - as the real one
        await real(self, fd)
        sent = self._transfer.manifest
        if self._transfer._ended:  # ``end`` was handed to the broker, which has it
            header = Part(bytes=len(sent.header), sha256=sent.header_sha256)
            payload = Part(bytes=sent.payload_bytes, sha256=sent.payload_sha256)
            ours = {"upload": sent.upload, "manifest": self.manifest_hash, "object": sent.object}
            said = Stored(
                iss=self._mail.store_kid, aud="", iat=1, header=header, payload=payload, region="eu", epoch="", **ours
            )
            self.deliver(said)

    Sending._do_next = do_next  # type: ignore[method-assign]  # a seeded mistake


def _header_dropped_at_the_begin() -> None:
    real = Upload._prepare

    def prepare(self: Any, tx: Any, object_id: str, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        found = real(self, tx, object_id, **options)
        vault_rows.drop_header(tx, object_id)
        return found

    Upload._prepare = prepare  # type: ignore[method-assign]  # a seeded mistake


def _sent_from_the_start_again() -> None:
    real = Transfer.go

    def go(self: Any, value: Any, now_s: float) -> None:  # noqa: ANN401 - as the real one
        real(self, msgspec.structs.replace(value, offset=0), now_s)

    Transfer.go = go  # type: ignore[method-assign]  # a seeded mistake


BUGS: Final = (
    Bug("payload not synced", "ingest", unsynced("objects")),
    Bug("folder not synced after a payload's name", "ingest", _folder_not_synced),
    Bug("index with synchronous=NORMAL", "ingest", _commits_not_synced),
    Bug("source given up before the commit", "ingest", _source_given_up_first),
    Bug("acknowledged before the commit", "ingest", _acknowledged_before_the_commit),
    Bug("clear copy beside the sealed one", "ingest", _clear_copy),
    Bug("audit event not in the change's transaction", "ingest", _event_beside_the_change),
    Bug("begun before its manifest is durable", "upload", _begun_before_its_manifest),
    Bug("another manifest under an upload id", "upload", _stated_anew_at_each_start),
    Bug("uploaded on the broker's word", "upload", _brokers_word_is_the_receipt),
    Bug("header dropped before the receipt", "upload", _header_dropped_at_the_begin),
    Bug("sent from the start again", "upload", _sent_from_the_start_again),
    Bug("folder not synced after a delete", "delete", _removal_not_synced),
    Bug("payload unlinked before the tombstone", "delete", _unlinked_before_the_tombstone),
    Bug("no tombstone", "delete", _no_tombstone),
    Bug("log not truncated before the old root goes", "delete", _log_not_truncated),
    Bug("old root not destroyed", "delete", _old_root_not_destroyed),
    Bug("old root destroyed before the index names the next", "delete", _root_destroyed_early),
    *WORDS,
)
