"""Step 4 of a command: may its key ask this, of what, and does it act now or wait; all inside one transaction.

What passed ``door`` is taken up here: rights, the frozen selection, recipients, quota, what it waits for. A command
that waits is judged again by the same code. What needs no work behind the transaction has its effect here too.
"""

import hashlib
from functools import partial
from typing import Final

import msgspec

from agent import audit, pace, tombstone
from agent.audit import Event
from agent.bundle import Bundle, require_recipients
from agent.clock import MS_PER_S
from agent.commands import door, farewell, misuse
from agent.commands.consent import takes
from agent.commands.door import Heard, Incoming, Repeat, Stranger, Turned
from agent.commands.exporting import OBJECTS_MAX
from agent.commands.ledger import RUNNING, Answer, Ledger, command_of
from agent.commands.listing import Listing
from agent.commands.world import OWNER_ERASE, World
from agent.envelope import (
    Approve,
    Command,
    ConsentRecords,
    Delete,
    EraseAll,
    Export,
    Hold,
    Inventory,
    Key,
    ProposePolicy,
    Requests,
    Restrict,
)
from agent.envelope.policy import read_unverified_policy
from agent.errors import ConfigError, CorruptError, RefusedError, SpaceError
from agent.ids import Ids
from agent.index import Tx
from agent.model import Moment, Outcome, Selection
from agent.outbox import Alert, Outbox
from agent.rights import approval
from agent.tombstone import Commanded
from agent.trust import UNCONFIRMED_MAX, UNFINISHED_MAX, CommandRow, Trust
from agent.vault import Vault

RIGHTS: Final = ("consent", "withdraw", "object", "rectify")
"""Verbs to say no and to correct: deletes that cannot go on keep none out; ``UNCONFIRMED_MAX`` of them are the end."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: its receipt, which command is to be carried out, or which kind of stranger it was."""

    receipt: bytes = b""
    jti: str = ""
    run: str = ""
    stranger: str = ""
    status: str = ""
    reason: str = ""

    @classmethod
    def of(cls, row: CommandRow, *, run: str = "") -> "Judged":
        """Tell what a row's receipt tells."""
        return cls(receipt=row.receipt, jti=row.jti, run=run, status=row.status, reason=row.reason)


class Admission:
    """Judges commands against rows; holds no state."""

    def __init__(
        self,
        *,
        device: str,
        vault: Vault,
        bundle: Bundle,
        trust: Trust,
        outbox: Outbox,
        ledger: Ledger,
        listing: Listing,
        world: World,
    ) -> None:
        self._device = device
        self._vault = vault
        self._bundle = bundle
        self._trust = trust
        self._outbox = outbox
        self._ledger = ledger
        self._listing = listing
        self._world = world

    def judge(self, tx: Tx, incoming: Incoming, *, moment: Moment) -> Judged:
        """Take a message up, refuse it, answer its repeat, or say that nobody we know sent it.

        Raises ``SpaceError`` where what is left of the disk is not for this message.
        """
        heard = door.hear(tx, incoming, trust=self._trust, device=self._device, moment=moment)
        if isinstance(heard, Stranger):
            return Judged(stranger=heard.why)
        self._require_room(heard)
        if isinstance(heard, Repeat):
            return self._answer_again(tx, heard.row, moment=moment)
        word = pace.take(tx, heard.key.kid, pace=self._world.paces[heard.key.role], moment=moment)
        if word == "drop":
            return Judged(stranger="flood")
        if word == "refuse":
            return self._turn_flood(tx, heard, moment=moment)
        if isinstance(heard, Turned):
            return self._turn(tx, heard, moment=moment)
        return self._judge_rights(tx, heard, moment=moment)

    def _answer_again(self, tx: Tx, row: CommandRow, *, moment: Moment) -> Judged:
        if row.receipt and pace.takes_again(tx, row.kid, moment=moment):
            self._outbox.put_receipt(tx, to=row.kid, about=row.jti, jti=row.receipt_jti, body=row.receipt)
        return Judged.of(row, run=row.jti if row.status in RUNNING else "")

    def _require_room(self, heard: Heard | Repeat | Turned) -> None:
        """Keep the ballast for the owner, its second half for what stops a use, the end of that for the owner's delete.

        Answers would eat it.
        """
        index = self._vault.index
        role = heard.row.role if isinstance(heard, Repeat) else heard.key.role
        if role != "client":
            spent = index.short_of_room
        elif _stops_a_use(heard):  # a full disk makes no upload of what was withdrawn lawful
            spent = index.room_is_for_deletes
        else:
            spent = index.nearly_out_of_room and not _makes_room(heard)
        if spent:
            raise SpaceError("the last room on the disk is for the owner's delete", hint="free space, or delete")

    def reconsider(self, tx: Tx, jti: str, *, moment: Moment) -> bool:
        """Judge a waiting command again; return whether anything came of it."""
        row = self._trust.command(tx, jti)
        if row is None or row.status != "waiting" or not row.reason:
            return False
        moved = self._judge_again(tx, row, moment=moment)
        if moved:
            self._end_waiting(tx, row, moment=moment)
            self._world.settled(tx, moment)
        return moved

    def cancel(self, tx: Tx, jti: str, *, moment: Moment) -> bool:
        """End a command for which something else was said meanwhile; return whether it was open."""
        row = self._trust.command(tx, jti)
        if row is None or row.settled_ms is not None:
            return False
        self._ledger.settle(tx, row, status="failed", reason="superseded", moment=moment)
        self._end_waiting(tx, row, moment=moment)
        self._world.settled(tx, moment)
        return True

    def _judge_again(self, tx: Tx, row: CommandRow, *, moment: Moment) -> bool:
        command = command_of(row)
        key = self._trust.valid_key(tx, row.kid, moment=moment)
        if key is None or command.verb not in key.verbs:
            self._ledger.settle(tx, row, status="refused", reason="verb_not_allowed", moment=moment)
            return True
        if moment.trusted and moment.agent_ms // MS_PER_S >= command.exp:
            self._ledger.settle(tx, row, status="refused", reason="expired", moment=moment)
            return True
        weight = self._trust.weight(tx, row.jti)
        try:
            _require_owned(tx, command)
            waits_for = self._waits_for(tx, key, command, weight, approved=bool(row.approved_by), moment=moment)
            if waits_for:
                if waits_for != row.reason:
                    self._await(tx, key, command, row, waits_for, moment=moment)
                return waits_for != row.reason
            acted = self._act_at_once(tx, key, command, moment=moment)
        except RefusedError as error:
            self._refuse(tx, row, error, moment=moment)
            return True
        self._start(tx, key, command, row, acted, moment=moment)
        return True

    # --- the decision

    def _judge_rights(self, tx: Tx, heard: Heard, *, moment: Moment) -> Judged:
        key, command = heard.key, heard.command
        if key.role == "client":  # in front of the answer, after which the owner's command ends
            self._outbox.tell_again(tx, key.kid)
        if self._trust.reads_nothing(tx, key):
            return self._turn_busy(tx, heard, "too much waits for this key's acknowledgement", moment=moment)
        try:
            door.judge_verb(heard, moment=moment)
            if key.role == "backend":  # new, in time, and its own to say: whoever sends old ones again was not heard
                self._world.heard()
            selection, weight = self._resolve(tx, key, command)
            waits_for = self._waits_for(tx, key, command, weight, approved=False, moment=moment)
            lasting = bool(waits_for) or isinstance(command.request, Delete | Export | EraseAll) or takes(command)
            if lasting and self._is_busy(tx, key, command):  # in front of the effect: what is refused has none
                return self._turn_busy(tx, heard, "too many commands of this key are not finished", moment=moment)
            acted = None if waits_for else self._act_at_once(tx, key, command, moment=moment)
        except RefusedError as error:
            row = self._take_up(tx, heard, Ids(), (0, 0), moment=moment)
            row = self._refuse(tx, row, error, moment=moment)
            self._tell_misuse(tx, key, command.verb, error.reason, moment=moment)
            return Judged.of(row)
        row = self._take_up(tx, heard, selection, weight, moment=moment)
        if waits_for:
            row = self._await(tx, key, command, row, waits_for, moment=moment)
            return Judged.of(row)
        return self._start(tx, key, command, row, acted, moment=moment)

    def _turn_busy(self, tx: Tx, heard: Heard, because: str, *, moment: Moment) -> Judged:
        return self._turn(tx, _turned(heard, RefusedError(because, reason="busy", retry="later")), moment=moment)

    def _turn_flood(self, tx: Tx, heard: Heard | Turned, *, moment: Moment) -> Judged:
        """Refuse a command of a key that speaks faster than its role may, and tell its owner of that key."""
        allowed = self._world.paces[heard.key.role]
        what = (
            f"The key {heard.key.kid} sent {allowed.burst} commands, and one more each {allowed.pause_ms} ms or faster."
        )
        self._world.alert(tx, "request_flood", what, moment, about=heard.key.kid)
        error = RefusedError("too many commands of this key", reason="too_many_requests", retry="later")
        return self._turn(tx, _turned(heard, error), moment=moment)

    def _is_busy(self, tx: Tx, key: Key, command: Command) -> bool:
        """Tell whether too much of a key is not finished; what says no or corrects has a bound of its own."""
        if command.verb in RIGHTS:
            return sum(self._trust.unfinished_of(tx, key.kid, RIGHTS)) >= UNCONFIRMED_MAX
        unfinished, unconfirmed = self._trust.unfinished_counts(tx, key.kid)
        if unfinished < UNFINISHED_MAX and unconfirmed < UNCONFIRMED_MAX:  # nearly always, and one look at an index
            return False
        own, own_unconfirmed = self._trust.unfinished_of(tx, key.kid, RIGHTS)
        return unfinished - own >= UNFINISHED_MAX or unconfirmed - own_unconfirmed >= UNCONFIRMED_MAX

    def _waits_for(
        self,
        tx: Tx,
        key: Key,
        command: Command,
        weight: tuple[int, int] | None,
        *,
        approved: bool,
        moment: Moment,
    ) -> str:
        if command.after:
            before = self._trust.command(tx, command.after)
            if before is None or before.settled_ms is None:
                return "after_pending"
        if key.role == "backend" and isinstance(command.request, Delete | ProposePolicy) and not moment.trusted:
            return "clock_unconfirmed"
        waits = None if approved else self._world.waits.get(type(command.request))
        own = "" if waits is None else waits(tx, key, command)  # in front: what is refused need not be signed for
        if not approved and self._lacks(tx, key, command, moment=moment):
            return "approvals_missing"
        if waits is not None:
            return own
        if approved or key.quota is None or not isinstance(command.request, Delete | Export | EraseAll):
            return ""
        # What an older version froze and did not weigh is the owner's to allow.
        over = weight is None or self._trust.over_quota(tx, key, objects=weight[0], size_bytes=weight[1], moment=moment)
        return "quota_exceeded" if over else ""

    def _lacks(self, tx: Tx, key: Key, command: Command, *, moment: Moment) -> int:
        """Return how many more of the owner's clients have to sign for a command."""
        return self._words_lacking(tx, command.jti, command.verb, sender=key, moment=moment)

    def _words_lacking(self, tx: Tx, waiting: str, verb: str, *, sender: Key | None, moment: Moment) -> int:
        keys = self._trust.key_set(tx)
        return approval.lacking(
            tx,
            None if keys is None else keys.approvals,
            command=waiting,
            verb=verb,
            sender=sender,
            key_of=lambda kid: self._trust.valid_key(tx, kid, moment=moment),
        )

    def _resolve(self, tx: Tx, key: Key, command: Command) -> tuple[Ids, tuple[int, int]]:
        """Return what the command names now, and what a quota counts of it.

        Raises ``not_granted``, ``malformed`` or ``too_large``.
        """
        if isinstance(command.request, Export):
            self._require_own_id(tx, command)
            self._require_recipients(key, command.request)
        _require_owned(tx, command)
        if takes(command) and self._world.purposes is not None:
            ids = self._vault.sealed_for(tx, self._world.purposes.meant(tx, command))
            return ids, (len(ids), 0)
        select = command.selection
        if select is None or isinstance(command.request, Inventory):  # a page is looked up, and nothing is frozen
            return Ids(), (0, 0)
        if not isinstance(command.request, Export):
            ids = self._meant(tx, key, select)
            if isinstance(command.request, Delete | EraseAll):
                ids = ids.joined(self._bundle.gone(tx, select))  # copies that it does not reach are to be named
        elif len(ids := self._vault.select(tx, select)) > OBJECTS_MAX:
            raise RefusedError("the export would be too large", reason="too_large", retry="after_fix")
        total = self._vault.weigh(tx, select, with_stores=isinstance(command.request, Delete | EraseAll))
        return ids, (total.objects, total.bytes)

    def _meant(self, tx: Tx, key: Key, select: Selection) -> Ids:
        """Return the objects that a selection means, and for an owner the exports too."""
        ids = self._vault.select(tx, select)
        return ids.joined(self._bundle.select(tx, select)) if key.role == "client" else ids

    def _require_own_id(self, tx: Tx, command: Command) -> None:
        """Refuse an export whose id means something already: a delete of the one would be one of the other."""
        if self._vault.knows(tx, command.jti) or command.jti in self._bundle.exports(tx):
            raise RefusedError("an export has an id of its own", reason="malformed", retry="after_fix")

    def _require_recipients(self, key: Key, request: Export) -> None:
        if request.to and key.role != "client":
            raise RefusedError("only an owner client names recipients", reason="not_granted")
        try:
            require_recipients(request.to or self._world.policy().owner_recipients())
        except ConfigError as error:
            raise RefusedError(error.message, reason="malformed", retry="after_fix") from error

    # --- what follows from it

    def _turn(self, tx: Tx, turned: Turned, *, moment: Moment) -> Judged:
        detail: dict[str, str | int] = {"reason": turned.error.reason}
        if self._outbox.waiting(tx, reader=turned.key.kid, about=f"refused/{turned.digest}") is None:
            event = Event(kind="command_refused", actor=turned.key.kid, command=turned.jti, detail=detail)
            audit.append(tx, event, moment=moment)
        self._tell_misuse(tx, turned.key, turned.verb, turned.error.reason, moment=moment)
        receipt = self._ledger.refuse(
            tx,
            turned.key,
            digest=turned.digest,
            jti=turned.jti,
            verb=turned.verb,
            seq=turned.seq,
            error=turned.error,
            moment=moment,
        )
        return Judged(receipt=receipt, status="refused", reason=turned.error.reason)

    def _tell_misuse(self, tx: Tx, key: Key, verb: str, reason: str, *, moment: Moment) -> None:
        if what := misuse.sentence(key, verb, reason):
            self._world.alert(tx, "key_misused", what, moment, about=f"{key.kid}.{reason}")

    def _take_up(self, tx: Tx, heard: Heard, selection: Ids, weight: tuple[int, int], *, moment: Moment) -> CommandRow:
        return self._ledger.take_up(
            tx,
            heard.key,
            heard.command,
            digest=heard.digest,
            claims=heard.claims,
            selection=selection,
            weight=weight,
            document=_document(heard.command),
            moment=moment,
        )

    def _refuse(self, tx: Tx, row: CommandRow, error: RefusedError, *, moment: Moment) -> CommandRow:
        """Settle a command as refused; of a policy the sender is told the line and what is wrong with it."""
        answer = Answer(detail=error.message) if error.reason == "bad_policy" else None
        return self._ledger.settle(tx, row, status="refused", reason=error.reason, answer=answer, moment=moment)

    def _start(
        self,
        tx: Tx,
        key: Key,
        command: Command,
        row: CommandRow,
        acted: tuple[Outcome, ...] | None,
        *,
        moment: Moment,
    ) -> Judged:
        """Begin an accepted command's effect; what had its effect already (``acted``) is settled here."""
        if isinstance(command.request, Inventory):
            row = self._listing.tell(tx, key, command.request, row, moment=moment)
            return Judged.of(row)
        if isinstance(command.request, ConsentRecords):
            row = self._listing.tell_records(tx, command.request, row, moment=moment)
            return Judged.of(row)
        if isinstance(command.request, Requests):
            return Judged.of(self._listing.tell_requests(tx, row, moment=moment))
        goes_on = takes(command) and (row.selection_count > 0 or row.status == "waiting")
        if acted is not None and not goes_on:
            self._trust.keep(tx, row)  # what its outcomes belong to
            self._trust.decide(tx, row.jti, acted, selected=False)
            done = partial(self._ledger.settle, status="done", answer=self._covered(tx, command))
            settle = self._ledger.settle_by_outcomes if acted else done
            row = settle(tx, row, moment=moment)
            run = command.request.command if isinstance(command.request, Approve) else ""
            return Judged.of(row, run=run)
        if acted is None:
            self._spend(tx, key, row, moment=moment)
            self._cut_off(tx, key, command, row, moment=moment)
        row = self._ledger.accept(tx, row, moment=moment)
        return Judged.of(row, run=row.jti)

    def _covered(self, tx: Tx, command: Command) -> Answer | None:
        """Tell how much of what stands from now on is here already."""
        if not isinstance(command.request, Restrict | Hold):
            return None
        total = self._vault.weigh(tx, command.request.select, with_stores=True)
        return Answer(covers={"objects": total.objects, "bytes": total.bytes})

    def _await(self, tx: Tx, key: Key, command: Command, row: CommandRow, reason: str, *, moment: Moment) -> CommandRow:
        tell = self._world.tell_waiting.get(type(command.request))
        if tell is not None and reason in {"policy_loosens", "approvals_missing"}:
            tell(tx, key, command, moment)
        if reason == "quota_exceeded":
            self._alert_quota(tx, row, count=row.selection_count, moment=moment)
        if reason == "approvals_missing":
            self._alert_approvals(tx, row, moment=moment)
        return self._ledger.wait(tx, row, reason=reason, moment=moment)

    def _alert_approvals(self, tx: Tx, row: CommandRow, *, moment: Moment) -> None:
        over = f" over {_objects(row.selection_count)}" if row.selection_count else ""
        alert = Alert(
            code="approval_waiting",
            what=f"A command to {row.verb}{over} waits for another of the owner's clients.",
            effect="It waits; nothing of it was done.",
            next=f"Approve just this, from another client: privacy-owner approve {row.jti} {row.selection_hash}; "
            "or let it expire.",
            about=row.jti,
        )
        readers = self._trust.keys_of(tx, "client", moment=moment)
        self._outbox.raise_alert(tx, alert, readers=readers, at_once=True, moment=moment)

    def _end_waiting(self, tx: Tx, row: CommandRow, *, moment: Moment) -> None:
        """End what a command's waiting brought with it: ``row`` is how it waited."""
        if row.reason == "quota_exceeded":
            self._end_quota_alert(tx, row, moment=moment)
        if row.reason == "approvals_missing":
            approval.forget(tx, row.jti)
            about = row.jti if self._trust.any_waits(tx, "approvals_missing") else None
            self._outbox.clear_alert(tx, "approval_waiting", about=about, moment=moment)

    def _alert_quota(self, tx: Tx, row: CommandRow, *, count: int, moment: Moment) -> None:
        alert = Alert(
            code="mass_delete_waiting",
            what=f"A command over {_objects(count)} is above the quota of its key.",
            effect="It waits; nothing was deleted or exported.",
            next=f"Approve just this: privacy-owner approve {row.jti} {row.selection_hash}; or let it expire.",
            about=row.jti,
        )
        readers = self._trust.keys_of(tx, "client", moment=moment)
        self._outbox.raise_alert(tx, alert, readers=readers, moment=moment)

    def _end_quota_alert(self, tx: Tx, row: CommandRow, *, moment: Moment) -> None:
        about = row.jti if self._trust.any_waits(tx, "quota_exceeded") else None
        self._outbox.clear_alert(tx, "mass_delete_waiting", about=about, moment=moment)

    def _act_at_once(self, tx: Tx, key: Key, command: Command, *, moment: Moment) -> tuple[Outcome, ...] | None:
        """Have the effect of a verb that needs no work behind the transaction, and return what became of objects.

        Returns ``None`` for every other verb; raises ``RefusedError``.
        """
        if isinstance(command.request, Approve):
            return self._approve(tx, key, command, command.request, moment=moment)
        act = self._world.acts.get(type(command.request))
        return None if act is None else act(tx, key, command, moment)

    def _approve(self, tx: Tx, key: Key, command: Command, request: Approve, *, moment: Moment) -> tuple[Outcome, ...]:
        """Give a client's word for what waits; of a policy that it puts in force return what that cannot end."""
        if verb := self._world.asked(tx, request.command, request.selection):
            return self._answer_device(tx, key, command, request, verb, moment=moment)
        row = self._trust.command(tx, request.command)
        if (
            row is None
            or row.status != "waiting"
            or row.reason not in {"quota_exceeded", "approvals_missing", "policy_loosens"}
            or row.selection_hash != request.selection
        ):
            raise RefusedError("nothing waits with this selection", reason="nothing_waiting", retry="after_fix")
        waiting_key = self._trust.valid_key(tx, row.kid, moment=moment)
        if waiting_key is None:
            raise RefusedError("its key is no longer trusted", reason="nothing_waiting", retry="after_fix")
        if row.reason == "approvals_missing":
            self._second(tx, key, command, waiting_key, row, moment=moment)
        elif row.reason == "policy_loosens":
            self._world.approve_policy(tx, key, command)
            self._act_approved(tx, waiting_key, row, by=key, moment=moment)
        elif key.kid == row.kid:
            raise RefusedError("its own quota is not for a key to lift", reason="nothing_waiting", retry="after_fix")
        else:
            self._judge_approved(tx, row, by=key, moment=moment)
        if row.verb != "policy":
            return ()
        return self._trust.outcomes(tx, row.jti, limit=sum(self._trust.tally(tx, row.jti).values()))

    def _answer_device(
        self, tx: Tx, key: Key, command: Command, request: Approve, verb: str, *, moment: Moment
    ) -> tuple[Outcome, ...]:
        """Take a client's word for what the device itself asks; it acts with as many as the key set asks for."""
        waiting = request.command
        lacking = self._words_lacking(tx, waiting, verb, sender=None, moment=moment)
        if lacking and approval.has_said(tx, waiting, key):
            raise RefusedError("this client has signed for it", reason="nothing_waiting", retry="after_fix")
        if lacking > 1:
            approval.say(tx, waiting, key, moment=moment)
            return ()
        stays: tuple[Outcome, ...] | None = ()
        if self._world.approve_pass(tx, waiting, request.selection, key):
            self._outbox.clear_alert(tx, "retention_waiting", moment=moment)
        else:
            stays = self._world.approve_file(tx, key, command, moment)
        if stays is None:
            raise RefusedError("nothing waits with this selection", reason="nothing_waiting", retry="after_fix")
        if lacking:
            approval.say(tx, waiting, key, moment=moment)
        approval.forget(tx, waiting)
        return stays

    def _second(self, tx: Tx, key: Key, command: Command, sender: Key, row: CommandRow, *, moment: Moment) -> None:
        """Take one more client's word for a command; with the last that it needs it acts."""
        is_policy = isinstance(command_of(row).request, ProposePolicy)
        if is_policy:
            self._world.judge_word(tx, key, command)
        if key.kid == sender.kid or not approval.say(tx, row.jti, key, moment=moment):
            raise RefusedError("this client has signed for it", reason="nothing_waiting", retry="after_fix")
        if self._lacks(tx, sender, command_of(row), moment=moment):
            return
        if is_policy and sender.role != "client":  # a client's document is a word on the policy itself
            self._world.approve_policy(tx, key, command)
        self._judge_approved(tx, row, by=key, moment=moment)
        if is_policy:
            self._world.settled(tx, moment)

    def _judge_approved(self, tx: Tx, row: CommandRow, *, by: Key, moment: Moment) -> None:
        """Judge a command again that the last word it waited for was said of, as if nothing had kept it waiting."""
        approved = msgspec.structs.replace(row, approved_by=by.kid)
        self._trust.keep(tx, approved)
        if self._judge_again(tx, approved, moment=moment):
            self._end_waiting(tx, row, moment=moment)

    def _act_approved(self, tx: Tx, key: Key, row: CommandRow, *, by: Key, moment: Moment) -> None:
        """Have the effect of a command that waited for this approve and needs no work behind the transaction."""
        try:
            acted = self._act_at_once(tx, key, command_of(row), moment=moment)
        except RefusedError as error:  # another document of its key came first
            self._refuse(tx, row, error, moment=moment)
        else:
            row = self._ledger.accept(tx, row, approved_by=by.kid, moment=moment)
            self._start(tx, key, command_of(row), row, acted, moment=moment)
        self._world.settled(tx, moment)

    def _cut_off(self, tx: Tx, key: Key, command: Command, row: CommandRow, *, moment: Moment) -> None:
        """Put the cut-off of an owner's delete when it is accepted; of one that waited it ends when it was commanded.

        A backend's delete leaves none: no quota can weigh what is yet to come.
        """
        select = None if isinstance(command.request, Export) else command.selection
        if key.role != "client" or select is None or select.ids is not None:
            return
        # Whichever clock is ahead: a camera with the right time recorded before the command, whatever ours thought. But
        # no further than its sender's clock says: one that somebody set years ahead would forbid years of recordings.
        ahead_s = 0 if row.status == "waiting" else door.IAT_AHEAD_S
        sent_ms = max(row.received_ms, (command.iat + ahead_s) * MS_PER_S)
        before_ms = min(max(moment.agent_ms, moment.wall_ms), sent_ms)
        by = Commanded(row.jti, row.kid, row.seq)
        tombstone.cut_off(
            tx,
            select,
            rule=OWNER_ERASE,
            by=by,
            before_ms=before_ms,
            commanded_ms=row.behind_ms,
            wall_ms=row.wall_ms,
        )
        if isinstance(command.request, EraseAll):
            farewell.begin(tx, row, before_ms=before_ms, moment=moment)

    def _spend(self, tx: Tx, key: Key, row: CommandRow, *, moment: Moment) -> None:
        objects, size_bytes = self._trust.weight(tx, row.jti) or (row.selection_count, 0)
        self._trust.spend(tx, key, objects=objects, size_bytes=size_bytes, moment=moment)


def _require_owned(tx: Tx, command: Command) -> None:
    """Refuse an ``erase-all`` where another is under way, also one that waited while that one began."""
    if isinstance(command.request, EraseAll) and farewell.is_leaving(tx):
        raise RefusedError("this device leaves its owner already", reason="busy", retry="later")


def _turned(heard: Heard | Turned, error: RefusedError) -> Turned:
    """Return a command as one that is refused without being taken up."""
    if isinstance(heard, Turned):
        return msgspec.structs.replace(heard, error=error)
    command = heard.command
    return Turned(key=heard.key, digest=heard.digest, jti=command.jti, verb=command.verb, seq=command.seq, error=error)


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def _document(command: Command) -> str:
    """Return the hash of the policy that a command brings, which an approve of it names; "" for any other verb."""
    if not isinstance(command.request, ProposePolicy):
        return ""
    try:
        document = read_unverified_policy(command.request.policy).raw
    except CorruptError:  # refused for it, with its reason
        return ""
    return hashlib.sha256(document).hexdigest()


def _makes_room(heard: Heard | Repeat | Turned) -> bool:
    """Tell whether it is a delete, or the word that lets one go on."""
    return isinstance(heard, Heard) and isinstance(heard.command.request, Delete | EraseAll | Approve)


def _stops_a_use(heard: Heard | Repeat | Turned) -> bool:
    """Tell whether it ends a purpose of what is here, or stops all use of it."""
    return isinstance(heard, Heard) and (takes(heard.command) or isinstance(heard.command.request, Restrict))
