"""``Bundle``: builds an export in a folder of its own and moves it into place when every byte of it is durable.

Order: the parts are written into ``<id>.part/`` and synced; the folder is synced; it is renamed to ``<id>/`` and the
exports folder is synced; the row is committed. A crash before the row leaves a folder that ``recover`` removes, or that
building the same export again replaces. Everything here is synchronous and runs in a thread of its own.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from agent import age, audit
from agent.audit import Event
from agent.bundle.lying import Lying
from agent.bundle.work import ExportFile, Source, Work, about, join
from agent.clock import MS_PER_S
from agent.envelope import MAX_MANIFEST_BYTES, TYP_EXPORT, sign
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, SpaceError
from agent.files import make_folder, remove_tree, settle, sync_folder, translated_removal, translated_space
from agent.index import Index, Tx
from agent.index import bundle as rows
from agent.keystore import Keystore
from agent.model import Moment, Object, Outcome, Selection
from agent.vault import Vault

Form = Literal["objects", "zip"]
Judge = Callable[[Tx, Object], Outcome | None]

EXPORTS_FOLDER: Final = "exports"

TOLD_FILES_MAX: Final = 100
"""Files that a receipt names; the manifest, always the first, names all."""

NAMED_MAX: Final = 8
"""Exports that are named where an object's copies are told."""

_MANIFEST: Final = "manifest.jws.age"
_LOG: Final = logging.getLogger(__name__)


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


Ends = Callable[[Lying, int], str | None]


def put_off(tx: Tx) -> tuple[str, ...]:
    """Return the exports, by id, that had to go and could not be removed when that was tried last."""
    return rows.those_put_off(tx)


def means_exports(selection: Selection) -> bool:
    """Tell whether a selection means exports that it does not name: all, or the category ``export``."""
    whole = selection.category == "export" and (selection.camera, selection.from_, selection.to) == (None,) * 3
    return selection.ids is None and (selection.all is True or whole)


def meant(tx: Tx, selection: Selection, *, asked_by_ms: int) -> frozenset[str]:
    """Return the exports here that a delete means without naming them: those asked for until then (agent time)."""
    return rows.asked_by(tx, asked_by_ms) if means_exports(selection) else frozenset()


class _OvertakenError(Exception):
    """An object was deleted while an export of it was built, and a receipt names no copy, or the copy is not whole."""


class Bundle:
    """The exports beside the objects of ``vault``; opening it makes the folder."""

    def __init__(self, *, device: str, index: Index, vault: Vault, keystore: Keystore) -> None:
        self.folder = vault.folder / EXPORTS_FOLDER
        self._device = device
        self._index = index
        self._vault = vault
        self._keystore = keystore
        self._removing = threading.Lock()
        self._wanted: frozenset[str] = frozenset()  # by the export that is being built: one at a time
        self._told: set[str] = set()
        make_folder(self.folder)

    # --- what is there

    def exports(self, tx: Tx) -> frozenset[str]:
        """Return the ids of the exports that lie here."""
        return rows.ids(tx)

    def get(self, tx: Tx, export_id: str) -> Lying | None:
        """Return one export that lies here."""
        if export_id not in rows.ids(tx):
            return None
        return next(one for one in self.lying(tx) if one.id == export_id)

    def holding(self, tx: Tx, object_id: str) -> tuple[Lying, ...]:
        """Return the exports that hold a copy of an object, ``NAMED_MAX`` at most."""
        ids = rows.holding(tx, object_id, limit=NAMED_MAX)
        return tuple(one for one in self.lying(tx) if one.id in ids) if ids else ()

    def select(self, tx: Tx, selection: Selection) -> tuple[str, ...]:
        """Return the exports that a selection means without naming them."""
        return tuple(sorted(self.exports(tx))) if means_exports(selection) else ()

    def remarked(self, tx: Tx, command: str, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Return a deletion's outcomes, each saying where an export still holds a copy of the object (invariant I6).

        What the receipt of a ``command`` names is in no export that is finished later.
        """
        return tuple(self._remarked(tx, outcome) for outcome in outcomes) if command else outcomes

    def _remarked(self, tx: Tx, outcome: Outcome) -> Outcome:
        if outcome.result not in {"deleted", "already_gone", "waiting_for_cloud", "waiting_for_camera"}:
            return outcome
        if outcome.id in self._wanted:
            self._told.add(outcome.id)
        exports = rows.holding(tx, outcome.id, limit=NAMED_MAX)
        if not exports:
            return outcome
        return msgspec.structs.replace(outcome, remarks=(*outcome.remarks, "export_copy_remains"), exports=exports)

    def require_recipients(self, recipients: tuple[str, ...]) -> None:
        """Raise ``ConfigError`` unless files can be sealed to exactly these."""
        age.wrap_header(age.new_file_key(), [age.parse_recipient(text) for text in recipients])

    def release(self, tx: Tx, export_id: str) -> None:
        """Let ``expire`` try again to remove one that no command waits for any more."""
        rows.release(tx, export_id)

    def keep(self, tx: Tx, export_id: str) -> None:
        """Let no command try again to remove one."""
        rows.keep(tx, export_id)

    def remove(self, export_id: str, note: Callable[[Tx], None], *, by: rows.Retrier = "device") -> None:
        """Remove an export's files, then its row; ``note`` writes down why in the row's transaction (invariant I7).

        If power fails between the two, ``recover`` does the second. Raises ``ConfigError`` or ``LinkError`` when files
        cannot be removed; the row then stays and says so, and ``by`` tries again: the deletes that mean it, or
        ``expire``.
        """
        with self._removing:  # a delete and a limit of the policy may mean the same one at the same moment
            try:
                if not remove_tree(self.folder / export_id):  # by another that failed behind it, or that power ended
                    with translated_removal(self.folder):
                        sync_folder(self.folder)
            except (ConfigError, LinkError):
                # If power fails here, or there is no room, whoever asked does so again: its delete is open still.
                with contextlib.suppress(SpaceError):
                    self._index.write_now(lambda tx: rows.put_off(tx, export_id, by), urgent=True)
                raise

        def drop(tx: Tx) -> None:
            if rows.drop(tx, export_id):  # else another was faster, and has told
                note(tx)

        self._index.write_now(drop, urgent=True)

    def lying(self, tx: Tx) -> tuple[Lying, ...]:
        """Return the exports that lie here, the oldest first."""
        found: list[Lying] = []
        newer_bytes = 0
        by_age = sorted(rows.exports(tx), key=_newest_first)
        for export_id, made_ms, size_bytes, recipients, objects, retried_by in by_age:
            newer_bytes += size_bytes
            one = Lying(
                id=export_id,
                made_ms=made_ms,
                size_bytes=size_bytes,
                objects=objects,
                recipients=tuple(recipients.split()),
                rank=len(found),
                newer_bytes=newer_bytes,
                retried_by=retried_by,
            )
            found.append(one)
        return tuple(reversed(found))

    def expire(self, ends: Ends, *, moment: Moment) -> tuple[str, ...]:
        """Remove the exports for which ``ends(export, bytes removed so far)`` names a rule; return their ids.

        One that cannot be removed is put off, and the next call tries it again, unless a command does.
        """
        due: list[str] = []
        freed = 0
        for one in self._index.read_now(self.lying):
            rule = ends(one, freed) or ("export" if one.retried_by == "device" else None)
            if rule is None:
                continue
            try:
                self.remove(one.id, partial(_note_erased, export_id=one.id, rule=rule, moment=moment))
            except (ConfigError, LinkError) as error:
                _LOG.warning("an export stays: %s", error.message)
                continue
            due.append(one.id)
            freed += one.size_bytes
        return tuple(due)

    def recover(self, moment: Moment) -> int:
        """Remove, at start, folders without a row and rows without a folder; return how many folders that were.

        What is no folder is none of ours and left alone; what cannot be removed is told and left to the next start.
        """
        known = self._index.read_now(self.exports)
        for export_id in known:
            if not (self.folder / export_id).exists():  # a removal was cut between its two halves
                try:
                    self.remove(export_id, partial(_note_erased, export_id=export_id, rule="export", moment=moment))
                except (ConfigError, LinkError) as error:
                    _LOG.warning("whether an export is gone is not sure yet: %s", error.message)
        swept = 0
        for path in [path for path in self.folder.iterdir() if path.name not in known]:
            if path.is_symlink() or not path.is_dir():
                continue
            try:
                swept += remove_tree(path)
            except (ConfigError, LinkError) as error:
                _LOG.warning("an export without a row stays: %s", error.message)
        return swept

    # --- building

    def build(
        self,
        export_id: str,
        ids: tuple[str, ...],
        *,
        recipients: tuple[str, ...],
        form: Form,
        judge: Judge,
        label: Callable[[Tx, str], str],
        asked_ms: int,
        moment: Moment,
        note: Callable[[Tx, Export], None],
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Export:
        """Build an export of ``ids``, sealed to ``recipients``; durable on return.

        ``asked_ms`` (agent time) says when it was asked for. ``judge`` may keep an object out and says as what.
        ``note`` writes down what was made in the transaction of its row (invariant I7); one that would hold nothing has
        neither files nor a row. Where a command deletes an object of it meanwhile it is built anew, without that; what
        a limit of the policy ends meanwhile is in it. One at a time. Raises ``SpaceError``, and ``RefusedError``
        (``too_large``) when the manifest would be, with nothing left behind, and ``ConfigError`` for recipients that no
        file can be sealed to.
        """
        self.require_recipients(recipients)
        try:
            while True:
                self._wanted, self._told = frozenset(ids), set()
                with contextlib.suppress(_OvertakenError):  # each time an object less is there
                    return self._attempt(
                        export_id,
                        ids,
                        recipients=recipients,
                        form=form,
                        judge=judge,
                        label=label,
                        asked_ms=asked_ms,
                        moment=moment,
                        note=note,
                        progress=progress,
                    )
        finally:
            self._wanted = frozenset()

    def _attempt(
        self,
        export_id: str,
        ids: tuple[str, ...],
        *,
        recipients: tuple[str, ...],
        form: Form,
        judge: Judge,
        label: Callable[[Tx, str], str],
        asked_ms: int,
        moment: Moment,
        note: Callable[[Tx, Export], None],
        progress: Callable[[int, int], None],
    ) -> Export:
        part = self.folder / f"{export_id}.part"
        final = self.folder / export_id
        for left_over in (part, final):
            remove_tree(left_over)
        work = Work(part, tuple(age.parse_recipient(text) for text in recipients))
        try:
            with translated_space():
                make_folder(part)
                sources = self._sources(ids, recipients=recipients, judge=judge, label=label, work=work)
                described = self._fill(work, sources, form=form, total=len(ids), progress=progress)
                if described:
                    self._write_manifest(work, export_id, described, form=form, recipients=recipients, moment=moment)
                    sync_folder(part)
                    settle(part, final)
                else:
                    work.files.clear()
                    remove_tree(part)
                export = self._note(work, export_id, recipients=recipients, asked_ms=asked_ms, moment=moment, note=note)
        except OSError as error:
            _discard(part)
            raise LinkError(
                f"the export cannot be written: {error.strerror}", hint="look at the disk that holds the vault"
            ) from error
        except BaseException:
            _discard(part)
            _discard(final)
            raise
        return export

    def _note(
        self,
        work: Work,
        export_id: str,
        *,
        recipients: tuple[str, ...],
        asked_ms: int,
        moment: Moment,
        note: Callable[[Tx, Export], None],
    ) -> Export:
        export = Export(
            id=export_id,
            folder=self.folder / export_id,
            files=tuple(work.files),
            recipients=recipients,
            outcomes=tuple(work.outcomes[object_id] for object_id in sorted(work.outcomes)),
            within=work.within,
        )
        size_bytes = sum(file.bytes for file in work.files)
        inside = tuple(sorted(one.id for one in work.outcomes.values() if one.result == "exported"))

        def put(tx: Tx) -> None:
            if any(self._is_overtaken(tx, outcome) for outcome in export.outcomes):
                raise _OvertakenError
            if export.files:
                rows.put(
                    tx,
                    export_id,
                    asked_ms=asked_ms,
                    made_ms=moment.agent_ms,
                    size_bytes=size_bytes,
                    recipients=recipients,
                    objects=inside,
                )
            note(tx, export)

        self._index.write_now(put, urgent=True)
        return export

    def _is_overtaken(self, tx: Tx, outcome: Outcome) -> bool:
        """Tell whether an object was deleted by a command behind its copy, or by anything before that was whole."""
        if outcome.result == "failed":
            item = self._vault.get(tx, outcome.id)
            return item is None or item.state == "erasing"
        return outcome.result == "exported" and outcome.id in self._told

    def _sources(
        self,
        ids: tuple[str, ...],
        *,
        recipients: tuple[str, ...],
        judge: Judge,
        label: Callable[[Tx, str], str],
        work: Work,
    ) -> Iterator[Source]:
        """Open one slot at a time, just before its object is exported; note why the others are left out."""

        def look(tx: Tx, object_id: str) -> Source | Outcome:
            item = self._vault.get(tx, object_id)
            if item is None or item.state == "erasing":
                return Outcome(id=object_id, result="already_gone")
            kept = judge(tx, item)
            if kept is not None:
                return kept
            if self._vault.is_damaged(tx, object_id):
                return Outcome(id=object_id, result="failed")
            try:
                header = self._vault.header(tx, object_id) if item.kind == "header-key" else None
                if item.kind == "header-key" and (header is None or not set(recipients) <= set(item.recipients)):
                    return Outcome(id=object_id, result="not_readable_here")
                return Source(item, label(tx, item.camera), self._vault.slot_key(tx, object_id), header)
            except CorruptError:
                return Outcome(id=object_id, result="failed")

        for object_id in ids:
            found = self._index.read_now(partial(look, object_id=object_id))
            if isinstance(found, Outcome):
                work.outcomes[object_id] = found
            else:
                yield found

    def _fill(
        self,
        work: Work,
        sources: Iterator[Source],
        *,
        form: Form,
        total: int,
        progress: Callable[[int, int], None],
    ) -> list[dict[str, Any]]:
        if form == "objects":
            return self._fill_objects(work, sources, total=total, progress=progress)
        from agent.bundle.packing import Zip  # noqa: PLC0415 - what reads logs and packs waits for somebody who wants it

        return Zip(work, self._vault, total=total, progress=progress).fill(sources)

    def _fill_objects(
        self, work: Work, sources: Iterator[Source], *, total: int, progress: Callable[[int, int], None]
    ) -> list[dict[str, Any]]:
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
            progress(len(work.outcomes), total)
        return described

    def _write_manifest(
        self,
        work: Work,
        export_id: str,
        described: list[dict[str, Any]],
        *,
        form: Form,
        recipients: tuple[str, ...],
        moment: Moment,
    ) -> None:
        claims = {
            "v": 1,
            "iss": self._device,
            "iat": moment.agent_ms // MS_PER_S,
            "export": export_id,
            "form": form,
            "recipients": list(recipients),
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


def _newest_first(row: rows.ExportRow) -> tuple[int, str]:
    return -row[1], row[0]


def _note_erased(tx: Tx, *, export_id: str, rule: str, moment: Moment) -> None:
    audit.append(tx, Event(kind="erased", object=export_id, actor="device", rule=rule), moment=moment)


def _discard(part: Path) -> None:
    with contextlib.suppress(AgentError):  # the next start tries again
        remove_tree(part)
