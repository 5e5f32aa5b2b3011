"""What was taken up, what it waits for, what became of it, and every receipt, inside the caller's transaction.

Rules: a command's row holds its newest receipt, and a repeat gets those bytes; the sequence number, the id, the frozen
selection and the first receipt are written together; an outcome is written in the transaction of its effect and the
terminal receipt in that of the last one (invariants I4, I6, I7). A refusal that trying again may lift leaves no
trace, so that the same bytes may succeed later; any other one after the sequence check is kept, so that they cannot.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from agent import audit, bookmark, bundle
from agent.audit import Event
from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import MAX_OUTCOMES, Command, Delete, EraseAll, Key, decode_strictly, encode, parse_command
from agent.errors import RefusedError, Retry
from agent.ids import Ids
from agent.index import Tx
from agent.keystore import Keystore
from agent.model import Moment, Outcome, RandomBytes, Requester, new_id
from agent.outbox import Outbox
from agent.policy import ANSWER_DAYS
from agent.rights import consent, deadline
from agent.rights.consent import Record
from agent.rights.record import document
from agent.tombstone import Late
from agent.trust import CommandRow, Trust

Status = Literal["accepted", "in_progress", "waiting", "done", "partial", "refused", "failed"]
TERMINAL: Final[frozenset[str]] = frozenset({"done", "partial", "refused", "failed"})
RUNNING: Final[tuple[str, ...]] = ("accepted", "in_progress")

RETRY: Final[dict[str, Retry]] = {
    "malformed": "after_fix",
    "unknown_verb": "after_fix",
    "wrong_audience": "never",
    "expired": "after_fix",
    "not_yet_valid": "later",
    "jti_reused": "after_fix",
    "seq_reused": "after_fix",
    "stale_seq": "after_fix",
    "verb_not_allowed": "never",
    "quota_exceeded": "later",
    "approvals_missing": "later",
    "clock_unconfirmed": "later",
    "after_pending": "later",
    "not_granted": "never",
    "too_large": "after_fix",
    "busy": "later",
    "too_many_requests": "later",
    "disk_full": "later",
    "nothing_waiting": "after_fix",
    "not_held": "after_fix",
    "unknown_purpose": "after_fix",
    "wrong_basis": "after_fix",
    "superseded": "after_fix",
    "bad_policy": "after_fix",
    "stale_revision": "after_fix",
    "policy_loosens": "later",
    "nothing_stands": "after_fix",
    "not_delivered": "after_fix",
}
"""The closed list of §5; ``bad_signature`` is never answered."""

RECEIPT_CLAIMS_BYTES: Final = 64 * 1024
"""Claims become four thirds in base64 and must stay under the 96 KiB of a JWS."""

SAID_BYTES: Final = 24 * 1024
"""Of the records of consent in the receipt of the command that made them; ``consents`` lists all."""

LAST_PHASE: Final = 2
"""Of leaving an owner: its receipt is the last word."""

_SUCCESS: Final = frozenset(
    {"deleted", "already_gone", "exported", "listed", "rectified", "continues", "resealed", "kept"}
)
_WANTED: Final[dict[str, frozenset[str]]] = {
    "restrict": frozenset({"restricted"}),
    "hold": frozenset({"held"}),
    "policy": frozenset({"restricted", "held"}),
    "approve": frozenset({"restricted", "held"}),
}
"""What keeps an object from every other verb is what the first two ask for; a policy ends nothing of it."""

_FROZEN_VERBS: Final = frozenset({"delete", "export", "erase-all", "consent", "withdraw", "object"})
_SAID_VERBS: Final = frozenset({"consent", "withdraw", "object"})
"""Verbs whose receipt has the records of what was said."""
_NAMED_VERBS: Final = _FROZEN_VERBS | {"policy"}
"""What an approve may name: frozen objects, or a document."""

DETAIL_MAX: Final = 500
"""Characters of what a receipt says of a policy's line."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command's own work adds to its receipt."""

    outcomes: tuple[dict[str, Any], ...] | None = None
    cursor: str = ""
    export: dict[str, Any] | None = None
    progress: tuple[int, int] | None = None
    requests: tuple[dict[str, Any], ...] | None = None
    farewell: dict[str, Any] | None = None
    records: tuple[dict[str, Any], ...] | None = None
    detail: str = ""
    covers: dict[str, int] | None = None


def _whole(answer: Answer) -> dict[str, Any] | None:
    """Return the claims of an answer that has nothing to say of objects; ``None`` for the others."""
    if answer.progress is not None:
        return {"progress": {"done": answer.progress[0], "total": answer.progress[1]}}
    if answer.requests is not None:
        return {"requests": list(answer.requests)}
    if answer.records is not None:
        return {"records": list(answer.records)} | ({"cursor": answer.cursor} if answer.cursor else {})
    return None


def command_of(row: CommandRow) -> Command:
    """Return the request of a command that is not settled, as its key signed it."""
    return parse_command(decode_strictly(row.claims, max_bytes=len(row.claims)))


def _deletes_all(row: CommandRow) -> bool:
    request = command_of(row).request if row.claims else None
    return isinstance(request, EraseAll) or (isinstance(request, Delete) and request.select.all is True)


class Ledger:
    """The commands of all keys; holds no state, all of it is rows.

    ``forget`` lets go of what remains besides objects where a delete of everything was carried out.
    """

    def __init__(
        self,
        *,
        device: str,
        keystore: Keystore,
        trust: Trust,
        outbox: Outbox,
        random: RandomBytes,
        forget: Callable[[Tx], object] = lambda _tx: None,
        answer_days: Callable[[], int] = lambda: ANSWER_DAYS,
    ) -> None:
        self._device = device
        self._keystore = keystore
        self._trust = trust
        self._outbox = outbox
        self._random = random
        self._forget = forget
        self._answer_days = answer_days

    # --- before a command is taken up

    def refuse(
        self, tx: Tx, key: Key, *, digest: str, jti: str, verb: str, seq: int, error: RefusedError, moment: Moment
    ) -> bytes:
        """Answer a command that is not taken up; its repeats replace the answer, so they fill nothing."""
        claims = self._claims(tx, aud=key.kid, cmd=jti, verb=verb, seq=seq, status="refused", moment=moment)
        claims |= {"reason": error.reason, "retry": RETRY[error.reason]}
        if error.reason == "stale_seq" and (next_seq := self._trust.next_seq(tx, key.kid)):
            claims["next_seq"] = next_seq
        body = self._outbox.sealed("receipt", claims, to=key)
        if body:
            about = f"refused/{digest}"
            self._outbox.put_receipt(tx, to=key.kid, about=about, jti=claims["jti"], body=body, light=True)
        return body

    def take_up(
        self,
        tx: Tx,
        key: Key,
        command: Command,
        *,
        digest: str,
        claims: bytes,
        selection: Ids,
        weight: tuple[int, int],
        moment: Moment,
        document: str = "",
    ) -> CommandRow:
        """Use the sequence number and freeze the selection; the caller writes the first receipt in this transaction.

        That is ``accept``, ``wait`` or ``settle``; without one of them nothing of this may be committed. ``document``
        is the hash of a policy, which an approve names where others name a selection.
        """
        self._trust.use_seq(tx, key.kid, command.seq)
        if key.role == "client":
            days = self._answer_days()
            deadline.start(tx, command.jti, verb=command.verb, iat_s=command.iat, working_days=days, moment=moment)
        self._outbox.withdraw(tx, reader=key.kid, about=f"refused/{digest}")  # it came too early, or we were busy
        row = CommandRow(
            jti=command.jti,
            kid=key.kid,
            role=key.role,
            recipient=key.recipient,
            digest=digest,
            seq=command.seq,
            verb=command.verb,
            claims=claims,
            status="accepted",
            reason="",
            approved_by="",
            received_ms=moment.agent_ms,
            behind_ms=bookmark.no_earlier(tx, moment.agent_ms, moment=moment),
            wall_ms=moment.wall_ms,
            settled_ms=None,
            acknowledged=0,
            selection_count=len(selection),
            selection_hash=document or selection.selection_hash(),
            receipt_jti="",
            receipt=b"",
        )
        if command.verb in _FROZEN_VERBS:
            self._trust.keep(tx, row)
            self._trust.freeze(tx, row.jti, selection, objects=weight[0], size_bytes=weight[1])
        return row

    def requester(self, tx: Tx, row: CommandRow) -> Requester:
        """Return whom a command's decisions are made for; the owner's approve stands in for nothing but the quota."""
        key = self._trust.key(tx, row.kid)
        role = row.role if key is None else key.role
        return msgspec.convert({"role": role, "kid": row.kid, "verbs": (row.verb,)}, Requester)

    # --- while it is unfinished

    def wait(self, tx: Tx, row: CommandRow, *, reason: str, moment: Moment, answer: Answer | None = None) -> CommandRow:
        """Let a command wait for ``reason``."""
        self._note(tx, "command_waiting", row, detail={"reason": reason}, moment=moment)
        return self._write(tx, row, status="waiting", reason=reason, answer=answer, moment=moment)

    def accept(self, tx: Tx, row: CommandRow, *, moment: Moment, approved_by: str = "") -> CommandRow:
        """Let a command act from now on; ``approved_by`` is the owner's key that let it pass its quota."""
        detail: dict[str, str | int] = {"verb": row.verb, "count": row.selection_count}
        if approved_by:
            detail["approved_by"] = approved_by
        self._note(tx, "command_accepted", row, detail=detail, moment=moment)
        row = msgspec.structs.replace(row, approved_by=approved_by or row.approved_by)
        return self._write(tx, row, status="accepted", reason="", moment=moment)

    def progress(self, tx: Tx, jti: str, *, done: int, total: int, moment: Moment) -> None:
        """Tell how far a running command is; the caller asks at most once a second."""
        row = self._trust.command(tx, jti)
        if row is not None and row.status in RUNNING:
            answer = Answer(progress=(done, total))
            self._write(tx, row, status="in_progress", reason="", answer=answer, moment=moment)

    # --- its end

    def settle(
        self,
        tx: Tx,
        row: CommandRow,
        *,
        status: Status,
        reason: str = "",
        answer: Answer | None = None,
        moment: Moment,
    ) -> CommandRow:
        """Write a terminal receipt."""
        detail: dict[str, str | int] = {"verb": row.verb, "status": status}
        if reason:
            detail["reason"] = reason
        kind: Literal["command_refused", "command_done"] = "command_refused" if status == "refused" else "command_done"
        self._note(tx, kind, row, detail=detail, moment=moment)
        row = msgspec.structs.replace(row, claims=b"", settled_ms=moment.agent_ms)
        if answer is None or answer.farewell is None or answer.farewell["phase"] == LAST_PHASE:
            deadline.stop(tx, row.jti, status=status, moment=moment)
        row = self._write(tx, row, status=status, reason=reason, answer=answer, moment=moment)
        audit.checkpoint(tx, self._keystore, moment=moment)
        return row

    def settle_by_outcomes(
        self, tx: Tx, row: CommandRow, *, export: dict[str, Any] | None = None, moment: Moment
    ) -> CommandRow:
        """Settle a command whose every object is decided; ``waiting`` while a store's or a camera's word is missing."""
        if self._trust.left(tx, row.jti) or self._exports_left(tx, row):
            return row
        if _deletes_all(row):
            self._forget(tx)
        if row.verb == "erase-all":  # it ends when its device has parted from its owner (farewell.py)
            return row
        tally = self._trust.tally(tx, row.jti)
        waits = any(tally.get(result, 0) for result in ("waiting_for_cloud", "waiting_for_camera"))
        if waits and row.status == "waiting" and not row.reason and sum(tally.values()) > MAX_OUTCOMES:
            return row  # that was told; which of so many a store has confirmed meanwhile is not
        answer = self._answer(tx, row, export=export)
        if waits:
            return self._write(tx, row, status="waiting", reason="", answer=answer, moment=moment)
        wanted = _SUCCESS | _WANTED.get(row.verb, frozenset())
        good = sum(count for result, count in tally.items() if result in wanted)
        total = sum(tally.values())
        said = row.verb in _SAID_VERBS  # the word is in force, whatever keeps the objects
        status: Status = "done" if good == total else "partial" if good or said else "failed"
        return self.settle(tx, row, status=status, answer=answer, moment=moment)

    def settle_running(self, tx: Tx, jti: str, *, moment: Moment) -> None:
        """Settle a command whose last object was decided outside an erasure, unless that was done meanwhile."""
        row = self._trust.command(tx, jti)
        if row is not None and row.status in RUNNING:
            self.settle_by_outcomes(tx, row, moment=moment)

    def _exports_left(self, tx: Tx, row: CommandRow) -> bool:
        """Tell whether an owner's delete means exports that lie here still: they could not be removed yet."""
        request = command_of(row).request if row.status in RUNNING and row.claims else None
        if not isinstance(request, Delete) or self.requester(tx, row).role != "client":
            return False  # nor one that waits for a store alone: it did all that there was to do here
        return bool(bundle.meant(tx, request.select, asked_by_ms=row.received_ms))

    def on_finish(self, tx: Tx, command: str, outcomes: tuple[Outcome, ...], moment: Moment) -> None:
        """Take what an erasure reports, inside its step 7, and settle the command when nothing is open.

        Also called when a store confirms later. Outcomes of a command that is settled already become a supplementary
        receipt under a new ``jti``. Retention's erasures belong to no command.
        """
        row = self._trust.command(tx, command) if command else None
        if row is None:
            return
        if row.settled_ms is not None:
            if row.verb != "erase-all":  # one final receipt tells of all
                self._supplement(tx, row, outcomes, moment=moment)
            return
        self._trust.decide(tx, row.jti, outcomes)
        self.settle_by_outcomes(tx, row, moment=moment)

    def _supplement(self, tx: Tx, row: CommandRow, outcomes: tuple[Outcome, ...], *, moment: Moment) -> None:
        key = self._trust.key(tx, row.kid)
        outcomes = tuple(outcome for outcome in outcomes if outcome.result != "already_gone")
        if key is None or not outcomes:
            return
        claims = self._claims(tx, aud=row.kid, cmd=row.jti, verb=row.verb, seq=row.seq, status="done", moment=moment)
        if any(outcome.result not in _SUCCESS for outcome in outcomes):
            claims["status"] = "partial"
        claims["outcomes"] = [msgspec.to_builtins(outcome) for outcome in outcomes[:MAX_OUTCOMES]]
        self._put_beside(tx, key, claims)

    def tell_late(self, tx: Tx, late: Late, *, moment: Moment) -> None:
        """Tell a command's sender what turned up after its delete: a supplementary receipt under a new ``jti``."""
        key = self._trust.key(tx, late.by.kid)
        if key is None:
            return
        status: Status = "partial" if late.remaining else "done"
        claims = self._claims(
            tx, aud=key.kid, cmd=late.by.jti, verb="delete", seq=late.by.seq, status=status, moment=moment
        )
        claims["late"] = {"destroyed": late.destroyed, "remaining": late.remaining}
        self._put_beside(tx, key, claims)

    def _put_beside(self, tx: Tx, key: Key, claims: dict[str, Any]) -> None:
        """Queue a supplementary receipt: it takes the place of none."""
        body = self._outbox.sealed("receipt", claims, to=key)
        if body:
            about = f"{claims['cmd']}/{claims['jti']}"
            self._outbox.put_receipt(tx, to=key.kid, about=about, jti=claims["jti"], body=body)

    # --- receipts

    def outcomes(self, tx: Tx, row: CommandRow) -> tuple[dict[str, Any], ...] | None:
        """Return what became of each object of a command, as a receipt tells it; ``None`` of too many for one."""
        if sum(self._trust.tally(tx, row.jti).values()) > MAX_OUTCOMES:
            return None
        found = self._trust.outcomes(tx, row.jti, limit=MAX_OUTCOMES)
        return tuple(msgspec.to_builtins(outcome) for outcome in found)

    def _answer(self, tx: Tx, row: CommandRow, *, export: dict[str, Any] | None) -> Answer:
        return Answer(outcomes=self.outcomes(tx, row), export=export)

    def documents(self, tx: Tx, records: Iterable[Record], *, max_bytes: int) -> tuple[list[dict[str, Any]], str]:
        """Return records of consent as documents, the first that fit, and the id of the last one if there are more."""
        owner = self._trust.owner(tx)
        told: list[dict[str, Any]] = []
        size_bytes, last = 0, ""
        for record in records:
            written = document(record, device=self._device, owner="" if owner is None else owner.kid)
            size_bytes += len(encode(written)) + 1
            if told and size_bytes > max_bytes:
                return told, last
            told.append(written)
            last = record.id
        return told, ""

    def _write(
        self,
        tx: Tx,
        row: CommandRow,
        *,
        status: Status,
        reason: str,
        moment: Moment,
        answer: Answer | None = None,
    ) -> CommandRow:
        claims = self._claims(tx, aud=row.kid, cmd=row.jti, verb=row.verb, seq=row.seq, status=status, moment=moment)
        if reason:
            claims |= {"reason": reason, "retry": RETRY[reason]}
        if row.verb in _NAMED_VERBS or reason == "approvals_missing":  # what is approved is named
            claims["selection"] = {"count": row.selection_count, "hash": row.selection_hash}
        if row.verb in _SAID_VERBS and status in TERMINAL and status != "refused":
            claims["records"], _ = self.documents(tx, consent.of_command(tx, row.jti), max_bytes=SAID_BYTES)
        if (due_ms := deadline.due(tx, row.jti)) is not None:
            claims["due"] = rfc3339_ms(due_ms)
        if answer is not None and answer.detail:
            claims["detail"] = answer.detail[:DETAIL_MAX]
        elif answer is not None:
            self._add(tx, claims, row, answer, status=status)
        key = self._trust.key(tx, row.kid)
        body = self._outbox.sealed("receipt", claims, to=key) if key is not None else b""
        row = msgspec.structs.replace(row, status=status, reason=reason, receipt_jti=claims["jti"], receipt=body)
        self._trust.keep(tx, row)
        if body:  # a key that the owner took out of the set, or that nothing can be sealed to, is told nothing
            self._outbox.put_receipt(tx, to=row.kid, about=row.jti, jti=claims["jti"], body=body)
        return row

    def _add(self, tx: Tx, claims: dict[str, Any], row: CommandRow, answer: Answer, *, status: str) -> None:
        if (whole := _whole(answer)) is not None:
            claims |= whole
            return
        beside = {"export": answer.export, "covers": answer.covers, "farewell": answer.farewell}
        claims |= {name: told for name, told in beside.items() if told is not None}
        if answer.outcomes is None and (answer.farewell is not None or answer.covers is not None):
            return
        if answer.outcomes is not None:
            claims["outcomes"] = list(answer.outcomes)
            if answer.cursor:
                claims["cursor"] = answer.cursor
            if len(encode(claims)) <= RECEIPT_CLAIMS_BYTES:
                return
            del claims["outcomes"]
        claims["outcomes_hash"] = self._trust.outcomes_hash(tx, row.jti)
        claims["cursor"] = f"{row.jti}."
        if status in TERMINAL:
            done = row.selection_count or sum(self._trust.tally(tx, row.jti).values())
            claims["progress"] = {"done": done, "total": done}

    def _claims(
        self, tx: Tx, *, aud: str, cmd: str, verb: str, seq: int, status: Status, moment: Moment
    ) -> dict[str, Any]:
        head = audit.head(tx)
        return {
            "iss": self._device,
            "aud": aud,
            "iat": moment.agent_ms // MS_PER_S,
            "jti": new_id(self._random),
            "cmd": cmd,
            "verb": verb,
            "status": status,
            "seq": seq,
            "audit_head": {"seq": head.seq, "hash": head.hash},
            "protection": self._keystore.protection,
        }

    def _note(
        self,
        tx: Tx,
        kind: Literal["command_accepted", "command_refused", "command_waiting", "command_done"],
        row: CommandRow,
        *,
        detail: dict[str, str | int],
        moment: Moment,
    ) -> None:
        audit.append(tx, Event(kind=kind, rule=row.verb, actor=row.kid, command=row.jti, detail=detail), moment=moment)
