"""What waits for the owner's word before it may act.

A retention pass that would remove far more than was to be expected stops here: exactly what it would remove is frozen
under a random id and a hash, and only an ``approve`` of that hash, signed by the owner, lets it go on.
"""

import msgspec

from agent.ids import Ids
from agent.index import Tx
from agent.index import rights as rows
from agent.model import Requester
from agent.rights import approval


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """The last retention pass and the one that waits, if any.

    ``ages`` are the age limits that were obeyed, by scope (``None``: an older version did not say). ``passed_ms`` is
    the agent time that what is expected is counted from, ``since_ms`` the one since which what was taken in may drive
    as much out. ``asked_by`` is the hash of the policy that the waiting one obeys. Under a policy that its owner had no
    part in, ``ages`` stay those of the owner's last one, and ``surprised`` counts what went since that nobody expected.
    """

    ages: dict[str, int] | None
    passed_ms: int
    since_ms: int
    waiting: str = ""
    selection: str = ""
    approved: bool = False
    asked_by: str = ""
    surprised: int = 0


def last_pass(tx: Tx) -> Pass | None:
    """Return what is known of retention passes; ``None`` before the first."""
    found = rows.read_pass(tx)
    if found is None:
        return None
    ages, passed_ms, since_ms, waiting, selection, approved, asked_by, surprised = found
    return Pass(
        ages=msgspec.json.decode(ages, type=dict[str, int]) if ages else None,
        passed_ms=passed_ms,
        since_ms=since_ms,
        waiting=waiting,
        selection=selection,
        approved=bool(approved),
        asked_by=asked_by,
        surprised=surprised,
    )


def keep_pass(tx: Tx, told: Pass) -> None:
    """Persist it in the caller's transaction; words for a question that is asked no more are forgotten."""
    before = last_pass(tx)
    if before is not None and before.waiting and before.waiting != told.waiting:
        approval.forget(tx, before.waiting)
    ages = "" if told.ages is None else msgspec.json.encode(told.ages).decode("ascii")
    asked = (told.waiting, told.selection, int(told.approved), told.asked_by)
    rows.write_pass(tx, (ages, told.passed_ms, told.since_ms, *asked, told.surprised))


def freeze(tx: Tx, items: tuple[tuple[str, str], ...]) -> str:
    """Freeze (object, rule) pairs and return the hash of the selection, as ``docs/protocol.md`` §5 defines it."""
    rows.freeze(tx, items)
    return Ids.of(object_id for object_id, _rule in items).selection_hash()


def frozen(tx: Tx) -> tuple[tuple[str, str], ...]:
    """Return what is frozen."""
    return rows.frozen(tx)


def frozen_count(tx: Tx) -> int:
    """Return how many pairs are frozen."""
    return rows.frozen_count(tx)


def frozen_remains(tx: Tx) -> bool:
    """Tell whether an object that is frozen is still in the vault."""
    return rows.frozen_remains(tx)


def asks(tx: Tx, waiting: str, selection: str) -> bool:
    """Tell whether the waiting pass is this one, and exactly this selection."""
    told = last_pass(tx)
    return told is not None and bool(told.waiting) and (told.waiting, told.selection) == (waiting, selection)


def approve(tx: Tx, *, waiting: str, selection: str, by: Requester) -> bool:
    """Let the waiting pass go on; true only for an owner's client that names its id and exactly its selection."""
    told = last_pass(tx)
    if told is None or by.role != "client" or not asks(tx, waiting, selection):
        return False
    keep_pass(tx, msgspec.structs.replace(told, approved=True))
    return True
