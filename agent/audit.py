"""What the agent did, for its owner: a hash chain written in the transaction of the change it tells of (invariant I7).

Rules: an event is appended with the caller's transaction, so history and state cannot differ; nothing personal is ever
named (``agent/chain.py`` has the form); the device signs the head every ``CHECKPOINT_EVERY`` entries and wherever a
caller asks; old entries leave only beneath a checkpoint, and never fewer than ``KEEP_ENTRIES`` stay. They go at every
retention pass and wherever a large delete writes many. Since the roots changed, a word may have come that stands, or a
delete that changed no keys, as it met nothing here: an index of before it is to be refused when it is put back, and
``unanchored`` says so until the roots change.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from agent import chain
from agent.chain import EMPTY, Event, EventKind, Head
from agent.errors import CorruptError
from agent.index import Tx
from agent.index import audit as rows
from agent.model import Moment

CHECKPOINT_EVERY: Final = 1_000
"""Entries between two signatures at most, when ``checkpoint_due`` is asked at each receipt and retention pass."""

KEEP_ENTRIES: Final = 1_000_000
"""At about 300 bytes each, a bound of some 300 MB; a camera with a segment a minute fills it in a year."""

PRUNED_AT_ONCE: Final = 4_000
"""Entries that one transaction drops: about a megabyte."""

PAGE_ENTRIES: Final = 500

END_ENTRIES: Final = 1_000
"""Judged at each start, and those before them up to the signature that vouches for them."""

STANDING: Final[frozenset[EventKind]] = frozenset({
    "keyset_accepted", "owner_set", "trust_ended", "policy_changed", "freeze_put", "freeze_lifted", "freeze_shortened",
    "purpose_said", "do_not_track", "narrowed", "rectified", "service_changed", "camera_forgotten",
    "collection_switched", "counts_told",
})  # fmt: skip
"""Words that stand until another is said, that take trust away, or that spend what there is once: an index that knows
nothing of one is dangerous."""

__all__ = ["CHECKPOINT_EVERY", "KEEP_ENTRIES", "Event", "Head", "Signer", "append", "checkpoint", "entries", "head"]


class Signer(Protocol):
    """Who signs checkpoints: the keystore, whatever holds its key."""

    @property
    def alg(self) -> Literal["EdDSA", "ES256"]:
        """The key's algorithm."""
        ...

    @property
    def kid(self) -> str:
        """The key's id."""
        ...

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """Sign bytes; raw JWS signature bytes come back."""
        ...


def append(tx: Tx, event: Event, *, moment: Moment) -> None:
    """Write the event as the chain's next entry; it is there exactly when ``tx`` is."""
    before = head(tx)
    line = chain.entry_line(event, head=before, moment=moment)
    rows.insert(tx, before.seq + 1, line, line_hash=chain.line_hash(line))
    if event.kind in STANDING or (event.kind == "erase_asked" and event.command):
        rows.leave_unanchored(tx, before.seq + 1)
    elif event.kind == "keys_rotated":
        rows.anchor(tx)


def stand(tx: Tx) -> None:
    """Note that something stands by this transaction, of which the log tells as of something else."""
    rows.leave_unanchored(tx, head(tx).seq)


def unanchored(tx: Tx) -> bool:
    """Tell whether a word of ``STANDING``, a cut-off, or a command to delete, came since the roots changed."""
    return rows.unanchored(tx)


def head(tx: Tx) -> Head:
    """Return the last entry, for a receipt's ``audit_head``."""
    found = rows.head(tx)
    return EMPTY if found is None else Head(*found)


def checkpoint(tx: Tx, signer: Signer, *, moment: Moment) -> None:
    """Sign the head as it is in ``tx``; an empty chain and a head that is signed already are left."""
    now = head(tx)
    if now.seq > rows.last_checkpoint(tx):
        line = chain.checkpoint_line(now, signer.sign, alg=signer.alg, kid=signer.kid, moment=moment)
        rows.insert_checkpoint(tx, now.seq, line)


def checkpoint_due(tx: Tx) -> bool:
    """Tell whether ``CHECKPOINT_EVERY`` entries or more have no signature yet."""
    return head(tx).seq - rows.last_checkpoint(tx) >= CHECKPOINT_EVERY


def require_end(tx: Tx) -> None:
    """Raise ``CorruptError`` when the device signed an entry that lies behind the last one: the log was cut."""
    last, signed = head(tx).seq, rows.last_checkpoint(tx)
    if signed > last:
        raise CorruptError(f"the log ends at entry {last}, but entry {signed} was signed")


def before_end(tx: Tx) -> int:
    """Return the entry behind which the log's end begins: the next one was signed, or is the first of all."""
    signed = rows.checkpoint_before(tx, head(tx).seq - END_ENTRIES)
    if signed == 0 and rows.first(tx) > 1:
        signed = rows.first_checkpoint(tx)
    return max(0, signed - 1)


class Page(msgspec.Struct, frozen=True):
    """One page of export lines; ``first`` is the oldest entry of the log, ``last`` the last one of the page."""

    first: int
    last: int
    lines: tuple[bytes, ...]


def page(tx: Tx, *, after: int, limit: int = PAGE_ENTRIES) -> Page:
    """Return what ``entries`` does, and where the log began in that moment."""
    last, lines = entries(tx, after, limit=limit)
    return Page(rows.first(tx), last, lines)


def entries(tx: Tx, after: int, *, limit: int = PAGE_ENTRIES) -> tuple[int, tuple[bytes, ...]]:
    """Return one page of export lines after entry ``after``, and the last entry's number for the next page.

    Checkpoints stand behind the entry they vouch for. An empty page ends the log.
    """
    last = after
    page: list[bytes] = []
    for seq, line, signed in rows.lines(tx, after, limit):
        page.append(line)
        if signed is not None:
            page.append(signed)
        last = seq
    return last, tuple(page)


def prune(tx: Tx, signer: Signer, *, moment: Moment, limit: int = PRUNED_AT_ONCE) -> int:
    """Drop the oldest entries, ``limit`` at most, that are older than the last ``KEEP_ENTRIES``; return how many.

    Signs the head when no checkpoint would be left that vouches for what stays.
    """
    first, last = rows.first(tx), head(tx).seq
    dropped = min(last - KEEP_ENTRIES, first + limit - 1)
    if dropped < first or first == 0:
        return 0
    if rows.last_checkpoint(tx) <= dropped:
        checkpoint(tx, signer, moment=moment)
    return rows.drop_up_to(tx, dropped)
