"""The policy in force, and what waits for the owner's word before it may act.

A retention pass that would remove far more than was to be expected stops here: exactly what it would remove is frozen
under a random id and a hash, and only an ``approve`` of that hash, signed by the owner, lets it go on.
"""

import hashlib

import msgspec

from agent.index import Tx
from agent.index import rights as rows
from agent.model import Requester


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """The last retention pass (``policy`` is a hash, ``passed_ms`` agent time) and the one that waits, if any.

    ``asked_by`` is the hash of the policy that the waiting one obeys.
    """

    policy: str
    passed_ms: int
    waiting: str = ""
    selection: str = ""
    approved: bool = False
    asked_by: str = ""


def last_pass(tx: Tx) -> Pass | None:
    """Return what is known of retention passes; ``None`` before the first."""
    found = rows.read_pass(tx)
    if found is None:
        return None
    policy, passed_ms, waiting, selection, approved, asked_by = found
    return Pass(
        policy=policy,
        passed_ms=passed_ms,
        waiting=waiting,
        selection=selection,
        approved=bool(approved),
        asked_by=asked_by,
    )


def keep_pass(tx: Tx, told: Pass) -> None:
    """Persist it in the caller's transaction."""
    rows.write_pass(tx, (told.policy, told.passed_ms, told.waiting, told.selection, int(told.approved), told.asked_by))


def freeze(tx: Tx, items: tuple[tuple[str, str], ...]) -> str:
    """Freeze (object, rule) pairs and return the hash of the selection, as ``docs/protocol.md`` §5 defines it."""
    rows.freeze(tx, items)
    return selection_hash(tuple(object_id for object_id, _rule in items))


def frozen(tx: Tx) -> tuple[tuple[str, str], ...]:
    """Return what is frozen."""
    return rows.frozen(tx)


def frozen_count(tx: Tx) -> int:
    """Return how many pairs are frozen."""
    return rows.frozen_count(tx)


def frozen_is_gone(tx: Tx) -> bool:
    """Tell whether an object that is frozen is not in the vault any more."""
    return rows.frozen_is_gone(tx)


def selection_hash(ids: tuple[str, ...]) -> str:
    """Return SHA-256 (hex) over the sorted ids, each followed by a line feed."""
    return hashlib.sha256("".join(f"{object_id}\n" for object_id in sorted(ids)).encode("ascii")).hexdigest()


def approve(tx: Tx, *, waiting: str, selection: str, by: Requester) -> bool:
    """Let the waiting pass go on; true only for an owner's client that names its id and exactly its selection."""
    told = last_pass(tx)
    if told is None or not told.waiting or by.role != "client":
        return False
    if (told.waiting, told.selection) != (waiting, selection):
        return False
    keep_pass(tx, msgspec.structs.replace(told, approved=True))
    return True
