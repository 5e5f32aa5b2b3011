"""``Bundle``: the folder of exports: what lies there, where a copy of an object is, and what goes from there.

An export goes in three steps:

1. where a command removes it, its row says so. If power fails behind it, the command comes back to this line.
2. the files are removed and the folder is synced. If power fails here, or before 3, the row is there without them: that
   command, which is open still, does the rest and says ``deleted``; where none had begun, ``recover`` drops the row.
3. one transaction: the row goes, and who removed it is written down.

Everything here is synchronous and runs in a thread of its own.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.bundle.build import Builder, Export, Order
from agent.bundle.lying import Lying
from agent.errors import ConfigError, LinkError, SpaceError
from agent.files import make_folder, remove_tree, sync_folder, translated_removal
from agent.index import Index, Tx
from agent.index import bundle as rows
from agent.keystore import Keystore
from agent.model import Moment, Outcome, Selection, is_id
from agent.vault import Vault, chosen

EXPORTS_FOLDER: Final = "exports"

NAMED_MAX: Final = 8
"""Exports that are named where an object's copies are told."""

_LOG: Final = logging.getLogger(__name__)

Ends = Callable[[Lying, int], str | None]


def put_off(tx: Tx) -> tuple[str, ...]:
    """Return the exports, by id, that had to go and could not be removed when that was tried last."""
    return rows.those_put_off(tx)


def is_ours(name: str) -> bool:
    """Tell whether a folder among the exports is the agent's by its name: an export's id, or one that is built."""
    return is_id(name) or name.endswith(".part")


def means_exports(selection: Selection) -> bool:
    """Tell whether a selection means exports that it does not name: all, or the category ``export``."""
    whole = selection.category == "export" and (selection.camera, selection.from_, selection.to) == (None,) * 3
    return selection.ids is None and (selection.all is True or whole)


def meant(tx: Tx, selection: Selection, *, asked_by_ms: int) -> frozenset[str]:
    """Return the exports here that a delete means without naming them: those asked for until then (agent time)."""
    return rows.asked_by(tx, asked_by_ms) if means_exports(selection) else frozenset()


class Bundle:
    """The exports beside the objects of ``vault``; opening it makes the folder."""

    def __init__(self, *, device: str, index: Index, vault: Vault, keystore: Keystore) -> None:
        self.folder = vault.folder / EXPORTS_FOLDER
        self._index = index
        self._builder = Builder(self.folder, device=device, index=index, vault=vault, keystore=keystore)
        self._removing = threading.Lock()
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

    def gone(self, tx: Tx, selection: Selection) -> frozenset[str]:
        """Return the objects of a selection without ids that are gone here, and of which an export has a copy.

        Also one that is being built, or is on its way to a third party.
        """
        if selection.ids is not None:
            return frozenset()
        asked = chosen(selection)
        return self._builder.gone(tx, asked).union(rows.gone(tx, asked))

    def remarked(self, tx: Tx, command: str, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Return a deletion's outcomes, each saying where an export still holds a copy of the object (invariant I6).

        What the receipt of a ``command`` names is in no export that is finished later.
        """
        return tuple(self._remarked(tx, outcome) for outcome in outcomes) if command else outcomes

    def _remarked(self, tx: Tx, outcome: Outcome) -> Outcome:
        if outcome.result not in {"deleted", "already_gone", "waiting_for_cloud", "waiting_for_camera"}:
            return outcome
        self._builder.told(outcome.id)
        exports = rows.holding(tx, outcome.id, limit=NAMED_MAX)
        if not exports:
            return outcome
        return msgspec.structs.replace(outcome, remarks=(*outcome.remarks, "export_copy_remains"), exports=exports)

    def build(self, order: Order) -> Export:
        """Build an export; see ``Builder.build``."""
        return self._builder.build(order)

    def release(self, tx: Tx, export_id: str) -> None:
        """Let ``expire`` try again to remove one that no command waits for any more."""
        rows.release(tx, export_id)

    def keep(self, tx: Tx, export_id: str) -> None:
        """Let no command try again to remove one."""
        rows.keep(tx, export_id)

    def remove(self, export_id: str, note: Callable[[Tx], None], *, command: str = "") -> None:
        """Remove an export's files, then its row; ``note`` writes down why in the row's transaction (invariant I7).

        ``command`` is the ``jti`` of the one that removes it, if one does. Raises ``ConfigError`` or ``LinkError`` when
        files cannot be removed; the row then stays and says so, and the deletes that mean it try again, or ``expire``
        where no command did.
        """

        def drop(tx: Tx) -> None:
            if rows.drop(tx, export_id):  # else another was faster, and has told
                note(tx)

        with self._removing:  # a delete and a limit of the policy may mean the same one at the same moment
            if command:
                # Step 1. Where there is no room for it what goes makes some; a cut behind it is the device's to tell.
                with contextlib.suppress(SpaceError):
                    self._index.write_now(lambda tx: rows.begin_removal(tx, export_id, command), urgent=True)
            try:
                # Step 2.
                if not remove_tree(self.folder / export_id):  # by another that failed behind it, or that power ended
                    with translated_removal(self.folder):
                        make_folder(self.folder)  # a person may have removed it, with all that was in it
                        sync_folder(self.folder)
            except (ConfigError, LinkError):
                # If power fails here, or there is no room, whoever asked does so again: its delete is open still.
                with contextlib.suppress(SpaceError):
                    self._index.write_now(lambda tx: rows.put_off(tx, export_id), urgent=True)
                raise
            # Step 3.
            self._index.write_now(drop, urgent=True)

    def lying(self, tx: Tx) -> tuple[Lying, ...]:
        """Return the exports that lie here, the oldest first."""
        found: list[Lying] = []
        newer_bytes = 0
        by_age = sorted(rows.exports(tx), key=_newest_first)
        for export_id, made_ms, size_bytes, recipients, objects, retried_by, removed_by in by_age:
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
                removed_by=removed_by,
            )
            found.append(one)
        return tuple(reversed(found))

    def expire(self, ends: Ends, *, moment: Moment) -> tuple[str, ...]:
        """Remove the exports for which ``ends(export, bytes removed so far)`` names a rule; return their ids.

        One that cannot be removed is put off, and the next call tries it again. What a command has begun to remove is
        that command's to end and to answer.
        """
        due: list[str] = []
        freed = 0
        for one in self._index.read_now(self.lying):
            rule = ends(one, freed) or ("export" if one.retried_by == "device" else None)
            if rule is None or one.removed_by:
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

        A row of what a command has begun to remove stays until that command answers, which comes behind this.
        What is none of ours by its name (``is_ours``) is somebody's, not a copy that a cut left: it is left alone and
        told in the log, without its name. What cannot be removed is told and left to the next start.
        """
        known = self._index.read_now(self.exports)
        for export_id in known - self._index.read_now(rows.being_removed):
            if not (self.folder / export_id).exists():  # a removal was cut between its two halves
                try:
                    self.remove(export_id, partial(_note_erased, export_id=export_id, rule="export", moment=moment))
                except (ConfigError, LinkError) as error:
                    _LOG.warning("whether an export is gone is not sure yet: %s", error.message)
        swept = strange = 0
        for path in [path for path in self.folder.iterdir() if path.name not in known]:
            if path.is_symlink() or not path.is_dir() or not is_ours(path.name):
                strange += 1
                continue
            try:
                swept += remove_tree(path)
            except (ConfigError, LinkError) as error:
                _LOG.warning("an export without a row stays: %s", error.message)
        if strange:
            _LOG.warning(
                "%d in the folder of exports are none of the agent's, and stay: privacy-agent doctor names them",
                strange,
            )
        return swept


def _newest_first(row: rows.ExportRow) -> tuple[int, str]:
    return -row[1], row[0]


def _note_erased(tx: Tx, *, export_id: str, rule: str, moment: Moment) -> None:
    audit.append(tx, Event(kind="erased", object=export_id, actor="device", rule=rule), moment=moment)
