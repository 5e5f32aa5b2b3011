"""Whom this device believes: its one owner, the key set that the owner's root signed, and what each key has said.

Rules: one owner, installed once; of the key set only the next version; a sequence number counts once within a durable
window (``docs/protocol.md`` §3, §4). Everything happens inside the caller's transaction.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Literal

import msgspec

from agent import age, audit
from agent.audit import Event
from agent.envelope import Descriptor, Key, KeySet, parse_keyset, read_keyset, read_succession
from agent.errors import ConfigError, RefusedError
from agent.ids import Ids
from agent.index import Tx
from agent.index import trust as rows
from agent.index.trust import CommandRow
from agent.model import Moment, Outcome

WINDOW: Final = 1024
"""Sequence numbers below the highest that may still come, §9."""

LAST_SEQ: Final = 2**53 - 1
"""A key that used it can say no more than its window still has room for; its holder needs another key, §4."""

KEPT_RESULTS: Final = 1024
"""Acknowledged results that are kept for a repeat, per key, §9."""

KEPT_RESULTS_BYTES: Final = 16 << 20
"""Of their receipts, per key, §9."""

UNREAD_RESULTS_MAX: Final = 4096
UNREAD_BYTES_MAX: Final = 16 << 20
"""Settled commands of a backend that it has not acknowledged, and what is kept for them, §9: then it is told ``busy``
until it acknowledges, so that nothing of what it does not know yet has to go."""

UNFINISHED_MAX: Final = 64
"""Commands of one key that run or wait for a reason, §9."""

UNCONFIRMED_MAX: Final = 4096
"""Commands of one key that wait for a store's word alone, §9: a store that is away for a month stops nobody, and a key
that goes on deleting behind it fills no disk."""

KEPT_SETTLED_MAX: Final = UNREAD_RESULTS_MAX + UNCONFIRMED_MAX + UNFINISHED_MAX
"""Settled commands of a key in all: as many as a backend can have unacknowledged, and an end for an owner's client."""

OUTCOMES_PAGE: Final = 500

OUTCOMES_HASHED: Final = 20_000
"""Outcomes that are read at once to be hashed."""

_MS_PER_S: Final = 1000
_WINDOW_MASK: Final = (1 << (WINDOW + 1)) - 1

__all__ = [
    "KEPT_RESULTS",
    "UNCONFIRMED_MAX",
    "UNFINISHED_MAX",
    "WINDOW",
    "CommandRow",
    "Trust",
]


class Trust:
    """The trusted parties and their commands; holds no state of its own, all of it is rows."""

    # --- owner and key set

    def owner(self, tx: Tx) -> Descriptor | None:
        """Return the owner, or ``None`` while the device is unowned and collects nothing."""
        raw = rows.owner(tx)
        return None if raw is None else _descriptor(raw)

    def install_owner(self, tx: Tx, owner: Descriptor, *, moment: Moment) -> None:
        """Make ``owner`` the one owner of this device; the same one again is no change, another is ``ConfigError``."""
        if owner.role != "owner":
            raise ConfigError(
                f"this describes a {owner.role}, not an owner", hint="give the owner.pub of: privacy-owner init"
            )
        known = self.owner(tx)
        if known is not None:
            if (known.kid, known.recipient) == (owner.kid, owner.recipient):
                return
            raise ConfigError(
                f"this device has an owner already ({known.fingerprint})",
                hint="its owner gives it away: privacy-owner erase-all (docs/operating.md, Giving a device away)",
            )
        rows.set_owner(tx, msgspec.json.encode(owner), installed_ms=moment.agent_ms)
        audit.append(tx, Event(kind="owner_set", rule="first_owner", actor=owner.kid), moment=moment)

    def key_set(self, tx: Tx) -> KeySet | None:
        """Return the key set in force."""
        raw = rows.key_set(tx)
        owner_raw = rows.owner(tx)
        return None if raw is None or owner_raw is None else _read_back(raw, owner_raw)

    def accept_key_set(
        self,
        tx: Tx,
        raw: bytes,
        *,
        moment: Moment,
        drop_others: Callable[[Tx, frozenset[str]], int] = lambda _tx, _kids: 0,
    ) -> KeySet:
        """Put the next version in force; a repeat of the one in force changes nothing.

        ``drop_others`` takes the kids in force, drops the messages that wait for any other, which nobody can
        acknowledge any more, and returns how many: the audit log has the number.

        Raises ``CorruptError`` or ``RefusedError`` as ``envelope.parse_keyset`` does; ``not_granted`` while unowned.
        """
        owner = self._require_owner(tx)
        current = self.key_set(tx)
        new = parse_keyset(raw, root_jwk=owner.jwk, current=current)
        if new is current:
            return new
        rows.set_key_set(tx, new.raw, version=new.version)
        detail: dict[str, str | int] = {"version": new.version, "keys": len(new.keys)}
        if dropped := drop_others(tx, frozenset(key.kid for key in new.keys)):
            detail["messages_dropped"] = dropped
        audit.append(tx, Event(kind="keyset_accepted", rule="root", actor=owner.kid, detail=detail), moment=moment)
        return new

    def succeed(
        self, tx: Tx, raw: bytes, *, moment: Moment, drop_others: Callable[[Tx, frozenset[str]], int]
    ) -> KeySet:
        """Let another root take the owner's place, which the owner's root signed, with the next key set.

        Raises what ``envelope.read_succession`` does; ``not_granted`` while unowned. The same one again is a
        ``bad_signature``: the root that signed it is believed no more.
        """
        owner = self._require_owner(tx)
        told = read_succession(raw, root_jwk=owner.jwk, current=self.key_set(tx))
        rows.change_owner(tx, msgspec.json.encode(told.owner))
        rows.set_key_set(tx, told.key_set.raw, version=told.key_set.version)
        detail: dict[str, str | int] = {"version": told.key_set.version, "keys": len(told.key_set.keys)}
        if dropped := drop_others(tx, frozenset(key.kid for key in told.key_set.keys)):
            detail["messages_dropped"] = dropped
        event = Event(kind="owner_set", rule="succession", actor=owner.kid, detail=detail)
        audit.append(tx, event, moment=moment)
        return told.key_set

    def end(self, tx: Tx, kids: frozenset[str], *, verbs: frozenset[str], moment: Moment) -> None:
        """Leave of the key set only these keys, which may be told things and tell things, and of verbs only ``verbs``.

        Keys that hold one of these stay too; nobody can approve any more, so nothing waits for that. For a device that
        leaves its owner. The root may sign the next version still; names go.
        """
        current, raw = self.key_set(tx), rows.owner(tx)
        if current is None or raw is None:
            return
        left_verbs = {key.kid: tuple(verb for verb in key.verbs if verb in verbs) for key in current.keys}
        kept = [
            msgspec.structs.replace(key, name="", verbs=left_verbs[key.kid])
            for key in current.keys
            if key.kid in kids or left_verbs[key.kid]
        ]
        left = msgspec.structs.replace(current, keys=tuple(kept), approvals=None, raw=b"")
        if left == current:
            return
        rows.set_key_set(tx, msgspec.json.encode(left), version=left.version)
        owner = msgspec.structs.replace(_descriptor(raw), name="")
        rows.change_owner(tx, msgspec.json.encode(owner))
        detail: dict[str, str | int] = {"keys": len(current.keys) - len(kept)}
        audit.append(tx, Event(kind="trust_ended", rule="erase-all", actor="device", detail=detail), moment=moment)

    def _require_owner(self, tx: Tx) -> Descriptor:
        owner = self.owner(tx)
        if owner is None:
            raise RefusedError(
                "this device has no owner yet",
                reason="not_granted",
                retry="later",
                hint="privacy-agent init --owner owner.pub",
            )
        return owner

    def key(self, tx: Tx, kid: str) -> Key | None:
        """Return the key of that id from the set in force."""
        keys = self.key_set(tx)
        return None if keys is None else keys.key(kid)

    def valid_key(self, tx: Tx, kid: str, *, moment: Moment) -> Key | None:
        """Return the key if the set has it and it is valid now; while the clock is unsure validity is not judged."""
        key = self.key(tx, kid)
        if key is None or (moment.trusted and not key.valid_at(moment.agent_ms // _MS_PER_S)):
            return None
        return key

    def keys_of(self, tx: Tx, role: str, *, moment: Moment) -> tuple[Key, ...]:
        """Return the keys of a role that are valid now, in the set's order."""
        keys = self.key_set(tx)
        now_s = moment.agent_ms // _MS_PER_S
        found = () if keys is None else keys.keys
        return tuple(key for key in found if key.role == role and (not moment.trusted or key.valid_at(now_s)))

    def unusable_keys(self, tx: Tx) -> tuple[Key, ...]:
        """Return keys in force whose recipient nothing can be sealed to; none of what was accepted by this version."""
        keys = self.key_set(tx)
        return () if keys is None else tuple(key for key in keys.keys if not _is_usable(key.recipient))

    # --- sequence windows

    def judge_seq(self, tx: Tx, kid: str, seq: int) -> Literal["unseen", "used", "stale"]:
        """Say what a sequence number is to this key's window; changes nothing."""
        highest, seen = rows.window(tx, kid)
        if seq > highest:
            return "unseen"
        if highest - seq > WINDOW:
            return "stale"
        return "used" if seen >> (highest - seq) & 1 else "unseen"

    def use_seq(self, tx: Tx, kid: str, seq: int) -> None:
        """Mark an unseen sequence number as used."""
        highest, seen = rows.window(tx, kid)
        if seq > highest:
            ahead = seq - highest
            seen = ((seen << ahead) | 1) & _WINDOW_MASK if ahead <= WINDOW else 1
            highest = seq
        else:
            seen |= 1 << (highest - seq)
        rows.set_window(tx, kid, highest=highest, seen=seen)

    def next_seq(self, tx: Tx, kid: str) -> int | None:
        """Return the next good sequence number of a key; ``None`` for one that has used the last there is."""
        highest = rows.window(tx, kid)[0]
        return highest + 1 if highest < LAST_SEQ else None

    def issuers(self, tx: Tx) -> dict[str, dict[str, int]]:
        """Return highest and floor of every key that ever spoke, as ``state`` tells it (§7)."""
        return {
            kid: {"highest": highest, "floor": max(1, highest - WINDOW)} for kid, highest in rows.highest(tx).items()
        }

    # --- commands and their stored results

    def command(self, tx: Tx, jti: str) -> CommandRow | None:
        """Return a command that was taken up."""
        return rows.command(tx, jti)

    def keep(self, tx: Tx, row: CommandRow) -> None:
        """Write a command or what changed of it; old results are bounded."""
        rows.put_command(tx, row)
        if row.settled_ms is not None:
            rows.forget_oldest_settled(tx, row.kid, keep=KEPT_SETTLED_MAX)

    def running(self, tx: Tx, *, limit: int) -> tuple[CommandRow, ...]:
        """Return commands that were accepted and have no terminal receipt, oldest first."""
        return rows.running(tx, limit=limit)

    def open_of(self, tx: Tx, verb: str) -> frozenset[str]:
        """Return the ids of the commands of a verb that have no terminal receipt."""
        return rows.open_of(tx, verb)

    def waiting(self, tx: Tx) -> tuple[str, ...]:
        """Return the ids of the commands that wait for a reason, oldest first; ``UNFINISHED_MAX`` of each key at most.

        One that waits for a store's word alone has none: the store's word itself moves it on.
        """
        return rows.waiting(tx)

    def waiting_for(self, tx: Tx, reason: str) -> tuple[CommandRow, ...]:
        """Return the commands that wait for this reason, oldest first."""
        return rows.waiting_for(tx, reason)

    def any_waits(self, tx: Tx, reason: str) -> bool:
        """Tell whether a command waits for this reason."""
        return rows.any_waits(tx, reason)

    def unfinished_counts(self, tx: Tx, kid: str) -> tuple[int, int]:
        """Return how many commands of a key run or wait for a reason, and how many wait for a store's word alone."""
        return rows.unfinished_counts(tx, kid)

    def unfinished_of(self, tx: Tx, kid: str, verbs: Iterable[str]) -> tuple[int, int]:
        """Return the same of these verbs alone."""
        return rows.unfinished_of(tx, kid, verbs)

    def reads_nothing(self, tx: Tx, key: Key) -> bool:
        """Tell whether so much waits for a backend's acknowledgement that no more is taken up; an owner always may."""
        if key.role == "client":
            return False
        count, size_bytes = rows.unread(tx, key.kid)
        return count >= UNREAD_RESULTS_MAX or size_bytes >= UNREAD_BYTES_MAX

    def acknowledged(self, tx: Tx, kid: str, receipt_jtis: tuple[str, ...]) -> int:
        """Note that the issuer has these terminal receipts; return how many were news."""
        return rows.acknowledge(tx, kid, receipt_jtis, keep=KEPT_RESULTS, keep_bytes=KEPT_RESULTS_BYTES)

    def freeze(self, tx: Tx, jti: str, ids: Ids, *, objects: int, size_bytes: int) -> None:
        """Write the selection that a command resolved to when it arrived, and what a quota counts of it."""
        rows.freeze(tx, jti, ids, objects=objects, size_bytes=size_bytes)

    def frozen(self, tx: Tx, jti: str) -> Ids:
        """Return a command's selection."""
        return rows.frozen(tx, jti)

    def weight(self, tx: Tx, jti: str) -> tuple[int, int] | None:
        """Return (objects, bytes) that a quota counts of a selection; unknown of one that an older version froze."""
        found = rows.measure(tx, jti)
        return None if found is None else found[:2]

    def left(self, tx: Tx, jti: str) -> int:
        """Return of how many objects of a command's selection the outcome is still open."""
        found = rows.measure(tx, jti)
        if found is not None:
            return found[2]
        ids = rows.frozen(tx, jti)
        return len(ids) - len(rows.decided(tx, jti, ids))

    def undecided(self, tx: Tx, jti: str, ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of some ids that have no outcome yet, in their order."""
        ids = tuple(ids)
        decided = rows.decided(tx, jti, ids)
        return tuple(object_id for object_id in ids if object_id not in decided)

    def decide(self, tx: Tx, jti: str, outcomes: tuple[Outcome, ...], *, selected: bool = True) -> None:
        """Write what became of objects of a command's selection, or of others that it meant as well.

        Nothing where the command is not known any more: its device left its owner while that was done.
        """
        if rows.command(tx, jti) is None:
            return
        new = rows.decide(tx, jti, outcomes)
        if selected:
            rows.close(tx, jti, new)

    def outcomes(self, tx: Tx, jti: str, *, after: str = "", limit: int = OUTCOMES_PAGE) -> tuple[Outcome, ...]:
        """Return one page of what is decided, sorted by object id."""
        return rows.outcomes(tx, jti, after=after, limit=limit)

    def outcomes_hash(self, tx: Tx, jti: str) -> str:
        """Return SHA-256 in hex over ``id``, a space, ``result`` and a line feed of every outcome, sorted by id."""
        digest = hashlib.sha256()
        after = ""
        while True:
            lines, after = rows.outcome_lines(tx, jti, after=after, limit=OUTCOMES_HASHED)
            if not lines:
                return digest.hexdigest()
            digest.update(lines.encode("ascii"))

    def tally(self, tx: Tx, jti: str) -> dict[str, int]:
        """Return how many objects of a command's selection have which result."""
        return rows.tally(tx, jti)

    # --- quotas

    def over_quota(self, tx: Tx, key: Key, *, objects: int, size_bytes: int, moment: Moment) -> bool:
        """Tell whether that much more would pass the key's quota in its rolling window of agent time."""
        if key.quota is None:
            return False
        since_ms = moment.agent_ms - key.quota.window_s * _MS_PER_S
        spent_objects, spent_bytes = rows.spent(tx, key.kid, since_ms=since_ms)
        return spent_objects + objects > key.quota.objects or spent_bytes + size_bytes > key.quota.bytes

    def spend(self, tx: Tx, key: Key, *, objects: int, size_bytes: int, moment: Moment) -> None:
        """Count what a command of this key uses."""
        if key.quota is not None:
            rows.spend(tx, key.kid, at_ms=moment.agent_ms, objects=objects, size_bytes=size_bytes)


@lru_cache(maxsize=2)
def _read_back(raw: bytes, owner_raw: bytes) -> KeySet:
    if raw.startswith(b"{"):  # what ``Trust.end`` left of it
        return msgspec.json.decode(raw, type=KeySet)
    return read_keyset(raw, root_jwk=_descriptor(owner_raw).jwk)


def _descriptor(raw: bytes) -> Descriptor:
    return msgspec.json.decode(raw, type=Descriptor)  # written by ``install_owner``, checked before


@lru_cache(maxsize=128)
def _is_usable(recipient: str) -> bool:
    try:
        age.require_usable(recipient)
    except ConfigError:
        return False
    return True
