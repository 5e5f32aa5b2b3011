"""``Builder``: builds an export in a folder of its own and moves it into place when every byte of it is durable.

In this order: the parts are written into ``<id>.part/`` and synced; the folder is synced; it is renamed to ``<id>/``
and the exports folder is synced; the row is committed. A crash before the row leaves a folder that ``recover`` removes,
or that building the same export again replaces. Everything here is synchronous and runs in a thread of its own.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from agent import age
from agent.bundle.work import ChangedError, ExportFile, Source, Work, about, join
from agent.clock import MS_PER_S
from agent.envelope import MAX_MANIFEST_BYTES, TYP_EXPORT, sign
from agent.errors import AgentError, CorruptError, LinkError
from agent.files import make_folder, remove_tree, settle, sync_folder, translated_space
from agent.index import Index, IndexLostError, Tx
from agent.index import bundle as rows
from agent.index.vault import Chosen
from agent.keystore import Keystore
from agent.model import Moment, Object, Outcome
from agent.vault import Vault

Form = Literal["objects", "zip"]
Judge = Callable[[Tx, Object], Outcome | None]

TOLD_FILES_MAX: Final = 100
"""Files that a receipt names; the manifest, always the first, names all."""

_MANIFEST: Final = "manifest.jws.age"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported: the objects ``ids``, sealed to ``recipients``; asked for at ``asked_ms`` (agent time).

    ``judge`` may keep an object out and says as what; ``label`` says what a camera is called. ``note`` writes down what
    was made in the transaction of its row (invariant I7). ``progress`` is told how many objects were gone through, and
    of how many, and begins anew where the export does.
    """

    id: str
    ids: tuple[str, ...]
    recipients: tuple[str, ...]
    form: Form
    judge: Judge
    label: Callable[[Tx, str], str]
    asked_ms: int
    moment: Moment
    note: Callable[[Tx, "Export"], None]
    progress: Callable[[int, int], None]


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A finished export.

    ``files`` begins with the manifest, and is empty where nothing could be exported: then no folder is there.
    ``within`` names the file of each object that is in one.
    """

    id: str
    folder: Path
    files: tuple[ExportFile, ...]
    recipients: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    within: Mapping[str, str]

    def told(self, *, named: bool) -> dict[str, Any]:
        """Return the ``export`` claim of a receipt (``docs/protocol.md`` §5), without file names for a backend."""
        files = [msgspec.to_builtins(file) for file in self.files[:TOLD_FILES_MAX]]
        if not named:
            files = [{"bytes": file["bytes"], "sha256": file["sha256"]} for file in files]
        return {"object": self.id, "files": files, "recipients": list(self.recipients)}


def require_recipients(recipients: tuple[str, ...]) -> None:
    """Raise ``ConfigError`` unless files can be sealed to exactly these."""
    age.wrap_header(age.new_file_key(), [age.parse_recipient(text) for text in recipients])


class _OvertakenError(Exception):
    """An object was deleted while an export of it was built, and a receipt names no copy, or the copy is not whole."""


class Builder:
    """Builds one export at a time into ``folder``."""

    def __init__(self, folder: Path, *, device: str, index: Index, vault: Vault, keystore: Keystore) -> None:
        self._folder = folder
        self._device = device
        self._index = index
        self._vault = vault
        self._keystore = keystore
        self._wanted: frozenset[str] = frozenset()  # by the export that is being built
        self._told: set[str] = set()
        self._seen: dict[str, Object] = {}  # what was here when its turn came; on the index's thread alone

    def gone(self, tx: Tx, asked: Chosen) -> frozenset[str]:
        """Return of what is asked for that of which there may be a copy by now, and which is not here any more."""
        return frozenset(
            one.id
            for one in self._seen.values()
            if asked.covers(
                camera=one.camera,
                category=one.category,
                captured_from_ms=one.captured_from_ms,
                captured_to_ms=one.captured_to_ms,
            )
            and self._is_gone(tx, one.id)
        )

    def told(self, object_id: str) -> None:
        """Take that a receipt names an object as deleted; called in the transaction that writes the receipt."""
        if object_id in self._wanted:
            self._told.add(object_id)

    def build(self, order: Order) -> Export:
        """Build an export, durable on return; one that would hold nothing has neither files nor a row.

        Where a command deletes an object of it meanwhile it is built anew, without that; what a limit of the policy
        ends behind its copy is in it. Raises ``SpaceError``, and ``RefusedError`` (``too_large``) when the manifest
        would be, with nothing left behind, and ``ConfigError`` for recipients that no file can be sealed to.
        """
        require_recipients(order.recipients)
        try:
            while True:
                self._wanted, self._told, self._seen = frozenset(order.ids), set(), {}
                with contextlib.suppress(_OvertakenError):  # each time an object less is there
                    return self._attempt(order)
        finally:
            self._wanted, self._seen = frozenset(), {}

    def _attempt(self, order: Order) -> Export:
        part = self._folder / f"{order.id}.part"
        final = self._folder / order.id
        for left_over in (part, final):
            remove_tree(left_over)
        work = Work(part, tuple(age.parse_recipient(text) for text in order.recipients))
        try:
            with translated_space():
                make_folder(part)
                described = self._fill(order, work)
                if described:
                    self._write_manifest(order, work, described)
                    sync_folder(part)
                    settle(part, final)
                else:
                    work.files.clear()
                    remove_tree(part)
                export = self._note(order, work)
        except OSError as error:
            _discard(part)
            _discard(final)  # it has that name where the sync behind it failed
            raise LinkError(
                f"the export cannot be written: {error.strerror}", hint="look at the disk that holds the vault"
            ) from error
        except IndexLostError:  # whether the row is durable shows at the next start: ``recover`` takes what has none
            _discard(part)
            raise
        except BaseException:
            _discard(part)
            _discard(final)
            raise
        return export

    def _note(self, order: Order, work: Work) -> Export:
        export = Export(
            id=order.id,
            folder=self._folder / order.id,
            files=tuple(work.files),
            recipients=order.recipients,
            outcomes=tuple(work.outcomes[object_id] for object_id in sorted(work.outcomes)),
            within=work.within,
        )

        def put(tx: Tx) -> None:
            if any(self._is_overtaken(tx, outcome) for outcome in export.outcomes):
                raise _OvertakenError
            if export.files:
                rows.put(
                    tx,
                    order.id,
                    asked_ms=order.asked_ms,
                    made_ms=order.moment.agent_ms,
                    size_bytes=sum(file.bytes for file in export.files),
                    recipients=order.recipients,
                    objects=tuple(
                        (one.id, one.camera, one.category, one.captured_from_ms, one.captured_to_ms)
                        for one in (self._seen[done.id] for done in export.outcomes if done.result == "exported")
                    ),
                )
            order.note(tx, export)

        self._index.write_now(put, urgent=True)
        return export

    def _is_overtaken(self, tx: Tx, outcome: Outcome) -> bool:
        """Tell whether an object was deleted by a command behind its copy, or by anything before that was whole."""
        if outcome.result == "failed":
            return self._is_gone(tx, outcome.id)
        return outcome.result == "exported" and outcome.id in self._told

    def _is_gone(self, tx: Tx, object_id: str) -> bool:
        item = self._vault.get(tx, object_id)
        return item is None or item.state == "erasing"

    def _sources(self, order: Order, work: Work) -> Iterator[Source]:
        """Open one slot at a time, just before its object is exported; note why the others are left out."""

        def look(tx: Tx, object_id: str) -> Source | Outcome:
            item = self._vault.get(tx, object_id)
            if item is None or item.state == "erasing":
                return Outcome(id=object_id, result="already_gone")
            self._seen[object_id] = item
            kept = order.judge(tx, item)
            if kept is not None:
                return kept
            if self._vault.is_damaged(tx, object_id):
                return Outcome(id=object_id, result="failed")
            try:
                header = self._vault.header(tx, object_id) if item.kind == "header-key" else None
                if item.kind == "header-key" and (header is None or not set(order.recipients) <= set(item.recipients)):
                    return Outcome(id=object_id, result="not_readable_here")
                return Source(item, order.label(tx, item.camera), self._vault.slot_key(tx, object_id), header)
            except CorruptError:
                return Outcome(id=object_id, result="failed")

        for object_id in order.ids:
            found = self._index.read_now(partial(look, object_id=object_id))
            if isinstance(found, Outcome):
                work.outcomes[object_id] = found
            else:
                yield found

    def _fill(self, order: Order, work: Work) -> list[dict[str, Any]]:
        sources = self._sources(order, work)
        if order.form == "objects":
            return self._fill_objects(order, work, sources)
        from agent.bundle.packing import Zip  # noqa: PLC0415 - what reads logs and packs waits for somebody who wants it

        try:
            return Zip(work, self._vault, total=len(order.ids), progress=order.progress).fill(sources)
        except ChangedError as error:
            if self._index.read_now(partial(self._is_gone, object_id=error.object_id)):
                raise _OvertakenError from error
            raise

    def _fill_objects(self, order: Order, work: Work, sources: Iterator[Source]) -> list[dict[str, Any]]:
        described = []
        for source in sources:
            item = source.item
            header = source.header
            if header is None:
                header = age.wrap_header(source.slot_key, work.recipients)
            file = join(work, f"{item.id}.age", header, self._vault.payload_path(item.id), item=item)
            if file is None:
                work.outcomes[item.id] = Outcome(id=item.id, result="failed")
            else:
                work.outcomes[item.id] = Outcome(id=item.id, result="exported")
                work.within[item.id] = file.name
                described.append(work.described(about(source) | {"file": file.name, "sha256": file.sha256}))
            order.progress(len(work.outcomes), len(order.ids))
        return described

    def _write_manifest(self, order: Order, work: Work, described: list[dict[str, Any]]) -> None:
        claims = {
            "v": 1,
            "iss": self._device,
            "iat": order.moment.agent_ms // MS_PER_S,
            "export": order.id,
            "form": order.form,
            "recipients": list(order.recipients),
            "files": [msgspec.to_builtins(file) for file in work.files],
            "objects": described,
            "left_out": [
                {"id": outcome.id, "result": outcome.result}
                for outcome in work.outcomes.values()
                if outcome.result != "exported"
            ],
        }
        keystore = self._keystore
        jws = sign(
            claims, typ=TYP_EXPORT, kid=keystore.kid, alg=keystore.alg, sign=keystore.sign, max_bytes=MAX_MANIFEST_BYTES
        )
        work.files.insert(0, work.seal(_MANIFEST, iter((jws,))))


def _discard(part: Path) -> None:
    with contextlib.suppress(AgentError):  # the next start tries again
        remove_tree(part)
