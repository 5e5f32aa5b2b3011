"""A vault in a folder, with objects in it, as every test here needs one."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent.element import TpmSettings
from agent.erasure import Erasure, Judge
from agent.files import make_folder, translated_space
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.keytree import GroupKey, seal_header, wrap_slot
from agent.model import AtStore, Moment, Object, Outcome, Selection, new_id
from agent.vault import Draft, DraftFile, Vault

NOW = Moment(agent_ms=1_800_000_000_000, wall_ms=1_800_000_000_000, trusted=True)

T = TypeVar("T")


def _spare_none(_tx: Tx, _found: Object | AtStore, _actor: str, _rule: str) -> None:
    return None


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Home:
    """Keystore, index, vault and erasure over one folder; ``finished`` is what ``finish`` was called with."""

    def __init__(
        self,
        folder: Path,
        *,
        at: Callable[[int], None] = lambda _step: None,
        judge: Judge | None = None,
        tpm: TpmSettings | None = None,
    ) -> None:
        make_folder(folder)
        self.folder = folder
        path = folder / "keystore"
        self.keystore = Keystore.open(path, tpm=tpm) if path.exists() else Keystore.create(path, tpm=tpm)
        self.index = Index(folder / "index.db", key=self.keystore.index_key())
        self.vault = Vault(folder=folder, index=self.index, keystore=self.keystore)
        self.finished: list[tuple[str, tuple[Outcome, ...]]] = []
        self.erasure = Erasure(
            vault=self.vault,
            index=self.index,
            keystore=self.keystore,
            finish=self._finish,
            at=at,
            judge=judge or _spare_none,
        )

    def _finish(self, _tx: Tx, command: str, outcomes: tuple[Outcome, ...], _moment: Moment) -> None:
        self.finished.append((command, outcomes))

    def get(self, object_id: str) -> Object | None:
        return self.index.read_now(lambda tx: self.vault.get(tx, object_id))

    def slot_key(self, object_id: str) -> bytes:
        return self.index.read_now(lambda tx: self.vault.slot_key(tx, object_id))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.index.read_now(lambda tx: tx.execute(sql))

    def part(self, content: bytes = b"sealed") -> Path:
        fd, path = self.vault.new_part()
        try:
            with translated_space():
                os.write(fd, content)
                os.fsync(fd)
        finally:
            os.close(fd)
        return path

    async def keep(self, slot_key: bytes | None = None, *, content: bytes = b"sealed", **fields: object) -> Object:
        group = await self.vault.group()
        made = draft(group, slot_key or secrets.token_bytes(16), **{"size_bytes": len(content), **fields})
        return await self.vault.admit(made, part=self.part(content), group=group, moment=NOW)

    async def keep_many(self, count: int) -> list[Object]:
        kept: list[Object] = []
        while len(kept) < count:
            some = min(100, count - len(kept))
            kept += await asyncio.gather(*(self.keep() for _ in range(some)))
        return kept

    async def erase(self, *ids: str, command: str = "command", cutoff: Selection | None = None) -> dict[str, Outcome]:
        outcomes = await self.erasure.erase(ids, actor="owner", rule="test", command=command, moment=NOW, cutoff=cutoff)
        return {outcome.id: outcome for outcome in outcomes}

    async def expire(self, *ids: str) -> None:
        await self.erasure.begin(ids, rule="category.recording.keep.age", moment=NOW)
        await self.resume()

    async def resume(self) -> None:
        await self.erasure.resume(NOW)

    def upload(self, object_id: str, manifest: str = "m" * 64, *, stored: bool = True) -> str:
        def begin(tx: Tx) -> str:
            upload, _ = self.vault.begin_upload(tx, object_id, moment=NOW)
            self.vault.set_manifest(tx, upload, manifest, store="store", moment=NOW)
            if stored:
                self.vault.note_stored(tx, upload, region="eu", stated_by="store", epoch="e1", moment=NOW)
            return upload

        return self.index.write_now(begin)

    def confirm(self, upload: str, manifest: str = "m" * 64, *, stated_by: str = "store") -> tuple[str, ...]:
        return self.index.write_now(
            lambda tx: self.erasure.note_erased(
                tx, upload, manifest, header="erased", payload="erased", stated_by=stated_by, moment=NOW
            )
        )

    def close(self) -> None:
        self.index.close()
        self.keystore.close()


def draft(group: GroupKey, slot_key: bytes, **fields: object) -> Draft:
    object_id = new_id()
    payload = hashlib.sha256(object_id.encode()).digest()
    made = Draft(
        id=object_id,
        camera="cam1",
        category="recording",
        purposes=("security",),
        source="door",
        media_type="video/mp4",
        name="front door.mp4",
        captured_from_ms=1_700_000_000_000,
        captured_to_ms=1_700_000_060_000,
        plain_bytes=10,
        size_bytes=6,
        payload_sha256=payload,
        header_sha256=hashlib.sha256(b"header").digest(),
        kind="file-key",
        recipients=("age1owner",),
        source_copy="taken",
        medium="tmpfs",
        slot=wrap_slot(group, slot_key, object_id=object_id, payload_sha256=payload, kind="file-key"),
        sealed_header=seal_header(slot_key, b"header", object_id=object_id),
        source_tag=secrets.token_bytes(32),
        content_tag=secrets.token_bytes(32),
    )
    return msgspec.structs.replace(made, **fields)


def made_of(count: int) -> tuple[DraftFile, ...]:
    return tuple(
        DraftFile(
            source_tag=secrets.token_bytes(32),
            content_tag=secrets.token_bytes(32),
            captured_from_ms=1_700_000_000_000 + number,
            path=f"front/usage-log/{number}.jsonl",
        )
        for number in range(count)
    )
