"""A policy may be tightened by whoever may propose one, and loosened by the owner alone.

A file on disk, or a command, proposes a whole document. Both are judged here, against the document in force:

1. it is read; what cannot be read, contradicts itself or names nobody known is refused with its line: nothing changed
2. it is compared (``agent/policy/order.py``): where nothing loosens it is put in force, and the owner gets a notice
   that names what is beyond the new limits and stays, because it is held or restricted; so does the receipt
3. where something loosens it waits: nothing of it is obeyed until the owner approves its hash; an owner's own command
   is such an approval. An approve is of what it was compared with too: once another document is in force, what waits
   is told anew and a file gets another id, an approve that was signed before is too late (``superseded``), and where
   several are needed those that were given count no more
4. document, audit entry, notice, receipt, what waited, the yeses that lapse (``consent.py``) and the keys that were the
   owner's are one transaction: if power fails before it is durable the old document is in force, after it the new one
5. behind the commit what runs follows (``adopt``); if power fails here, the next start reads the new one

Every decision is made under one whole document: there is no half of one. Of the owner's clients the word that was
signed last counts, in whichever order they come: an older document of another client changes nothing any more.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal, Protocol, cast

import msgspec

from agent.clock import MS_PER_S
from agent.document import Lines
from agent.envelope import Approve, Command, Key, ProposePolicy, parse_signed_policy
from agent.envelope.policy import SignedPolicy
from agent.errors import ConfigError, RefusedError
from agent.index import Tx
from agent.index import policy as rows
from agent.model import Moment, Outcome, new_id
from agent.policy import Change, Policy, compare, loosens
from agent.rights import approval, consent
from agent.rights.force import InForce, Waiting, give_up, hash_of, in_force, keep, put_in_force, waiting_file

NAMED_MAX: Final = 3
"""Lines that a notice names, and objects; ``privacy-agent policy diff`` and ``policy check --dry-run`` show all."""

SHOWN_MAX: Final = 12
"""Lines that a question shows with their values: the owner may be far from the device; ``policy show`` has all."""

ASKED_MAX: Final = 3
"""Documents that one alert asks about."""

_VALUE_MAX: Final = 80

Read = Callable[[bytes], Policy]

Stays = Callable[[Tx, Policy, bytes, Moment], tuple[Outcome, ...]]
"""What is beyond the limits of a policy, and kept all the same, because it is held or restricted."""


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

    ``read`` reads a document that was taken or raises ``ConfigError``; a new one is read by ``read_sent`` where a
    command brought it, and by ``read_file`` where it is the policy file, which that error then names: whoever sent one
    is told its line, and no path of the device. ``say`` raises an alert and ``hush`` ends one; ``adopt`` is called
    behind the commit, on the index's thread; ``keys`` tells the kids in the key set, ``waiting`` the documents of
    commands that wait for the owner's approve, ``stays`` what a tightening cannot end.
    """

    def __init__(
        self,
        *,
        read: Read,
        read_sent: Read,
        read_file: Read,
        say: Say,
        hush: Callable[[Tx, str, Moment], object],
        adopt: Callable[[Policy, bytes], None],
        keys: Callable[[Tx], tuple[str, ...]],
        waiting: Callable[[Tx], tuple[Waiting, ...]],
        stays: Stays,
    ) -> None:
        self._read = lru_cache(maxsize=4)(read)  # a document that waits is judged at every look
        self._read_sent = lru_cache(maxsize=4)(read_sent)  # judged, and then put in force
        self._read_file = read_file
        self._say = say
        self._hush = hush
        self._adopt = adopt
        self._keys = keys
        self._waiting = waiting
        self._stays = stays

    # --- a file

    def propose_file(self, tx: Tx, document: bytes, *, moment: Moment) -> Proposed:
        """Judge the policy file as it is now; raises ``ConfigError`` for one that cannot be read."""
        sha256 = hash_of(document)
        now = in_force(tx)
        seen, waiting, _ = rows.read_file(tx)
        is_taken = now is not None and sha256 == now.sha256
        policy = (self._read if is_taken else self._read_file)(document)  # step 1
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
            found = self._wait(tx, document)
            self._ask(tx, moment=moment)
            return Proposed(state="waiting", changes=changes, waiting=found)
        self._forget_file(tx, sha256, moment=moment)
        new = InForce(document=document, sha256=sha256, since_ms=moment.agent_ms, bound=True)
        self._put(tx, new, policy, moment=moment)  # step 2
        stays = self._kept(tx, changes, policy, document, moment)
        self._notice(tx, document, changes, stays, moment=moment)
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

    def asks(self, tx: Tx, waiting: str, sha256: str) -> bool:
        """Tell whether the file that waits is this one."""
        _, mine, document = rows.read_file(tx)
        return bool(mine) and (mine, hash_of(document)) == (waiting, sha256)

    def approve(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...] | None:
        """Put the file that waits in force; ``None`` but for its id and hash, named by an owner's client.

        Returns what it cannot end. Raises ``RefusedError`` (``superseded``) for an approve that was signed before
        something newer was said.
        """
        request = cast("Approve", command.request)
        if key.role != "client" or not self.asks(tx, request.command, request.selection):
            return None
        _require_newer(tx, key, command)  # its id is of what it was compared with: no other word can bear it
        _note_word(tx, key, command)
        now = in_force(tx)
        _, _, document = rows.read_file(tx)
        self._forget_file(tx, request.selection, moment=moment)
        new = InForce(document=document, sha256=request.selection, since_ms=moment.agent_ms, bound=True)
        policy = self._read(document)
        changes = () if now is None else compare(self._read(now.document), policy)
        self._put(tx, new, policy, approved_by=key.kid, moment=moment)
        return self._kept(tx, changes, policy, document, moment)

    def _wait(self, tx: Tx, document: bytes) -> Waiting:
        """Have the file wait, under an id of its own: no word for what waited before is one for it."""
        _, before, _ = rows.read_file(tx)
        found = Waiting(new_id(), document)
        rows.write_file(tx, found.sha256, waiting=found.id, document=document)
        approval.forget(tx, before)
        return found

    def _forget_file(self, tx: Tx, sha256: str, *, moment: Moment) -> None:
        _, before, _ = rows.read_file(tx)
        rows.write_file(tx, sha256)
        approval.forget(tx, before)
        self.settle_alert(tx, moment)

    # --- a command

    def waits_for(self, tx: Tx, key: Key, command: Command) -> str:
        """Return why a command's document waits, or ""; raises ``RefusedError`` with the line that is wrong."""
        signed = self._signed(tx, key, command)
        policy = self._readable(signed)
        now = in_force(tx)
        if key.role == "client":
            _require_newer(tx, key, command)
            return ""
        if now is None:
            return ""
        return "policy_loosens" if loosens(compare(self._read(now.document), policy)) else ""

    def act(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        """Put a command's document in force; who called this has judged that it may, or has the owner's approve.

        Returns what it cannot end.
        """
        signed = self._signed(tx, key, command)
        policy = self._readable(signed)
        now = in_force(tx)
        changes = () if now is None else compare(self._read(now.document), policy)
        if key.role == "client":
            _require_newer(tx, key, command)
            _note_word(tx, key, command)
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
        stays = self._kept(tx, changes, policy, signed.raw, moment)
        if key.role != "client" and not loosens(changes):  # else its owner has just approved it
            self._notice(tx, signed.raw, changes, stays, moment=moment)
        return stays

    def approve_policy(self, tx: Tx, key: Key, command: Command) -> None:
        """Take a client's ``approve`` of a document as its word on the policy; raises what ``judge_word`` does."""
        self.judge_word(tx, key, command)
        _note_word(tx, key, command)

    def judge_word(self, tx: Tx, key: Key, command: Command) -> None:
        """Judge a client's ``approve`` of a document, which may be one of several that it needs.

        Raises ``RefusedError`` (``superseded``) where it was signed before the document in force came, or in the same
        second, so that it may not have been compared with that; and before what another client said since.
        """
        _require_newer(tx, key, command)
        now = in_force(tx)
        if now is not None and command.iat <= now.since_ms // MS_PER_S:
            raise _too_late()

    def tell_waiting(self, tx: Tx, key: Key, command: Command, moment: Moment) -> None:
        """Tell the owner that a command's document waits, in the transaction from which on it does."""
        self._ask(tx, also=Waiting(command.jti, self._signed(tx, key, command).raw), moment=moment)

    def settle_alert(self, tx: Tx, moment: Moment) -> None:
        """End the alert that a document waits, when none does any more."""
        if not self._all_waiting(tx):
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
            return self._read_sent(signed.raw)
        except ConfigError as error:
            raise RefusedError(error.message, reason="bad_policy", retry="after_fix", hint=error.hint) from error

    # --- both

    def _put(
        self, tx: Tx, new: InForce, policy: Policy, *, moment: Moment, approved_by: str = "", command: str = ""
    ) -> None:
        before = in_force(tx)
        if before is not None and before.bound:  # under one that is not, nothing was sealed
            mine = policy.owner_recipients()
            give_up(tx, (one for one in self._read(before.document).owner_recipients() if one not in mine))
        put_in_force(tx, new, version=policy.version, approved_by=approved_by, command=command, moment=moment)
        consent.lapse(tx, policy=policy, actor=approved_by or new.by, command=command, moment=moment)
        tx.then(lambda: self._adopt(policy, new.document))  # step 5
        _, waiting, document = rows.read_file(tx)
        if waiting:
            self._wait(tx, document)
        others = [one for one in self._all_waiting(tx) if one.id != command]  # its own row is settled after this
        for one in others:
            approval.forget(tx, one.id)  # words for what was compared with another document
        if others:
            self._ask(tx, without=command, moment=moment)

    def _kept(
        self, tx: Tx, changes: tuple[Change, ...], policy: Policy, document: bytes, moment: Moment
    ) -> tuple[Outcome, ...]:
        """Return what stays beyond the limits of a document that came into force; of one that ends no more nothing."""
        tightens = any(change.kind == "tighter" for change in changes)
        return self._stays(tx, policy, document, moment) if tightens else ()

    def _notice(
        self, tx: Tx, document: bytes, changes: tuple[Change, ...], stays: tuple[Outcome, ...], *, moment: Moment
    ) -> None:
        if changes:
            self._say(
                tx,
                "policy_tightened",
                f"{_count(changes, doing='less', of=' of the policy')}: {_lines(document, changes)}.{_exempt(stays)}",
                moment,
                about=hash_of(document),
            )

    def _all_waiting(self, tx: Tx) -> tuple[Waiting, ...]:
        file = waiting_file(tx)
        return (*(() if file is None else (file,)), *self._waiting(tx))

    def _ask(self, tx: Tx, *, also: Waiting | None = None, without: str = "", moment: Moment) -> None:
        """Ask the owner about every document that waits, compared with the one in force as it is now."""
        standing = [one for one in self._all_waiting(tx) if one.id != without and (also is None or one.id != also.id)]
        asked = standing if also is None else [also, *standing]
        told = [self._question(tx, one) for one in asked[:ASKED_MAX]]
        if len(asked) > ASKED_MAX:
            told.append(f"{len(asked) - ASKED_MAX} more wait: privacy-agent policy show --waiting")
        self._say(tx, "policy_waiting", ". ".join(told), moment)

    def _question(self, tx: Tx, one: Waiting) -> str:
        now = in_force(tx)
        looser = () if now is None else loosens(compare(self._read(now.document), self._read(one.document)))
        what = (
            f"of which {_count(looser, doing='more')}: {_shown(one.document, looser)}"
            if looser
            else "that allows no more"
        )
        return f"A policy waits {what}. If you agree: privacy-owner approve {one.id} {one.sha256}"


def lines_of(document: bytes, changes: tuple[Change, ...]) -> tuple[int, ...]:
    """Return the line of the document at which each change stands."""
    lines = Lines(document.decode("utf-8"))
    return tuple(lines.of(change.at) for change in changes)


def _count(changes: tuple[Change, ...], *, doing: Literal["less", "more"], of: str = "") -> str:
    return f"1 line{of} allows {doing}" if len(changes) == 1 else f"{len(changes)} lines{of} allow {doing}"


def _lines(document: bytes, changes: tuple[Change, ...]) -> str:
    """Name the first of some changes with their lines, without their values."""
    first = changes[:NAMED_MAX]
    named = [
        f"{'.'.join(change.path)} (line {line})" for change, line in zip(first, lines_of(document, first), strict=True)
    ]
    more = f" and {len(changes) - NAMED_MAX} more" if len(changes) > NAMED_MAX else ""
    return ", ".join(named) + more


def _exempt(stays: tuple[Outcome, ...]) -> str:
    """Say what is beyond the new limits and stays, the first by their ids; "" where nothing is."""
    if not stays:
        return ""
    named = ", ".join(f"{one.id} ({one.result})" for one in stays[:NAMED_MAX])
    more = f" and {len(stays) - NAMED_MAX} more" if len(stays) > NAMED_MAX else ""
    return f" Beyond its limits, and kept all the same: {named}{more}."


def _shown(document: bytes, changes: tuple[Change, ...]) -> str:
    """Show the first of some changes with their values, which are anybody's words: quoted, bounded, printable."""
    text = document.decode("utf-8").split("\n")
    first = changes[:SHOWN_MAX]
    shown = []
    for change, line in zip(first, lines_of(document, first), strict=True):
        what = f"{'.'.join(change.path)} {_quoted(change.before)} -> {_quoted(change.after)}, {_quoted(change.because)}"
        shown.append(f"{what} (line {line}: {_quoted(text[line - 1].strip())})")
    more = f" and {len(changes) - SHOWN_MAX} more" if len(changes) > SHOWN_MAX else ""
    return ", ".join(shown) + more


def _quoted(value: str) -> str:
    plain = "".join(letter if letter.isprintable() else "?" for letter in value).replace('"', "'")
    return f'"{plain if len(plain) <= _VALUE_MAX else plain[:_VALUE_MAX] + "…"}"'


def _require_newer(tx: Tx, key: Key, command: Command) -> None:
    """Raise ``RefusedError`` (``superseded``) for a client's word that was signed before the newest one.

    Of the same key the sequence number tells, of another one the second in which it was signed.
    """
    newest = rows.word(tx)
    if newest is None:
        return
    kid, seq, iat_s = newest
    if command.seq < seq if key.kid == kid else command.iat <= iat_s:
        raise _too_late()


def _note_word(tx: Tx, key: Key, command: Command) -> None:
    newest = rows.word(tx)
    iat_s = command.iat if newest is None else max(command.iat, newest[2])
    rows.set_word(tx, key.kid, seq=command.seq, iat_s=iat_s)


def _too_late() -> RefusedError:
    return RefusedError(
        "something newer was said of the policy",
        reason="superseded",
        retry="after_fix",
        hint="look at what is in force now, and give it again",
    )
