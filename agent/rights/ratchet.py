"""A policy may be tightened by whoever may propose one, and loosened by the owner alone.

A file on disk, or a command, proposes a whole document. Both are judged here, against the document in force:

1. it is read; what cannot be read, contradicts itself or names nobody known is refused with its line: nothing changed
2. it is compared (``agent/policy/order.py``): where nothing loosens it is put in force, and the owner gets a notice
3. where something loosens it waits: nothing of it is obeyed until the owner approves its hash; an owner's own command
   is such an approval
4. document, audit entry, notice, receipt, what waited and the yeses that lapse (``consent.py``) are one transaction: if
   power fails before it is durable the old document is in force, after it the new one
5. behind the commit what runs follows (``adopt``); if power fails here, the next start reads the new one

Every decision is made under one whole document: there is no half of one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, cast

import msgspec

from agent.document import line_of
from agent.envelope import Command, Key, ProposePolicy, parse_signed_policy
from agent.envelope.policy import SignedPolicy
from agent.errors import ConfigError, RefusedError
from agent.index import Tx
from agent.index import policy as rows
from agent.model import Moment, Outcome, new_id
from agent.policy import Change, Policy, compare, loosens
from agent.rights import consent
from agent.rights.force import InForce, Waiting, hash_of, in_force, keep, put_in_force

NAMED_MAX: Final = 3
"""Lines that a sentence names; all of them are shown by ``privacy-agent policy diff``."""

Read = Callable[[bytes], Policy]


class Say(Protocol):
    """Raises an alert in the caller's transaction."""

    def __call__(self, tx: Tx, code: str, what: str, moment: Moment, *, about: str = "") -> object:
        """Raise it; ``about`` is the id of what it tells of."""
        ...


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: obeyed, known already, or waiting for an approve; and what it changes."""

    state: str
    changes: tuple[Change, ...] = ()
    waiting: Waiting | None = None


class Ratchet:
    """Judges proposals inside the caller's transaction; holds no state, all of it is rows.

    ``read`` reads a document or raises ``ConfigError``; ``say`` raises an alert and ``hush`` ends one; ``adopt`` is
    called behind the commit, on the index's thread; ``keys`` tells the kids in the key set.
    """

    def __init__(
        self,
        *,
        read: Read,
        say: Say,
        hush: Callable[[Tx, str, Moment], object],
        adopt: Callable[[Policy, bytes], None],
        keys: Callable[[Tx], tuple[str, ...]],
        waits: Callable[[Tx, str], bool],
    ) -> None:
        self._read = lru_cache(maxsize=4)(read)  # a document that waits is judged at every look
        self._say = say
        self._hush = hush
        self._adopt = adopt
        self._keys = keys
        self._waits = waits

    # --- a file

    def propose_file(self, tx: Tx, document: bytes, *, moment: Moment) -> Proposed:
        """Judge the policy file as it is now; raises ``ConfigError`` for one that cannot be read."""
        sha256 = hash_of(document)
        now = in_force(tx)
        seen, waiting, _ = rows.read_file(tx)
        policy = self._read(document)  # step 1
        if now is None or not now.bound:
            return self._take_first(tx, document, policy, now=now, seen=seen, moment=moment)
        if sha256 == now.sha256:
            self._forget_file(tx, sha256, moment=moment)
            return Proposed(state="obeyed")
        if sha256 == seen:
            found = Waiting(waiting, document) if waiting else None
            return Proposed(state="waiting" if waiting else "known", waiting=found)
        changes = compare(self._read(now.document), policy)
        if loosens(changes):  # step 3
            found = Waiting(new_id(), document)
            rows.write_file(tx, sha256, waiting=found.id, document=document)
            self._tell_waiting(tx, found.id, document, changes, moment=moment)
            return Proposed(state="waiting", changes=changes, waiting=found)
        new = InForce(document=document, sha256=sha256, since_ms=moment.agent_ms, bound=True)
        self._put(tx, new, policy, moment=moment)  # step 2
        self._notice(tx, document, changes, moment=moment)
        self._forget_file(tx, sha256, moment=moment)
        return Proposed(state="obeyed", changes=changes)

    def _take_first(
        self, tx: Tx, document: bytes, policy: Policy, *, now: InForce | None, seen: str, moment: Moment
    ) -> Proposed:
        """Take the file as it is: no agent ran under one yet, so nothing was taken in that another could loosen."""
        new = InForce(document=document, sha256=hash_of(document), since_ms=moment.agent_ms)
        if now is None and seen == new.sha256:  # an older version obeyed it, and its log says so
            keep(tx, new)
            tx.then(lambda: self._adopt(policy, document))
        elif now is None or now.sha256 != new.sha256:
            self._put(tx, new, policy, moment=moment)
        rows.write_file(tx, new.sha256)
        return Proposed(state="obeyed")

    def approve(self, tx: Tx, waiting: str, sha256: str, key: Key, moment: Moment) -> bool:
        """Put the file that waits in force; true only for its id and hash, named by an owner's client."""
        _, mine, document = rows.read_file(tx)
        if key.role != "client" or not mine or (mine, hash_of(document)) != (waiting, sha256):
            return False
        new = InForce(document=document, sha256=sha256, since_ms=moment.agent_ms, bound=True)
        self._put(tx, new, self._read(document), approved_by=key.kid, moment=moment)
        self._forget_file(tx, sha256, moment=moment)
        return True

    def _forget_file(self, tx: Tx, sha256: str, *, moment: Moment) -> None:
        rows.write_file(tx, sha256)
        self.settle_alert(tx, moment)

    # --- a command

    def waits_for(self, tx: Tx, key: Key, command: Command) -> str:
        """Return why a command's document waits, or ""; raises ``RefusedError`` with the line that is wrong."""
        signed = self._signed(tx, key, command)
        policy = self._readable(signed)
        now = in_force(tx)
        if key.role == "client" or now is None:
            return ""
        return "policy_loosens" if loosens(compare(self._read(now.document), policy)) else ""

    def act(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        """Put a command's document in force; who called this has judged that it may, or has the owner's approve."""
        signed = self._signed(tx, key, command)
        policy = self._readable(signed)
        now = in_force(tx)
        changes = () if now is None else compare(self._read(now.document), policy)
        new = InForce(
            document=signed.raw,
            sha256=hash_of(signed.raw),
            signed=cast("ProposePolicy", command.request).policy.encode("ascii"),
            by=key.kid,
            revision=signed.revision,
            since_ms=moment.agent_ms,
            bound=True,
            owners=key.role == "client" or bool(loosens(changes)),
        )
        rows.note_revision(tx, key.kid, signed.revision, keys=self._keys(tx))
        self._put(tx, new, policy, command=command.jti, moment=moment)
        if key.role != "client" and not loosens(changes):  # else its owner has just approved it
            self._notice(tx, signed.raw, changes, moment=moment)
        return ()

    def tell_waiting(self, tx: Tx, key: Key, command: Command, moment: Moment) -> None:
        """Tell the owner that a command's document waits."""
        signed = self._signed(tx, key, command)
        now = in_force(tx)
        changes = () if now is None else compare(self._read(now.document), self._readable(signed))
        self._tell_waiting(tx, command.jti, signed.raw, changes, moment=moment)

    def settle_alert(self, tx: Tx, moment: Moment) -> None:
        """End the alert that a document waits, when none does any more."""
        if not rows.read_file(tx)[1] and not self._waits(tx, "policy_loosens"):
            self._hush(tx, "policy_waiting", moment)

    def _signed(self, tx: Tx, key: Key, command: Command) -> SignedPolicy:
        request = cast("ProposePolicy", command.request)
        signed = parse_signed_policy(request.policy, kid=key.kid, jwk=key.jwk, alg=key.alg)
        known = rows.revision_of(tx, key.kid)
        if signed.revision <= known:
            raise RefusedError(
                f"revision {signed.revision} is not above {known}, which this key had put in force",
                reason="stale_revision",
                retry="after_fix",
                hint=f"sign revision {known + 1}",
            )
        return signed

    def _readable(self, signed: SignedPolicy) -> Policy:
        try:
            return self._read(signed.raw)
        except ConfigError as error:
            raise RefusedError(error.message, reason="bad_policy", retry="after_fix", hint=error.hint) from error

    # --- both

    def _put(
        self, tx: Tx, new: InForce, policy: Policy, *, moment: Moment, approved_by: str = "", command: str = ""
    ) -> None:
        put_in_force(tx, new, version=policy.version, approved_by=approved_by, command=command, moment=moment)
        consent.lapse(tx, policy=policy, actor=approved_by or new.by, command=command, moment=moment)
        tx.then(lambda: self._adopt(policy, new.document))  # step 5

    def _notice(self, tx: Tx, document: bytes, changes: tuple[Change, ...], *, moment: Moment) -> None:
        if changes:
            self._say(
                tx,
                "policy_tightened",
                f"{_count(changes)} of the policy allow less: {_lines(document, changes)}.",
                moment,
                about=hash_of(document),
            )

    def _tell_waiting(
        self, tx: Tx, waiting: str, document: bytes, changes: tuple[Change, ...], *, moment: Moment
    ) -> None:
        looser = loosens(changes)
        what = (
            f"A policy waits of which {_count(looser)} allow more: {_lines(document, looser)}. "
            f"If you agree: privacy-owner approve {waiting} {hash_of(document)}"
        )
        self._say(tx, "policy_waiting", what, moment, about=waiting)


def lines_of(document: bytes, changes: tuple[Change, ...]) -> tuple[int, ...]:
    """Return the line of the document at which each change stands."""
    text = document.decode("utf-8")
    return tuple(line_of(text, change.at) for change in changes)


def _count(changes: tuple[Change, ...]) -> str:
    return "1 line" if len(changes) == 1 else f"{len(changes)} lines"


def _lines(document: bytes, changes: tuple[Change, ...]) -> str:
    """Name the first of some changes with their lines; keys and values stay out: they could be anybody's words."""
    numbers = lines_of(document, changes)
    named = [f"{'.'.join(change.path)} (line {line})" for change, line in zip(changes, numbers, strict=True)]
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    return ", ".join(named[:NAMED_MAX]) + more
