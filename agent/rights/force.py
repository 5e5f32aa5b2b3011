"""The policy document in force, kept whole in the index: a file or a command only proposes another one.

A change of it stands in the audit log, by the document's SHA-256, in the same transaction.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.index import Tx
from agent.index import policy as rows
from agent.model import Moment

OWNERS_BEFORE_MAX: Final = 200
"""Recipients that were the owner's and are remembered as such: the newest."""

LOCAL = "local"
"""Who brought a document that came as a file."""


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The document that is obeyed, and who brought it.

    ``signed`` is the JWS it came in, empty for a file. Until an agent has run under it (``bound``) nothing was taken in
    under it, and the file may still be edited freely. ``owners`` is false of one that a backend put in force alone: by
    tightening, unasked.
    """

    document: bytes
    sha256: str
    signed: bytes = b""
    by: str = LOCAL
    revision: int = 0
    since_ms: int = 0
    bound: bool = False
    owners: bool = True


class Waiting(msgspec.Struct, frozen=True):
    """A document that waits for the owner's approve of its hash."""

    id: str
    document: bytes

    @property
    def sha256(self) -> str:
        """What the owner approves."""
        return hash_of(self.document)


def hash_of(document: bytes) -> str:
    """Return the SHA-256 of a document in hex: what names it in the log and in an approve."""
    return hashlib.sha256(document).hexdigest()


def in_force(tx: Tx) -> InForce | None:
    """Return the document in force; ``None`` on a device that never opened one."""
    row = rows.read_document(tx)
    return None if row is None else InForce(**(row | {"bound": bool(row["bound"]), "owners": bool(row["owners"])}))


def waiting_file(tx: Tx) -> Waiting | None:
    """Return the policy file where it waits for the owner."""
    _, waiting, document = rows.read_file(tx)
    return Waiting(waiting, document) if waiting else None


def put_in_force(
    tx: Tx, new: InForce, *, version: int, moment: Moment, approved_by: str = "", command: str = ""
) -> None:
    """Obey this document from the end of this transaction on, and say so in the audit log."""
    keep(tx, new)
    detail: dict[str, str | int] = {"sha256": new.sha256, "version": version}
    if new.revision:
        detail["revision"] = new.revision
    if approved_by:
        detail["approved_by"] = approved_by
    event = Event(kind="policy_changed", actor=new.by, command=command, detail=detail)
    audit.append(tx, event, moment=moment)


def keep(tx: Tx, new: InForce) -> None:
    """Write the document that is obeyed, where the log has it already."""
    rows.write_document(
        tx,
        new.document,
        sha256=new.sha256,
        signed=new.signed,
        by=new.by,
        revision=new.revision,
        since_ms=new.since_ms,
        bound=new.bound,
        owners=new.owners,
    )


def give_up(tx: Tx, owners: Iterable[str]) -> None:
    """Remember recipients that another policy takes from the owner: whoever has their keys still reads by them."""
    rows.note_owners_before(tx, owners, limit=OWNERS_BEFORE_MAX)


def owners_before(tx: Tx) -> tuple[str, ...]:
    """Return the recipients that were the owner's in a policy before this one."""
    return tuple(rows.owners_before(tx))


def bind(tx: Tx) -> None:
    """Note that an agent runs now: from here on another document is compared with the one in force."""
    rows.bind(tx)
